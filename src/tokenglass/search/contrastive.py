"""Contrastive search: of the likeliest tokens, the one that repeats what was written least.

As transformers 4.55.4, but a token that the chain masked is never a candidate. Source: Su et al. 2022,
arXiv:2202.06417; generation/utils.py `_contrastive_search`, release 4.55.4.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from tokenglass.asking import recorded
from tokenglass.engines.base import Engine, Floats
from tokenglass.errors import ContextOverflow
from tokenglass.reading.limits import Limits, Watch
from tokenglass.reading.paths import Path, Reader, sequence
from tokenglass.search.options import ContrastiveOptions
from tokenglass.search.records import ContrastiveRow, ContrastiveStep
from tokenglass.stages.base import Stage
from tokenglass.stages.row import MASKED, Row
from tokenglass.types import Sequence as Written
from tokenglass.types import Vocabulary


def contrastive_search(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: ContrastiveOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    negative_ids: Sequence[int] | None = None,
) -> Generator[ContrastiveStep, None, tuple[Written, ...]]:
    """Weigh each candidate's probability against its likeness to every earlier position.

    Args:
        engine: gives logits and hidden states.
        vocabulary: names ids.
        prompt_ids: at least one id.
        options: how many candidates, and the weight of likeness.
        stages: the chain, applied to logits.
        limits: what ends a text.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each step.

    Returns:
        One sequence; its score is None.

    Raises:
        NoTokenAllowed: every token was banned.
        Unsupported: the engine has no hidden states.
        ContextOverflow: the prompt fills the context, so that no candidate could be read.
    """
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, negative_ids=negative_ids)
    reader = replace(reader, watch=_room_to_look(reader.watch, engine))
    last = engine.info.layers
    # 1) the model reads the prompt, and every position's last hidden state is kept
    (heard,) = reader.hear([reader.start()], layers=[last], hidden_last=len(reader.prompt_ids))
    context = _unit(heard.hidden[last])  # (T, D)
    for step in count():
        (reading,) = reader.judge([heard])
        reading.ledger.require_alive(len(reading.path.ids))
        # 2) the likeliest tokens, each read one token ahead, in one run
        ids, p, cut = _likeliest(reading.row, options.top_k)
        paths = [Path((*reading.path.ids, i), heard.node, heard.other_node) for i in ids]
        ahead = reader.hear(paths, layers=[last])
        vectors = _unit(np.concatenate([a.hidden[last] for a in ahead]))  # (k, D)
        # 3) the best compromise is written; its reading is the next step's
        likeness = context @ vectors.T  # (T, k)
        alpha = np.float32(options.penalty_alpha)
        scores = (np.float32(1) - alpha) * p - alpha * likeness.max(axis=0)
        best = int(scores.argmax())
        path = reader.extended(reading, recorded(reader, reading, ids[best], "greedy"))
        reason = reader.reason(reading.path, ids[best])
        ranked = np.sort(scores)[::-1]
        yield ContrastiveStep(
            step=step,
            position=len(reading.path.ids),
            rows=tuple(_row(i, ids, p, likeness, scores, best) for i in range(len(ids))),
            margin=float(ranked[0] - ranked[1]) if len(ranked) > 1 else None,
            margin_top_k=cut,
            finish_reason=reason,
        )
        if reason is not None:
            return (sequence(path.written, vocabulary, reason),)
        context = np.concatenate([context, vectors[best : best + 1]])
        heard = replace(ahead[best], path=replace(path, node=ahead[best].node))
    raise AssertionError


def _room_to_look(watch: Watch, engine: Engine) -> Watch:
    """The limits where every token written must also be read."""
    context = engine.info.context_length
    if watch.prompt_length >= context:
        raise ContextOverflow(watch.prompt_length + 1, context)
    return watch if watch.total <= context else replace(watch, total=context, full="context")


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _likeliest(row: Row, k: int) -> tuple[list[int], Floats, float | None]:
    """Ids of the k likeliest tokens, their probabilities, and how far the next one lies below the last."""
    found = row.ranked(k + 1)[: k + 1]
    found = found[row.scores[found] > MASKED]
    p = row.moments.probs(row.scores[found]).astype(np.float32)
    cut = float(p[k - 1] - p[k]) if len(found) > k else None
    return found[:k].tolist(), p[:k], cut


def _row(
    i: int, ids: Sequence[int], p: Floats, likeness: Floats, scores: Floats, best: int
) -> ContrastiveRow:
    nearest = int(likeness[:, i].argmax())
    return ContrastiveRow(
        rank=i + 1,
        token_id=ids[i],
        p=float(p[i]),
        cosine=float(likeness[nearest, i]),
        nearest=nearest,
        score=float(scores[i]),
        chosen=i == best,
    )
