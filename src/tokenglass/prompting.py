"""From a prompt in any of its forms to token ids, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenglass.model import Model, Prompt


def prompt_ids(
    model: Model, prompt: Prompt, chat_template_kwargs: Mapping[str, Any] | None = None
) -> tuple[int, ...]:
    """The ids a prompt stands for; see `Model.prompt_ids`."""
    if isinstance(prompt, bytes | bytearray | Mapping) or not isinstance(prompt, Sequence | np.ndarray):
        raise TypeError(
            f"a prompt is a text, a list of token ids or a list of messages, got {type(prompt).__name__}"
        )
    if isinstance(prompt, str) or (len(prompt) and isinstance(prompt[0], Mapping)):
        ids = model.tokenize(prompt, chat_template_kwargs=chat_template_kwargs).ids  # type: ignore[arg-type]
    else:
        ids = [_checked(token, model.info.vocab_size) for token in prompt]
    if not ids:
        if model.info.bos_id is None:
            raise ValueError(
                "the prompt is empty and this model has no begin-of-text token; type at least one character"
            )
        ids = [model.info.bos_id]
    return tuple(ids)


def _checked(token: Any, vocab_size: int) -> int:
    if isinstance(token, bool) or not isinstance(token, int | np.integer):
        raise TypeError(f"a prompt is a text, a list of token ids or a list of messages, got {token!r} in it")
    if not 0 <= token < vocab_size:
        raise ValueError(f"token id must be in [0, {vocab_size - 1}], got {token}")
    return int(token)
