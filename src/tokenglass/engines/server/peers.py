"""What each kind of server is asked for the likeliest next tokens, and how its answer is read.

One question is one token long: the prefix goes out as ids, and the probabilities after it come back, before
any sampling. Which token the server itself would draw is not looked at; a neutral configuration goes along,
for servers that report probabilities as their sampling left them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenglass.engines.server import answers
from tokenglass.engines.server.answers import Entry
from tokenglass.engines.server.transport import JsonDict, Transport

Ids = Sequence[int]
_SURELY = 1e6  # far above any logit
_NAMED_BY_ID = re.compile(r"token_id:([0-9]{1,10})")


class Peer(Protocol):
    """How to talk with one kind of server."""

    @property
    def kind(self) -> str:
        """What it is called: "llama.cpp", "vllm", "sglang" or "openai"."""
        ...

    def likeliest(self, line: Transport, ids: Ids, n: int, **more: Any) -> list[Entry]:
        """The `n` likeliest tokens after some ids, or fewer where the server gives fewer.

        Args:
            line: to the server.
            ids: the prefix.
            n: how many.
            **more: fields to add to the question.

        Raises:
            RemoteError: the server failed, or its answer cannot be read.
        """
        ...


@dataclass(frozen=True)
class LlamaCpp:
    """llama.cpp's own `/completion`: ids in, ids and bytes out, from the raw logits, any number of tokens.

    It tells nothing about a step at which it draws half a character, whose text it holds back. So it is made
    to draw a whole one: a bias moves the draw and not the probabilities, which are those before any stage.

    Attributes:
        whole: id of a token that is whole characters; None leaves the draw to the server.
    """

    kind: str = "llama.cpp"
    whole: int | None = None

    def likeliest(self, line: Transport, ids: Ids, n: int, **more: Any) -> list[Entry]:
        """See `Peer`."""
        question = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": n,
            "post_sampling_probs": False,
            "cache_prompt": True,
            "temperature": 0.0,
            "samplers": ["temperature"],
            **({} if self.whole is None else {"logit_bias": [[self.whole, _SURELY]]}),
            **more,
        }
        answer = line.ask("/completion", question)
        require_read(answer.get("tokens_evaluated"), ids)
        listed = answers.member(answer, "completion_probabilities", 0, "top_logprobs")
        return [
            Entry(
                answers.whole(answers.member(each, "id")),
                answers.logprob(answers.member(each, "logprob")),
                answers.spelling(each.get("bytes")),
            )
            for each in answers.member({"top": listed}, "top")
        ]


@dataclass(frozen=True)
class Completions:
    """OpenAI's `/v1/completions`, as vLLM and others serve it.

    Attributes:
        kind: who serves it.
        model: the name to ask for.
        takes_ids: prompts may be ids; else they go as text.
        extras: fields of vLLM's own, which strict servers refuse.
        named: the id of a token that is named by its text, or None where that is not certain.
        spelled: the text of ids, for a server that takes none.
    """

    kind: str = "openai"
    model: str = ""
    takes_ids: bool = True
    extras: Mapping[str, Any] = field(default_factory=dict)
    named: Callable[[str], int | None] = lambda text: None
    spelled: Callable[[Ids], str] | None = None

    def likeliest(self, line: Transport, ids: Ids, n: int, **more: Any) -> list[Entry]:
        """See `Peer`."""
        question = {
            "model": self.model,
            "prompt": self.prompt(ids),
            "max_tokens": 1,
            "logprobs": n,
            "temperature": 1.0,
            "top_p": 1.0,
            "seed": 0,
            **self.extras,
            **more,
        }
        answer = line.ask("/v1/completions", question)
        if self.takes_ids and isinstance(answer.get("usage"), Mapping):
            require_read(answer["usage"].get("prompt_tokens"), ids)
        return self._entries(answers.member(answer, "choices", 0, "logprobs"))

    def prompt(self, ids: Ids) -> str | list[int]:
        """Ids as the server takes them."""
        return list(ids) if self.takes_ids or self.spelled is None else self.spelled(ids)

    def _entries(self, logprobs: JsonDict) -> list[Entry]:
        if "content" in logprobs:  # the form of chat answers, which some servers use here too
            listed = answers.member(logprobs, "content", 0, "top_logprobs")
            return [self.entry(answers.member(each, "token"), each) for each in listed]
        table = answers.member(logprobs, "top_logprobs", 0)
        if not isinstance(table, Mapping):
            raise answers.wrong("answers without a table of tokens and log-probabilities")
        return [self.entry(name, {"logprob": value}) for name, value in table.items()]

    def entry(self, name: Any, each: Mapping[str, Any]) -> Entry:
        """A token by its name, with its log-probability and what else is said of it."""
        if not isinstance(name, str):
            raise answers.wrong("names a token by something that is no text")
        value, spelt = answers.logprob(each.get("logprob")), answers.spelling(each.get("bytes"))
        by_id = _NAMED_BY_ID.fullmatch(name)
        if by_id is not None:
            return Entry(int(by_id[1]), value, spelt)
        if each.get("id") is not None:
            return Entry(answers.whole(each["id"]), value, spelt)
        return Entry(self.named(name), value, spelt)


@dataclass(frozen=True)
class Sglang:
    """SGLang's own `/generate`: ids in, ids out."""

    kind: str = "sglang"

    def likeliest(self, line: Transport, ids: Ids, n: int, **more: Any) -> list[Entry]:
        """See `Peer`."""
        sampling = {"max_new_tokens": 1, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "ignore_eos": True}
        question = {
            "input_ids": list(ids),
            "sampling_params": sampling,
            "return_logprob": True,
            "top_logprobs_num": n,
            **more,
        }
        answer = line.ask("/generate", question)
        require_read(answers.member(answer, "meta_info").get("prompt_tokens"), ids)
        listed = answers.member(answer, "meta_info", "output_top_logprobs", 0)
        return [
            Entry(answers.whole(answers.member(each, 1)), answers.logprob(answers.member(each, 0)))
            for each in answers.member({"top": listed}, "top")
        ]


def require_read(count: Any, ids: Ids) -> None:
    """Refuse an answer about another prefix: one that was cut, or that got a token in front."""
    if count is not None and answers.whole(count) != len(ids):
        raise answers.wrong(f"read {count:,} tokens where {len(ids):,} were sent")
