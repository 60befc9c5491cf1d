"""Traces: what a session wrote, kept as it was written, read back without a model, and handed on.

`Journal` writes one, `read` opens one, `export` hands its rows on, `import_responses` reads what other
programs recorded. Nothing here loads a model, a path or a URL that a file names.
"""

from __future__ import annotations

from tokenglass.traces.exports import FORMATS, export
from tokenglass.traces.foreign import ForeignRecord, ForeignSequence, ForeignStep, ForeignToken, foreign_table
from tokenglass.traces.header import SCHEMA, Header
from tokenglass.traces.importing import import_responses
from tokenglass.traces.journal import Journal
from tokenglass.traces.reading import Event, Trace, TraceNode, read
from tokenglass.traces.rows import Table, TreeNode, candidate_table, tree_table
from tokenglass.traces.storage import TraceInUse
from tokenglass.traces.trees import tree_of
from tokenglass.traces.values import Other
from tokenglass.traces.vocabulary import RecordedVocabulary

__all__ = [
    "FORMATS",
    "SCHEMA",
    "Event",
    "ForeignRecord",
    "ForeignSequence",
    "ForeignStep",
    "ForeignToken",
    "Header",
    "Journal",
    "Other",
    "RecordedVocabulary",
    "Table",
    "Trace",
    "TraceInUse",
    "TraceNode",
    "TreeNode",
    "candidate_table",
    "export",
    "foreign_table",
    "import_responses",
    "read",
    "tree_of",
    "tree_table",
]
