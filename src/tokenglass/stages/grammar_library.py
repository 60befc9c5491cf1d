"""The door to llguidance, the library that follows a grammar byte by byte over a whole vocabulary.

Knows how to hand it a vocabulary and a grammar and how to read its masks and messages. Only this module names
the package, and only inside functions.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from tokenglass.errors import MissingDependency
from tokenglass.stages.row import Mask
from tokenglass.text import safe_line
from tokenglass.types import Vocabulary

# The library may force the tokens its own tokenizer would write, and so forbid other ways to write the same
# text; every token that keeps the text legal shall be allowed. Last, so that line numbers stay the user's.
_OPTIONS = '\n%llguidance {"no_forcing": true}\n'
_MOST_STATES = 50_000  # about 2 kB each
_STACK = 64 * 1024 * 1024  # a chain of rules is followed by recursion, some 10 kB a rule
_LONGEST_REASON = 200

_trees: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_lock = threading.Lock()
_T = TypeVar("_T")


class TooMuchWork(ValueError):
    """A grammar is too ambiguous or too large to be followed further."""


def matcher(keyword: str, lark: str, vocabulary: Vocabulary, *, places: bool) -> Any:
    """A matcher at the start of a grammar; `places`: lines and columns in it are the user's own.

    Raises:
        MissingDependency: the library is not installed.
        ValueError: the grammar is wrong or too large; one line that begins with the keyword.
    """
    try:
        import llguidance
    except ImportError as error:
        raise MissingDependency(f"{keyword}=...", "pip install 'tokenglass[grammar]'") from error
    with _lock:
        tree = _trees.get(vocabulary)
        if tree is None:
            tokens: Any = _Tokens(vocabulary)
            tree = _trees[vocabulary] = llguidance.LLTokenizer(tokens)

    def compiled() -> Any:
        limits = llguidance.LLParserLimits(max_lexer_states=_MOST_STATES, verbose_errors=False)
        source = llguidance.LLMatcher.grammar_from_lark(lark + _OPTIONS)
        return llguidance.LLMatcher(tree, source, log_level=0, limits=limits)

    made = _with_large_stack(compiled)
    if made.is_error():
        raise ValueError(f"{keyword} cannot be used: {_reason(made.get_error(), places)}")
    return made


def mask(matcher: Any, size: int) -> Mask:
    """(size,) which tokens may follow; none in a dead end.

    Raises:
        TooMuchWork: says what was exceeded.
    """
    bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    if matcher.is_error():
        reason = matcher.get_error()
        if not reason.startswith("NoExtension"):
            raise TooMuchWork(_reason(reason))
        return np.zeros(size, dtype=np.bool_)
    return np.unpackbits(bits, count=size, bitorder="little").astype(np.bool_)


def accepts(matcher: Any, token_id: int) -> bool:
    """Whether a token of the vocabulary may follow; the matcher stays where it is."""
    return not matcher.is_stopped() and bool(matcher.validate_tokens([token_id]))


def advance(matcher: Any, token_id: int) -> None:
    """Move a matcher past a token that it accepts.

    Raises:
        TooMuchWork: says what was exceeded.
    """
    if not matcher.consume_token(token_id):
        raise TooMuchWork(_reason(matcher.get_error()))


class _Tokens:
    """A vocabulary as the library wants it: bytes of each id, and after them a token that ends the text.

    That last token is no token of the model: which of the model's ids end a text is known only at each step.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        entries = [vocabulary.token(i) for i in range(len(vocabulary))]
        special = [entry.id for entry in entries if entry.kind in ("control", "unknown")]
        # 0xFF begins a special token in the library; no UTF-8 holds that byte, so such a token is never text
        texts = (b"" if entry.bytes[:1] == b"\xff" else entry.bytes for entry in entries)
        self.tokens = [*texts, b""]
        self.eos_token_id = len(entries)
        self.special_token_ids = [*special, self.eos_token_id]

    def __call__(self, text: str) -> list[int]:
        """Never needed: nothing is forced."""
        raise NotImplementedError


def _with_large_stack(work: Callable[[], _T]) -> _T:
    """Do the work in a thread of its own, whose stack does not depend on who calls."""
    with ThreadPoolExecutor(1) as pool:
        with _lock:
            before = threading.stack_size(_STACK)
            try:
                done = pool.submit(work)  # starts the thread
            finally:
                threading.stack_size(before)
        return done.result()


def _reason(message: str, places: bool = False) -> str:
    """The library's message as one short line, with the place where it names one."""
    first = message.partition("\n")[0]
    place = re.match(r"(?:at )?(\d+)\((\d+)\): ", first)
    if found := re.search(r"(?m)^error: (.*)$", message):  # of its regex parser, which draws the place
        caret = re.search(r"(?m)^    ( *)\^+ *$", message)
        reason = found[1] + (f" at character {len(caret[1]) + 1}" if caret else "")
    else:
        reason = re.sub(r"^(?:at )?\d+\(\d+\): |failed to compile JSON schema: ", "", first)
        reason = re.sub(r'^invalid regex ".*" \(in regex\): | in regex /.*$', "", reason)
        reason = re.sub(r"failed to compile JSON schema: ", "", reason)
    where = f"line {place[1]}, column {place[2]}: " if place and places else ""
    line = safe_line(where + reason)
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
