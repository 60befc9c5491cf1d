"""Every stage of every chain: one library, from which each system's order is a list.

Each stage is a small frozen dataclass with its source in its docstring. `BUILT_IN` finds them by the name a
user types; to add one, write the class, add it to that list and give it a row of tests.
"""

from __future__ import annotations

from tokenglass.stages.base import BaseStage, Stage, Tie, UserStage, as_stage
from tokenglass.stages.biases import BadWords, ForcedBos, ForcedEos, LogitBias, SequenceBias
from tokenglass.stages.context import Context, Window
from tokenglass.stages.dry import Dry
from tokenglass.stages.entropy import EtaCutoff, TopH, TypicalP
from tokenglass.stages.ledger import Ledger, Removed, compare, run
from tokenglass.stages.masks import (
    AllowedTokens,
    BeginSuppressTokens,
    EncoderNoRepeatNgram,
    MinLength,
    MinNewTokens,
    NoRepeatNgram,
    PrefixAllowedTokens,
    SuppressTokens,
)
from tokenglass.stages.penalties import (
    EncoderRepetitionPenalty,
    ExponentialDecayLengthPenalty,
    FrequencyPenalty,
    Penalties,
    PresencePenalty,
    RepetitionPenalty,
)
from tokenglass.stages.row import Row
from tokenglass.stages.scaling import (
    DynamicTemperature,
    GuidanceScale,
    RemoveInvalidValues,
    RenormalizeLogits,
    Temperature,
)
from tokenglass.stages.truncation import EpsilonCutoff, MinP, TopK, TopNSigma, TopP
from tokenglass.stages.watermark import Watermark
from tokenglass.stages.xtc import Xtc

_CLASSES: tuple[type[BaseStage], ...] = (
    GuidanceScale,
    SequenceBias,
    LogitBias,
    EncoderRepetitionPenalty,
    RepetitionPenalty,
    FrequencyPenalty,
    PresencePenalty,
    Penalties,
    Dry,
    NoRepeatNgram,
    EncoderNoRepeatNgram,
    BadWords,
    AllowedTokens,
    MinLength,
    MinNewTokens,
    PrefixAllowedTokens,
    ForcedBos,
    ForcedEos,
    RemoveInvalidValues,
    ExponentialDecayLengthPenalty,
    SuppressTokens,
    BeginSuppressTokens,
    Temperature,
    DynamicTemperature,
    TopH,
    TopNSigma,
    TopK,
    TopP,
    MinP,
    TypicalP,
    EpsilonCutoff,
    EtaCutoff,
    Xtc,
    Watermark,
    RenormalizeLogits,
)
BUILT_IN: dict[str, type[BaseStage]] = {stage.name: stage for stage in _CLASSES}

__all__ = [
    "BUILT_IN",
    "AllowedTokens",
    "BadWords",
    "BaseStage",
    "BeginSuppressTokens",
    "Context",
    "Dry",
    "DynamicTemperature",
    "EncoderNoRepeatNgram",
    "EncoderRepetitionPenalty",
    "EpsilonCutoff",
    "EtaCutoff",
    "ExponentialDecayLengthPenalty",
    "ForcedBos",
    "ForcedEos",
    "FrequencyPenalty",
    "GuidanceScale",
    "Ledger",
    "LogitBias",
    "MinLength",
    "MinNewTokens",
    "MinP",
    "NoRepeatNgram",
    "Penalties",
    "PrefixAllowedTokens",
    "PresencePenalty",
    "RemoveInvalidValues",
    "Removed",
    "RenormalizeLogits",
    "RepetitionPenalty",
    "Row",
    "SequenceBias",
    "Stage",
    "SuppressTokens",
    "Temperature",
    "Tie",
    "TopH",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
    "UserStage",
    "Watermark",
    "Window",
    "Xtc",
    "as_stage",
    "compare",
    "run",
]
