"""Byte-pair encoding: merge the best neighbours until no pair is left that may merge.

Knows nothing about vocabularies: `rank` says which pairs may merge and which goes first. Byte-level BPE ranks
a pair by its place in the list of merges, SentencePiece by the score of the token the pair would make.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

Rank = Callable[[str, str], float | None]
Merge = tuple[float, int, int]  # rank, and where the left and the right symbol began among the first symbols


def merge(parts: list[str], rank: Rank, history: list[Merge] | None = None) -> list[str]:
    """Merge neighbours in order of rank, the leftmost first among equals.

    A heap holds every pair of neighbours that may merge; pairs that a merge made impossible stay in it and
    are skipped when their turn comes. n log n for n parts, so 100,000 newlines are no worse than other text.

    Args:
        parts: the symbols to start from, none empty; the list is changed.
        rank: the rank of a pair (left, right), lower first, or None for a pair that must not merge.
        history: where given, every merge is appended to it as it happens.

    Returns:
        The symbols that are left, in order; joined they are the input joined.

    >>> ranks = {("a", "b"): 0, ("ab", "c"): 1}
    >>> merge(list("xabcab"), lambda left, right: ranks.get((left, right)))
    ['x', 'abc', 'ab']
    """
    n = len(parts)
    before = list(range(-1, n - 1))
    after = list(range(1, n + 1))
    heap = []  # (rank, left index, right index, length of the pair)
    for left in range(n - 1):
        other = rank(parts[left], parts[left + 1])
        if other is not None:
            heap.append((other, left, left + 1, len(parts[left]) + len(parts[left + 1])))
    heapify(heap)
    while heap:
        value, left, right, length = heappop(heap)
        a, b = parts[left], parts[right]
        if not a or not b or len(a) + len(b) != length:
            continue  # one of the two was merged with another neighbour meanwhile
        if history is not None:
            history.append((value, left, right))
        parts[left], parts[right] = a + b, ""
        after[left] = following = after[right]
        if following < n:
            before[following] = left
        for i, j in ((before[left], left), (left, following)):
            if i < 0 or j >= n:
                continue
            other = rank(parts[i], parts[j])
            if other is not None:
                heappush(heap, (other, i, j, len(parts[i]) + len(parts[j])))
    return [part for part in parts if part]
