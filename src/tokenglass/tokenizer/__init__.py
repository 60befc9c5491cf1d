"""Tokenizers: from a tokenizer.json, from a GGUF's own vocabulary, from vocab + merges files.

| module | what |
|---|---|
| `core` | `Tokenizer`: tokens with exact bytes and byte spans |
| `sources` | from files and folders to a `Tokenizer` |
| `library` | text to ids by Hugging Face's `tokenizers` library |
| `vocabulary`, `schemes` | a GGUF's vocabulary, and text to ids as llama.cpp does it |
| `splitting`, `unicode_ranges`, `merging`, `alphabet` | what `schemes` is made of |
"""

from __future__ import annotations

from tokenglass.tokenizer.core import Tokenizer
from tokenglass.tokenizer.sources import (
    from_gguf,
    from_json,
    from_tokenizer_json,
    from_vocab_merges,
    load_tokenizer,
)

__all__ = [
    "Tokenizer",
    "from_gguf",
    "from_json",
    "from_tokenizer_json",
    "from_vocab_merges",
    "load_tokenizer",
]
