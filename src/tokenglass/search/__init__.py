"""Strategies that follow many prefixes at once, over `Engine.forward` alone.

Each is a generator: it yields a record of every step, and returns the finished texts, best first. They know
ids, scores and the chain; they do not know models' insides, caches or screens.
"""

from __future__ import annotations

from tokenglass.reading.limits import Limits
from tokenglass.search.assisted import assisted
from tokenglass.search.beams import beam_search
from tokenglass.search.constrained import constrained_beam_search
from tokenglass.search.contrastive import contrastive_search
from tokenglass.search.dola import dola
from tokenglass.search.groups import diverse_beam_search
from tokenglass.search.lookup import prompt_lookup
from tokenglass.search.options import (
    AssistedOptions,
    BeamOptions,
    ConstrainedBeamOptions,
    ContrastiveOptions,
    DiverseBeamOptions,
    DolaOptions,
    LookupOptions,
)
from tokenglass.search.records import (
    Beam,
    BeamCandidate,
    BeamStep,
    ContrastiveRow,
    ContrastiveStep,
    DolaStep,
    Draft,
    DraftStep,
    Hypothesis,
    SearchStep,
)

__all__ = [
    "AssistedOptions",
    "Beam",
    "BeamCandidate",
    "BeamOptions",
    "BeamStep",
    "ConstrainedBeamOptions",
    "ContrastiveOptions",
    "ContrastiveRow",
    "ContrastiveStep",
    "DiverseBeamOptions",
    "DolaOptions",
    "DolaStep",
    "Draft",
    "DraftStep",
    "Hypothesis",
    "Limits",
    "LookupOptions",
    "SearchStep",
    "assisted",
    "beam_search",
    "constrained_beam_search",
    "contrastive_search",
    "diverse_beam_search",
    "dola",
    "prompt_lookup",
]
