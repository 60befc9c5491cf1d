"""Reading texts with what was read before: which strip a text goes on in, which beginnings are copied.

For models whose cache can be rewound; `states` has the others. What `planning` says runs together becomes a
run of `network` over a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tokenglass.engines.base import Prefix
from tokenglass.engines.hf.network import Floats, Need, Network, Rows
from tokenglass.engines.hf.planning import Ids, Work, groups, shared, stems
from tokenglass.engines.hf.strips import Source, Strip, fresh, gathered

CHUNK = 512  # tokens of one run of a long text: more are no faster and need more memory
LONGEST_DRAFT = 64  # tokens at the end of a strip that are given up rather than copied around
PAD = 0  # any id: it is masked


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one text: logits (last, V), hidden states {layer: (hidden_last, D)}, and a handle."""

    logits: Floats
    hidden: dict[int, Floats]
    node: Any


class Memory(Protocol):
    """Reads texts, and keeps of them what the model allows."""

    tokens_run: int  # through the model, padding included

    @property
    def keeps(self) -> frozenset[str]:
        """What it can do, in the words of `EngineInfo.capabilities`."""
        ...

    def answers(self, prefixes: Sequence[Prefix], need: Need) -> list[Answer]:
        """What the model says after each of several different texts."""
        ...

    def pieces(self, ids: Ids, size: int) -> Iterable[Floats]:
        """Logits of every position of a text, (t, V) at a time, keeping nothing."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class StripMemory:
    """Keys and values of what was read, in strips; see `Memory`.

    Args:
        network: the model.
        layers: fresh layers of its cache, see `strips.growing_layers`.
        bound: bytes to keep for texts that do not run at the moment.
        alike: which texts may share keys, by their length; see `lengths`.
        padded: whether texts of different lengths may stand in one batch.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[Any],
        bound: int,
        alike: Callable[[int], int],
        padded: bool = False,
    ) -> None:
        self._network, self._layers, self._bound, self._alike = network, layers, bound, alike
        self.padded = padded
        self._strips: dict[int, Strip] = {}  # by identity, the one used last at the end
        self._slot_bytes = 1
        self.tokens_run = 0

    @property
    def keeps(self) -> frozenset[str]:
        """Forks and rewinds cost what is new, and several texts run in one pass over the weights."""
        return frozenset({"tree", "batch"})

    @property
    def n_bytes(self) -> int:
        """Memory held for keys and values."""
        return sum(strip.n_bytes for strip in self._strips.values())

    def clear(self) -> None:
        """Forget everything."""
        for strip in list(self._strips.values()):
            self._drop(strip)

    # ------------------------------------------------------------- reading

    def answers(self, prefixes: Sequence[Prefix], need: Need) -> list[Answer]:
        """What the model says after each of several different texts."""
        works, sources = self._works(prefixes, need)
        while beginnings := stems([w for w in works if self._alike(len(w.ids)) == 0], need.tail):
            for each in self._grouped(Work(i, ids, len(ids)) for i, ids in enumerate(beginnings)):
                known = [self._source(Prefix(work.ids)) for work in each]
                self._run(each, known, Need(), alone=False)
            works, sources = self._works(prefixes, need)
        answers: dict[int, Answer] = {}
        planned = self._grouped(works)
        for group in planned:
            known = [sources[work.index] for work in group]
            rows, nodes = self._run(group, known, need, alone=len(planned) == 1)
            for k, work in enumerate(group):
                hidden = {layer: states[k] for layer, states in rows.hidden.items()}
                answers[work.index] = Answer(rows.logits[k], hidden, nodes[k])
        self._evict({id(answer.node.strip) for answer in answers.values()})
        return [answers[i] for i in range(len(prefixes))]

    def pieces(self, ids: Ids, size: int) -> Iterable[Floats]:
        """Logits of every position of a text, (t, V) at a time, in a strip of its own."""
        strip = Strip(fresh(self._layers), [()])
        size = size if self._alike(len(ids)) == 0 else len(ids)
        for at in range(0, len(ids), size):
            piece = ids[at : at + size]
            yield self._network([piece], Need(len(piece)), strip.cache).logits[0]

    def _works(self, prefixes: Sequence[Prefix], need: Need) -> tuple[list[Work], list[Source | None]]:
        sources = [self._source(prefix) for prefix in prefixes]
        works = []
        for i, (prefix, source) in enumerate(zip(prefixes, sources, strict=True)):
            known = source.count if source is not None else 0
            works.append(Work(i, prefix.ids, max(len(prefix.ids) - known, need.tail)))
        return works, sources

    def _grouped(self, works: Iterable[Work]) -> list[list[Work]]:
        most = max(1, self._bound // 2 // self._slot_bytes)
        return list(groups(list(works), padded=self.padded, alike=self._alike, most_slots=most))

    def _run(
        self, group: Sequence[Work], sources: Sequence[Source | None], need: Need, *, alone: bool
    ) -> tuple[Rows, list[Source]]:
        """Read texts together; returns their rows and handles, in the order of the group."""
        n = max(work.new for work in group)
        strip, places = self._in_place(group, sources, n, alone) or self._copied(group, sources, n)
        order = sorted(range(len(group)), key=places.__getitem__)
        texts = [group[k].ids for k in order]
        first = strip.used if not strip.rows[0] else strip.first_slot(0) + len(texts[0]) - n
        rows = self._call(strip, texts, first, n, need)
        if first + n >= strip.used:
            strip.rows, strip.grown, strip.used = texts, first + n - strip.used, first + n
        self._keep(strip)
        back = sorted(range(len(order)), key=order.__getitem__)
        if back != list(range(len(back))):
            hidden = {layer: states[back] for layer, states in rows.hidden.items()}
            rows = Rows(rows.logits[back], hidden)
        return rows, [Source(strip, place, len(work.ids)) for place, work in zip(places, group, strict=True)]

    def _call(self, strip: Strip, texts: Sequence[Ids], first: int, n: int, need: Need) -> Rows:
        """Run the last `n` tokens of each row's text in the slots from `first` on, in chunks."""
        strip.rewind(first)
        begin = [first + n - len(ids) for ids in texts]
        padding = begin if any(begin) else None
        fed = [(PAD,) * (n - len(ids)) + ids[-n:] for ids in texts]
        size = CHUNK if strip.regime == 0 else n
        at = 0
        while n - at > max(size, need.tail):
            step = min(size, n - at - need.tail)
            self._network([row[at : at + step] for row in fed], Need(), strip.cache, first + at, padding)
            at += step
        self.tokens_run += n * len(texts)
        return self._network([row[at:] for row in fed], need, strip.cache, first + at, padding)

    # --------------------------------------------------------------- rows

    def _source(self, prefix: Prefix) -> Source | None:
        """Where the longest leading part of a text is known; the handle's place where that still holds."""
        regime = self._alike(len(prefix.ids))
        hint = prefix.node
        if isinstance(hint, Source) and self._owns(hint.strip) and hint.strip.regime == regime:
            count = shared(hint.strip.rows[hint.row], prefix.ids)
            if count >= hint.count:
                return replace(hint, count=count)
        best: Source | None = None
        for strip in reversed(self._strips.values()):
            if strip.regime == regime:
                for row, ids in enumerate(strip.rows):
                    count = shared(ids, prefix.ids) if ids[:1] == prefix.ids[:1] else 0
                    if count > (best.count if best is not None else 0):
                        best = Source(strip, row, count)
        return best

    def _owns(self, strip: Strip) -> bool:
        return self._strips.get(id(strip)) is strip

    def _in_place(
        self, group: Sequence[Work], sources: Sequence[Source | None], n: int, alone: bool
    ) -> tuple[Strip, list[int]] | None:
        """The strip that these texts simply go on in and their rows; None where they must be copied.

        Args:
            group: texts.
            sources: where they are known.
            n: tokens that run.
            alone: nothing else in this call depends on what the strip holds, so some may be given up.
        """
        known = [source for source in sources if source is not None]
        strip = known[0].strip if known else None
        if strip is None or not len(known) == len(sources) == len(strip.rows):
            return None
        starts = {s.first_slot + len(w.ids) - n for s, w in zip(known, group, strict=True)}
        if len(starts) > 1 or min(starts) < 0 or any(source.strip is not strip for source in known):
            return None
        (start,) = starts
        places = [source.row for source in known]
        if len(set(places)) < len(places):
            return (strip, _spread(strip, places)) if alone and start == strip.used else None
        pairs = zip(known, group, strict=True)
        if all(s.count >= min(len(w.ids), len(strip.rows[s.row])) for s, w in pairs):
            return strip, places  # nothing is lost: the same tokens again, or new ones behind them
        lost = strip.used - start
        if alone and lost < strip.grown and lost <= LONGEST_DRAFT:
            strip.rows = [ids[: len(ids) - lost] for ids in strip.rows]  # drafts that were refused
            strip.used, strip.grown = start, strip.grown - lost
            return strip, places
        return None

    def _copied(
        self, group: Sequence[Work], sources: Sequence[Source | None], n: int
    ) -> tuple[Strip, list[int]]:
        """A new strip with all that is known of these texts but the last `n` tokens of each."""
        kept = [max(0, len(work.ids) - n) for work in group]
        slots = max(kept)
        parts = list(zip(sources, kept, strict=True))
        layers = gathered(fresh(self._layers), parts, slots)
        strip = Strip(layers, [() for _ in group], self._alike(len(group[0].ids)))
        strip.used = slots
        return strip, list(range(len(group)))

    # ------------------------------------------------------------ keeping

    def _keep(self, strip: Strip) -> None:
        self._strips.pop(id(strip), None)
        self._strips[id(strip)] = strip
        slots = sum(layer.buffers[0].shape[0] * layer.buffers[0].shape[2] for layer in strip.layers[:1])
        self._slot_bytes = max(1, strip.n_bytes // max(1, slots))

    def _evict(self, running: set[int]) -> None:
        """Drop the strips unused for longest until the rest fits."""
        held = self.n_bytes
        for strip in list(self._strips.values()):
            if held <= self._bound:
                return
            if id(strip) not in running:
                held -= strip.n_bytes
                self._drop(strip)

    def _drop(self, strip: Strip) -> None:
        del self._strips[id(strip)]
        strip.cache.layers.clear()  # handles may keep the strip, but not its memory
        strip.rows = []


def _spread(strip: Strip, places: Sequence[int]) -> list[int]:
    """A row for each text where several go on from one: the rows that nobody goes on from are overwritten."""
    free = [row for row in range(len(strip.rows)) if row not in set(places)]
    taken: set[int] = set()
    spread = []
    for row in places:
        if row in taken:
            strip.copy_row(row, target := free.pop())
            row = target
        taken.add(row)
        spread.append(row)
    return spread
