"""What a configuration means, against transformers' own preparation: names, defaults, chain, lengths.

transformers prepares processors and lengths itself and hands them to a function of ours (`custom_generate`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import pair
from tests.parity.random_configs import Words
from tokenglass.chain import Plan
from tokenglass.config import BY_NAME, KNOWN, NO_EFFECT, REFUSED
from tokenglass.model import Model

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
COUNT = 4000 if FULL else 500
NAME = "llama-grouped"
PROMPT = [5, 17, 40, 99, 17]
# generation_config.json of a model with opinions
OWN = {
    "do_sample": True,
    "top_k": 20,
    "temperature": 0.7,
    "repetition_penalty": 1.1,
    "eos_token_id": [2, 7],
    "max_length": 60,
    "suppress_tokens": [3],
    "min_p": 0.02,
}


@pytest.fixture(params=["no opinions", "opinions"])
def sides(request: pytest.FixtureRequest) -> tuple[Model, Any]:
    """Model and transformers' model with the same generation_config.json."""
    own = OWN if request.param == "opinions" else {"eos_token_id": 2}
    engine, theirs = pair(NAME)
    before = theirs.generation_config
    request.addfinalizer(lambda: setattr(theirs, "generation_config", before))
    theirs.generation_config = transformers.GenerationConfig(**own)
    words: Any = Words()
    return Model(engine, words, own), theirs


def prepared(theirs: Any, given: dict[str, Any], prompt: list[int] = PROMPT) -> tuple[list[Any], Any]:
    """The processors and the generation config that `generate` arrives at."""
    import torch

    def custom(model: Any, input_ids: Any, logits_processor: Any, generation_config: Any, **_: Any) -> Any:
        return list(logits_processor), generation_config

    return theirs.generate(torch.tensor([prompt]), custom_generate=custom, **given)


def planned(ours: Model, given: dict[str, Any], prompt: list[int] = PROMPT) -> Plan:
    return ours.plan(given, tuple(prompt))


# ------------------------------------------------------------------ names

NOT_KEYWORDS = {"self", "kwargs", "inputs", "generation_config"}  # the prompt, and a bundle of keywords


def test_every_keyword_is_in_exactly_one_list() -> None:
    fields = {name for name in transformers.GenerationConfig().to_dict() if not name.startswith("_")}
    arguments = set(inspect.signature(transformers.GenerationMixin.generate).parameters) - NOT_KEYWORDS
    assert len(fields) > 60 and "assistant_model" in arguments, "this introspection finds something"
    for name in sorted(fields | arguments):
        lists = [name in each for each in (BY_NAME, NO_EFFECT, REFUSED)]
        assert sum(lists) == 1, f"{name} is in {sum(lists)} of the three lists"
    assert len(KNOWN) == len(BY_NAME) + len(NO_EFFECT) + len(REFUSED)


def test_defaults_are_transformers() -> None:
    """Where a keyword is absent everywhere its default is transformers' own global default."""
    theirs = transformers.GenerationConfig._get_default_generation_params()
    shared = {name: value for name, value in theirs.items() if name in BY_NAME}
    assert len(shared) > 25
    for name, value in shared.items():
        if name != "max_length":  # 20 there: twenty tokens after the prompt, see the lengths below
            assert BY_NAME[name].default == value, name
    unset = set(transformers.GenerationConfig().to_dict()) - set(theirs)
    for name in sorted(unset & set(BY_NAME)):
        assert not BY_NAME[name].default, f"{name} is not off"


# ------------------------------------------------------------------ the chain

LIKE: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    # stage name: (transformers' class, its parameters, ours)
    "guidance_scale": (
        "UnbatchedClassifierFreeGuidanceLogitsProcessor",
        lambda p: p.guidance_scale,
        lambda s: s.scale,
    ),
    "sequence_bias": (
        "SequenceBiasLogitsProcessor",
        lambda p: dict(p.sequence_bias),
        lambda s: dict(s.sequences),
    ),
    "encoder_repetition_penalty": (
        "EncoderRepetitionPenaltyLogitsProcessor",
        lambda p: p.penalty,
        lambda s: 1 / s.penalty,
    ),
    "repetition_penalty": ("RepetitionPenaltyLogitsProcessor", lambda p: p.penalty, lambda s: s.penalty),
    "no_repeat_ngram_size": ("NoRepeatNGramLogitsProcessor", lambda p: p.ngram_size, lambda s: s.n),
    "encoder_no_repeat_ngram_size": (
        "EncoderNoRepeatNGramLogitsProcessor",
        lambda p: p.ngram_size,
        lambda s: s.n,
    ),
    "bad_words_ids": (
        "NoBadWordsLogitsProcessor",
        lambda p: set(p.sequence_bias),
        lambda s: set(s.sequences),
    ),
    "min_length": ("MinLengthLogitsProcessor", lambda p: p.min_length, lambda s: s.n),
    "min_new_tokens": (
        "MinNewTokensLengthLogitsProcessor",
        lambda p: p.min_new_tokens,
        lambda s: s.n,
    ),
    "prefix_allowed_tokens_fn": (
        "PrefixConstrainedLogitsProcessor",
        lambda p: p._prefix_allowed_tokens_fn,
        lambda s: s.function,
    ),
    "forced_bos_token_id": ("ForcedBOSTokenLogitsProcessor", lambda p: p.bos_token_id, lambda s: s.token_id),
    "forced_eos_token_id": (
        "ForcedEOSTokenLogitsProcessor",
        lambda p: p.eos_token_id.tolist(),
        lambda s: list(s.token_ids),
    ),
    "remove_invalid_values": ("InfNanRemoveLogitsProcessor", lambda p: None, lambda s: None),
    "exponential_decay_length_penalty": (
        "ExponentialDecayLengthPenalty",
        lambda p: (p.regulation_start - len(PROMPT), p.regulation_factor),
        lambda s: (s.first, s.factor),
    ),
    "suppress_tokens": (
        "SuppressTokensLogitsProcessor",
        lambda p: p.suppress_tokens.tolist(),
        lambda s: list(s.ids),
    ),
    "begin_suppress_tokens": (
        "SuppressTokensAtBeginLogitsProcessor",
        lambda p: (p.begin_suppress_tokens.tolist(), p.begin_index - len(PROMPT)),
        lambda s: (list(s.ids), s.step),
    ),
    "temperature": ("TemperatureLogitsWarper", lambda p: p.temperature, lambda s: s.t),
    "top_h": ("TopHLogitsWarper", lambda p: p.top_h, lambda s: s.h),
    "top_k": ("TopKLogitsWarper", lambda p: p.top_k, lambda s: max(s.k, s.min_keep)),
    "top_p": (
        "TopPLogitsWarper",
        lambda p: (p.top_p, p.min_tokens_to_keep),
        lambda s: (s.p, s.min_keep),
    ),
    "min_p": ("MinPLogitsWarper", lambda p: (p.min_p, p.min_tokens_to_keep), lambda s: (s.p, s.min_keep)),
    "typical_p": (
        "TypicalLogitsWarper",
        lambda p: (p.mass, p.min_tokens_to_keep),
        lambda s: (s.p, s.min_keep),
    ),
    "epsilon_cutoff": (
        "EpsilonLogitsWarper",
        lambda p: (p.epsilon, p.min_tokens_to_keep),
        lambda s: (s.epsilon, s.min_keep),
    ),
    "eta_cutoff": (
        "EtaLogitsWarper",
        lambda p: (pytest.approx(float(p.epsilon)), p.min_tokens_to_keep),  # a float32 tensor
        lambda s: (s.epsilon, s.min_keep),
    ),
    "watermarking_config": (
        "WatermarkLogitsProcessor",
        lambda p: (p.greenlist_size, p.bias, p.hash_key, p.seeding_scheme, p.context_width),
        lambda s: (int(families.VOCAB * s.ratio), s.bias, s.key, s.scheme, s.width),
    ),
    "renormalize_logits": ("LogitNormalization", lambda p: None, lambda s: None),
}


MINIMA = ("min_length", "min_new_tokens")


def theirs_as_ours(processors: list[Any], config: Any) -> list[tuple[str, Any]]:
    """Transformers' processors by the names of stages, without those that can do nothing.

    `min_new_tokens` makes two of them there, which mask the same tokens.
    """
    names = {cls: (name, parameters) for name, (cls, parameters, _) in LIKE.items()}
    found = []
    for processor in processors:
        name, parameters = names[type(processor).__name__]
        idle = name == "min_length" and processor.min_length <= len(PROMPT)
        if not idle and not (name == "min_length" and config.min_new_tokens is not None):
            found.append((name, parameters(processor)))
    return found


def ours_as_ours(plan: Plan) -> list[tuple[str, Any]]:
    """The plan's stages; without ends, the two minimum lengths can do nothing and transformers has none."""
    found = []
    for entry in plan.entries:
        stage: Any = entry.stage
        idle = entry.name in MINIMA and not plan.config.eos_ids
        if not idle and not (entry.name == "min_length" and stage.n <= len(PROMPT)):
            shown = LIKE[entry.name][2](stage)
            if entry.name == "bad_words_ids" and stage.spare_eos:  # here ends are spared when it runs
                shown -= {(end,) for end in plan.config.eos_ids}
            found.append((entry.name, shown))
    return found


def allowed(batch: int, ids: Any) -> list[int]:
    return [1, 2, 3]


CHOICES: dict[str, list[Any]] = {
    "do_sample": [None, False, True, True, True],
    "num_beams": [1, 3, 3],
    "temperature": [None, 1.0, 0.5, 2.0],
    "top_k": [None, 0, 1, 5, 50],
    "top_p": [None, 0.0, 0.9, 1.0],
    "min_p": [None, 0.0, 0.1],
    "typical_p": [None, 0.5, 1.0],
    "epsilon_cutoff": [None, 0.0, 0.01],
    "eta_cutoff": [None, 0.0, 0.01],
    "top_h": [None, 0.4],
    "repetition_penalty": [None, 1.0, 1.5],
    "encoder_repetition_penalty": [None, 1.0, 1.5],
    "no_repeat_ngram_size": [None, 0, 2],
    "encoder_no_repeat_ngram_size": [None, 0, 2],
    "bad_words_ids": [None, [[5], [6, 7]], [[2], [9]]],
    "sequence_bias": [None, {(5,): 1.0, (6, 7): -2.0}, [[[5], 1.5]]],
    "suppress_tokens": [None, [4, 5]],
    "begin_suppress_tokens": [None, [4, 5]],
    "forced_bos_token_id": [None, 8],
    "forced_eos_token_id": [None, 9, [9, 10]],
    "min_length": [None, 0, 3, 9],
    "min_new_tokens": [None, 0, 4],
    "remove_invalid_values": [None, False, True],
    "renormalize_logits": [None, False, True],
    "exponential_decay_length_penalty": [None, (3, 1.1)],
    "prefix_allowed_tokens_fn": [None, allowed],
    "guidance_scale": [None, 1.0, 1.5],
    "watermarking_config": [None, {"bias": 1.5}, {"seeding_scheme": "selfhash", "context_width": 2}],
    "eos_token_id": [None, 2, [2, 9, 11]],
    "max_new_tokens": [1, 7],
    "max_length": [6, 50],
}


def given_at_random(rng: np.random.Generator) -> dict[str, Any]:
    names = rng.choice(list(CHOICES), int(rng.integers(0, 12)), replace=False).tolist()
    given = {name: CHOICES[name][int(rng.integers(len(CHOICES[name])))] for name in names}
    if given.get("eos_token_id", 2) is None:
        given.pop("exponential_decay_length_penalty", None)  # transformers cannot do without an end
    return given


def test_same_chain_in_the_same_order(sides: tuple[Model, Any]) -> None:
    """Classes and parameters, whatever is absent, None or given."""
    ours, theirs = sides
    rng, seen = np.random.default_rng(8), set()
    for _ in range(COUNT):
        given = given_at_random(rng)
        processors, config = prepared(theirs, given)
        plan = planned(ours, given)
        assert ours_as_ours(plan) == theirs_as_ours(processors, config), given
        assert plan.config.max_length == config.max_length, given
        assert list(plan.config.eos_ids) == np.atleast_1d(_none(config.eos_token_id)).tolist(), given
        seen |= {entry.name for entry in plan.entries}
    assert seen == set(LIKE), f"never in a chain: {set(LIKE) - seen}"


def _none(value: Any) -> Any:
    return [] if value is None else value


def test_none_is_off_and_absent_is_the_default(sides: tuple[Model, Any]) -> None:
    """The silent top_k=50 of sampling goes away with None, and so do a model's own opinions."""
    ours, theirs = sides
    opinions = len(ours.generation_defaults) > 1
    absent = planned(ours, {"do_sample": True})
    k = [stage for stage in absent.stages if stage.name == "top_k"]
    assert [stage.params["k"] for stage in k] == [20 if opinions else 50]
    for name in ("top_k", "temperature", "min_p", "repetition_penalty", "suppress_tokens"):
        off = {"do_sample": True, name: None}
        assert name not in [name for name, _ in theirs_as_ours(*prepared(theirs, off))]
        assert name not in [entry.name for entry in planned(ours, off).entries]
    off = {"eos_token_id": None}
    assert planned(ours, off).config.eos_ids == () and prepared(theirs, off)[1].eos_token_id is None


# ------------------------------------------------------------------ lengths

LENGTHS: list[dict[str, Any]] = [
    {},
    {"max_new_tokens": 7},
    {"max_length": 9},
    {"max_length": 9, "max_new_tokens": 30},
    {"min_length": 8},
    {"min_length": 30, "min_new_tokens": 2},
    {"min_new_tokens": 6, "max_length": 40},
    {"max_new_tokens": None},
    {"max_new_tokens": 1},
    {"max_length": 6},
]


@pytest.mark.parametrize("given", LENGTHS, ids=str)
def test_lengths(sides: tuple[Model, Any], given: dict[str, Any]) -> None:
    """`max_new_tokens` wins over `max_length`, `min_new_tokens` over `min_length`; neither: 20 new tokens."""
    ours, theirs = sides
    _, config = prepared(theirs, given)
    plan = planned(ours, given)
    assert plan.config.max_length == config.max_length
    least = {entry.name: entry.stage.params["n"] for entry in plan.entries if entry.name in MINIMA}
    assert "min_length" not in least or "min_new_tokens" not in least
    ending = max(least.get("min_length", 0), least.get("min_new_tokens", -len(PROMPT)) + len(PROMPT))
    assert max(ending, len(PROMPT)) == max(config.min_length, len(PROMPT))


def test_a_prompt_longer_than_max_length(sides: tuple[Model, Any]) -> None:
    """Given, both refuse; as a model's own opinion it is passed over here, where transformers refuses."""
    ours, theirs = sides
    for length in (len(PROMPT), 2):
        with pytest.raises(ValueError, match="max_length"):
            prepared(theirs, {"max_length": length})
        with pytest.raises(ValueError, match="max_length counts the prompt: it must be above 5"):
            planned(ours, {"max_length": length})
    long = PROMPT * 13
    config = planned(ours, {}, long).config
    if "max_length" in ours.generation_defaults:
        with pytest.raises(ValueError, match="max_length"):
            prepared(theirs, {}, long)
        assert config.max_new_tokens == 20
    else:
        assert config.max_length == prepared(theirs, {}, long)[1].max_length


# ------------------------------------------------------------------ where they differ on purpose


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2), ("repetition_penalty", 2), ("typical_p", 1), ("top_p", 1), ("min_p", 0)],
)
def test_whole_numbers_are_numbers(name: str, value: int) -> None:
    """Transformers refuses or accepts an int where a float is meant, by class; here 2 is 2.0 everywhere."""
    engine, _ = pair(NAME)
    words: Any = Words()
    ours = Model(engine, words)
    plans = [planned(ours, {"do_sample": True, name: v}) for v in (value, float(value))]
    assert plans[0].stages == plans[1].stages


@pytest.mark.parametrize("name", ["temperature", "repetition_penalty"])
def test_whole_numbers_that_transformers_refuses(sides: tuple[Model, Any], name: str) -> None:
    with pytest.raises(ValueError, match="float"):
        prepared(sides[1], {"do_sample": True, name: 2})


# ------------------------------------------------------------------ the strategy

MODES = {
    "greedy": "greedy_search",
    "sample": "sample",
    "beam_search": "beam_search",
    "beam_sample": "beam_sample",
    "group_beam_search": "group_beam_search",
    "constrained_beam_search": "constrained_beam_search",
    "contrastive_search": "contrastive_search",
    "dola": "dola_generation",
    "assisted": "assisted_generation",
    "prompt_lookup": "assisted_generation",
}
ASKED: dict[str, list[Any]] = {
    "do_sample": [None, False, True],
    "num_beams": [None, 1, 4],
    "num_beam_groups": [1, 2],
    "penalty_alpha": [None, 0.0, 0.6],
    "top_k": [None, 0, 1, 4],
    "dola_layers": ["low", [1, 2]],
    "prompt_lookup_num_tokens": [3],
    "force_words_ids": [[[5, 6]]],
}


def test_which_strategy(sides: tuple[Model, Any]) -> None:
    """As `get_generation_mode`; keywords of two strategies at once are refused here, ignored there."""
    ours, theirs = sides
    rng, seen = np.random.default_rng(3), set()
    for _ in range(COUNT):
        names = rng.choice(list(ASKED), int(rng.integers(0, 5)), replace=False).tolist()
        given = {name: ASKED[name][int(rng.integers(len(ASKED[name])))] for name in names}
        config, _ = theirs._prepare_generation_config(None, **given)
        try:
            mode = planned(ours, given).config.mode
        except ValueError:
            continue
        seen.add(mode)
        assert MODES[mode] == config.get_generation_mode().value, given
    assert len(seen) >= 7, f"only {seen}"
