"""A tokenizer over the server's own: text goes to `/tokenize`, and tokens are spelt as the server does it.

Satisfies `tokenizer.Scheme`. It is llama.cpp's server that says enough for this: pieces with their bytes,
and, asked for the probability of every token, the bytes of the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import NoReturn

from tokenglass.engines.server import answers
from tokenglass.engines.server.answers import Entry
from tokenglass.engines.server.peers import Peer
from tokenglass.engines.server.transport import Transport
from tokenglass.errors import Unsupported
from tokenglass.types import Kind

Piece = tuple[int, tuple[int, int] | None]
_MOST_KEPT = 4096  # texts whose pieces are remembered


class PeerScheme:
    """One server's way of cutting text. Safe to use from several threads.

    Args:
        line: to a llama.cpp server.
        peer: how to talk with it.
        vocab_size: number of ids.
    """

    kind = "the server's own"
    missing_bytes = b""
    prefix_space = False
    lossless = False  # nothing promises it; each token's bytes and span show what was kept

    def __init__(self, line: Transport, peer: Peer, vocab_size: int) -> None:
        self._peer = peer
        self.size = vocab_size
        self.special_ids: frozenset[int] = frozenset()
        self._line = line
        self._bytes: dict[int, bytes] = {}
        self._controls: dict[int, bytes] = {}
        self._cut: dict[tuple[str, bool, bool], list[tuple[int, bytes]]] = {}
        self._is_whole = False
        self._lock = Lock()

    def learn(self, entries: Sequence[Entry]) -> None:
        """Remember how an answer spells tokens; control tokens are spelt empty there."""
        self._bytes |= {e.id: e.spelt for e in entries if e.id is not None and e.spelt}

    def specials(self, texts: Mapping[str, str]) -> dict[str, int]:
        """Role -> id, of special tokens given as texts."""
        found = {}
        for role, text in texts.items():
            pieces = self._pieces(text, False, True)
            if len(pieces) == 1:
                found[role] = pieces[0][0]
                self._controls[pieces[0][0]] = text.encode()
        self.special_ids = frozenset(found.values())
        return found

    def pieces(self, text: str, add_special_tokens: bool, parse_special: bool) -> list[Piece]:
        """The tokens of a text: (id, (start, end) in its UTF-8 bytes, or None for an added token)."""
        found = self._pieces(text, add_special_tokens, parse_special)
        if not add_special_tokens:
            return self._placed(text, found)
        inner = self._pieces(text, False, parse_special)
        ids, own = [i for i, _ in found], [i for i, _ in inner]
        before = next((n for n in range(len(ids) - len(own) + 1) if ids[n : n + len(own)] == own), None)
        if before is None:
            return [(i, None) for i in ids]
        after: list[Piece] = [(i, None) for i in ids[before + len(own) :]]
        return [*((i, None) for i in ids[:before]), *self._placed(text, inner), *after]

    def _placed(self, text: str, pieces: Sequence[tuple[int, bytes]]) -> list[Piece]:
        """With spans, where the pieces spell the text, perhaps with a space in front."""
        data, spelt = text.encode(), b"".join(b for _, b in pieces)
        if spelt != data and spelt != b" " + data:
            return [(i, None) for i, _ in pieces]
        placed: list[Piece] = []
        end = len(data) - len(spelt)  # 0, or -1 for the space in front
        for token_id, piece in pieces:
            start, end = end, end + len(piece)
            placed.append((token_id, (max(0, start), max(0, end))))
        return placed

    def _pieces(self, text: str, add_special: bool, parse_special: bool) -> list[tuple[int, bytes]]:
        asked = (text, add_special, parse_special)
        if asked not in self._cut:
            body = {
                "content": text,
                "add_special": add_special,
                "parse_special": parse_special,
                "with_pieces": True,
            }
            found = answers.member(self._line.ask("/tokenize", body), "tokens")
            pieces = [(self._id(each), _piece(answers.member(each, "piece"))) for each in found]
            with self._lock:
                if len(self._cut) >= _MOST_KEPT:
                    self._cut.clear()
                self._cut[asked] = pieces
        return self._cut[asked]

    def _id(self, each: object) -> int:
        token_id = answers.whole(answers.member(each, "id"))
        if not 0 <= token_id < self.size:
            raise answers.wrong(f"cuts a text into a token outside the vocabulary of {self.size:,}")
        return token_id

    def entries(self) -> list[tuple[bytes, Kind]]:
        """Exact bytes and kind of every id."""
        return [self.entry(token_id) for token_id in range(self.size)]

    def entry(self, token_id: int) -> tuple[bytes, Kind]:
        """Exact bytes and kind of an id."""
        if token_id in self._controls:
            return self._controls[token_id], "control"
        if token_id not in self._bytes:
            self._learn_all()
        if token_id in self._bytes:
            return self._bytes[token_id], "normal"
        text = self._line.ask("/detokenize", {"tokens": [token_id]}).get("content")
        self._controls[token_id] = text.encode() if isinstance(text, str) else b""
        return self._controls[token_id], "control"

    def _learn_all(self) -> None:
        """The whole vocabulary in one answer; tokens without bytes are control tokens."""
        with self._lock:
            if self._is_whole:
                return
            self.learn(self._peer.likeliest(self._line, (1,), self.size))
            self._is_whole = True

    def named(self, text: str) -> Iterator[int]:
        """The id of the one token that a text is cut into."""
        for parse_special in (False, True):
            pieces = self._pieces(text, False, parse_special)
            if len(pieces) == 1:
                yield pieces[0][0]

    def words(self, text: str) -> NoReturn:
        """A server does not say where it cuts.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "words of a server's tokenizer", "it does not say where it cuts; look at its tokens"
        )

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The ids as text, malformed bytes replaced."""
        spelt = [self.entry(i) for i in ids]
        kept = (data for data, kind in spelt if not (skip_special_tokens and kind == "control"))
        return b"".join(kept).decode("utf-8", "replace")


def _piece(value: object) -> bytes:
    """A piece as llama.cpp gives it: a text, or a list of bytes where it is no whole text."""
    found = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else answers.spelling(value)
    return found or b""
