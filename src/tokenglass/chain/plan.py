"""A plan: a configuration turned into the stages that run, who picks the token, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tokenglass.chain.code import transformers_code
from tokenglass.chain.makers import Workshop
from tokenglass.chain.presets import OWN, Line, idle_keywords, lines
from tokenglass.chain.selectors import described, selector
from tokenglass.config import BY_NAME, GenerationConfig
from tokenglass.config.effects import decides
from tokenglass.random import Philox, Source
from tokenglass.select import Selector
from tokenglass.stages.base import Stage, params, renamed
from tokenglass.stages.foreign import as_processor
from tokenglass.tokenizer import Tokenizer
from tokenglass.types import Chain, ChainStage

# class of a processor of transformers -> the stage it stands for
_PROCESSORS = {
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "guidance_scale",
    "SequenceBiasLogitsProcessor": "sequence_bias",
    "EncoderRepetitionPenaltyLogitsProcessor": "encoder_repetition_penalty",
    "RepetitionPenaltyLogitsProcessor": "repetition_penalty",
    "NoRepeatNGramLogitsProcessor": "no_repeat_ngram_size",
    "EncoderNoRepeatNGramLogitsProcessor": "encoder_no_repeat_ngram_size",
    "NoBadWordsLogitsProcessor": "bad_words_ids",
    "MinLengthLogitsProcessor": "min_length",
    "MinNewTokensLengthLogitsProcessor": "min_new_tokens",
    "PrefixConstrainedLogitsProcessor": "prefix_allowed_tokens_fn",
    "ForcedBOSTokenLogitsProcessor": "forced_bos_token_id",
    "ForcedEOSTokenLogitsProcessor": "forced_eos_token_id",
    "InfNanRemoveLogitsProcessor": "remove_invalid_values",
    "ExponentialDecayLengthPenalty": "exponential_decay_length_penalty",
    "SuppressTokensLogitsProcessor": "suppress_tokens",
    "SuppressTokensAtBeginLogitsProcessor": "begin_suppress_tokens",
}


@dataclass(frozen=True)
class Entry:
    """One stage in force.

    Attributes:
        stage: what runs.
        name: what `order` calls it.
        keywords: the keywords it stands for.
    """

    stage: Stage
    name: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What runs.

    Attributes:
        config: the effective configuration.
        entries: the chain, in order.
        selector: picks the token; in a search, the search does.
        negative_ids: what guidance moves away from, or None without guidance.
        warnings: lines that the user should see.

    """

    config: GenerationConfig
    entries: tuple[Entry, ...]
    selector: Selector
    negative_ids: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The chain."""
        return tuple(entry.stage for entry in self.entries)

    @property
    def with_candidates(self) -> bool:
        """Whether rows keep llama.cpp's candidate order."""
        return self.config.preset == "llama.cpp"

    def source(self, sample: int = 0) -> Source | None:
        """Uniform numbers for one sample, or None where nothing is drawn."""
        return None if self.config.seed is None else Philox(self.config.seed, sample)

    def of_sample(self, sample: int) -> Plan:
        """The plan of one of several samples: llama.cpp's generators are seeded one apart."""
        if sample == 0 or self.config["rng"] != "llama.cpp" or self.config.seed is None:
            return self
        seed = self.config.seed
        values = {**self.config.values, "seed": (seed + sample) % 2**32}
        config = replace(self.config, values=values)
        moved = tuple(
            replace(entry, stage=_reseeded(entry.stage, seed, values["seed"])) for entry in self.entries
        )
        return replace(self, config=config, entries=moved, selector=selector(config))

    def describe(self) -> Chain:
        """The plan as data, for people."""
        config = self.config
        shown = tuple(self._shown(entry) for entry in self.entries)
        name, parameters, keywords, paper = described(config, self.selector)
        picked = ChainStage(name, parameters, _sources(config, keywords), paper)
        return Chain(
            mode=config.mode,
            preset=config.preset,
            stages=shown,
            selection=picked,
            config=config.to_dict(),
            sources=config.sources,
            no_effect=config.no_effect,
            warnings=self.warnings,
            code=transformers_code(config, _idle(config, self.selector) | set(config.no_effect)),
        )

    def _shown(self, entry: Entry) -> ChainStage:
        paper = next((BY_NAME[k].paper for k in entry.keywords if k in BY_NAME and BY_NAME[k].paper), "")
        return ChainStage(entry.stage.name, params(entry.stage), _sources(self.config, entry.keywords), paper)


def _idle(config: GenerationConfig, picks: Selector) -> frozenset[str]:
    """Keywords of stages that take no part, and that who picks the token does not use either."""
    unused = idle_keywords(config.preset, config.sampling, bool(config["mirostat"]))
    used = described(config, picks)[2]
    return frozenset(n for n in unused if n not in used and not decides(n, config.values))


def _reseeded(stage: Any, old: int, new: int) -> Stage:
    """A stage that draws from a generator of its own, with another seed; any other as it is."""
    moved: Stage = replace(stage, seed=new) if getattr(stage, "seed", None) == old else stage
    return moved


def _sources(config: GenerationConfig, keywords: Sequence[str]) -> Mapping[str, tuple[Any, str]]:
    return {
        k: (config[k], config.sources[k]) for k in keywords if config[k] is not None and k in config.sources
    }


def plan(config: GenerationConfig, tokenizer: Tokenizer, vocab_size: int, prompt_ids: Sequence[int]) -> Plan:
    """What a configuration means for one model and prompt.

    Args:
        config: the effective configuration.
        tokenizer: for keywords given as text.
        vocab_size: rows of the logits.
        prompt_ids: guidance starts from the last one.

    Raises:
        ValueError: a parameter outside its interval, or an `order` that does not name every stage once.
        MissingDependency: a stage's optional package is not installed.
    """
    workshop = Workshop(config, tokenizer, vocab_size)
    taken: list[Entry] = []
    for line in lines(config.preset, config.sampling, bool(config["mirostat"])):
        taken += _entries(line, workshop)
    picks = selector(config)
    idle = _idle(config, picks)
    silent = [n for n in config.values if n in idle and config.sources[n] == "you"]
    config = replace(config, no_effect=tuple(dict.fromkeys([*config.no_effect, *silent])))
    return Plan(
        config,
        _ordered(_numbered(_replaced(taken)), config["order"]),
        picks,
        _negative(workshop, prompt_ids),
        tuple(workshop.warnings),
    )


def _entries(line: Line, workshop: Workshop) -> list[Entry]:
    make, keywords = line
    if make is None:
        try:
            own = [as_processor(item) for item in workshop["logits_processor"] or ()]
        except TypeError as error:
            raise TypeError(f"logits_processor: {error}") from None
        return [Entry(stage, stage.name, keywords) for stage in own]
    stage = make(workshop)
    return [] if stage is None else [Entry(stage, stage.name, keywords)]


def _replaced(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Transformers puts a processor of the user's in the place of its own of the same class."""
    own = {entry.name: entry for entry in entries}
    takes = {name: own[kind] for kind, name in _PROCESSORS.items() if kind in own and name in own}
    moved = {entry.name for entry in takes.values()}
    return [takes.get(entry.name, entry) for entry in entries if entry.name not in moved]


def _numbered(entries: Sequence[Entry]) -> Sequence[Entry]:
    """A stage of the user's whose name is taken is numbered, so that `order` and the books can tell it."""
    taken = {entry.name for entry in entries if entry.keywords != OWN}
    named = []
    for entry in entries:
        if entry.keywords == OWN:
            name, n = entry.name, 1
            while name in taken:
                n += 1
                name = f"{entry.name}#{n}"
            taken.add(name)
            entry = entry if name == entry.name else Entry(renamed(entry.stage, name), name, OWN)
        named.append(entry)
    return named


def _ordered(entries: Sequence[Entry], order: Sequence[str] | None) -> tuple[Entry, ...]:
    if order is None:
        return tuple(entries)
    names = [entry.name for entry in entries]
    if sorted(order) != sorted(names) or len(set(names)) != len(names):
        wanted = ", ".join(names) or "none: no stage is active"
        raise ValueError(f"order must name every active stage once ({wanted}), got {', '.join(order)}")
    return tuple(entries[names.index(name)] for name in order)


def _negative(workshop: Workshop, prompt_ids: Sequence[int]) -> tuple[int, ...] | None:
    if workshop["guidance_scale"] in (None, 1.0):
        return None
    if workshop["negative_prompt"] is not None:
        ids = workshop.tokenizer.encode(workshop["negative_prompt"]).ids
        return tuple(ids) or tuple(prompt_ids[-1:])
    return workshop["negative_prompt_ids"] or tuple(prompt_ids[-1:])
