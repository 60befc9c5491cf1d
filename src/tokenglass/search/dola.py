"""DoLa: what the last layer says beyond an earlier one, among the tokens it finds likely.

As transformers 4.55.4. Source: Chuang et al. 2023, arXiv:2309.03883; generation/utils.py `_dola_decoding`,
`_dola_select_contrast` and `_relative_top_filter`, release 4.55.4.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from math import inf, log
from typing import Any

import numpy as np

from tokenglass.asking import ids_of
from tokenglass.engines.base import Engine, Floats
from tokenglass.numbers import log_softmax as exact_log_softmax
from tokenglass.random import Source
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Heard, Path, Reader, Reading, log_softmax, sequence
from tokenglass.search.options import DolaOptions
from tokenglass.search.records import DolaStep
from tokenglass.select.base import Draw, Greedy
from tokenglass.stages.base import BaseStage, Stage
from tokenglass.stages.context import Context
from tokenglass.stages.ledger import Ledger
from tokenglass.stages.row import MASKED, Row
from tokenglass.types import FinishReason, Vocabulary
from tokenglass.types import Sequence as Written

RELATIVE_TOP = 0.1  # tokens less than a tenth as likely as the best are masked


@dataclass(frozen=True, eq=False)
class LayerContrast(BaseStage):
    """Log-probabilities of the last layer less those of an earlier one; unlikely tokens are masked.

    Args:
        layer: the earlier one.
        base: (V,) its logits, without the final norm.
    """

    layer: int
    base: Floats
    name = "dola_layers"

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Which layer."""
        return {"layer": self.layer}

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The contrast."""
        final = log_softmax(row)
        keep = final >= final.max() + np.float32(log(RELATIVE_TOP))
        contrast = np.where(keep, final - log_softmax(Row.of(self.base)), MASKED)
        return row.with_scores(contrast.astype(np.float32)), state


def dola(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: DolaOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    tie_word_embeddings: bool,
    source: Source | None = None,
    negative_ids: Sequence[int] | None = None,
) -> Generator[DolaStep, None, tuple[Written, ...]]:
    """Contrast the last layer with the candidate layer that differs most from it, at each step anew.

    Args:
        engine: gives logits and hidden states.
        vocabulary: names ids.
        prompt_ids: at least one id.
        options: which layers.
        stages: the chain, applied to the contrast.
        limits: what ends a text.
        tie_word_embeddings: the model's head is its embedding; "low" then starts at layer 2.
        source: uniform numbers, needed when sampling.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each step.

    Returns:
        One sequence; its score is None.

    Raises:
        ValueError: no candidate layer below the last one.
        NoTokenAllowed: every token was banned.
        Unsupported: the engine has no hidden states.
    """
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, source, negative_ids=negative_ids)
    layers = candidate_layers(options.dola_layers, engine.info.layers, tie_word_embeddings)
    selector = Draw() if options.do_sample else Greedy()
    path = reader.start()
    for step in count():
        # 1) the model reads the text; the head reads the candidate layers
        (heard,) = reader.hear([path], layers=layers)
        rows = {layer: _early(engine, heard, layer) for layer in layers}
        # 2) the layer that differs most is taken off, then comes the chain
        layer, divergences = _furthest(heard.logits, rows)
        contrast = LayerContrast(layer, rows[layer])
        ledger = _contrasted(reader, heard, contrast)
        ledger.require_alive(len(path.ids))
        reading = Reading(heard, ledger, vocabulary)
        # 3) one token is chosen
        choice = selector.select(reading.row, reader.context(path))
        written = replace(
            reading.step(choice.token_id, choice.origin, choice.draw, choice.cdf),
            reread=_again(reader, path, layer),
        )
        reason = reader.reason(path, choice.token_id)
        yield _record(step, heard, contrast, divergences, reading, choice.token_id, reason)
        kept = replace(ledger, states=ledger.states[1:])
        path = reader.extended(Reading(heard, kept, vocabulary), written)
        if reason is not None:
            return (sequence(path.written, vocabulary, reason),)
    raise AssertionError


def _early(engine: Engine, heard: Heard, layer: int) -> Floats:
    """(V,) what the head makes of an earlier layer, without the final norm."""
    early: Floats = engine.unembed(heard.hidden[layer][-1:], norm=False)[0]
    return early


def _contrasted(reader: Reader, heard: Heard, contrast: LayerContrast) -> Ledger:
    """The books of the contrast and the chain after it."""
    states = heard.path.states
    whole = replace(heard.path, states=None if states is None else (None, *states))
    return reader.apply(replace(heard, path=whole), (contrast, *reader.stages))


def _again(reader: Reader, path: Path, layer: int) -> Callable[[], Ledger]:
    """A function that reads a path anew and contrasts the same layer; it keeps no row of it."""
    ids, states = ids_of(reader.prompt_ids, path.written), path.states

    def ask() -> Ledger:
        (heard,) = reader.hear([Path(ids(), states=states)], layers=[layer])
        return _contrasted(reader, heard, LayerContrast(layer, _early(reader.engine, heard, layer)))

    return ask


def candidate_layers(dola_layers: str | Sequence[int], last: int, tied: bool) -> list[int]:
    """The layers that `dola_layers` stands for in a model of `last` layers.

    >>> candidate_layers("low", 12, tied=True), candidate_layers("high", 12, tied=True)
    ([2, 4], [6, 8, 10])
    """
    first = 0 if not tied else 2 if last > 2 else last - 1
    if dola_layers == "low":
        end = last // 2 if last <= 40 else 20
        layers = [first] if first == last // 2 else list(range(first, end, 2))
    elif dola_layers == "high":
        layers = list(range(last // 2 if last <= 40 else last - 20, last, 2))
    else:
        layers = [int(i) for i in dola_layers if int(i) < last]
    if not layers:
        raise ValueError(
            f"dola_layers must name a layer in [0, {last - 1}] of this model, got {dola_layers!r}"
        )
    return layers


def _furthest(logits: Floats, rows: Mapping[int, Floats]) -> tuple[int, tuple[tuple[int, float | None], ...]]:
    """The layer with the largest divergence, the first of equals, and all divergences."""
    if len(rows) == 1:
        (only,) = rows
        return only, ((only, None),)
    final = exact_log_softmax(logits)
    found = {layer: _divergence(final, exact_log_softmax(row)) for layer, row in rows.items()}
    return max(found, key=lambda layer: found[layer]), tuple(found.items())


def _divergence(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Jensen-Shannon divergence of two rows of log-probabilities, as a mean over the vocabulary."""
    middle = 0.5 * (np.exp(a) + np.exp(b))
    inside = middle > 0
    logs = np.log(middle, where=inside, out=np.zeros_like(middle))
    sums = (np.sum(middle * (logs - x), where=inside) for x in (a, b))
    return float(0.5 * sum(sums) / len(a))


def _record(
    step: int,
    heard: Heard,
    contrast: LayerContrast,
    divergences: tuple[tuple[int, float | None], ...],
    reading: Reading,
    token_id: int,
    reason: FinishReason | None,
) -> DolaStep:
    final, base = log_softmax(heard.row), log_softmax(Row.of(contrast.base))
    mark = float(final.max()) + log(RELATIVE_TOP)
    ranked = sorted((d for _, d in divergences if d is not None), reverse=True)
    after = reading.ledger.rows[1]
    return DolaStep(
        step=step,
        position=len(heard.path.ids),
        divergences=divergences,
        layer=contrast.layer,
        alive=int(np.count_nonzero(after.scores > MASKED)),
        token_id=token_id,
        final_logprob=float(final[token_id]),
        layer_logprob=float(base[token_id]),
        contrast=float(after.scores[token_id]),
        margin=None if reading.margin == inf else reading.margin,
        layer_margin=ranked[0] - ranked[1] if len(ranked) > 1 else None,
        cut_margin=float(np.abs(final - np.float32(mark)).min()),
        finish_reason=reason,
    )
