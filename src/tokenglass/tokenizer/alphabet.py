"""The alphabets in which vocabularies write bytes.

Byte-level vocabularies write every byte as one visible character, GPT-2's way: bytes that print stand for
themselves, the others are moved up from U+0100 in order, so that a space is `Ġ` and a newline `Ċ`.
SentencePiece vocabularies write a space as `▁` and a lone byte as `<0x0A>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

META_SPACE = "\u2581"  # ▁
# Bytes that no valid UTF-8 contains; a vocabulary without them lacks nothing.
NEVER_IN_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})

_PRINTED = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_MOVED = [byte for byte in range(256) if byte not in _PRINTED]
_TO_CHAR = {byte: chr(byte) for byte in _PRINTED} | {byte: chr(256 + i) for i, byte in enumerate(_MOVED)}
_FOREIGN = META_SPACE  # any character beyond Latin-1: what is no byte must not become one
_FROM_CHAR = {code: _FOREIGN for code in range(256)} | {ord(c): chr(byte) for byte, c in _TO_CHAR.items()}
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def to_byte_level(data: bytes) -> str:
    r"""Bytes as the characters of a byte-level vocabulary, one for each byte.

    >>> to_byte_level(b" caf\xc3\xa9\n")
    'ĠcafÃ©Ċ'
    """
    return data.decode("latin-1").translate(_TO_CHAR)


def from_byte_level(token: str) -> bytes | None:
    r"""The bytes that a byte-level token stands for; None when it is written in another alphabet.

    >>> from_byte_level("ĠcafÃ©"), from_byte_level("▁caf")
    (b' caf\xc3\xa9', None)
    """
    try:
        return token.translate(_FROM_CHAR).encode("latin-1")
    except UnicodeEncodeError:
        return None


def all_from_byte_level(tokens: Sequence[str]) -> list[bytes] | None:
    r"""The same of many tokens at once, which is several times faster; None when one is written otherwise.

    >>> all_from_byte_level(["Ġcaf", "", "Ã©"])
    [b' caf', b'', b'\xc3\xa9']
    """
    data = from_byte_level("".join(tokens))
    if data is None:
        return None
    ends = list(accumulate(map(len, tokens)))  # a character is a byte
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def byte_token(byte: int) -> str:
    """How SentencePiece vocabularies write a lone byte.

    >>> byte_token(10)
    '<0x0A>'
    """
    return f"<0x{byte:02X}>"


def from_byte_token(token: str) -> bytes | None:
    r"""The byte that `<0x0A>` stands for; None for any other token.

    >>> from_byte_token("<0x0A>"), from_byte_token("<0x0A")
    (b'\n', None)
    """
    found = _BYTE_TOKEN.fullmatch(token)
    return bytes.fromhex(found[1]) if found else None


def from_meta_space(token: str) -> bytes:
    """The bytes of a SentencePiece token: `▁` is a space.

    >>> from_meta_space("▁the")
    b' the'
    """
    return token.replace(META_SPACE, " ").encode("utf-8", "surrogateescape")
