"""Words given as text: which token sequences they are, and which of their twins stay free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenglass.stages.base import require
from tokenglass.text import safe_line


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as token sequences.

    Attributes:
        sequences: ids of each text, in order, each once.
        warnings: one line for each text that has a twin outside the list; safe to print.
    """

    sequences: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...]


def words_from_text(texts: Sequence[str], tokenize: Callable[[str], Sequence[int]]) -> Words:
    """Token sequences of texts, with a warning for twins that are other tokens: space in front, other case.

    Args:
        texts: at least one character each.
        tokenize: text to ids, without special tokens.

    Raises:
        ValueError: an empty text.

    >>> words = words_from_text(["mess"], lambda text: list(text.encode()))
    >>> words.sequences
    ((109, 101, 115, 115),)
    >>> words.warnings
    ("'mess' is listed, but these twins are not: ' mess', 'Mess', ' Mess', 'MESS', ' MESS'",)
    """
    sequences: dict[tuple[int, ...], None] = {}
    for text in texts:
        require(bool(text), "words", "texts of at least one character", text)
        sequences[tuple(tokenize(text))] = None
    warnings = []
    for text in texts:
        free = [twin for twin in _twins(text) if tuple(tokenize(twin)) not in sequences]
        if free:
            names = ", ".join(f"'{safe_line(twin)}'" for twin in free)
            warnings.append(f"'{safe_line(text)}' is listed, but these twins are not: {names}")
    return Words(tuple(sequences), tuple(warnings))


def _twins(text: str) -> list[str]:
    """The same word with or without a space in front, in lower case, capitalised and in capitals."""
    word = text.removeprefix(" ")
    forms = dict.fromkeys([word, word.lower(), word.capitalize(), word.upper()])
    return [twin for form in forms for twin in (form, " " + form) if form and twin != text]
