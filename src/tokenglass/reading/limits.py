"""When a search must end: eos ids, length, stop strings, time, and the model's context.

Knows nothing about strategies; it judges one candidate token at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tokenglass.recording import stops
from tokenglass.stages.base import require, require_whole
from tokenglass.types import FinishReason, Token, Vocabulary


@dataclass(frozen=True)
class Limits:
    """What ends a text, with transformers' names and meaning; and, besides, the model's context.

    A text ends, for the reason "context", with the token that makes prompt and text fill the context, as
    nothing could be read after it. A prompt that fills the context by itself still gets one token: the one
    the model names after reading it.

    Args:
        max_new_tokens: most tokens to write; wins over `max_length`. 20 where both are None.
        max_length: most tokens of prompt and text together.
        eos_ids: ids that end the text, in the caller's order; beams widen their search by their number.
        stop_strings: texts that end it, matched on bytes; the token that completes one is kept.
        max_time: seconds after which no further token is begun.

    Raises:
        ValueError: a value outside its interval.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    eos_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    max_time: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_length"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name), 1)
        for token_id in self.eos_ids:
            require_whole("eos_ids", token_id, 0)
        for text in self.stop_strings:
            require(isinstance(text, str) and bool(text), "stop_strings", "non-empty texts", text)
        require(
            self.max_time is None or self.max_time > 0, "max_time", "a number of seconds > 0", self.max_time
        )

    def tail(self, ids: Sequence[int], vocabulary: Vocabulary) -> bytes:
        """The last bytes of some tokens, as far as a stop string could reach back; b"" without one."""
        reach = max((len(stop.encode()) for stop in self.stop_strings), default=0)
        return b"".join(vocabulary.token(i).bytes for i in ids[-reach:]) if reach else b""

    def watch(self, prompt_ids: Sequence[int], vocabulary: Vocabulary, context_length: int) -> Watch:
        """These limits for one prompt, with the clock started.

        Raises:
            ValueError: an empty prompt, or `max_length` leaves no room after it.
        """
        size = len(prompt_ids)
        if not size:
            raise ValueError("prompt_ids must hold at least one id, got none")
        if self.max_new_tokens is not None:
            asked = size + self.max_new_tokens
        else:
            asked = size + 20 if self.max_length is None else self.max_length
        require(asked > size, "max_length", f"above the prompt's {size} tokens, which it counts", asked)
        total = min(asked, max(context_length, size + 1))
        tail = self.tail(prompt_ids, vocabulary)
        return Watch(self, size, total, "length" if total == asked else "context", time.monotonic(), tail)


@dataclass(frozen=True)
class Watch:
    """Limits at work on one prompt.

    Attributes:
        limits: what was asked for.
        prompt_length: tokens of the prompt.
        total: most tokens of prompt and text.
        full: the reason given when `total` is reached.
        started: when the search began, by `time.monotonic`.
        tail: the last bytes of the prompt, as far as a stop string could reach back.
    """

    limits: Limits
    prompt_length: int
    total: int
    full: FinishReason
    started: float
    tail: bytes

    @property
    def most_new(self) -> int:
        """Most tokens that can be written."""
        return self.total - self.prompt_length

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end the text."""
        return self.limits.eos_ids

    def longer(self, tail: bytes, token: Token) -> bytes:
        """The tail with one more token; b"" where no stop string asks for it."""
        return tail + token.bytes if self.limits.stop_strings else b""

    def out_of_time(self) -> bool:
        """Whether `max_time` has passed."""
        most = self.limits.max_time
        return most is not None and time.monotonic() - self.started >= most

    def reason(self, token: Token, tail: bytes, length: int, late: bool | None = None) -> FinishReason | None:
        """Why the text ends with this token, or None.

        Args:
            token: the candidate.
            tail: bytes up to and including the token, from `longer`.
            length: tokens of prompt and text, this one included.
            late: whether time is up, where several candidates are to be judged at one moment; None looks now.
        """
        if token.id in self.limits.eos_ids:
            return "eos"
        if any(stops(stop.encode(), tail, token) for stop in self.limits.stop_strings):
            return "stop_string"
        if length >= self.total:
            return self.full
        return "time" if (self.out_of_time() if late is None else late) else None
