"""Seeded random configurations of `generate`, for both sides: transformers' keywords, several at once.

Tokens that a configuration names (ends, bans, biases) are likely ones, so that they bite. Texts are of
made-up words, one for each id, which a tokenizer of transformers and one of tokenglass both know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from tests.parity import families
from tokenglass.types import Token, Tokenization

Kind = Literal["greedy", "sample", "beams", "beam_sample", "assisted", "lookup"]
SHARES: dict[Kind, float] = {"greedy": 0.3, "sample": 0.3, "beams": 0.25, "assisted": 0.06, "lookup": 0.09}
_LETTERS = "abcd"


def _words() -> list[str]:
    words = ["abcdef"]  # transformers' stop strings need a token for this one
    shorter = [""]
    while len(words) < families.VOCAB:
        shorter = [word + letter for word in shorter for letter in _LETTERS]
        words += shorter
    return words[: families.VOCAB]


WORDS = _words()


class Words:
    """A tokenizer for which every id is a word of one to four letters; prompts come as ids."""

    lossless = True
    chat_template = None

    def __len__(self) -> int:
        return families.VOCAB

    def token(self, token_id: int) -> Token:
        return Token(token_id, WORDS[token_id].encode())

    def find(self, text: str) -> int:
        return WORDS.index(text)

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False
    ) -> Tokenization:
        raise NotImplementedError(text)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return "".join(WORDS[i] for i in ids)


@cache
def transformers_words() -> Any:
    """The same words as a tokenizer of transformers."""
    import tokenizers
    import transformers

    table = {word: i for i, word in enumerate(WORDS)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token=WORDS[0]))
    backend.decoder = tokenizers.decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend)


@dataclass(frozen=True)
class Case:
    """One configuration.

    Attributes:
        kind: of strategy.
        prompt: ids.
        keywords: what both sides are given, in a form that both take.
        seed: of a run that draws.
        own: what the model's own generation_config.json says instead.
    """

    kind: Kind
    prompt: list[int]
    keywords: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    own: dict[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, Any]:
        """What is in force, by whoever says so."""
        return self.own | self.keywords

    def ours(self, assistant: Any = None) -> dict[str, Any]:
        """The keywords of `Model.generate`."""
        drawn = {} if self.seed is None else {"rng": "torch", "seed": self.seed}
        return self.keywords | drawn | ({"assistant_model": assistant} if self.kind == "assisted" else {})

    def theirs(self, tokenizer: Any, assistant: Any = None) -> dict[str, Any]:
        """The keywords of transformers' `generate`."""
        import torch

        kept = dict(self.keywords)
        if "negative_prompt_ids" in kept:
            rows = kept.get("num_return_sequences", 1) if self.kind == "sample" else 1
            kept["negative_prompt_ids"] = torch.tensor([kept["negative_prompt_ids"]] * rows)
        if "stop_strings" in self.asked:
            kept["tokenizer"] = tokenizer
        if self.kind == "assisted":
            kept["assistant_model"] = assistant
        return kept


@dataclass(frozen=True)
class Ground:
    """What a configuration is made of.

    Attributes:
        rng: the randomness.
        prompt: ids.
        top: the likeliest ids after it, best first.
        vocab: number of ids.
        pieces: texts that the model is likely to write, for stop strings; none where no tokenizer exists.
    """

    rng: np.random.Generator
    prompt: list[int]
    top: list[int]
    vocab: int
    pieces: Sequence[str]

    def some(self, most: int, of: int = 12) -> list[int]:
        """A few of the likely ids."""
        return self.rng.choice(self.top[:of], int(self.rng.integers(1, most + 1)), replace=False).tolist()

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return values[int(self.rng.integers(len(values)))]

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def _allowed(vocab: int, share: int, always: list[int]) -> Callable[[int, Any], list[int]]:
    """A prefix function whose answer depends on the whole prefix; takes arrays and tensors."""

    def allowed(batch: int, ids: Any) -> list[int]:
        start = int(ids[-1]) * 31 + len(ids) * 7
        return [*always, *((start + i) % vocab for i in range(vocab // share))]

    return allowed


def _watermark(g: Ground) -> dict[str, Any]:
    scheme = g.one("lefthash", "selfhash")
    return {
        "greenlist_ratio": g.one(0.25, 0.5),
        "bias": g.between(0.5, 4.0),
        "hashing_key": g.one(15485863, 97),
        "seeding_scheme": scheme,
        "context_width": 1 if scheme == "lefthash" else int(g.rng.integers(1, 4)),
    }


_PROCESSORS: dict[str, Callable[[Ground], Any]] = {
    "repetition_penalty": lambda g: g.one(0.6, 1.1, 1.4, 2.5),
    "encoder_repetition_penalty": lambda g: g.one(0.7, 1.3, 2.0),
    "no_repeat_ngram_size": lambda g: g.one(1, 2, 3),
    "encoder_no_repeat_ngram_size": lambda g: g.one(1, 2),
    "bad_words_ids": lambda g: [[i] for i in g.some(2)] + [g.some(2), g.some(3)],
    "sequence_bias": lambda g: [
        [[g.top[0]], -2.5],
        [[*g.some(2), g.top[1]], 6.0],
        [[g.top[2]], float("-inf")],
    ],
    "suppress_tokens": lambda g: g.some(4),
    "begin_suppress_tokens": lambda g: g.some(3, of=4),
    "forced_bos_token_id": lambda g: g.some(1)[0],
    "forced_eos_token_id": lambda g: g.one(g.some(1, of=30)[0], g.some(3, of=30)),
    "min_length": lambda g: len(g.prompt) + int(g.rng.integers(0, 6)),
    "min_new_tokens": lambda g: int(g.rng.integers(0, 6)),
    "exponential_decay_length_penalty": lambda g: (int(g.rng.integers(0, 4)), g.between(1.01, 1.5)),
    "prefix_allowed_tokens_fn": lambda g: _allowed(g.vocab, int(g.rng.integers(2, 5)), g.top[:9]),
    "remove_invalid_values": lambda g: True,
    "renormalize_logits": lambda g: True,
    "watermarking_config": _watermark,
    "guidance_scale": lambda g: g.one(0.0, 0.5, 1.5, 3.0),
}
_WARPERS: dict[str, Callable[[Ground], Any]] = {
    "temperature": lambda g: g.one(0.3, 0.7, 1.5, 4.0),
    "top_k": lambda g: g.one(0, 1, 3, 20, 10_000),
    "top_p": lambda g: g.one(0.0, 0.3, 0.8, 0.95, 1.0),
    "min_p": lambda g: g.one(0.0, 0.05, 0.3),
    "typical_p": lambda g: g.one(0.2, 0.6, 0.95),
    "epsilon_cutoff": lambda g: g.one(3e-4, 0.01, 0.2),
    "eta_cutoff": lambda g: g.one(3e-4, 0.01, 0.2),
    "top_h": lambda g: g.one(0.2, 0.5, 0.9),
}

# what may stand in a generation_config.json; what is left is only ever an argument of `generate`
_OPINIONS = {*_PROCESSORS, *_WARPERS} - {"prefix_allowed_tokens_fn"} | {
    *("eos_token_id", "stop_strings", "early_stopping", "length_penalty"),
    *("prompt_lookup_num_tokens", "max_matching_ngram_size"),
}


def draw(
    rng: np.random.Generator,
    kind: Kind,
    prompt: list[int],
    top: list[int],
    vocab: int,
    pieces: Sequence[str] = (),
    most: int = 14,
) -> Case:
    """A configuration of a kind.

    Args:
        rng: the randomness.
        kind: of strategy.
        prompt: ids.
        top: at least 30 likely ids.
        vocab: number of ids.
        pieces: likely texts.
        most: tokens to write at most.
    """
    g = Ground(rng, prompt, top, vocab, pieces)
    kept: dict[str, Any] = {
        "max_new_tokens": int(rng.integers(1, most + 1)),
        "do_sample": kind in ("sample", "beam_sample"),
        "eos_token_id": g.one(None, g.top[4], g.some(1), g.some(3, of=30), g.some(4, of=30)),
    }
    for name in rng.choice(list(_PROCESSORS), int(rng.integers(0, 6)), replace=False).tolist():
        kept[name] = _PROCESSORS[name](g)
    if kept.get("guidance_scale") is not None and rng.random() < 0.5:
        kept["negative_prompt_ids"] = rng.integers(3, vocab - 1, int(rng.integers(1, 5))).tolist()
    if pieces and kind != "assisted" and rng.random() < 0.3:  # an assistant of transformers has no tokenizer
        kept["stop_strings"] = rng.choice(pieces, int(rng.integers(1, 4)), replace=False).tolist()
    _special(kind, g, kept)
    if rng.random() < 0.2:
        kept["max_length"] = len(prompt) + kept.pop("max_new_tokens")
    seed = int(rng.integers(2**40)) if kept["do_sample"] else None
    kept = _sound(kept)
    movable = sorted(set(kept) & _OPINIONS) if rng.random() < 0.3 else []
    moved = [name for name in movable if kept[name] is not None and rng.random() < 0.6]
    own = {name: kept.pop(name) for name in moved}
    return Case(kind, prompt, kept, seed, own)


def _special(kind: Kind, g: Ground, kept: dict[str, Any]) -> None:
    """The keywords of a strategy."""
    rng = g.rng
    if kind in ("sample", "beam_sample"):
        for name in rng.choice(list(_WARPERS), int(rng.integers(0, 4)), replace=False).tolist():
            kept[name] = _WARPERS[name](g)
    if kind == "beam_sample" and 0 < kept.get("top_k", 0) < 20:
        kept["top_k"] = 20  # where fewer tokens are left than are to be drawn, transformers draws at random
    if kind == "sample":
        kept["num_return_sequences"] = int(rng.integers(1, 5))
    elif kind in ("beams", "beam_sample"):
        kept["num_beams"] = int(rng.integers(2, 6))
        kept["num_return_sequences"] = int(rng.integers(1, kept["num_beams"] + 1))
        kept["early_stopping"] = g.one(False, True, "never")
        kept["length_penalty"] = g.one(-1.0, 0.0, 0.5, 1.0, 2.0)
    elif kind == "lookup":
        kept["prompt_lookup_num_tokens"] = int(rng.integers(1, 8))
        kept["max_matching_ngram_size"] = int(rng.integers(1, 4))


def _sound(kept: dict[str, Any]) -> dict[str, Any]:
    """Without what transformers refuses, or leaves undefined."""
    if kept["eos_token_id"] is None:
        kept.pop("exponential_decay_length_penalty", None)  # it needs an end
    if "remove_invalid_values" in kept:
        kept.pop("exponential_decay_length_penalty", None)  # it blows up what was masked to +inf
    forced = [kept.get("forced_bos_token_id"), *np.atleast_1d(kept.get("forced_eos_token_id") or ())]
    if len(forced) > 2 and (kept["do_sample"] or "num_beams" in kept):
        # several forced ends are exact ties, which torch.topk breaks as it likes; argmax takes the lowest id
        kept["forced_eos_token_id"] = kept["forced_eos_token_id"][:1]
    if set(forced) & set(kept.get("suppress_tokens", ())):
        kept.pop("suppress_tokens")  # transformers refuses to force what it suppresses
    return kept
