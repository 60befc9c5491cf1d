"""The stage that keeps a text inside a language: a regular expression, a list, a schema or a grammar.

Knows rows and the ids written so far. What a language is, and which tokens keep a text inside it, is known to
`grammar_sources` and `grammar_library`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tokenglass.stages import grammar_library as library
from tokenglass.stages.base import BaseStage
from tokenglass.stages.context import Context
from tokenglass.stages.gbnf import is_gbnf
from tokenglass.stages.grammar_sources import Keyword, lark, settled
from tokenglass.stages.row import MASKED, Ids, Mask, Row
from tokenglass.types import Vocabulary

_PLACES = 64  # texts whose matchers are kept: more than there are beams, little enough to bound memory


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a text stands in its language.

    Attributes:
        n_tokens: how many written tokens that is about.
        may_end: the text is in the language as it is; the end of the text is allowed.
        must_end: and no token can follow. A model without an end-of-text token is finished here.
        ended: the end of the text was written.
    """

    n_tokens: int
    may_end: bool
    must_end: bool
    ended: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """What is known after a text.

    Attributes:
        matcher: stands after the text; only its own memory ever changes, copies of it move on.
        allowed: (V,) tokens that may follow, those that end the text included.
        standing: in short.
    """

    matcher: Any
    allowed: Mask
    standing: Standing


@dataclass(frozen=True)
class Grammar(BaseStage):
    r"""Allow only tokens after which the text written since the prompt can still become one of a language.

    Every such token is allowed, however the text is cut into tokens; half characters count as what they may
    become. The end of the text is allowed where the text is in the language, and nothing else once no token
    can follow. In a row with candidates the others stay candidates at -inf, as llama.cpp's grammar leaves
    them.

    What follows depends on the ids written so far alone, so steps may be repeated, taken back and branched;
    the state it returns is a `Standing` that says how far the text has come.

    Args:
        name: which keyword the value came by: "regex", "choice", "json_schema" or "grammar".
        value: see `grammar_sources`.
        vocabulary: the bytes of the ids.

    Raises:
        ValueError: a value outside its limits or its notation, or a language without texts; and from `apply`,
            a token was written that the language does not allow there.
        MissingDependency: llguidance is not installed.

    Source: Willard & Louf 2023, arXiv:2307.09702; llama.cpp's `llama_sampler_init_grammar`; followed by
    llguidance.
    """

    name: Keyword
    value: Any
    vocabulary: Vocabulary = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", settled(self.name, self.value))
        start = self._after((), ())
        if not start.standing.may_end and not start.allowed.any():
            raise ValueError(f"{self.name} allows no text that this vocabulary can write; loosen it")

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The value, and the notation of a grammar."""
        kind = {"notation": "gbnf" if is_gbnf(self.value) else "lark"} if self.name == "grammar" else {}
        return {"value": self.value, **kind}

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Standing]:
        """The row with nothing else; facts: `allowed`, how many tokens of the vocabulary are."""
        place = self._after(context.generated_ids, context.eos_ids)
        keep = np.zeros(len(row), dtype=np.bool_)  # a model may have more rows than its vocabulary has tokens
        size = min(len(row), len(place.allowed))
        keep[:size] = place.allowed[:size]
        facts = {"allowed": float(np.count_nonzero(keep))}
        if row.order is not None:
            return row.masked(np.flatnonzero(~keep & (row.scores > MASKED)), facts), place.standing
        ids, _ = row.values()
        return row.kept_where(ids, keep if ids is None else keep[ids], facts), place.standing

    def standing(self, generated_ids: Sequence[int] | Ids, eos_ids: Sequence[int] = ()) -> Standing:
        """Where a text stands, without a row: whether the loop should stop for want of an end-of-text token.

        Raises:
            ValueError: the text is outside the language.
        """
        return self._after(generated_ids, eos_ids).standing

    # Following a text -----------------------------------------------------------------------------------

    @cached_property
    def _root(self) -> Any:
        places = self.name == "grammar" and not is_gbnf(self.value)
        return library.matcher(self.name, lark(self.name, self.value), self.vocabulary, places=places)

    @cached_property
    def _memory(self) -> tuple[OrderedDict[tuple[Any, ...], _Place], threading.Lock]:
        """The last places, by their ids; matchers must not be used by two threads at once."""
        return OrderedDict(), threading.Lock()

    def _after(self, ids: Sequence[int] | Ids, eos_ids: Sequence[int]) -> _Place:
        """The place after a text, from the one a token before where that is known, else from the start."""
        text, ends = tuple(map(int, ids)), frozenset(eos_ids)
        places, lock = self._memory
        with lock:
            place = places.get((ends, text))
            if place is None:
                before = places.get((ends, text[:-1])) if text else None
                matcher = (before.matcher if before else self._root).deep_copy()
                ended = before is not None and before.standing.ended
                for n in range(len(text) - 1 if before else 0, len(text)):
                    ended = self._advance(matcher, text[n], n, ends, ended)
                places[ends, text] = place = self._place(matcher, len(text), ends, ended)
            places.move_to_end((ends, text))
            if len(places) > _PLACES:
                places.popitem(last=False)
        return place

    def _advance(self, matcher: Any, token_id: int, n: int, ends: frozenset[int], ended: bool) -> bool:
        """Move a matcher past the token written at step n; whether the text has ended."""
        inside = 0 <= token_id < len(self.vocabulary)
        if not ended and inside and library.accepts(matcher, token_id):
            with self._work(n):
                library.advance(matcher, token_id)
            return False
        if token_id in ends and (ended or matcher.is_accepting()):
            return True
        token = f"'{self.vocabulary.token(token_id).text}' (id {token_id})" if inside else f"id {token_id}"
        raise ValueError(
            f"{self.name} does not allow the token {token} written at step {n}; "
            "undo it, or force another token"
        )

    def _place(self, matcher: Any, n: int, ends: frozenset[int], ended: bool) -> _Place:
        size = len(self.vocabulary)
        eos = [i for i in ends if 0 <= i < size]
        allowed = np.zeros(size, dtype=np.bool_)
        may_end = ended or matcher.is_accepting()
        if not ended:
            with self._work(n):
                allowed = library.mask(matcher, size)
        # an end that the grammar itself asks for counts too, if the text may end after it
        endings = [may_end or (allowed[i] and self._accepting_after(matcher, i)) for i in eos]
        allowed[eos] = False
        standing = Standing(n, may_end, may_end and not allowed.any(), ended)
        allowed[eos] = endings
        allowed.flags.writeable = False
        return _Place(matcher, allowed, standing)

    @staticmethod
    def _accepting_after(matcher: Any, token_id: int) -> bool:
        copy = matcher.deep_copy()
        library.advance(copy, token_id)
        return bool(copy.is_accepting())

    @contextmanager
    def _work(self, n: int) -> Iterator[None]:
        try:
            yield
        except library.TooMuchWork as error:
            raise ValueError(
                f"{self.name} is too much work to follow at step {n}: {error}; write it simpler"
            ) from None
