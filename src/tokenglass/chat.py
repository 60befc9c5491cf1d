"""Chat messages to one text, by the template that comes with a model.

A template is a program in the jinja language and comes from whoever published the model, so it is untrusted.
It runs in jinja's sandbox, as in transformers, and what it can use up is bounded: time, output and every
value it makes. See `chat_sandbox` for how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tokenglass.errors import ModelUnsupported
from tokenglass.text import safe_line
from tokenglass.types import Token

_REASONING = ("reasoning_content", "thinking", "reasoning")  # names a message's reasoning goes by
_MARK = "CONTINUE_FINAL_MESSAGE_TAG "  # the space tells whether the template strips what it is given


class Templated(Protocol):
    """What rendering needs of a tokenizer."""

    @property
    def chat_template(self) -> str | None:
        """Jinja source, or None."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """Names templates use, such as "bos_token", and the tokens they stand for."""
        ...


def render_chat(
    tokenizer: Templated,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool | None = None,
    **variables: Any,
) -> str:
    """One text from chat messages, as the model was trained to read them.

    The result holds the template's special tokens as text: encode it with `add_special_tokens=False,
    parse_special=True`. Same result as transformers' `apply_chat_template(..., tokenize=False)`.

    Args:
        tokenizer: has the template and the special tokens.
        messages: such as `[{"role": "user", "content": "Hello"}]`.
        add_generation_prompt: open the assistant's turn; None does unless the last message is one.
        continue_final_message: leave the last message open; None does where the assistant wrote it.
        variables: for the template, such as `tools`, `documents`, `enable_thinking`.

    Raises:
        ValueError: no message, or the template refuses them; says why.
        TypeError: a message is no mapping.
        ModelUnsupported: there is no template, or it cannot be run within its bounds.
    """
    if tokenizer.chat_template is None:
        raise ModelUnsupported("this model has no chat template; give the prompt as a plain text")
    chat = _plain_messages(messages)
    by_assistant = chat[-1].get("role") == "assistant"
    open_end = by_assistant if continue_final_message is None else continue_final_message
    if add_generation_prompt is None:
        add_generation_prompt = not open_end
    if open_end and add_generation_prompt:
        raise ValueError("continue_final_message and add_generation_prompt exclude each other; choose one")
    ending = _mark_last(chat) if open_end else ""
    values: dict[str, Any] = {"tools": None, "documents": None, **tokenizer.special_tokens, **variables}
    values = {str(name): plain(value) for name, value in values.items()}
    values |= {"messages": chat, "add_generation_prompt": add_generation_prompt}
    from tokenglass.chat_sandbox import render

    text = render(tokenizer.chat_template, values)
    return _cut_at_mark(text, ending) if open_end else text


def plain(value: Any) -> Any:
    """A value for a template, rebuilt out of JSON types, so that it has no methods of its own.

    >>> plain({"a": (1, b"x")})
    {'a': (1, '<bytes>')}
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return f"<{type(value).__name__}>"


def _plain_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of mappings, got {type(messages).__name__}")
    if not messages:
        raise ValueError('a chat needs at least one message, such as {"role": "user", "content": "Hello"}')
    chat = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(
                'a chat message must be a mapping such as {"role": "user", "content": "Hello"}, '
                f"got {type(message).__name__}"
            )
        entry = {plain(key): plain(value) for key, value in message.items() if value is not None}
        reasoning = next((entry[name] for name in _REASONING if entry.get(name) is not None), None)
        if reasoning is not None:
            entry = {"thinking": reasoning, **entry, "reasoning_content": reasoning}
        chat.append(entry)
    return chat


def _mark_last(chat: list[dict[str, Any]]) -> str:
    """Put the mark behind the last message's text; the text."""
    content = chat[-1].get("content")
    if isinstance(content, str):
        chat[-1]["content"] = content + _MARK
        return content
    blocks = content if isinstance(content, list | tuple) else ()
    for block in reversed(blocks):
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            text: str = block["text"]
            block["text"] = text + _MARK
            return text
    raise ValueError("the last message has no text to continue; give it a content, or add a user's message")


def _cut_at_mark(text: str, ending: str) -> str:
    """The text up to the mark; where the template stripped the message, without white space at its end."""
    at = text.rfind(_MARK.strip())
    if at < 0 or ending.strip() not in text:
        raise ValueError(
            "the chat template drops the end of the last message, so it cannot be continued; "
            f"end with a user's message instead (last message: {safe_line(ending.strip())[:60]!r})"
        )
    return text[:at] if text[at : at + len(_MARK)] == _MARK else text[:at].rstrip()


def template_marks(
    tokens: Sequence[Token], text: str, messages: Sequence[Mapping[str, Any]]
) -> tuple[bool, ...]:
    """Which tokens of a rendered conversation are the template's own, and which hold what somebody wrote.

    Args:
        tokens: of the rendered text, with their spans.
        text: the rendered text.
        messages: the conversation; each content is looked for after the one before.

    Returns:
        One mark for each token: True for role marks and the like, False where it holds a part of a content.
    """
    written: list[tuple[int, int]] = []
    place = 0
    for message in messages:
        content = str(message.get("content") or "").strip()
        found = text.find(content, place) if content else -1
        if found >= 0:
            start = len(text[:found].encode())
            written.append((start, start + len(content.encode())))
            place = found + len(content)
    return tuple(
        token.span is None or not any(token.span[0] < end and start < token.span[1] for start, end in written)
        for token in tokens
    )
