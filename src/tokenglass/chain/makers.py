"""How each keyword becomes a stage, in transformers' manner: one small function for each name.

A maker returns None where its keyword is off. Other systems' manners are in `llamacpp` and `vllm`, which use
these where the systems agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from tokenglass import stages
from tokenglass.config import GenerationConfig
from tokenglass.config.values import require
from tokenglass.errors import Unsupported
from tokenglass.stages.base import Stage
from tokenglass.stages.dry import Breakers, breakers_from_text
from tokenglass.stages.grammar_sources import Keyword
from tokenglass.stages.words import words_from_text
from tokenglass.tokenizer import Tokenizer

STRUCTURES: tuple[Keyword, ...] = ("regex", "choice", "json_schema", "grammar")


@dataclass(frozen=True)
class Workshop:
    """What makers need.

    Attributes:
        config: the effective values.
        tokenizer: for keywords given as text.
        vocab_size: rows of the logits.
        warnings: lines for the user, filled while making.
    """

    config: GenerationConfig
    tokenizer: Tokenizer
    vocab_size: int
    warnings: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.config[name]

    @cached_property
    def min_keep(self) -> int:
        """Truncation under beam sampling leaves one token more than there are ends, as in transformers."""
        return max(2, len(self.config.eos_ids) + 1) if self.config.mode == "beam_sample" else 1

    @property
    def llama_seed(self) -> int | None:
        """The seed for stages that draw from a generator of their own, as llama.cpp's do."""
        return self.config.seed if self["rng"] == "llama.cpp" else None

    def encode(self, text: str) -> list[int]:
        """A text as ids, without special tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids


Maker = Callable[[Workshop], Stage | None]


def guidance_scale(w: Workshop) -> Stage | None:
    """Classifier-free guidance."""
    scale = w["guidance_scale"]
    return None if scale in (None, 1.0) else stages.GuidanceScale(scale)


def sequence_bias(w: Workshop) -> Stage | None:
    """Biases on sequences; a mapping of tuples, or a list of [ids, bias] pairs."""
    given = w["sequence_bias"]
    if given is None:
        return None
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    require(
        isinstance(pairs, list | tuple) and bool(pairs), "sequence_bias", "pairs of ids and a bias", given
    )
    for pair in pairs:
        right = isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], list | tuple)
        require(right and isinstance(pair[1], int | float), "sequence_bias", "pairs of ids and a bias", pair)
        _in_vocabulary("sequence_bias", pair[0], w)
    return stages.SequenceBias(tuple((tuple(ids), float(bias)) for ids, bias in pairs))


def logit_bias(w: Workshop) -> Stage | None:
    """Biases on single tokens."""
    biases = biases_of(w)
    return stages.LogitBias.of(biases) if biases else None


def biases_of(w: Workshop) -> dict[int, float]:
    """`logit_bias` as id -> bias; JSON's text keys count as ids; false forbids, as in llama.cpp's server."""
    given = w["logit_bias"]
    if given is None:
        return {}
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    require(isinstance(pairs, list | tuple), "logit_bias", "a mapping from id to bias", given)
    biases: dict[int, float] = {}
    for pair in pairs:
        require(isinstance(pair, list | tuple) and len(pair) == 2, "logit_bias", "pairs of id and bias", pair)
        token, bias = pair
        if isinstance(token, str) and token.isdigit():
            token = int(token)
        _in_vocabulary("logit_bias", [token], w)
        number = isinstance(bias, int | float) and bias == bias
        require(number, "logit_bias", "numbers, or false to forbid", bias)
        biases[token] = float("-inf") if bias is False else float(bias)
    return biases


def _in_vocabulary(name: str, ids: Any, w: Workshop) -> None:
    for token in ids:
        right = isinstance(token, int) and not isinstance(token, bool) and 0 <= token < w.vocab_size
        require(right, name, f"ids in [0, {w.vocab_size - 1}]", token)


def encoder_repetition_penalty(w: Workshop) -> Stage | None:
    """Favour the prompt's tokens."""
    penalty = w["encoder_repetition_penalty"]
    return None if penalty in (None, 1.0) else stages.EncoderRepetitionPenalty(penalty)


def repetition_penalty(w: Workshop) -> Stage | None:
    """Over prompt and text, all of it."""
    penalty = w["repetition_penalty"]
    return None if penalty in (None, 1.0) else stages.RepetitionPenalty(penalty)


def frequency_penalty(w: Workshop) -> Stage | None:
    """Over what was written."""
    return stages.FrequencyPenalty(w["frequency_penalty"]) if w["frequency_penalty"] else None


def presence_penalty(w: Workshop) -> Stage | None:
    """Over what was written."""
    return stages.PresencePenalty(w["presence_penalty"]) if w["presence_penalty"] else None


def dry(w: Workshop) -> Stage | None:
    """Penalty on repeated passages."""
    if not w["dry_multiplier"] or not w["dry_penalty_last_n"]:
        return None
    return stages.Dry(
        w["dry_multiplier"], w["dry_base"], w["dry_allowed_length"], w["dry_penalty_last_n"], _breakers(w)
    )


_FOUND: WeakKeyDictionary[Any, dict[tuple[str, ...], Breakers]] = WeakKeyDictionary()


def _breakers(w: Workshop) -> Breakers:
    """The sequence breakers' tokens, looked up once for each tokenizer: it reads the whole vocabulary."""
    texts = tuple(w["dry_sequence_breakers"] or ())
    found = _FOUND.setdefault(w.tokenizer, {})
    if texts not in found:
        found[texts] = breakers_from_text(texts, w.tokenizer, w.encode)
    return found[texts]


def no_repeat_ngram_size(w: Workshop) -> Stage | None:
    """No n-gram twice."""
    return stages.NoRepeatNgram(w["no_repeat_ngram_size"]) if w["no_repeat_ngram_size"] else None


def encoder_no_repeat_ngram_size(w: Workshop) -> Stage | None:
    """No n-gram of the prompt."""
    n = w["encoder_no_repeat_ngram_size"]
    return stages.EncoderNoRepeatNgram(n) if n else None


def bad_words_ids(w: Workshop) -> Stage | None:
    """Forbidden sequences, given as ids or as texts."""
    given = w["bad_words_ids"]
    texts = list(w["bad_words"] or ())
    sequences: list[tuple[int, ...]] = []
    if given is not None:
        require(
            isinstance(given, list | tuple) and bool(given), "bad_words_ids", "a list of sequences", given
        )
        texts += [entry for entry in given if isinstance(entry, str)]
        for entry in (e for e in given if not isinstance(e, str)):
            require(isinstance(entry, list | tuple) and bool(entry), "bad_words_ids", "lists of ids", entry)
            _in_vocabulary("bad_words_ids", entry, w)
            sequences.append(tuple(entry))
    if texts:
        parameter = "bad_words" if given is None else "bad_words_ids"
        words = words_from_text(texts, w.encode, w.tokenizer, parameter)
        sequences += words.sequences
        w.warnings.extend(words.warnings)
    return stages.BadWords(tuple(dict.fromkeys(sequences))) if sequences else None


def allowed_token_ids(w: Workshop) -> Stage | None:
    """Nothing else."""
    return None if w["allowed_token_ids"] is None else stages.AllowedTokens(w["allowed_token_ids"])


def min_length(w: Workshop) -> Stage | None:
    """No end before; `min_new_tokens` wins over it."""
    least = w["min_length"] if w["min_new_tokens"] is None else 0
    return stages.MinLength(least) if least else None


def min_new_tokens(w: Workshop) -> Stage | None:
    """No end before."""
    return stages.MinNewTokens(w["min_new_tokens"]) if w["min_new_tokens"] else None


def prefix_allowed_tokens_fn(w: Workshop) -> Stage | None:
    """The user's function of the prefix."""
    function = w["prefix_allowed_tokens_fn"]
    return None if function is None else stages.PrefixAllowedTokens(function)


def structure(w: Workshop) -> Stage | None:
    """A regular expression, a choice, a JSON Schema or a grammar."""
    for keyword in STRUCTURES:
        if w[keyword] is not None:
            from tokenglass.stages.grammar import Grammar

            return Grammar(keyword, w[keyword], w.tokenizer)
    return None


def forced_bos_token_id(w: Workshop) -> Stage | None:
    """After a prompt of one token."""
    token = w["forced_bos_token_id"]
    return None if token is None else stages.ForcedBos(token)


def forced_eos_token_id(w: Workshop) -> Stage | None:
    """As the last token."""
    ids = w["forced_eos_token_id"]
    return stages.ForcedEos(ids) if ids else None


def remove_invalid_values(w: Workshop) -> Stage | None:
    """Repair."""
    return stages.RemoveInvalidValues() if w["remove_invalid_values"] else None


def exponential_decay_length_penalty(w: Workshop) -> Stage | None:
    """The end grows likelier."""
    given = w["exponential_decay_length_penalty"]
    return None if given is None else stages.ExponentialDecayLengthPenalty(given[0], float(given[1]))


def suppress_tokens(w: Workshop) -> Stage | None:
    """Never written; the end of text too where it is ignored."""
    ids = (*(w["suppress_tokens"] or ()), *(w.config.eos_ids if w["ignore_eos"] else ()))
    return stages.SuppressTokens(ids) if ids else None


def begin_suppress_tokens(w: Workshop) -> Stage | None:
    """Not written first, or second where a begin-of-text token is forced."""
    ids = w["begin_suppress_tokens"]
    forced = w.config.prompt_length <= 1 and w["forced_bos_token_id"] is not None
    return stages.BeginSuppressTokens(ids, 1 if forced else 0) if ids else None


def temperature(w: Workshop) -> Stage | None:
    """Fixed, or following the entropy."""
    t = 1.0 if w["temperature"] is None else w["temperature"]
    if w["dynatemp_range"]:
        return stages.DynamicTemperature(t, w["dynatemp_range"], w["dynatemp_exponent"])
    return None if t == 1.0 else stages.Temperature(t)


def top_h(w: Workshop) -> Stage | None:
    """Up to a share of the entropy."""
    return None if w["top_h"] is None else stages.TopH(w["top_h"])


def top_n_sigma(w: Workshop) -> Stage | None:
    """Within n standard deviations."""
    return stages.TopNSigma(w["top_n_sigma"]) if (w["top_n_sigma"] or 0.0) > 0.0 else None


def top_k(w: Workshop) -> Stage | None:
    """Ties of the k-th stay."""
    return stages.TopK(w["top_k"], w.min_keep) if (w["top_k"] or 0) > 0 else None


def top_p(w: Workshop) -> Stage | None:
    """The nucleus."""
    return None if w["top_p"] is None or w["top_p"] >= 1.0 else stages.TopP(w["top_p"], w.min_keep)


def min_p(w: Workshop) -> Stage | None:
    """Relative to the best."""
    return None if w["min_p"] is None else stages.MinP(w["min_p"], w.min_keep)


def typical_p(w: Workshop) -> Stage | None:
    """Locally typical."""
    p = w["typical_p"]
    return None if p is None or p >= 1.0 else stages.TypicalP(p, w.min_keep)


def epsilon_cutoff(w: Workshop) -> Stage | None:
    """Below a probability."""
    e = w["epsilon_cutoff"]
    return stages.EpsilonCutoff(e, w.min_keep) if e and e < 1.0 else None


def eta_cutoff(w: Workshop) -> Stage | None:
    """Below a probability that follows the entropy."""
    e = w["eta_cutoff"]
    return stages.EtaCutoff(e, w.min_keep) if e and e < 1.0 else None


def xtc(w: Workshop) -> Stage | None:
    """Now and then without the top choices."""
    chance = w["xtc_probability"]
    return stages.Xtc(chance, w["xtc_threshold"], seed=w.llama_seed) if chance else None


def watermarking_config(w: Workshop) -> Stage | None:
    """A green list, from a mapping or transformers' own configuration object."""
    given = w["watermarking_config"]
    if given is None:
        return None
    names = {
        "greenlist_ratio": "ratio",
        "bias": "bias",
        "hashing_key": "key",
        "seeding_scheme": "scheme",
        "context_width": "width",
    }
    right = isinstance(given, Mapping) or (hasattr(given, "to_dict") and not isinstance(given, type))
    require(right, "watermarking_config", "a mapping of " + ", ".join(names), given)
    fields = dict(given) if isinstance(given, Mapping) else given.to_dict()
    if "ngram_len" in fields or "SynthID" in type(given).__name__:
        raise Unsupported("watermarking_config for SynthID", "give a green list (greenlist_ratio, bias, ...)")
    unknown = sorted(map(str, set(fields) - set(names)))
    require(not unknown, "watermarking_config", "made of " + ", ".join(names), unknown)
    try:
        return stages.Watermark(**{names[name]: value for name, value in fields.items()})
    except ValueError as error:
        raise ValueError(f"watermarking_config: {error}") from None


def renormalize_logits(w: Workshop) -> Stage | None:
    """Log-softmax."""
    return stages.RenormalizeLogits() if w["renormalize_logits"] else None
