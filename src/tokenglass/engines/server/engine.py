"""The engine protocol over a server that lists its likeliest tokens.

Keys, values and batches are the server's business. What was asked lately is remembered, so that a place that
is visited again costs nothing and shows the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from tokenglass.engines.base import Floats, Forward, Prefix
from tokenglass.engines.server.answers import Entry, listing_of
from tokenglass.engines.server.probing import Probed
from tokenglass.engines.server.telling import FEW, LONGEST
from tokenglass.engines.server.transport import Refused, Transport
from tokenglass.errors import ContextOverflow, Unsupported
from tokenglass.types import EngineInfo, Listing, Told

_REMEMBERED = 512  # listings
_AT_ONCE = 8  # questions under way
_INSTEAD = "use the onnx or hf engine, which compute the whole vocabulary here"


class ServerEngine:
    """A model behind a server; `Forward.top` holds what it lists, `Forward.logits` is None.

    Args:
        line: to the server.
        probed: what it is and can do.
        info: what is running.
        told: called with every entry of an answer, for a tokenizer that learns spellings from them.
        closed: called when the engine is closed, such as to end a server that runs for it alone.
    """

    def __init__(
        self,
        line: Transport,
        probed: Probed,
        info: EngineInfo,
        told: Callable[[Sequence[Entry]], None] = lambda entries: None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._line, self._probed, self._info = line, probed, info
        self._told, self._closed = told, closed
        self._known: OrderedDict[tuple[int, ...], Listing] = OrderedDict()
        self._lock = Lock()

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._info

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """What the server lists after each prefix.

        Raises:
            ValueError, ContextOverflow: see `base.Engine.forward`.
            Unsupported: hidden states, or rows of earlier positions.
            RemoteError: the server failed, or answered something that cannot be true.
        """
        if layers:
            raise Unsupported("hidden states from a server", _INSTEAD)
        for prefix in prefixes:
            self._check(prefix.ids, last)
        if last != 1:
            raise Unsupported("rows of earlier positions from a server", _INSTEAD)
        if len(prefixes) < 2:
            top = [self._listed(prefix.ids) for prefix in prefixes]
        else:
            with ThreadPoolExecutor(min(len(prefixes), _AT_ONCE)) as pool:
                top = list(pool.map(self._listed, [prefix.ids for prefix in prefixes]))
        return Forward(None, tuple(None for _ in prefixes), top=tuple(top))

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """A server shows no hidden states."""
        raise Unsupported("hidden states from a server", _INSTEAD)

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """A server shows no logits."""
        raise Unsupported("logits over the whole vocabulary from a server", _INSTEAD)

    @property
    def longest_told(self) -> int:
        """Ids that a text may have whose tokens are told."""
        context = self._info.context_length
        way = self._probed.way
        if way is not None and way.whole:  # the server adds a token of its own
            return min(context - 1, LONGEST)
        return context + 1  # the last one is asked about and not read

    def iter_told(self, ids: Sequence[int], start: int, top: int) -> Iterator[Told]:
        """What the server says of each token of a text from index `start` on; see `base.Tells`.

        Raises:
            ValueError, ContextOverflow: see `base.Engine.forward`.
            Unsupported: it lists its likeliest tokens only, and most texts hold others.
            RemoteError: the server failed, or answered something that cannot be true.
        """
        ids, way = tuple(ids), self._probed.way
        if way is None:
            raise Unsupported(
                "the probability of a given text from this server",
                f"it answers neither prompt_logprobs nor echo; {_INSTEAD}",
            )
        if not 1 <= start < len(ids):
            raise ValueError(f"start must be in [1, {len(ids) - 1}] for {len(ids)} tokens, got {start}")
        if len(ids) > self.longest_told:
            raise ContextOverflow(len(ids), self.longest_told)
        self._check_ids(ids)
        listed = self._probed.listed
        n = min(listed, max(top, FEW)) if way.whole else max(listed, top)
        return way.told(self._line, ids, start, n, self._info.vocab_size)

    def close(self) -> None:
        """Close all connections."""
        self._line.close()
        self._closed()

    def _check(self, ids: tuple[int, ...], last: int) -> None:
        if not ids:
            raise ValueError("a prefix must hold at least one token, got none")
        if len(ids) > self._info.context_length:
            raise ContextOverflow(len(ids), self._info.context_length)
        if not 1 <= last <= len(ids):
            raise ValueError(f"last must be in [1, {len(ids)}] for a prefix of {len(ids)} tokens, got {last}")
        self._check_ids(ids)

    def _check_ids(self, ids: tuple[int, ...]) -> None:
        for token in ids:
            if not 0 <= token < self._info.vocab_size:
                raise ValueError(f"token id must be in [0, {self._info.vocab_size - 1}], got {token}")

    def _listed(self, ids: tuple[int, ...]) -> Listing:
        with self._lock:
            known = self._known.get(ids)
            if known is not None and not self._line.is_closed:
                self._known.move_to_end(ids)
                return known
        try:
            entries = self._probed.peer.likeliest(self._line, ids, self._probed.listed)
        except Refused:
            if len(ids) >= self._info.context_length:  # some keep a place for the token they write
                raise ContextOverflow(len(ids), self._info.context_length - 1) from None
            raise
        listing = listing_of(entries, self._info.vocab_size)
        self._told(entries)
        with self._lock:
            self._known[ids] = listing
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return listing
