"""What came of growing a tree: by expanding its places, by sampling from one, by letting it play."""

from __future__ import annotations

from dataclasses import dataclass

from tokenglass.types.shown import Charted
from tokenglass.types.trees import Node
from tokenglass.types.writing import Step


@dataclass(frozen=True, repr=False)
class Expansion(Charted):
    """Children unfolded below a place.

    Attributes:
        node: the place.
        leaves: where the unfolding ended, likeliest first.
        probabilities: of each leaf after the chain, given the place; they sum to `covered`.
        covered: the probability of all texts that begin like one of the leaves, exactly.
        n_new: how many places are new.
        stopped: why it went no further: "depth", "p" (what is left is less likely), "end" (every text has
            ended) or "limit".
    """

    node: Node
    leaves: tuple[Node, ...]
    probabilities: tuple[float, ...]
    covered: float
    n_new: int
    stopped: str

    def __post_init__(self) -> None:
        import tokenglass.views.growth  # noqa: F401 - teaches the views this type


@dataclass(frozen=True, repr=False)
class Samples(Charted):
    """Continuations drawn from one place, laid over the tree.

    Attributes:
        node: the place.
        leaves: where each continuation ended, in order of sample; the same place where two are alike.
        counts: how many ended at each leaf.
        n_new: how many places are new.
    """

    node: Node
    leaves: tuple[Node, ...]
    counts: tuple[int, ...]
    n_new: int

    def __post_init__(self) -> None:
        import tokenglass.views.growth  # noqa: F401 - teaches the views this type


@dataclass(frozen=True, repr=False)
class Play(Charted):
    """A text written on by itself until something was worth a look.

    Attributes:
        steps: what was written.
        paused: why it stopped: "length", "entropy", "watched" or a finish reason.
        reason: the same in words with numbers.
    """

    steps: tuple[Step, ...]
    paused: str
    reason: str

    def __post_init__(self) -> None:
        import tokenglass.views.growth  # noqa: F401 - teaches the views this type
