"""How probable a server finds the tokens of a text it is given: what is asked, and how the answer is read.

| way | who | questions |
|---|---|---|
| `ByPrompt` | vLLM's `prompt_logprobs` | one for the whole text |
| `ByEcho` | OpenAI's first `echo` with `logprobs` | one for the whole text |
| `ByStep` | llama.cpp, which lists as many tokens as it is asked for, up to all | one or more a token |

Each tells a token's own log-probability whether it is among the likeliest or not. A server that can do none
of it lists the likeliest tokens and nothing else: most texts hold some that are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Protocol

from tokenglass.engines.server import answers
from tokenglass.engines.server.answers import Entry, listing_of
from tokenglass.engines.server.peers import Completions, Peer, require_read
from tokenglass.engines.server.transport import Transport
from tokenglass.types import Told

FEW = 20  # tokens listed in each place of a text, where no more are wanted: what vLLM allows by itself
LONGEST = 1 << 14  # tokens of one text: their lists of twenty are some 30 MB of JSON
_MORE = 4096  # llama.cpp's tokens in the second question, before the whole vocabulary is asked for
_SLACK = 0.02  # between two numbers for one token: batches differ by rounding


class Way(Protocol):
    """One of the ways."""

    whole: bool  # one question for the whole text, to which the server adds a token of its own

    def told(
        self, line: Transport, ids: Sequence[int], start: int, n: int, vocab_size: int
    ) -> Iterator[Told]:
        """What the server says of each token from index `start` on, with about `n` listed beside each.

        Raises:
            RemoteError: the server failed, or answered something that cannot be true.
        """
        ...


@dataclass(frozen=True)
class ByPrompt:
    """vLLM's `prompt_logprobs`: in each place the likeliest tokens and the one that is there, ranked."""

    peer: Completions
    whole = True

    def told(
        self, line: Transport, ids: Sequence[int], start: int, n: int, vocab_size: int
    ) -> Iterator[Told]:
        """See `Way`."""
        choice = _answer(line, self.peer, ids, {"prompt_logprobs": n})
        rows = _as_many(answers.member(choice, "prompt_logprobs"), ids)
        for token, row in zip(ids[start:], rows[start:], strict=True):
            if not isinstance(row, Mapping):
                raise answers.wrong("gives a place of a text without a table of tokens")
            entries = [Entry(_id(name), _number(each)) for name, each in row.items()]
            own = row.get(str(token))
            rank = own.get("rank") if isinstance(own, Mapping) else None
            yield _told(entries, token, None if rank is None else answers.whole(rank), n, vocab_size)


@dataclass(frozen=True)
class ByEcho:
    """`echo`: the prompt comes back, each token with its log-probability and the likeliest in its place."""

    peer: Completions
    whole = True

    def told(
        self, line: Transport, ids: Sequence[int], start: int, n: int, vocab_size: int
    ) -> Iterator[Told]:
        """See `Way`."""
        found = answers.member(_answer(line, self.peer, ids, {"echo": True, "logprobs": n}), "logprobs")
        names, values, tables = (
            _as_many(answers.member(found, name), ids)
            for name in ("tokens", "token_logprobs", "top_logprobs")
        )
        for i, token in enumerate(ids[start:], start=start):
            own = self.peer.entry(names[i], {"logprob": values[i]})
            if own.id not in (None, token):
                raise answers.wrong("repeats another text than it was given")
            if not isinstance(tables[i], Mapping):
                raise answers.wrong("gives a place of a text without a table of tokens")
            entries = [self.peer.entry(name, {"logprob": value}) for name, value in tables[i].items()]
            entries = [entry for entry in entries if entry.id != token]
            yield _told([*entries, Entry(token, own.logprob)], token, None, n, vocab_size)


@dataclass(frozen=True)
class ByStep:
    """A question a place, and further ones with longer lists until the token that stands there is listed."""

    peer: Peer
    whole = False

    def told(
        self, line: Transport, ids: Sequence[int], start: int, n: int, vocab_size: int
    ) -> Iterator[Told]:
        """See `Way`."""
        for i in range(start, len(ids)):
            for size in dict.fromkeys((n, min(max(n, _MORE), vocab_size), vocab_size)):
                listing = listing_of(self.peer.likeliest(line, ids[:i], size), vocab_size)
                rank = listing.rank(ids[i])
                if rank is not None:
                    break
            else:
                raise answers.wrong("lists all its tokens without one that the text has")
            yield Told(listing, float(listing.logprobs[rank - 1]), rank)


def _told(entries: Sequence[Entry], token: int, rank: int | None, n: int, vocab_size: int) -> Told:
    """One place of a text: the likeliest tokens, and the one that stands there, which may be none of them.

    Behind a list of the n likeliest its place is no rank. Where nobody says one, the last of a list is taken
    for such a token, since it cannot be told from one.
    """
    own = [entry for entry in entries if entry.id == token]
    if len(own) != 1:
        raise answers.wrong("gives a text's token no log-probability of its own")
    others = [entry for entry in entries if entry.id != token]
    least = min((entry.logprob for entry in others), default=None)
    is_last = least is None or own[0].logprob <= least
    behind = rank > min(n, len(others)) if rank is not None else is_last
    if behind and (not is_last and own[0].logprob > (least or 0.0) + _SLACK):
        raise answers.wrong("ranks a token behind others that it finds less probable")
    listing = listing_of(others if behind and others else entries, vocab_size)
    if behind and others:
        if exp(own[0].logprob) + listing.coverage > 1.0 + _SLACK:
            raise answers.wrong("gives a text's token more than the listed ones leave")
        return Told(listing, min(0.0, own[0].logprob), rank)
    place = listing.rank(token)  # equal ones by id, as everywhere here
    return Told(listing, min(0.0, own[0].logprob), rank if place is None else place)


def _answer(line: Transport, peer: Completions, ids: Sequence[int], more: Mapping[str, Any]) -> Any:
    question = {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0, **peer.extras, **more}
    answer = line.ask("/v1/completions", {"model": peer.model, "prompt": peer.prompt(ids), **question})
    if peer.takes_ids and isinstance(answer.get("usage"), Mapping):
        require_read(answer["usage"].get("prompt_tokens"), ids)
    return answers.member(answer, "choices", 0)


def _as_many(rows: Any, ids: Sequence[int]) -> list[Any]:
    """A list with one item for each token, and perhaps for the one that was written behind them."""
    if not isinstance(rows, list) or len(rows) not in (len(ids), len(ids) + 1):
        size = len(rows) if isinstance(rows, list) else 0
        raise answers.wrong(f"tells of {size:,} tokens where {len(ids):,} were sent")
    return rows


def _id(name: Any) -> int:
    if not isinstance(name, str) or not name.isascii() or not name.isdecimal() or len(name) > 18:
        raise answers.wrong("names a token of a text by something that is no id")
    return int(name)


def _number(each: Any) -> float:
    return answers.logprob(each.get("logprob") if isinstance(each, Mapping) else None)
