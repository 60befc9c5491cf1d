"""Which tokens spell which bytes: a vocabulary in order of its tokens' bytes.

Knows nothing about how text is cut into tokens. Control and unknown tokens spell nothing: their names are no
text.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any
from weakref import WeakKeyDictionary

from tokenglass.types import Vocabulary


class Spelling:
    """A vocabulary's tokens in order of their bytes; make one with `spelling`.

    Attributes:
        longest: bytes of the longest token.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokens = map(vocabulary.token, range(len(vocabulary)))
        entries = sorted((t.bytes, t.id) for t in tokens if t.bytes and t.kind not in ("control", "unknown"))
        self._bytes = [data for data, _ in entries]
        self._ids = [token_id for _, token_id in entries]
        self.longest = max(map(len, self._bytes), default=0)

    def starting_with(self, data: bytes) -> list[int]:
        """Ids of the tokens whose bytes begin with `data`, in order of their bytes."""
        start, end = self._range(data)
        return self._ids[start:end]

    def exactly(self, data: bytes) -> list[int]:
        """Ids of the tokens that are these bytes, ascending."""
        start, end = self._range(data)
        return [self._ids[i] for i in range(start, end) if self._bytes[i] == data]

    def goes_beyond(self, data: bytes) -> bool:
        """Whether some token begins with `data` and is longer."""
        start, end = self._range(data)
        return start < end and self._bytes[end - 1] != data  # the longest of them sorts behind `data` itself

    def containing(self, data: bytes) -> list[int]:
        """Ids of the tokens that hold `data` and more, shortest first."""
        found = [
            (len(held), token_id)
            for held, token_id in zip(self._bytes, self._ids, strict=True)
            if data in held and held != data
        ]
        return [token_id for _, token_id in sorted(found)]

    def _range(self, data: bytes) -> tuple[int, int]:
        beyond = data + b"\xff" * (self.longest + 1)  # sorts behind every token that begins with data
        start = bisect_left(self._bytes, data)
        return start, bisect_left(self._bytes, beyond, start)


_KNOWN: WeakKeyDictionary[Any, Spelling] = WeakKeyDictionary()


def spelling(vocabulary: Vocabulary) -> Spelling:
    """The vocabulary's spelling, made once (about 0.1 s for 50,000 tokens) and kept as long as it."""
    if vocabulary not in _KNOWN:
        _KNOWN[vocabulary] = Spelling(vocabulary)
    return _KNOWN[vocabulary]
