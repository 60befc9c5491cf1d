"""Text to ids by Hugging Face's `tokenizers` library, for everything that comes as a tokenizer.json.

The library says which ids; this module adds what it does not say: every token's exact bytes and its place in
the text's bytes. The library is imported when the first such tokenizer is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from tokenglass.errors import EngineError, ModelDamaged, ModelUnsupported
from tokenglass.text import safe_line
from tokenglass.tokenizer.alphabet import (
    META_SPACE,
    NEVER_IN_UTF8,
    byte_token,
    from_byte_level,
    from_byte_token,
    from_meta_space,
    to_byte_level,
)
from tokenglass.tokenizer.core import Piece, Span, Word
from tokenglass.tokenizer.merging import Rank
from tokenglass.types import Kind

T = TypeVar("T")
# Steps of a pre-tokenizer that only cut; the others drop or change characters.
_CUTTERS = {"ByteLevel", "Digits", "Punctuation", "Split", "UnicodeScripts"}


class LibraryScheme:
    """A `tokenizers.Tokenizer` and how its vocabulary writes bytes.

    Args:
        backend: the library's object; this scheme owns it from now on.
        unk_token: the model's unknown token, where the backend does not say (Unigram).
    """

    def __init__(self, backend: Any, unk_token: str | None = None) -> None:
        backend.no_truncation()  # a tokenizer.json may carry either; nothing is ever cut or padded in silence
        backend.no_padding()
        self._backend, self._model = backend, backend.model
        self._lock = Lock()  # the library's switch for special tokens belongs to the object, not to the call
        self._added = backend.get_added_tokens_decoder()
        self.unk_token = unk_token or getattr(self._model, "unk_token", None)
        self.entry = cache(self._entry)
        self.size = max([backend.get_vocab_size(with_added_tokens=True), *(i + 1 for i in self._added)])
        self.special_ids = frozenset(i for i, token in self._added.items() if token.special)
        self._steps = _steps(backend.pre_tokenizer, "pretokenizers")
        self._normalizers = _steps(backend.normalizer, "normalizers")
        decoders = _steps(backend.decoder, "decoders")
        self._byte_level = any(step["type"] == "ByteLevel" for step in (*self._steps, *decoders))
        everything = json.dumps([self._steps, self._normalizers, decoders], ensure_ascii=False)
        self._meta = not self._byte_level and META_SPACE in everything
        self._word_piece = type(self._model).__name__ == "WordPiece"
        self._falls_back = bool(
            getattr(self._model, "byte_fallback", type(self._model).__name__ == "Unigram")
        )
        self.kind = self._kind()
        self.prefix_space = any(adds_space(step) for step in (*self._steps, *self._normalizers))
        self.missing_bytes = self._missing_bytes()
        self.lossless = self._is_lossless()

    def pieces(self, text: str, add_special_tokens: bool, parse_special: bool) -> list[Piece]:
        """The tokens of `text`: (id, (start, end) in its UTF-8 bytes, or None for an added token)."""
        with _failing("the tokenizer failed on this text"), self._lock:
            if self._backend.encode_special_tokens is parse_special:
                self._backend.encode_special_tokens = not parse_special  # True: as plain text
            encoding = self._backend.encode(text, add_special_tokens=add_special_tokens)
        ids, added = encoding.ids, encoding.special_tokens_mask
        spans = iter(self._spans(text, encoding, [i for i, mask in zip(ids, added, strict=True) if not mask]))
        return [(i, None if mask else next(spans)) for i, mask in zip(ids, added, strict=True)]

    def _entry(self, token_id: int) -> tuple[bytes, Kind]:
        """Exact bytes and kind of an id."""
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b"", "control"  # a gap in the numbering
        if token == self.unk_token and not self._byte_level:  # there it is the end of text, never "unknown"
            return token.encode(), "unknown"
        if token_id in self._added:
            return token.encode(), "control" if token_id in self.special_ids else "normal"
        if self._byte_level:
            data = from_byte_level(token)
            return (token.encode() if data is None else data), "normal"
        if self._falls_back and (byte := from_byte_token(token)) is not None:
            return byte, "byte"
        return self._plain_bytes(token), "normal"

    def entries(self) -> list[tuple[bytes, Kind]]:
        """Exact bytes and kind of every id."""
        return [self.entry(token_id) for token_id in range(self.size)]

    def named(self, text: str) -> Iterator[int]:
        """Ids that may stand for exactly `text`, the likeliest first."""
        model = self._model
        forms = [text]
        if self._byte_level:
            forms.insert(0, to_byte_level(text.encode()))
        if self._meta:
            forms.insert(0, text.replace(" ", META_SPACE))
        if self._word_piece:
            forms.append(model.continuing_subword_prefix + text)
        if getattr(model, "end_of_word_suffix", None):
            forms.insert(0, text.removesuffix(" ") + model.end_of_word_suffix)
        if self._falls_back and len(text.encode()) == 1:
            forms.append(byte_token(ord(text)))
        for form in forms:
            if (token_id := self._backend.token_to_id(form)) is not None:
                yield token_id

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The ids as text, as the library's decoder writes it."""
        with _failing("the tokenizer failed on these ids"), self._lock:
            text: str = self._backend.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def words(self, text: str) -> list[Word]:
        """The stretches of `text` that become tokens without regard to one another; added tokens are none."""
        with _failing("the tokenizer failed on this text"), self._lock:
            self._backend.encode_special_tokens = True  # as plain text
            encoding = self._backend.encode(text, add_special_tokens=False)
        found: dict[int, Word] = {}
        places = zip(encoding.word_ids, encoding.ids, self._spans(text, encoding, encoding.ids), strict=True)
        for number, token_id, span in places:
            if number is None or span is None or token_id in self._added:
                continue
            (start, _), symbols, ids = found.setdefault(number, (span, [], []))
            symbols += self._symbols(token_id)
            ids.append(token_id)
            found[number] = (start, span[1]), symbols, ids
        return list(found.values())

    def _symbols(self, token_id: int) -> list[str]:
        """What the merges made a token of."""
        token: str = self._backend.id_to_token(token_id)
        suffix = getattr(self._model, "end_of_word_suffix", None) or ""
        if self._falls_back and from_byte_token(token) is not None:
            return [token]
        symbols = list(token.removesuffix(suffix))
        return [*symbols[:-1], symbols[-1] + suffix] if suffix and token.endswith(suffix) else symbols

    @cached_property
    def rank(self) -> Rank | None:
        """Which place a pair of symbols has in the order of merges, lower first; None without merges."""
        if type(self._model).__name__ != "BPE" or self._model.continuing_subword_prefix:
            return None
        pairs = json.loads(self._model.__getstate__())["merges"]
        ranks = {tuple(pair): place for place, pair in enumerate(pairs)}
        return lambda left, right: ranks.get((left, right))

    def symbol_bytes(self, symbol: str) -> bytes:
        """What a symbol of the vocabulary's alphabet stands for."""
        if self._byte_level and (data := from_byte_level(symbol)) is not None:
            return data
        byte = from_byte_token(symbol) if self._falls_back else None
        return self._plain_bytes(symbol) if byte is None else byte

    def _plain_bytes(self, token: str) -> bytes:
        """The bytes of a token that is written as text."""
        if self._meta:
            return from_meta_space(token)
        model = self._model
        if self._word_piece:
            return str(token).removeprefix(model.continuing_subword_prefix).encode()
        suffix = getattr(model, "end_of_word_suffix", None)
        if suffix and token.endswith(suffix):
            return token.removesuffix(suffix).encode() + b" "
        return token.encode()

    def _spans(self, text: str, encoding: Any, ids: list[int]) -> list[Span | None]:
        """Where each token that stands for text lies in the text's bytes.

        The tokens' own bytes say so exactly where together they are the text. Where they are not, because the
        text was normalised, the library's offsets do, which are no finer than characters.
        """
        data = text.encode()
        pieces = [self.entry(token_id)[0] for token_id in ids]
        joined = b"".join(pieces)
        ahead = len(joined) - len(data)
        if joined == data or (self.prefix_space and joined == b" " + data):
            ends = accumulate((len(piece) for piece in pieces), initial=-ahead)
            return [(max(a, 0), b) if max(a, 0) < b else None for a, b in pairwise(ends)]
        at = [0, *accumulate(len(character.encode()) for character in text)]
        offsets = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        return [(at[a], at[b]) if a < b else None for (a, b), mask in offsets if not mask]

    def _kind(self) -> str:
        model = type(self._model).__name__
        if model != "BPE":
            return model
        if self._byte_level:
            return "BPE byte-level"
        return "BPE byte-fallback" if self._falls_back else "BPE"

    def _missing_bytes(self) -> bytes:
        if not self._byte_level and not self._falls_back:
            return b""  # such a vocabulary writes characters; what it lacks becomes the unknown token
        written = (lambda byte: to_byte_level(bytes([byte]))) if self._byte_level else byte_token
        exists = self._model.token_to_id
        lacking = [b for b in range(256) if b not in NEVER_IN_UTF8 and exists(written(b)) is None]
        return bytes(lacking)

    def _is_lossless(self) -> bool:
        changes = any(
            step["type"] not in _CUTTERS or step.get("behavior") == "Removed" for step in self._steps
        )
        strips = any(token.lstrip or token.rstrip for token in self._added.values())
        writes_bytes = any(step["type"] == "ByteLevel" for step in self._steps)
        return writes_bytes and not (changes or strips or self._normalizers or self.missing_bytes)


@contextmanager
def _failing(what: str, error_type: type[EngineError] = ModelUnsupported) -> Iterator[None]:
    """Errors of the library as one line; it raises plain `Exception`, and its panics are no `Exception`."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise error_type(f"{what}: {first_line(error)}") from error


def build(path: Path, make: Callable[[], T]) -> T:
    """What `make` makes of a file with the library.

    Raises:
        ModelDamaged: the library refuses the file.
    """
    with _failing(f"{safe_line(path.name)} is damaged, get the file again", ModelDamaged):
        return make()


def adds_space(step: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer or normalizer, as a tokenizer.json has it, puts a space in front of a text."""
    if step.get("type") == "Metaspace":
        return bool(step.get("prepend_scheme", "always") != "never")
    if step.get("type") == "Prepend":
        return step.get("prepend") in (META_SPACE, " ")
    return step.get("type") == "ByteLevel" and step.get("add_prefix_space") is True


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line of bearable length."""
    return safe_line(" ".join(str(error).split()))[:200]


def _steps(component: Any, inner: str) -> list[dict[str, Any]]:
    """The steps of one of the library's components, sequences unpacked; [] for none."""
    if component is None:
        return []
    return flat_steps(json.loads(component.__getstate__()), inner)


def flat_steps(step: Any, inner: str) -> list[dict[str, Any]]:
    """The steps of a part of a tokenizer.json, sequences unpacked, the very objects in it; [] for none."""
    if not isinstance(step, dict):
        return []
    parts = step.get(inner)
    return [step] if not isinstance(parts, list) else [s for part in parts for s in flat_steps(part, inner)]
