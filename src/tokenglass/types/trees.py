"""A tree over token ids: places, the steps that led to them, names and notes. Knows nothing about models.

A place is known by its number, given in order of creation; the prompt is 0. Nothing that was written is lost:
going back leaves it in place, another token beside it begins a branch, and only `prune` takes a branch off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenglass.types.shown import Charted
from tokenglass.types.tokens import Vocabulary
from tokenglass.types.writing import Step

# how a child is found again: token id, origin, draw, and under which keywords
Key = tuple[int, str, float | None, int]


@dataclass(eq=False, slots=True)
class Node:
    """A place in the tree.

    Attributes:
        id: number in order of creation; the prompt is 0.
        parent: the place before, or None for the prompt.
        step: the token that led here, or None for the prompt.
        states: what the chain's stages remember here; None where that has to be worked out again.
        state: what the selector remembers here.
        pending: bytes of a character that is not complete yet.
        config: index in the tree's `configs` of the keywords it was written under.
        children: the places after it; the same token chosen another way is another place.
        count: how many sampled continuations passed through here.
        name: given by a person, or "".
        notes: written by a person, oldest first.
        pruned: it was taken off, with all that follows it.
    """

    id: int
    parent: Node | None = None
    step: Step | None = None
    states: tuple[Any, ...] | None = None
    state: Any = None
    pending: bytes = b""
    config: int = 0
    children: dict[Key, Node] = field(default_factory=dict)
    count: int = 0
    name: str = ""
    notes: list[str] = field(default_factory=list)
    pruned: bool = False

    def __repr__(self) -> str:
        return f"<Node {self.id}{f' {self.name!r}' if self.name else ''}, {len(self.children)} children>"

    @property
    def depth(self) -> int:
        """Tokens written up to here."""
        return sum(1 for _ in self.lineage()) - 1

    def lineage(self) -> Iterator[Node]:
        """This place and those before it, up to the prompt."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def steps(self) -> tuple[Step, ...]:
        """The steps that led here, oldest first."""
        return tuple(node.step for node in self.lineage() if node.step is not None)[::-1]

    def below(self) -> Iterator[Node]:
        """This place and all that follow it, parents first."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children.values()))

    def logprob(self) -> float | None:
        """Sum of the log-probabilities, after the chain, of the tokens that led here; -inf where one is 0.

        None where a server did not tell one of them.
        """
        from math import inf, log

        total = 0.0
        for step in self.steps():
            if step.p_final is None:
                return None
            total += log(step.p_final) if step.p_final > 0.0 else -inf
        return total


class Tree(Charted):
    """All places of a session.

    Args:
        prompt_ids: at least one id.
        vocabulary: names the ids.

    Attributes:
        root: the prompt.
        configs: every set of keywords that places were written under.
    """

    def __init__(self, prompt_ids: Sequence[int], vocabulary: Vocabulary) -> None:
        import tokenglass.views.trees  # noqa: F401 - teaches the views this type

        self.prompt_ids = tuple(prompt_ids)
        self.vocabulary = vocabulary
        self.root = Node(0)
        self.configs: list[Mapping[str, Any]] = []
        self._nodes = {0: self.root}
        self._next = 1

    def __len__(self) -> int:
        """How many places there are, the prompt and pruned ones included."""
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        """All places that were not pruned, in order of creation."""
        return (node for node in self._nodes.values() if not node.pruned)

    def node(self, key: int | str) -> Node:
        """A place by number or by name.

        Raises:
            ValueError: no such place, it was pruned, or several have that name.
        """
        if isinstance(key, str):
            found = [node for node in self if node.name == key]
            if len(found) != 1:
                many = "several places have" if found else "no place has"
                raise ValueError(f"{many} the name {key!r}; give a number in [0, {self._next - 1}]")
            return found[0]
        node = self._nodes.get(key) if isinstance(key, int) and not isinstance(key, bool) else None
        if node is None:
            raise ValueError(f"node must be in [0, {self._next - 1}] or a name, got {key!r}")
        if node.pruned:
            raise ValueError(f"node {key} was pruned; it can no longer be visited")
        return node

    def ids(self, node: Node) -> tuple[int, ...]:
        """All ids up to a place, the prompt's included."""
        return (*self.prompt_ids, *(step.id for step in node.steps()))

    def config_index(self, given: Mapping[str, Any]) -> int:
        """The number of a set of keywords, which is added where it is new."""
        for index, known in enumerate(self.configs):
            if known == given:
                return index
        self.configs.append(dict(given))
        return len(self.configs) - 1

    def add(self, parent: Node, step: Step, **kept: Any) -> Node:
        """A new place after another."""
        if parent.pruned:
            raise ValueError(f"node {parent.id} was pruned; nothing can be written after it")
        child = Node(self._next, parent, step, **kept)
        self._nodes[child.id] = child
        self._next += 1
        parent.children[key(step, child.config)] = child
        return child

    def take_back(self, node: Node) -> None:
        """Undo the making of the newest place, which nobody has acknowledged yet."""
        assert node.parent is not None and node.step is not None and not node.children
        del node.parent.children[key(node.step, node.config)]
        del self._nodes[node.id]
        self._next = node.id

    def prune(self, node: Node) -> int:
        """Take a place off, with all that follows it; returns how many places went.

        Raises:
            ValueError: the prompt, which cannot be taken off.
        """
        if node.parent is None or node.step is None:
            raise ValueError("the prompt cannot be pruned; node must be above 0")
        gone = list(node.below())
        for each in gone:
            each.pruned = True
        if node.parent.children.get(key(node.step, node.config)) is node:
            del node.parent.children[key(node.step, node.config)]
        return len(gone)

    def leaves(self, node: Node | None = None) -> list[Node]:
        """The places without children, below one or all, in order of creation."""
        below = (self.root if node is None else node).below()
        return sorted((each for each in below if not each.children), key=lambda each: each.id)


def key(step: Any, config: int) -> Key:
    """How the place of a step, or of a choice, is found again among its siblings."""
    token_id = step.id if isinstance(step, Step) else step.token_id
    return token_id, step.origin, step.draw, config
