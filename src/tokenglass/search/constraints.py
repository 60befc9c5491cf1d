"""Forced words: how far a sequence has come with them, and which tokens would take it further.

Behaves as transformers 4.56.2's `ConstraintListState` with its `PhrasalConstraint` and
`DisjunctiveConstraint`, peculiarities included: the prompt counts; a token that breaks a phrase begins no
other; and copies of a half-made choice share what they have read (see `Choices.copy`).
Source: https://github.com/huggingface/transformers, generation/beam_constraints.py, release 4.56.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Phrase:
    """One phrase, token by token.

    Args:
        ids: its token ids.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)
        self.length = len(self.ids)
        self.read = 0

    @property
    def remaining(self) -> int:
        """Tokens still missing."""
        return self.length - self.read

    def advance(self) -> list[int]:
        """The tokens that take it further."""
        return [self.ids[self.read]] if self.read < self.length else []

    def take(self, token_id: int) -> bool:
        """Read a token; whether it took the phrase further. A wrong one starts it again."""
        right = token_id in self.advance()
        self.read = self.read + 1 if right else 0
        return right

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.read == self.length

    def copy(self, *, fresh: bool) -> Phrase:
        """Another one, from the beginning or as far as this one."""
        other = Phrase(self.ids)
        other.read = 0 if fresh else self.read
        return other


class Choices:
    """Several phrases of which one must appear.

    Args:
        phrases: their token ids; none is the beginning of another.
    """

    def __init__(self, phrases: Sequence[Sequence[int]]) -> None:
        self.phrases = tuple(tuple(phrase) for phrase in phrases)
        self.length = max(len(phrase) for phrase in self.phrases)
        self.seen: list[int] = []
        self.complete = False
        self._trie: dict[int, Any] = {}
        for phrase in self.phrases:
            level = self._trie
            for token_id in phrase:
                level = level.setdefault(token_id, {})

    @property
    def remaining(self) -> int:
        """Tokens still missing, by the longest phrase."""
        return 0 if self.complete else self.length - len(self.seen)

    def advance(self) -> list[int]:
        """The tokens that take it further."""
        level = self._trie
        for token_id in self.seen:
            level = level[token_id]
        return list(level)

    def take(self, token_id: int) -> bool:
        """Read a token; whether it took a phrase further. A wrong one starts again."""
        right = token_id in self.advance()
        if right:
            self.seen.append(token_id)
        else:
            self.seen = []
        self.complete = right and not self.advance()
        return right

    def copy(self, *, fresh: bool) -> Choices:
        """Another one, from the beginning or as far as this one.

        The list of what was read is shared, as in 4.56.2: of several tokens tried from one half-made choice,
        those after the first are judged as if the first had been read. Its searches depend on it.
        """
        other = Choices(self.phrases)
        if not fresh:
            other.seen, other.complete = self.seen, self.complete
        return other


Word = Phrase | Choices


class Progress:
    """How far a sequence has come with all forced words.

    Args:
        words: what is forced.
    """

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = tuple(words)
        self.most = max(word.length for word in self.words)
        self.done: list[Word] = []
        self.current: Word | None = None
        self.pending: list[Word] = [word.copy(fresh=True) for word in self.words]
        self.complete = False

    @classmethod
    def after(cls, words: Sequence[Word], ids: Sequence[int]) -> Progress:
        """The progress of a sequence."""
        progress = cls(words)
        for token_id in ids:
            progress.take(token_id)
            if progress.complete:
                break
        return progress

    @property
    def bank(self) -> int:
        """Steps made: whole words count as many as the longest word has."""
        half = self.most - self.current.remaining if self.current is not None else 0
        return len(self.done) * self.most + half

    def advance(self) -> list[int]:
        """The tokens that take it further: of the word begun, or of any word where none is."""
        words = self.pending if self.current is None else [self.current]
        return [token_id for word in words for token_id in word.advance()]

    def take(self, token_id: int) -> None:
        """Read a token."""
        if self.complete:
            return
        if self.current is not None:
            self._go_on(self.current, token_id)
        else:
            self._begin(token_id)

    def _go_on(self, word: Word, token_id: int) -> None:
        if not word.take(token_id):
            self.pending.append(word.copy(fresh=True))
            self.current = None
        elif word.complete:
            self.done.append(word)
            self.current = None
            self.complete = not self.pending

    def _begin(self, token_id: int) -> None:
        for place, word in enumerate(self.pending):
            if token_id not in word.advance():
                continue
            word.take(token_id)
            del self.pending[place]
            if word.complete:
                self.done.append(word)
            else:
                self.current = word
            self.complete = not self.pending and self.current is None
            return

    def copy(self) -> Progress:
        """Another one, as far as this one."""
        other = Progress(self.words)
        other.done = [word.copy(fresh=False) for word in self.done]
        other.current = None if self.current is None else self.current.copy(fresh=False)
        other.pending = [word.copy(fresh=True) for word in self.pending]
        return other


def words(force_words_ids: Sequence[Sequence[Any]]) -> tuple[Word, ...]:
    """What `force_words_ids` stands for."""
    return tuple(Choices(w) if isinstance(w[0], list | tuple) else Phrase(w) for w in force_words_ids)
