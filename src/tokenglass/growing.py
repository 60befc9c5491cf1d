"""Growing a session's tree: children unfolded to a mass, samples laid over it, a text that plays to a pause.

Every new place is recorded as any step is; the session stays where it stands, but for `play`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import TYPE_CHECKING

import numpy as np

from tokenglass.decode import write
from tokenglass.errors import Unsupported
from tokenglass.reading.paths import Reading
from tokenglass.types import NextTokens, Node, Step
from tokenglass.types.growth import Expansion, Play, Samples

if TYPE_CHECKING:
    from tokenglass.session import Session

_BATCH = 16  # places read by the model in one run


def expand(
    session: Session, *, depth: int = 1, mass: float | None = None, p: float | None = None, limit: int = 1000
) -> Expansion:
    """Unfold the likeliest children of a place, and theirs, level by level.

    Args:
        session: unfolds where it stands, by its own chain.
        depth: levels, >= 1.
        mass: at each place, children are taken from the likeliest on until they hold this share of its
            probability after the chain, in (0, 1]; all with a probability where None.
        p: only places whose probability, given the first place, is at least this.
        limit: most places to make or visit.

    Raises:
        ValueError: a value outside its interval.
    """
    _check(depth, mass, p, limit)
    here, before = session.node, len(session.tree)
    level, ended, stopped = [(here, 1.0)], list[tuple[Node, float]](), "depth"
    left = limit
    for _ in range(depth):
        following: list[tuple[Node, float]] = []
        for places in _batches([pair for pair in level if not _finished(pair[0], here)]):
            readings = session.writer.read([node for node, _ in places])
            for (node, share), reading in zip(places, readings, strict=True):
                wanted = _children(reading, share, mass, p)
                chosen = wanted[:left]
                left -= len(chosen)
                stopped = "limit" if len(chosen) < len(wanted) else stopped
                if not chosen:
                    ended.append((node, share))
                following += [
                    (session.made(session.writer.unfolded(node, reading, token_id), stay=True), share * q)
                    for token_id, q in chosen
                ]
        ended += [pair for pair in level if _finished(pair[0], here)]
        level = following
        if stopped == "limit" or not level:
            break
    found = sorted([*ended, *level], key=lambda pair: -pair[1])
    leaves, shares = tuple(node for node, _ in found), tuple(share for _, share in found)
    if stopped == "depth" and not level:
        stopped = "end" if all(_finished(node, here) for node in leaves) else "p"
    session.changed()
    return Expansion(here, leaves, shares, min(1.0, fsum(shares)), len(session.tree) - before, stopped)


def _is_undecided(table: NextTokens, entropy: float | None) -> bool:
    """Whether the entropy is at least so many bits.

    Raises:
        Unsupported: a server lists too few tokens to say.
    """
    least, most = table.entropy_bounds
    if entropy is not None and least < entropy <= most:
        raise Unsupported(
            f"pausing at {entropy} bits of entropy",
            f"the server lists too few tokens: the entropy lies between {least:.2f} and {most:.2f} bits",
        )
    return entropy is not None and least >= entropy


def _check(depth: int, mass: float | None, p: float | None, limit: int) -> None:
    for name, value in (("depth", depth), ("limit", limit)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    for name, share in (("mass", mass), ("p", p)):
        if share is not None and not 0.0 < share <= 1.0:
            raise ValueError(f"{name} must be in (0, 1], got {share!r}")


def _finished(node: Node, start: Node) -> bool:
    return node is not start and node.step is not None and node.step.finish_reason is not None


def _batches(places: Sequence[tuple[Node, float]]) -> list[Sequence[tuple[Node, float]]]:
    return [places[i : i + _BATCH] for i in range(0, len(places), _BATCH)]


def _children(
    reading: Reading, share: float, mass: float | None, least: float | None
) -> list[tuple[int, float]]:
    """(id, probability) of the children to unfold, likeliest first."""
    ids, probs, others = reading.alive()
    n = len(ids)
    if mass is not None:
        n = int(np.count_nonzero(np.cumsum(probs) - probs < mass))
    is_cut = mass is not None and float(probs.sum()) >= mass
    if least is not None:
        n = min(n, int(np.count_nonzero(share * probs >= least)))
        is_cut = is_cut or share * others < least
    if others > 0.0 and not is_cut:
        raise Unsupported(
            "unfolding beyond the tokens that the server lists",
            f"they hold {float(probs.sum()):.1%}; ask for less mass, or for a p above {share * others:.2g}",
        )
    return [(int(i), float(p)) for i, p in zip(ids[:n], probs[:n], strict=True)]


def sample(session: Session, n: int, *, max_new_tokens: int = 20) -> Samples:
    """Draw continuations from a place and lay them over the tree; each place counts how many went through.

    Args:
        session: draws where it stands, by its own chain; sampling must be on.
        n: how many, >= 1; they are the next samples of the session's seed.
        max_new_tokens: of each.

    Raises:
        ValueError: nothing is drawn under this configuration, or a value outside its interval.
    """
    for name, value in (("n", n), ("max_new_tokens", max_new_tokens)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if session.config.mode != "sample" or session.config["rng"] != "tokenglass":
        raise ValueError("sample needs do_sample=True and rng='tokenglass'; set(do_sample=True) turns it on")
    if session.finish_reason is not None:
        raise ValueError(f"the text has ended ({session.finish_reason}); undo, or force a token")
    here, before = session.node, len(session.tree)
    first = session.samples_drawn()
    pens = [session.writer.pen(here, first + i, max_new_tokens) for i in range(n)]
    at = {pen.sample: here for pen in pens}
    passed: list[Node] = [here] * n
    for pen, step in write(pens):
        at[pen.sample] = session.made(session.writer.laid(at[pen.sample], step, pen), stay=True)
        passed.append(at[pen.sample])
    session.samples_drawn(first + n)
    for node in passed:
        node.count += 1
    session.counts_changed(dict.fromkeys(passed))
    session.changed()
    leaves = [at[pen.sample] for pen in pens]
    unique = tuple(dict.fromkeys(leaves))
    counts = tuple(leaves.count(leaf) for leaf in unique)
    return Samples(here, unique, counts, len(session.tree) - before)


def play(
    session: Session,
    n: int = 20,
    *,
    entropy: float | None = None,
    watch: Sequence[int | str] = (),
    top: int = 10,
) -> Play:
    """Write on until a step is worth a look; the session then stands before that step.

    Args:
        session: writes where it stands.
        n: most tokens to write.
        entropy: pause where the model's own entropy is at least this many bits.
        watch: pause where one of these tokens is among the `top` likeliest by the model.
        top: see `watch`.

    Raises:
        ValueError: a watched text is not one token, or a value outside its interval.
    """
    for name, value in (("n", n), ("top", top)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    vocabulary = session.model.tokenizer
    watched = [vocabulary.find(token) if isinstance(token, str) else int(token) for token in watch]
    steps: list[Step] = []
    while len(steps) < n:
        if session.finish_reason is not None:
            return Play(tuple(steps), session.finish_reason, f"the text ended: {session.finish_reason}")
        table = session.next
        if _is_undecided(table, entropy):
            return Play(tuple(steps), "entropy", f"entropy {table.entropy_bounds[0]:.2f} bits")
        for token_id in watched:
            row = table.lookup(token_id)
            if row.rank is not None and row.rank <= top:
                return Play(tuple(steps), "watched", f"{row.text} is at rank {row.rank} with {row.p:.2%}")
        step = session.step()
        assert isinstance(step, Step)
        steps.append(step)
    if session.finish_reason is not None:
        return Play(tuple(steps), session.finish_reason, f"the text ended: {session.finish_reason}")
    return Play(tuple(steps), "length", f"{n} {'token' if n == 1 else 'tokens'} written")
