"""The results tokenglass hands out: frozen values with derived properties only.

They hold ids, bytes and numbers; how they look is the business of `tokenglass.views`, which each result asks
only when it is shown. Probabilities are fractions of 1, `logprob` is a natural log, `_bits` are base 2.
What is unknown is None, never a filler.
"""

from __future__ import annotations

from tokenglass.types.chains import Chain, ChainStage
from tokenglass.types.choices import Account, Books, Candidate, Effect, NextTokens, Removal, Stage
from tokenglass.types.comparison import (
    Arrangement,
    Bounds,
    Comparison,
    Difference,
    Parted,
    Shift,
    Side,
    WordChange,
    WordChanges,
    WordOrder,
)
from tokenglass.types.engine import EngineInfo
from tokenglass.types.listing import Listing, Told
from tokenglass.types.options import OptionGroup, OptionScore, OptionScores
from tokenglass.types.scores import Score, ScoreRow
from tokenglass.types.sessions import SessionState
from tokenglass.types.showcase import Parting, Showcase, Strategy
from tokenglass.types.shown import Shown
from tokenglass.types.tails import Tail
from tokenglass.types.tokens import Kind, Token, Tokenization, Vocabulary
from tokenglass.types.trees import Node, Tree
from tokenglass.types.writing import FinishReason, Generation, Origin, Sequence, Step

__all__ = [
    "Account",
    "Arrangement",
    "Books",
    "Bounds",
    "Candidate",
    "Chain",
    "ChainStage",
    "Comparison",
    "Difference",
    "Effect",
    "EngineInfo",
    "FinishReason",
    "Generation",
    "Kind",
    "Listing",
    "NextTokens",
    "Node",
    "OptionGroup",
    "OptionScore",
    "OptionScores",
    "Origin",
    "Parted",
    "Parting",
    "Removal",
    "Score",
    "ScoreRow",
    "Sequence",
    "SessionState",
    "Shift",
    "Showcase",
    "Shown",
    "Side",
    "Stage",
    "Step",
    "Strategy",
    "Tail",
    "Token",
    "Tokenization",
    "Told",
    "Tree",
    "Vocabulary",
    "WordChange",
    "WordChanges",
    "WordOrder",
]
