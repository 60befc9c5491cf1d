"""What a hand-out is made of, and its rows as `lib/recorded.js` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenglass import config as configuration
from tokenglass.errors import Unsupported
from tokenglass.text import safe_line, safe_text
from tokenglass.types import Chain, EngineInfo, Node, Shown, Step, Tree, Vocabulary
from tokenglass.version import __version__
from tokenglass.views.handout import KEPT, page, written_reading
from tokenglass.views.rows import plain
from tokenglass.workbench.facts import keyword_row
from tokenglass.workbench.questions import tokenglass_code
from tokenglass.workbench.states import character_groups

JsonDict = dict[str, Any]
SCHEMA = "tokenglass.handout/1"
# What the file can put in force anew from the stored numbers; the page's other controls need a model.
REAPPLIED = ("do_sample", "temperature", "top_k", "top_p", "min_p")


@dataclass(frozen=True)
class Recording:
    """What a hand-out is made of.

    Attributes:
        tree: the places.
        info: the model.
        prompt_text: the prompt as text.
        chains: for each of the tree's configurations the stages it stands for; None where that is unknown.
        defaults: what holds for keywords that nobody gives, when sampling.
        here: where the session stood.
        config: number of the configuration in force there.
        redo: place -> the one after it that redo leads to.
        template: which tokens of the prompt a chat template made, or empty.
        ends: place -> the reading after it, where no step recorded one.
        inside: position in the prompt -> the reading after it.
        scores: position in the prompt -> the numbers of its token.
    """

    tree: Tree
    info: EngineInfo
    prompt_text: str
    chains: Sequence[Chain | None]
    here: Node
    defaults: Mapping[str, Any] = field(default_factory=dict)
    config: int = 0
    redo: Mapping[int, int] = field(default_factory=dict)
    template: tuple[bool, ...] = ()
    ends: Mapping[int, JsonDict] = field(default_factory=dict)
    inside: Mapping[int, JsonDict] = field(default_factory=dict)
    scores: Mapping[int, JsonDict] = field(default_factory=dict)

    def page(self) -> str:
        """The file."""
        if "logits" not in self.info.capabilities:
            what = f"a hand-out of {safe_line(self.info.name)}"
            raise Unsupported(what, "it gives no numbers over the full vocabulary")
        last = self.here.step
        shown: list[Shown] = [self.tree, *([] if last is None else [last])]
        title = f"{safe_text(self.prompt_text[:60])} · {safe_text(self.info.name)} · tokenglass"
        return page(title, self.document(), shown, _licences(self.info))

    def document(self) -> JsonDict:
        """All rows, as `lib/recorded.js` reads them."""
        names = _Names(self.tree.vocabulary)
        readings = _Readings(names)
        nodes = [self._node(row, readings) for row in self.tree.to_dict()["nodes"]]
        ends = {str(node): readings.number(reading) for node, reading in self.ends.items()}
        inside = {str(position): readings.number(reading) for position, reading in self.inside.items()}
        return {
            "schema": SCHEMA,
            "info": self._info(),
            "prompt": {"text": self.prompt_text, "tokens": self._prompt_tokens()},
            "configs": [
                self._config(given, chain)
                for given, chain in zip(self.tree.configs, self.chains, strict=True)
            ],
            "defaults": {name: plain(self.defaults.get(name)) for name in REAPPLIED if name != "do_sample"},
            "nodes": nodes,
            "readings": readings.rows,
            "tokens": names.rows,
            "ends": ends,
            "inside": inside,
            "here": self.here.id,
            "config": self.config,
            "redo": {str(parent): child for parent, child in self.redo.items()},
        }

    def _info(self) -> JsonDict:
        return {
            "version": __version__,
            "model": self.info.to_dict(),
            "models": [self.info.name],
            "has_chat_template": False,
            "default_prompt": self.prompt_text,
            "keywords": [keyword_row(configuration.BY_NAME[name]) for name in REAPPLIED],
            "presets": ["transformers"],
            "strategies": [],
            "limits": {"rows": KEPT},
        }

    def _prompt_tokens(self) -> list[JsonDict]:
        tokens = [self.tree.vocabulary.token(i) for i in self.tree.prompt_ids]
        groups = character_groups(tokens)
        found = []
        for position, token in enumerate(tokens):
            row = {"position": position, "id": int(token.id), "token": token.text, "bytes": token.bytes.hex()}
            row |= {"kind": token.kind, "group": groups[position], "is_prompt": True, "node": 0}
            row |= {"template": self.template[position] if self.template else None}
            found.append({**row, **_UNSCORED, **self.scores.get(position, {})})
        return found

    def _config(self, given: Mapping[str, Any], chain: Chain | None) -> JsonDict:
        """Keywords, and what they stand for; the chain is None where nobody can say."""
        row: JsonDict = {} if chain is None else chain.to_dict()
        keywords = plain(given)
        return {
            "given": keywords,
            "effective": row.get("config", {}),
            "sources": row.get("sources", {}),
            "no_effect": row.get("no_effect", []),
            "warnings": row.get("warnings", []),
            "code": row.get("code"),
            "tokenglass_code": tokenglass_code(keywords, self.info.name, self.prompt_text),
            "chain": {name: row[name] for name in ("mode", "preset", "stages", "selection")} if row else None,
        }

    def _node(self, row: JsonDict, readings: _Readings) -> JsonDict:
        """A place's row, why its token was chosen, and the reading it was chosen from."""
        node = self.tree.node(row["node"])
        if node.step is None:
            return row
        more: JsonDict = {"why": node.step.why(), "reading": readings.number(written_reading(node.step))}
        groups = self._groups(node)
        return {**row, **more, **({"groups": groups} if groups else {})}

    def _groups(self, node: Node) -> JsonDict:
        """Position -> the character that several tokens share, in the text that ends here; most have none."""
        steps = node.steps()
        if all(_is_whole(step) for step in steps[-4:]):  # a group that ended earlier is the parent's own
            return {}
        tokens = [self.tree.vocabulary.token(i) for i in self.tree.ids(node)]
        groups = enumerate(character_groups(tokens))
        return {str(position): group for position, group in groups if group is not None}


_UNSCORED: JsonDict = dict.fromkeys(
    ("logprob", "p", "surprisal_bits", "rank", "entropy_bits", "p_final", "origin", "draw")
)


def _is_whole(step: Step) -> bool:
    try:
        step.token.bytes.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Names:
    """The tokens that the rows name, each once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.rows: dict[str, list[str]] = {}

    def add(self, token_id: int) -> None:
        if str(token_id) not in self.rows:
            token = self._vocabulary.token(token_id)
            self.rows[str(token_id)] = [token.text, token.bytes.hex(), token.kind]


class _Readings:
    """What was read, each once: siblings come from one reading."""

    def __init__(self, names: _Names) -> None:
        self.rows: list[JsonDict] = []
        self._names = names
        self._numbers: dict[str, int] = {}

    def number(self, reading: JsonDict) -> int:
        """The reading's number; its tokens are named."""
        candidates = reading.pop("named")
        key = repr(reading)
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(reading)
            for token_id in candidates:
                self._names.add(token_id)
        return self._numbers[key]


def _licences(info: EngineInfo) -> list[str]:
    """Of the weights behind the numbers, where they are known by their checksum."""
    from tokenglass.models import listing

    for row in listing():
        if info.sha256 and row.sha256 == info.sha256 and row.licence:
            return [f"{row.name}, whose numbers stand here, is under {row.licence}; it is not in this file."]
    return []
