"""Which texts are read together, and what several of them share: counting only, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]

MOST_ROWS = 64
SMALL = 32  # tokens of a run below which its time is that of reading the weights, whatever is in it
MOST_WASTE = 1.5  # tokens that run, for each token that must
SHORTEST_STEM = 16  # a shared beginning shorter than this is not worth a run of its own


@dataclass(frozen=True, slots=True)
class Work:
    """A text that is to be read.

    Attributes:
        index: whose answer it is.
        ids: all of it.
        new: how many tokens at its end must run.
    """

    index: int
    ids: Ids
    new: int


def shared(a: Ids, b: Ids) -> int:
    """How many leading ids two texts have in common.

    >>> shared((1, 2, 3, 4), (1, 2, 9))
    2
    """
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:  # comparing slices is done in C
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def stems(works: Sequence[Work], tail: int) -> list[Ids]:
    """Beginnings that several texts share and that no cache holds: read first, they are read once.

    Args:
        works: the texts.
        tail: tokens at the end of each text that must run with the text itself.
    """
    texts = sorted((w for w in works if w.new >= SHORTEST_STEM + tail), key=lambda w: w.ids)
    found: list[Ids] = []
    at = 0
    while at < len(texts):
        stop, common = at + 1, len(texts[at].ids) - tail
        while stop < len(texts):
            also = min(common, shared(texts[at].ids, texts[stop].ids), len(texts[stop].ids) - tail)
            if also < SHORTEST_STEM + max(len(w.ids) - w.new for w in texts[at : stop + 1]):
                break
            stop, common = stop + 1, also
        if stop - at > 1:
            found.append(texts[at].ids[:common])
        at = stop
    return found


def groups(
    works: Sequence[Work], *, padded: bool, alike: Callable[[int], int], most_slots: int
) -> Iterator[list[Work]]:
    """Texts that run together.

    Args:
        works: the texts.
        padded: texts of different lengths may stand in one batch, padded on the left.
        alike: texts share a batch only where this is the same for their lengths.
        most_slots: rows x longest text of one batch, as memory allows.
    """

    def kind(work: Work) -> tuple[int, ...]:
        size = len(work.ids)
        return (alike(size),) if padded else (alike(size), size, work.new)

    group: list[Work] = []
    for work in sorted(works, key=lambda w: (kind(w), w.new, w.index)):
        if group and (kind(work) != kind(group[0]) or not _fits(group, work, most_slots)):
            yield group
            group = []
        group.append(work)
    if group:
        yield group


def _fits(group: Sequence[Work], work: Work, most_slots: int) -> bool:
    """Whether one more text, of at least as many new tokens, may join."""
    rows = len(group) + 1
    runs, must = rows * work.new, sum(w.new for w in group) + work.new
    longest = max(len(work.ids), *(len(w.ids) for w in group))
    cheap = runs <= SMALL or runs <= MOST_WASTE * must
    return rows <= MOST_ROWS and rows * longest <= most_slots and cheap
