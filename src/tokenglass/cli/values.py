"""Values of options that argparse knows no type for: read, or refused with the rule they break."""

from __future__ import annotations

import argparse

__all__ = ["index", "port", "positive", "share", "threads", "whole"]

MOST_THREADS = 1024  # as `tokenglass.load` has it


def whole(text: str) -> int:
    """A whole number of at least 0."""
    return _int_of(text, 0)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _int_of(text, 1)


def _int_of(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise _refused(f"must be a whole number of at least {least}", text)
    return number


def share(text: str) -> tuple[int, int]:
    """A shard as I/N, from 1."""
    first, slash, second = text.partition("/")
    if slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise _refused("must be I/N with I from 1 to N, such as 2/8", text)


def index(text: str) -> int:
    """A whole number, also below 0."""
    try:
        return int(text)
    except ValueError:
        raise _refused("must be a whole number, such as 0 or -1", text) from None


def port(text: str) -> int:
    """A number of a TCP port; 0 for any that is free."""
    number = whole(text)
    if number > 65535:
        raise _refused("must be at most 65535", text)
    return number


def threads(text: str) -> int:
    """How many threads compute."""
    number = positive(text)
    if number > MOST_THREADS:
        raise _refused(f"must be at most {MOST_THREADS}", text)
    return number


def _refused(rule: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{rule}, got {text[:40] + '...' if len(text) > 40 else text!r}")
