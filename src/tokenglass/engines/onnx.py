"""The default engine: ONNX Runtime over graphs built from the weights, with the cache as a token tree.

Here prefixes become nodes, nodes become slots of the window, and slots become the operator's inputs. The
graph is written by `graph`, the tree kept by `cache`, the runtime called by `session`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.ancestry import fresh, parents, tail
from tokenglass.engines.base import Forward, Prefix
from tokenglass.engines.cache import Node, TokenTree, Window
from tokenglass.engines.graph import padded_head
from tokenglass.engines.inputs import Inputs, leading_line
from tokenglass.engines.session import Session
from tokenglass.engines.weights import Weights
from tokenglass.errors import ContextOverflow, EngineError
from tokenglass.types import EngineInfo

Floats = NDArray[np.float32]

CHUNK = 256  # tokens of one run: longer ones gain nothing and need more memory
MOST_SCORES = 1 << 18  # new tokens x slots of one run, the size of the attention's score matrix
LARGEST_BATCH = 64  # more tokens at once are a prompt being read, not branches growing
BATCHES_BEFORE_WIDENING = 24  # widening takes about 1.5 s, and saves 10-30 ms a batch
HEAD_ROWS = 64  # rows of logits made at once
LONGEST_LINE = 256  # tokens of one run of a long text: enough to pay for unpacking the blocks
MOST_LINE_SCORES = 1 << 19  # tokens x slots of such a run: 2 MB of attention scores for each head


class OnnxEngine:
    """A model as a pure function of token ids; see `base.Engine`.

    Args:
        weights: of the model; kept for embedding rows.
        body, head: sessions over its two graph parts.
        info: what is running.
        cache_bytes: bound on keys and values kept for prefixes that do not run at the moment.
        widened: makes a second, float32 body for several tokens at once (None when memory is short), if any.
    """

    def __init__(
        self,
        weights: Weights,
        body: Session,
        head: Session,
        info: EngineInfo,
        cache_bytes: int,
        widened: Callable[[], Session | None] | None = None,
    ) -> None:
        spec = weights.spec
        self._info, self._spec, self._weights = info, spec, weights
        self._body, self._head = body, head
        self._dense: Session | None = None
        self._widened = widened
        self._batches = 0
        self._cache_bytes = cache_bytes
        self._tree = self._empty_tree()
        self._lock = threading.RLock()
        self._bound: dict[Session, Floats] = {}
        self._inputs = Inputs(weights)

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._info

    @property
    def cache_bytes(self) -> int:
        """Memory held for keys and values at this moment."""
        return self._tree.bytes

    def close(self) -> None:
        """Release sessions and cache."""
        with self._lock:
            self._bound.clear()
            for name in ("_body", "_head", "_dense", "_tree"):
                self.__dict__.pop(name, None)

    def begin_batch(self) -> None:
        """Drop the cache, and have the float32 body ready: what follows depends on nothing before it."""
        with self._lock:
            self._tree = self._empty_tree()
            self._widen()

    # ------------------------------------------------------------ protocol

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """Logits of the last `last` positions of each prefix, and hidden states of `layers`.

        Raises:
            ValueError: an empty prefix, an id outside the vocabulary, `last` beyond a prefix, no such layer.
            ContextOverflow: a prefix is longer than the context.
        """
        self._check(prefixes, last, layers, hidden_last)
        with self._lock:
            wanted = [layer for layer in layers if 0 < layer < self._spec.layers]
            seen: dict[int, Floats] = {}
            leaves = self._compute(prefixes, wanted, seen)
            paths = [tail(leaf, max(last, hidden_last)) for leaf in leaves]
            hidden = {layer: self._hidden(layer, paths, hidden_last, wanted, seen) for layer in layers}
            rows = np.stack(
                [node.hidden for path in paths for node in path[-last:] if node.hidden is not None]
            )
        logits = self.unembed(rows, norm=False).reshape(len(prefixes), last, -1)
        return Forward(logits, tuple(leaves), hidden)

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """Hidden states (..., D) to logits (..., V), through the final norm first where `norm`."""
        rows = np.ascontiguousarray(hidden.reshape(-1, self._spec.hidden_size), dtype=np.float32)
        if norm:
            rows = self._final_norm(rows)
        pieces = [
            self._head.map("h", rows[i : i + HEAD_ROWS], "logits") for i in range(0, len(rows), HEAD_ROWS)
        ]
        logits = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return logits.reshape(*hidden.shape[:-1], -1)

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """Logits of every position of `ids` as (t, V) pieces, t <= chunk, in bounded memory.

        Keys and values stand in a window of their own: a long text leaves the cache as it is.

        Raises:
            ValueError: no ids, an id outside the vocabulary, or a chunk below 1.
            ContextOverflow: more ids than the context holds.
        """
        ids = tuple(ids)
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self._check([Prefix(ids)], 1, (), 1)
        window = self._tree.window_of_its_own(len(ids))
        last, start = Node(-1, None), 0
        while start < len(ids):
            size = max(1, min(LONGEST_LINE, MOST_LINE_SCORES // (start + LONGEST_LINE)))
            nodes = [last := Node(token, last) for token in ids[start : start + size]]
            with self._lock:
                rows = self._read_on(nodes, window)
            for i in range(0, len(rows), chunk):
                yield self.unembed(rows[i : i + chunk], norm=False)
            start += size

    def _read_on(self, nodes: Sequence[Node], window: Window) -> Floats:
        """(N, D) hidden states of nodes that continue the one line of a window."""
        # never counted as a batch: scoring does not pay for a second body in memory
        session = self._body if len(nodes) == 1 else self._dense or self._body
        rows, _ = self._execute(session, nodes, (), window)
        self._bind_cache(session, self._tree.window)  # so that this window is not kept alive
        window.append(nodes)
        return rows

    # ----------------------------------------------------------- computing

    def _check(self, prefixes: Sequence[Prefix], last: int, layers: Sequence[int], hidden_last: int) -> None:
        if "_tree" not in self.__dict__:
            raise EngineError(f"{self._info.name} was closed; load it again")
        if not prefixes:
            raise ValueError("prefixes must hold at least one prefix, got none")
        for prefix in prefixes:
            size = len(prefix.ids)
            if not size:
                raise ValueError("a prefix must hold at least one token, got none")
            if size > self._spec.context_length:
                raise ContextOverflow(size, self._spec.context_length)
            node = prefix.node
            known = node.depth + 1 if isinstance(node, Node) and self._tree.owns(node) else 0
            for token in prefix.ids[known:]:
                if not 0 <= token < self._spec.vocab_size:
                    raise ValueError(f"token id must be in [0, {self._spec.vocab_size - 1}], got {token}")
            for name, value in (("last", last), ("hidden_last", hidden_last)):
                if not 1 <= value <= size:
                    raise ValueError(
                        f"{name} must be in [1, {size}] for a prefix of {size} tokens, got {value}"
                    )
        for layer in layers:
            if not 0 <= layer <= self._spec.layers:
                raise ValueError(f"layer must be in [0, {self._spec.layers}], got {layer}")

    def _compute(
        self, prefixes: Sequence[Prefix], layers: Sequence[int], seen: dict[int, Floats]
    ) -> list[Node]:
        """The nodes of whole prefixes, computed; residuals of fresh nodes go to `seen` by identity."""
        tree = self._tree
        starts = [tree.find(p.ids, p.node if isinstance(p.node, Node) else None) for p in prefixes]
        leaves = [tree.grow(start, p.ids) for start, p in zip(starts, prefixes, strict=True)]
        new = [fresh(leaf) for leaf in leaves]
        tree.pin(leaves)
        try:
            for nodes in self._plan(starts, new):
                for i in range(0, len(nodes), CHUNK):
                    self._run(nodes[i : i + CHUNK], layers, seen)
        except BaseException:
            tree.forget(node for nodes in new for node in reversed(nodes))
            raise
        for leaf in leaves:
            tree.touch(leaf)
        return leaves

    def _plan(self, starts: Sequence[Node], new: Sequence[list[Node]]) -> Iterator[list[Node]]:
        """Which new nodes run together: as many as fit the score matrix, shared ones once."""
        group: list[Node] = []
        taken: set[int] = set()
        slots = 0
        for start, path in zip(starts, new, strict=True):
            nodes = [node for node in path if id(node) not in taken]
            taken.update(id(node) for node in nodes)
            # every ancestor may be another slot, unless the window holds it already
            reach = len(self._tree.window.nodes) if start.slot >= 0 else slots + start.depth + 1
            size = len(group) + len(nodes)
            if group and (size > CHUNK or size * (max(slots, reach) + size) > MOST_SCORES):
                yield group
                group, slots = [], 0
            group = group + nodes
            slots = max(slots, reach)
        if group:
            yield group

    def _run(self, nodes: Sequence[Node], layers: Sequence[int], seen: dict[int, Floats]) -> None:
        """Compute nodes that are new, ancestors first, and put them into the tree."""
        self._tree.arrange(parents(nodes), len(nodes))
        line = leading_line(nodes)
        if not self._tree.window.nodes and line < len(nodes):
            # With nothing cached the operator counts positions itself: tokens in one line go first.
            self._run(nodes[:line], layers, seen)
            self._run(nodes[line:], layers, seen)
            return
        out, residuals = self._execute(self._session_for(len(nodes)), nodes, layers, self._tree.window)
        self._tree.computed(nodes)
        for i, node in enumerate(nodes):
            node.hidden = out[i]
            if layers:
                seen[id(node)] = residuals[:, i]

    def _execute(
        self, session: Session, nodes: Sequence[Node], layers: Sequence[int], window: Window
    ) -> tuple[Floats, Floats]:
        """Run the body over N nodes in the slots after the window's last one.

        Returns:
            (N, D) normalised hidden states and (layers, N, D) residuals.
        """
        out = np.empty((len(nodes), self._spec.hidden_size), np.float32)
        residuals = np.empty((len(layers), *out.shape), np.float32)
        self._bind_cache(session, window)
        outputs = {"hidden": out} | {f"residual.{layer}": residuals[i] for i, layer in enumerate(layers)}
        session.bind(self._inputs.of(nodes, window), outputs)
        session.run()
        if layers:
            self._bound.pop(session)  # the residuals must not stay bound
        return out, residuals

    def _session_for(self, n: int) -> Session:
        """The body for N tokens: the float32 one for several, once enough batches came to pay for it."""
        if n == 1 or (self._widened is None and self._dense is None):
            return self._body
        self._batches += n <= LARGEST_BATCH
        if self._batches >= BATCHES_BEFORE_WIDENING:
            self._widen()
        return self._dense or self._body

    def _widen(self) -> None:
        """Make the float32 body, where there is another one and memory allows it; tried once."""
        if self._dense is None and self._widened is not None:
            widened, self._widened = self._widened, None
            self._dense = widened()

    def _empty_tree(self) -> TokenTree:
        spec = self._spec
        return TokenTree(spec.layers, spec.kv_heads, padded_head(spec), self._cache_bytes)

    def _bind_cache(self, session: Session, window: Window) -> None:
        """Bind a window's buffers as past and present, when they are others than the last time."""
        buffers = window.keys_values
        if self._bound.get(session) is buffers:
            return
        session.clear_outputs()
        names = [f"{a}.{i}" for i in range(self._spec.layers) for a in "kv"]
        session.bind(
            {f"past_{name}": buffers[i] for i, name in enumerate(names)},
            {f"present_{name}": buffers[i] for i, name in enumerate(names)},
        )
        self._bound[session] = buffers

    # ------------------------------------------------------- hidden states

    def _hidden(
        self,
        layer: int,
        paths: Sequence[list[Node]],
        count: int,
        wanted: Sequence[int],
        seen: dict[int, Floats],
    ) -> Floats:
        """(B, count, D): one layer of the last `count` positions of each prefix."""
        tails = [path[-count:] for path in paths]
        if layer == 0:
            rows = [self._inputs.embedded(each) for each in tails]
        elif layer == self._spec.layers:
            rows = [np.stack([n.hidden for n in each if n.hidden is not None]) for each in tails]
        else:
            self._recompute([n for each in tails for n in each], wanted, seen)
            place = list(wanted).index(layer)
            rows = [np.stack([seen[id(n)][place] for n in each]) for each in tails]
        return np.stack(rows)

    def _recompute(self, nodes: Sequence[Node], layers: Sequence[int], seen: dict[int, Floats]) -> None:
        """Residuals of nodes whose keys and values are cached: run them again in slots that are not kept."""
        missing = list({id(n): n for n in nodes if id(n) not in seen}.values())
        for i in range(0, len(missing), CHUNK):
            piece = missing[i : i + CHUNK]
            self._tree.arrange(piece, len(piece))
            again = [Node(node.token, node.parent) for node in piece]
            _, residuals = self._execute(self._session_for(len(again)), again, layers, self._tree.window)
            for j, node in enumerate(piece):
                seen[id(node)] = residuals[:, j]

    def _final_norm(self, rows: Floats) -> Floats:
        """The model's last norm, for hidden states taken from inside."""
        scale, shift = self._weights.norm("norm")
        wide = rows.astype(np.float64)
        if not self._spec.rms:
            wide = wide - wide.mean(axis=-1, keepdims=True)
        wide = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + self._spec.eps)
        normed: Floats = (wide * scale + shift).astype(np.float32)
        return normed
