"""Scoring text that is given, token by token.

Every number is over the full vocabulary. Logits exist for a few positions at a time, so memory does not grow
with the text; beyond the context the text is read in overlapping windows, and each token is scored once.
A server that shows no logits may say of each token how probable it found it (`engines.base.Tells`): then that
is exact, and what hangs on tokens it does not list is unknown or bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.engines.base import Engine, Tells
from tokenglass.scoring.ids import Ids, checked_ids
from tokenglass.types import Score, Token, Told
from tokenglass.types.scores import UNKNOWN, ScoreColumns, ScoreRows

if TYPE_CHECKING:
    from tokenglass.tokenizer import Tokenizer

Floats = NDArray[np.float32]

ROWS = 64  # rows of logits held at once: 13 MB for a vocabulary of 49,152
# Window for a text beyond the context. A whole context of 8,192 would need four times the memory of 2,048
# tokens, and twice the time for each token, for a text that is cut into windows all the same.
LONG_TEXT_WINDOW = 2048


def score(engine: Engine, tokenizer: Tokenizer, text: str | Sequence[int], **options: Any) -> Score:
    """How probable the model finds a text; see `score_chunks` for the options."""
    return score_chunks(engine, tokenizer, text, **options).score


def score_chunks(
    engine: Engine,
    tokenizer: Tokenizer,
    text: str | Sequence[int],
    *,
    top: int = 5,
    window: int | None = None,
    stride: int | None = None,
    bos: bool | None = None,
    add_special_tokens: bool = True,
    parse_special: bool = False,
) -> Scoring:
    """The same in pieces: iterate for the rows as they are scored, then read `score`.

    Args:
        engine: computes the logits.
        tokenizer: of the model.
        text: text, or ids as they are.
        top: likeliest tokens to keep for each place, from 0.
        window: most tokens to read at once, in [1, context length]. None reads a text that the context holds
            in one go, so that each token has all before it, and a longer one by `LONG_TEXT_WINDOW`.
        stride: by how much each window begins after the one before, in [1, window]; a token then has at least
            window - stride + 1 tokens before it. None takes half the window.
        bos: put the model's begin-of-text token in front where the tokenizer does not, so that the first
            token of the text is scored too; without it nothing predicts that token and its numbers are None.
            None does so for a text and a model that has such a token, and leaves ids as they are. Later
            windows begin in mid-text, without it.
        add_special_tokens: add what the model's tokenizer adds to a text.
        parse_special: read `<|im_end|>` and the like in a text as control tokens.

    Raises:
        TypeError: `text` is neither text nor whole numbers.
        ValueError: an argument outside its interval, an id outside the vocabulary, or `bos` for a model that
            has none.
    """
    info = engine.info
    if bos is None:
        bos = isinstance(text, str) and info.bos_id is not None
    if isinstance(text, str):
        tokens = tokenizer.encode(
            text, add_special_tokens=add_special_tokens, parse_special=parse_special
        ).tokens
        ids, n_bytes = tuple(token.id for token in tokens), _bytes_behind(tokens[0 if bos else 1 :], text)
    else:
        ids = checked_ids(text, info.vocab_size)
        text = tokenizer.decode(ids)
        n_bytes = sum(_text_bytes(tokenizer.token(token_id)) for token_id in ids[0 if bos else 1 :])
    added = False
    if bos:
        if info.bos_id is None:
            raise ValueError("bos must be False for a model without a begin-of-text token, got True")
        if added := ids[:1] != (info.bos_id,):
            ids = (info.bos_id, *ids)
    if top < 0:
        raise ValueError(f"top must be at least 0, got {top}")
    tells = isinstance(engine, Tells)
    longest = engine.longest_told - 1 if isinstance(engine, Tells) else info.context_length
    window, stride = _windowing(len(ids) - 1, longest, window, stride)
    columns = ScoreColumns.unscored(ids, min(top, info.vocab_size), partly=tells)
    whole = Score(text, columns, tokenizer, n_bytes, window, stride)
    return Scoring(engine, tokenizer, ids, whole, int(added))


class Scoring:
    """A text while it is scored: an iterator of rows, and the score at the end.

    Attributes:
        n_tokens: ids there are.
        n_done: ids whose rows are ready.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, ids: Ids, whole: Score, text_begins: int
    ) -> None:
        self._engine, self._tokenizer, self._ids = engine, tokenizer, ids
        self._score, self._columns = whole, whole.columns
        self._begins = text_begins
        self._pieces = self._run()
        self.n_tokens, self.n_done = len(ids), 0

    def __iter__(self) -> Iterator[ScoreRows]:
        return self

    def __next__(self) -> ScoreRows:
        return next(self._pieces)

    def so_far(self) -> Score:
        """The score of what is done, as of a text that ends there."""
        whole, ids, done = self._score, self._ids, self.n_done
        n_bytes = sum(_text_bytes(self._tokenizer.token(token_id)) for token_id in ids[1:done])
        stride = whole.stride if done - 1 > whole.window else None
        text = self._tokenizer.decode(list(ids[self._begins : done]))
        return Score(text, self._columns.first(done), self._tokenizer, n_bytes, whole.window, stride)

    @property
    def score(self) -> Score:
        """The whole score; what is left to do is done first."""
        for _ in self._pieces:
            pass
        return self._score

    def _run(self) -> Iterator[ScoreRows]:
        if self._ids:
            yield self._ready(0, 1)  # nothing predicts the first id
        # the numbers of a long text find room where half of the rows stood
        at_once = ROWS if self._score.stride is None else ROWS // 2
        for start, stop, first in _windows(len(self._ids), self._score.window, self._score.stride):
            if isinstance(self._engine, Tells):
                yield from self._told(self._engine, start, stop, first)
                continue
            after = start + 1  # the token that the next row of logits predicts
            for rows in self._engine.iter_logits(self._ids[start:stop], at_once):
                known = max(0, first - after)
                if known < len(rows):
                    self._fill(rows[known:], after + known, start)
                    yield self._ready(after + known, after + len(rows))
                after += len(rows)

    def _told(self, engine: Tells, start: int, stop: int, first: int) -> Iterator[ScoreRows]:
        """The same from what a server says of each token; the last id is given, too, as it is asked about."""
        window, k = self._ids[start : stop + 1], self._columns.top_ids.shape[1]
        for place, told in enumerate(engine.iter_told(window, first - start, k), start=first):
            self._note(told, place, start)
            yield self._ready(place, place + 1)

    def _note(self, told: Told, place: int, start: int) -> None:
        columns, listing = self._columns, told.listing
        least, most = listing.entropy_bounds(self._engine.info.vocab_size)
        k = min(columns.top_ids.shape[1], len(listing.ids))
        columns.logprobs[place] = told.logprob
        columns.ranks[place] = UNKNOWN if told.rank is None else told.rank
        columns.entropies[place] = least if least == most else np.nan
        columns.contexts[place] = place - start
        columns.top_ids[place, :k] = listing.ids[:k]
        columns.top_logits[place, :k] = listing.logprobs[:k]
        assert columns.partly is not None
        columns.partly.coverages[place] = told.coverage
        columns.partly.least[place], columns.partly.most[place] = least, most

    def _ready(self, start: int, stop: int) -> ScoreRows:
        self.n_done = stop
        return ScoreRows(self._columns, self._tokenizer, range(start, stop))

    def _fill(self, rows: Floats, first: int, start: int) -> None:
        """Numbers of the tokens from `first` on, each predicted by one row, in a window from `start`."""
        columns = self._columns
        for place, (row, top) in enumerate(
            zip(rows, best(rows, columns.top_ids.shape[1]), strict=True), start=first
        ):
            token_id, summary = self._ids[place], numbers.summarize(row)
            columns.logprobs[place] = float(row[token_id]) - summary.logsumexp
            columns.ranks[place] = numbers.rank(row, token_id)
            columns.entropies[place] = summary.entropy_bits
            columns.logsumexps[place] = summary.logsumexp
            columns.contexts[place] = place - start
            columns.top_ids[place, : len(top)] = top
            columns.top_logits[place, : len(top)] = row[top]


def best(rows: Floats, k: int) -> list[NDArray[np.int64]]:
    """The ids of the k largest of each row (t, V), best first, equal ones in order of id.

    A row is cut into columns of a grid; the k-th largest of their maxima is a floor for the k largest of all,
    which few ids reach. (Partitioning whole rows took ten times as long.)

    >>> best(np.array([[1.0, 3.0, 3.0, 2.0]], dtype=np.float32), 3)[0].tolist()
    [1, 2, 3]
    """
    if k == 0:
        return [np.empty(0, dtype=np.int64)] * len(rows)
    width = 768  # columns: more leave fewer ids to sort, fewer make a smaller partition
    height = rows.shape[1] // width
    heads = rest = rows[:, height * width :]
    if height:
        grid = rows[:, : height * width].reshape(-1, height, width)
        heads = np.concatenate([grid.max(axis=1), rest], axis=1)
    floors = np.partition(heads, heads.shape[1] - k, axis=1)[:, -k] if k < heads.shape[1] else heads.min(1)
    found = []
    for row, floor in zip(rows, floors, strict=True):
        ids = np.flatnonzero(row >= floor)
        found.append(ids[np.argsort(-row[ids], kind="stable")][:k])
    return found


def _windowing(
    n_read: int, context_length: int, window: int | None, stride: int | None
) -> tuple[int, int | None]:
    """Window and stride for a text of which `n_read` ids are read; no stride where one window holds them."""
    if window is None:
        window = context_length if n_read <= context_length else min(context_length, LONG_TEXT_WINDOW)
    elif not 1 <= window <= context_length:
        raise ValueError(f"window must be in [1, {context_length}], the model's context, got {window}")
    if stride is None:
        stride = max(1, window // 2)
    elif not 1 <= stride <= window:
        raise ValueError(f"stride must be in [1, {window}], the window, got {stride}")
    return window, stride if n_read > window else None


def _windows(n_ids: int, window: int, stride: int | None) -> Iterator[tuple[int, int, int]]:
    """(start, stop) of the ids that each window reads, and the first token it scores.

    >>> list(_windows(9, 4, 2))
    [(0, 4, 1), (2, 6, 5), (4, 8, 7)]
    """
    start, first = 0, 1
    while first < n_ids:
        stop = min(start + window, n_ids - 1)  # the last id is predicted and need not be read
        yield start, stop, first
        first = stop + 1
        start += stride or window


def _bytes_behind(tokens: Sequence[Token], text: str) -> int:
    """Bytes of a text from the first of these tokens on."""
    start = next((token.span[0] for token in tokens if token.span is not None), None)
    return 0 if start is None else len(text.encode()) - start


def _text_bytes(token: Token) -> int:
    return 0 if token.kind == "control" else len(token.bytes)
