"""Comparison: two prompts, two configurations or two models, and experiments with the words of a prompt."""

from __future__ import annotations

from tokenglass.comparing.comparison import compare
from tokenglass.comparing.experiments import change_one_word, word_order

__all__ = ["change_one_word", "compare", "word_order"]
