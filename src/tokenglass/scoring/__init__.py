"""How probable a model finds text that is given: a document token by token, or continuations of a prompt."""

from __future__ import annotations

from tokenglass.scoring.options import score_options
from tokenglass.scoring.text import LONG_TEXT_WINDOW, Scoring, score, score_chunks

__all__ = ["LONG_TEXT_WINDOW", "Scoring", "score", "score_chunks", "score_options"]
