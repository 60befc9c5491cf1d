"""Token ids from outside, checked."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

Ids = tuple[int, ...]


def checked_ids(ids: Sequence[int], vocab_size: int) -> Ids:
    """The ids as a tuple of int.

    Raises:
        TypeError: something in them is no whole number.
        ValueError: one is outside the vocabulary.
    """
    if isinstance(ids, bytes | bytearray):
        raise TypeError("a text is a str or a list of token ids; decode bytes as UTF-8 first")
    checked = []
    for token_id in ids:
        if isinstance(token_id, bool) or not hasattr(token_id, "__index__"):
            raise TypeError(f"a text is a str or a list of token ids, got {token_id!r} in it")
        number = index(token_id)
        if not 0 <= number < vocab_size:
            raise ValueError(f"token id must be in [0, {vocab_size - 1}], got {number}")
        checked.append(number)
    return tuple(checked)
