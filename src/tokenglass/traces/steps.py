"""A step as JSON and back: every number exact, every array bit for bit.

Tokens and stage descriptions are said once in a trace, the first time they are needed, and referred to by
id or number from then on (`Definitions`). The candidates' numbers are arrays in base64: ids `<i4`, logits
`<f4`, probabilities `<f8`, the trail `<f4`, the counts of the tail `<u4`. What a step asks of its model again
(`reread`) is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from tokenglass.traces.removals import decode_removed, encode_removed
from tokenglass.traces.values import decode, encode, number, pack, parse_number, unpack
from tokenglass.traces.vocabulary import decode_token, encode_token, new_tokens
from tokenglass.types import FinishReason, Origin, Stage, Step, Tail, Token, Vocabulary
from tokenglass.types.tails import BINS

JsonDict = dict[str, Any]
_ORIGINS, _REASONS = get_args(Origin), get_args(FinishReason)
_IDS, _LOGITS, _PROBS, _COUNTS = "<i4", "<f4", "<f8", "<u4"


class Definitions:
    """What a trace has said so far: its tokens, and its stages with their parameters.

    Attributes:
        tokens: id -> entry.
        stages: number -> (name, parameters).
    """

    def __init__(self) -> None:
        self.tokens: dict[int, Token] = {}
        self.stages: dict[int, tuple[str, Mapping[str, Any]]] = {}
        self._numbers: dict[str, int] = {}

    def learn(self, data: Mapping[str, Any]) -> None:
        """Take over the definitions that came with an event, all or none.

        Raises:
            ValueError, TypeError, KeyError: they are not of the form that `encode_step` makes.
        """
        tokens = {int(i): decode_token(int(i), entry) for i, entry in data.get("tokens", {}).items()}
        stages: dict[int, tuple[str, Mapping[str, Any]]] = {}
        numbers: dict[str, int] = {}
        for text, (name, params) in data.get("stages", {}).items():
            if not isinstance(name, str) or not isinstance(params, dict):
                raise ValueError("a stage must have a name and parameters")
            stages[int(text)] = (name, {key: decode(value) for key, value in params.items()})
            numbers[_signature(name, params)] = int(text)
        if tokens.keys() & self.tokens.keys() or stages.keys() & self.stages.keys():
            raise ValueError("it defines again what was defined before")
        self.tokens |= tokens
        self.stages |= stages
        self._numbers |= numbers

    def forget(self, data: Mapping[str, Any]) -> None:
        """Take definitions back, whether they were learnt or not."""
        for token_id in data.get("tokens", {}):
            self.tokens.pop(int(token_id), None)
        for text, (name, params) in data.get("stages", {}).items():
            self.stages.pop(int(text), None)
            self._numbers.pop(_signature(name, params), None)

    def stage_number(self, name: str, params: Any) -> int | None:
        """The number of a stage with these encoded parameters, or None where it has none yet."""
        return self._numbers.get(_signature(name, params))


def _signature(name: str, params: Any) -> str:
    return json.dumps([name, params], sort_keys=True)


def encode_step(step: Step, known: Definitions) -> tuple[JsonDict, JsonDict]:
    """A step as JSON, and the definitions it needs beyond those that are known.

    Raises:
        ValueError: its ids do not fit 32 bits, its trail has another width than its candidates, or a
            probability is above 1.
    """
    _refuse_above_one(step.logprob, step.top_logits, step.logsumexp)
    define: JsonDict = {}
    stages = [_encode_stage(stage, known, define) for stage in step.stages]
    ids = [step.id, *step.top_ids.tolist(), *step.removed]
    named = new_tokens(
        [*ids, *(s.argmax for s in step.stages if s.argmax >= 0)], step.vocabulary, known.tokens
    )
    if named:
        define["tokens"] = {str(token_id): encode_token(token) for token_id, token in named.items()}
    if not all(0 <= token_id < 1 << 31 for token_id in ids):
        raise ValueError(f"token ids must be in [0, 2147483647], got {min(ids)} to {max(ids)}")
    record: JsonDict = {
        "position": int(step.position),
        "id": int(step.id),
        "text": step.text,
        "logit": number(step.logit),
        "logprob": number(step.logprob),
        "rank": int(step.rank),
        "entropy_bits": number(step.entropy_bits),
        "p_final": number(step.p_final),
        "origin": step.origin,
        "margin": number(step.margin),
        "logsumexp": number(step.logsumexp),
        "top": {
            "ids": pack(step.top_ids, _IDS),
            "logits": pack(step.top_logits, _LOGITS),
            "final": pack(step.top_final, _PROBS),
        },
        "stages": stages,
        "removed": encode_removed(step.removed),
        "draw": None if step.draw is None else number(step.draw),
        "cdf": None if step.cdf is None else [number(step.cdf[0]), number(step.cdf[1])],
        "finish_reason": step.finish_reason,
        "trail": None if step.trail is None else _encode_trail(step),
    }
    if step.tail is not None:
        record["tail"] = _encode_tail(step.tail)
    entry = named.get(step.id) or known.tokens[step.id]
    if step.token != entry:  # a piece of a text, or another name than the vocabulary's
        span = None if step.token.span is None else list(step.token.span)
        record["token"] = {"entry": encode_token(step.token), "span": span}
    return record, define


def decode_step(data: Mapping[str, Any], known: Definitions, vocabulary: Vocabulary) -> Step:
    """The step that `encode_step` wrote.

    Args:
        data: its JSON.
        known: the definitions of the trace up to it.
        vocabulary: names ids; `RecordedVocabulary`, or the model's where there is one.

    Raises:
        ValueError, TypeError, KeyError: not the form that `encode_step` makes.
    """
    top = data["top"]
    ids = unpack(top["ids"], _IDS).astype(np.int64)
    logits = unpack(top["logits"], _LOGITS).astype(np.float32, copy=False)
    final = unpack(top["final"], _PROBS).astype(np.float64, copy=False)
    if not len(ids) == len(logits) == len(final):
        raise ValueError(f"{len(ids)} candidates have {len(logits)} logits and {len(final)} probabilities")
    stages = tuple(_decode_stage(stage, known) for stage in data["stages"])
    named = [*ids.tolist(), *(stage.argmax for stage in stages if stage.argmax != -1)]
    unknown = next((token_id for token_id in named if token_id not in known.tokens), None)
    if unknown is not None:
        raise ValueError(f"token {unknown} was not defined before")
    logprob, logsumexp = parse_number(data["logprob"]), parse_number(data["logsumexp"])
    _refuse_above_one(logprob, logits, logsumexp)
    cdf = data["cdf"]
    return Step(
        position=_whole(data["position"]),
        token=_token(data, known),
        text=_text(data["text"]),
        logit=parse_number(data["logit"]),
        logprob=logprob,
        rank=_whole(data["rank"]),
        entropy_bits=parse_number(data["entropy_bits"]),
        p_final=parse_number(data["p_final"]),
        origin=_one_of(data["origin"], _ORIGINS),
        margin=parse_number(data["margin"]),
        top_ids=ids,
        top_logits=logits,
        top_final=final,
        logsumexp=logsumexp,
        vocabulary=vocabulary,
        stages=stages,
        removed=decode_removed(data["removed"]),
        draw=None if data["draw"] is None else parse_number(data["draw"]),
        cdf=None if cdf is None else (parse_number(cdf[0]), parse_number(cdf[1])),
        finish_reason=_one_of(data["finish_reason"], (None, *_REASONS)),
        trail=None if data["trail"] is None else _decode_trail(data["trail"], len(ids)),
        tail=None if data.get("tail") is None else _decode_tail(data["tail"]),  # older traces have none
    )


def _refuse_above_one(logprob: float, logits: Any, logsumexp: float) -> None:
    """The same for who writes and who reads; rounding is far below the slack of 1 on a logarithm."""
    with np.errstate(invalid="ignore", over="ignore"):
        if logprob > 1.0 or np.any(logits - logsumexp > 1.0):
            raise ValueError("a probability is above 1")


def _encode_stage(stage: Stage, known: Definitions, define: JsonDict) -> JsonDict:
    params = {str(name): encode(value) for name, value in stage.params.items()}
    stage_number = known.stage_number(stage.name, params)
    if stage_number is None:
        fresh: JsonDict = define.setdefault("stages", {})
        same = (int(n) for n, held in fresh.items() if held == [stage.name, params])
        stage_number = next(same, len(known.stages) + len(fresh))
        fresh[str(stage_number)] = [stage.name, params]
    return {
        "stage": stage_number,
        "alive": int(stage.alive),
        "mass_kept": number(stage.mass_kept),
        "entropy_bits": number(stage.entropy_bits),
        "argmax": int(stage.argmax),
        "removed": int(stage.removed),
        "changed": int(stage.changed),
        "facts": {str(name): number(value) for name, value in stage.facts.items()},
    }


def _decode_stage(data: Mapping[str, Any], known: Definitions) -> Stage:
    name, params = known.stages[_whole(data["stage"])]
    return Stage(
        name,
        params,
        alive=_whole(data["alive"]),
        mass_kept=parse_number(data["mass_kept"]),
        entropy_bits=parse_number(data["entropy_bits"]),
        argmax=_whole(data["argmax"]),
        removed=_whole(data["removed"]),
        changed=_whole(data["changed"]),
        facts={name: parse_number(value) for name, value in data["facts"].items()},
    )


def _encode_trail(step: Step) -> JsonDict:
    trail = step.trail
    assert trail is not None
    if trail.ndim != 2 or trail.shape[1] != len(step.top_ids):
        raise ValueError(f"trail must be (stages, {len(step.top_ids)}), got {trail.shape}")
    return {"rows": len(trail), "p": pack(trail, _LOGITS)}


def _decode_trail(data: Mapping[str, Any], width: int) -> Any:
    flat = unpack(data["p"], _LOGITS).astype(np.float32, copy=False)
    return flat.reshape(_whole(data["rows"]), width)


def _encode_tail(tail: Tail) -> JsonDict:
    return {"low": number(tail.low), "high": number(tail.high), "counts": pack(tail.counts, _COUNTS)}


def _decode_tail(data: Mapping[str, Any]) -> Tail:
    counts = unpack(data["counts"], _COUNTS).astype(np.int64)
    low, high = parse_number(data["low"]), parse_number(data["high"])
    if len(counts) not in (0, BINS) or not low <= high:
        raise ValueError(f"a tail must have {BINS} counts or none, and low <= high")
    return Tail(low, high, counts)


def _token(data: Mapping[str, Any], known: Definitions) -> Token:
    token_id = _whole(data["id"])
    own = data.get("token")
    if own is None:
        return known.tokens[token_id]
    entry = decode_token(token_id, own["entry"])
    span = own["span"]
    return (
        entry
        if span is None
        else Token(token_id, entry.bytes, entry.kind, (_whole(span[0]), _whole(span[1])))
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"a whole number is wanted, got {str(value)[:20]!a}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is wanted, got {type(value).__name__}")
    return value


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{str(value)[:20]!a} is none of {', '.join(map(str, allowed))}")
    return value
