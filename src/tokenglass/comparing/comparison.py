"""Two prompts, two configurations or two models: both run, matched position by position, and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenglass import config as configuration
from tokenglass.comparing import alignment
from tokenglass.comparing.bounds import Known, differing
from tokenglass.comparing.measures import Namer, log_probs, shift
from tokenglass.config.modes import BEAMS
from tokenglass.decode import limits_of, reader_of
from tokenglass.engines.base import Engine, Prefix
from tokenglass.errors import Unsupported
from tokenglass.model import Model, Prompt
from tokenglass.random import fresh_seed
from tokenglass.reading.paths import Path
from tokenglass.recording import checked
from tokenglass.types import Generation, Step
from tokenglass.types.comparison import Comparison, Difference, Parted, Shift, Side

Kind = Literal["prompts", "configs", "models"]
_CHUNK = 64  # rows of logits in memory at a time
_FORMS = (
    "compare takes two prompts with model=..., two mappings of keywords with model=... and prompt=..., "
    "or two models with prompt=..."
)


@dataclass(frozen=True)
class Run:
    """One side, not yet run.

    Attributes:
        model: that reads and writes.
        prompt: as it was given.
        ids: the ids it stands for.
        keywords: of its configuration.
    """

    model: Model
    prompt: Prompt
    ids: tuple[int, ...]
    keywords: Mapping[str, Any]


def compare(
    a: Prompt | Mapping[str, Any] | Model,
    b: Prompt | Mapping[str, Any] | Model,
    *,
    prompt: Prompt | None = None,
    model: Model | None = None,
    n: int = 10,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    **config: Any,
) -> Comparison:
    """Run two prompts, configurations or models and measure how far their distributions lie apart.

    Two prompts (texts, ids or messages) are compared by the model's own distributions at their ends and along
    the text, as long as both write the same. Two configurations (mappings of keywords) are compared at the
    same places by what their chains leave; in a beam search that is what candidates are scored by. Two models
    are compared by their own distributions at each position of the prompt that both have, and along the text:
    over tokens where their vocabularies are the same, else over the next byte.

    Both write with one seed, so that draws differ because the sides differ, not because luck does.

    Args:
        a: one side.
        b: the other, of the same kind.
        prompt: of two configurations or two models.
        model: of two prompts or two configurations.
        n: outcomes listed for each position, those that moved most.
        chat_template_kwargs: handed to the chat template.
        **config: generation keywords for both; those of a configuration itself win.

    Raises:
        TypeError: `a` and `b` are not of one kind, or an unknown keyword.
        ValueError: `prompt` or `model` is missing or too much, `token_healing`, ids as the prompt of models
            with different vocabularies, or a value outside its interval.
        ContextOverflow: a prompt is longer than the context.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    kind, sides = _sides(a, b, prompt, model)
    shared = {**config, "seed": fresh_seed() if config.get("seed") is None else config["seed"]}
    runs = []
    for whose, text, own in sides:
        ids, keywords = whose.prompt_ids(text, chat_template_kwargs), {**shared, **own}
        if whose.plan(keywords, ids).config["token_healing"]:
            raise ValueError("token_healing rewrites a prompt's end; compare reads prompts as they are")
        runs.append(Run(whose, text, ids, keywords))
    return _compared(kind, runs[0], runs[1], n)


def _sides(
    a: Any, b: Any, prompt: Any, model: Any
) -> tuple[Kind, list[tuple[Model, Prompt, dict[str, Any]]]]:
    """What differs, and for each side the model, the prompt and the keywords of its own."""
    if isinstance(a, Model) and isinstance(b, Model):
        if prompt is None or model is not None:
            raise ValueError(f"two models take a prompt for both and no model=: {_FORMS}")
        return "models", [(a, prompt, {}), (b, prompt, {})]
    if model is not None and not isinstance(model, Model):
        raise TypeError(f"model must be what load() returns, got {type(model).__name__}")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if model is None or prompt is None:
            raise ValueError(f"two configurations take model=... and prompt=...: {_FORMS}")
        return "configs", [(model, prompt, dict(a)), (model, prompt, dict(b))]
    if _is_prompt(a) and _is_prompt(b):
        if model is None or prompt is not None:
            raise ValueError(f"two prompts take model=... and no prompt=: {_FORMS}")
        return "prompts", [(model, a, {}), (model, b, {})]
    raise TypeError(f"{_FORMS}; got {type(a).__name__} and {type(b).__name__}")


def _is_prompt(value: Any) -> bool:
    return isinstance(value, str | Sequence | np.ndarray) and not isinstance(value, bytes | bytearray)


def _compared(kind: Kind, a: Run, b: Run, n: int) -> Comparison:
    if kind == "configs" and not _whole(a.model):
        raise Unsupported(
            "comparing configurations on a server",
            "what a chain leaves hangs on tokens that it does not list; compare prompts or models there",
        )
    by_token = kind != "models" or alignment.same_vocabulary(a.model, b.model)
    if not by_token and not (_whole(a.model) and _whole(b.model)):
        raise Unsupported(
            "comparing models of different vocabularies on a server",
            "the next byte is a sum over every token; compare models with the same tokens there",
        )
    pairs = _prompt_pairs(a, b, by_token) if kind == "models" else []
    texts = [run.model.generate(run.ids, **run.keywords) for run in (a, b)]
    left, right = texts[0].steps, texts[1].steps
    if by_token:
        shared = alignment.common_ids(texts[0].ids, texts[1].ids)
        both = range(max(1, min(shared + 1, len(left), len(right))))
        pairs += [(len(a.ids) - 1 + i, len(b.ids) - 1 + i, None) for i in both]
        split, size = (shared, shared), a.model.info.vocab_size
    else:
        shared = alignment.common_bytes(left, right)
        start = len(a.prompt.encode()) if isinstance(a.prompt, str) else None
        for i, j, end in alignment.text_pairs(left, right, shared):
            offset = None if start is None else start + end
            pairs.append((len(a.ids) - 1 + i, len(b.ids) - 1 + j, offset))
        split, size = alignment.divided(left, right, shared), alignment.NO_TEXT + 1
    positions, last = [], None
    for row in _rows(kind, a, b, texts[0].ids, texts[1].ids, pairs, by_token):
        last = row
        positions.append(_difference(row, a, (*a.ids, *texts[0].ids), n))
    assert last is not None  # there is always the prompt's end
    parting = _parting(left, right, split, last if by_token else None, kind)
    return Comparison(
        kind,
        _side(a, texts[0]),
        _side(b, texts[1]),
        tuple(positions),
        parting,
        "chain" if kind == "configs" else "model",
        "tokens" if by_token else "next bytes",
        size,
    )


def _whole(model: Model) -> bool:
    """Whether a model shows its whole distribution."""
    return "logits" in model.info.capabilities


def _side(run: Run, generation: Generation) -> Side:
    return Side(run.model.info, run.keywords, generation)


def _prompt_pairs(a: Run, b: Run, by_token: bool) -> list[alignment.Pair]:
    """Positions before the end of a prompt that two models read alike."""
    if by_token and a.ids == b.ids:
        return [(i, i, None) for i in range(len(a.ids) - 1)]
    if isinstance(a.prompt, str):
        return alignment.prompt_pairs(a.model.tokenize(a.prompt), b.model.tokenize(a.prompt))
    if not isinstance(a.prompt[0], Mapping):
        raise ValueError("these models have different tokens, so ids are no prompt for both; give its text")
    return []  # each template writes the conversation in its own way: only the ends answer one question


# --------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Rows:
    """Both distributions at one pair of positions."""

    pair: alignment.Pair
    a: Known
    b: Known
    name: Namer


def _rows(
    kind: Kind,
    a: Run,
    b: Run,
    ids_a: tuple[int, ...],
    ids_b: tuple[int, ...],
    pairs: Sequence[alignment.Pair],
    by_token: bool,
) -> Iterator[Rows]:
    """The distributions of each pair, one after the other: never all in memory."""
    if kind == "configs":
        streams: list[Iterator[Known]] = [map(_of_scores, _chained(run, ids_a, len(pairs))) for run in (a, b)]
    else:
        streams = [
            known_at(a.model.engine, (*a.ids, *ids_a), [i for i, _, _ in pairs]),
            known_at(b.model.engine, (*b.ids, *ids_b), [j for _, j, _ in pairs]),
        ]
    name: Namer = a.model.tokenizer.token
    if by_token:
        for pair, row_a, row_b in zip(pairs, *streams, strict=True):
            yield Rows(pair, row_a, row_b, name)
        return
    byte_a, byte_b = (alignment.FirstBytes.of(run.model) for run in (a, b))
    for pair, row_a, row_b in zip(pairs, *streams, strict=True):
        bytes_a, bytes_b = Known(byte_a.marginal(row_a.logs)), Known(byte_b.marginal(row_b.logs))
        yield Rows(pair, bytes_a, bytes_b, alignment.byte_token)


def known_at(engine: Engine, ids: tuple[int, ...], wanted: Sequence[int]) -> Iterator[Known]:
    """What the model says after the tokens with these indices; a server one question each."""
    if "logits" in engine.info.capabilities:
        yield from map(_of_scores, rows_at(engine, ids, wanted))
        return
    for at in range(0, len(wanted), _CHUNK):
        prefixes = [Prefix(ids[: index + 1]) for index in wanted[at : at + _CHUNK]]
        for listing in engine.forward(prefixes).top:
            yield Known.listed(listing, engine.info.vocab_size)


def _of_scores(row: NDArray[np.float32]) -> Known:
    return Known(log_probs(row))


def rows_at(engine: Engine, ids: tuple[int, ...], wanted: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """The model's own logits (V,) after the tokens with these indices.

    Args:
        engine: gives logits for ids.
        ids: of the whole sequence; nothing behind the last wanted index is read.
        wanted: indices in ascending order, at least one.
    """
    ids = ids[: wanted[-1] + 1]
    at, asked = wanted[0], set(wanted)
    pieces: Iterator[Any]
    if len(ids) - at <= _CHUNK:  # the end of a text that was just written: the engine still knows it
        logits = engine.forward([Prefix(ids)], last=len(ids) - at).logits
        pieces = iter((None,) if logits is None else logits)
    else:
        at, pieces = 0, engine.iter_logits(ids, _CHUNK)
    for piece in pieces:
        if piece is None:
            checked(None, at)
        for index, row in enumerate(piece, start=at):
            if index in asked:
                yield checked(row[None, None], index + 1)
        at += len(piece)


def _chained(run: Run, written: Sequence[int], count: int) -> Iterator[NDArray[np.float32]]:
    """Scores (V,) after the chain at the prompt's end and after each of the first written tokens.

    A selector that cuts the row itself, such as mirostat, is part of it. A search scores its candidates by
    log-probabilities, which the chain is given there.
    """
    plan = run.model.plan(run.keywords, run.ids)
    reader = reader_of(run.model.engine, run.model.tokenizer, run.ids, plan, limits_of(plan.config))
    if plan.stages and plan.config.mode in BEAMS:
        reader = replace(reader, domain="logprobs")
    path, state = reader.start(), plan.selector.start()
    for i in range(count):
        reading = reader.read([path])[0]
        reading.ledger.require_alive(len(path.ids))
        row = reading.row
        if plan.config.mode not in configuration.SEARCHES:
            choice = plan.selector.select(row, reader.context(path), state)
            row, state = choice.row, choice.state
        yield row.scores
        path = Path((*path.ids, *written[i : i + 1]), reading.heard.node, states=reading.ledger.states)


# ----------------------------------------------------------------------------------------------- findings


def _difference(row: Rows, a: Run, ids: tuple[int, ...], n: int) -> Difference:
    index_a, index_b, offset = row.pair
    token = a.model.tokenizer.token(ids[index_a])
    return differing((index_a, index_b), token, row.a, row.b, row.name, n, offset)


def _parting(
    a: Sequence[Step], b: Sequence[Step], split: tuple[int, int], last: Rows | None, kind: Kind
) -> Parted | None:
    """Where two texts part; `last` has both distributions there, if both wrote a token of one vocabulary."""
    own, other = (steps[i] if i < len(steps) else None for steps, i in zip((a, b), split, strict=True))
    if own is None and other is None:
        return None
    if last is not None and own is not None and other is not None:
        found = [shift(step.id, last.a.logs, last.b.logs, last.name) for step in (own, other)]
        return Parted(*split, *found)
    return Parted(*split, _alone(own, "a", kind), _alone(other, "b", kind))


def _alone(step: Step | None, side: str, kind: Kind) -> Shift | None:
    """What one side wrote where the other has no probability for it."""
    if step is None:
        return None
    p, rank = (step.p_final, None) if kind == "configs" else (step.p, step.rank)
    return Shift(step.token, p, None, rank, None) if side == "a" else Shift(step.token, None, p, None, rank)
