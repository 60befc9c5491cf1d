"""A model with its tokenizer: what `tokenglass.load` returns, and where most uses begin.

Turns prompts into ids and ids into results; the computing is the engine's, the writing is `decode`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenglass import config as configuration
from tokenglass.decode import checked, decode
from tokenglass.engines.base import Engine, Prefix
from tokenglass.types import EngineInfo, Generation, NextTokens, Step, Tokenization
from tokenglass.types import Sequence as Written

if TYPE_CHECKING:
    from tokenglass.session import Session
    from tokenglass.tokenizer import Tokenizer

Message = Mapping[str, Any]
Prompt = str | Sequence[int] | Sequence[Message]


class Model:
    """A language model that shows its work.

    Args:
        engine: computes logits for token ids.
        tokenizer: turns text into ids and back.
        generation_defaults: fields of the model's generation_config.json.

    A prompt is a text, a list of token ids, or a list of chat messages such as
    `[{"role": "user", "content": "Hi"}]`, which the model's own template renders.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, generation_defaults: Mapping[str, Any] | None = None
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.generation_defaults = dict(generation_defaults or {})

    @property
    def info(self) -> EngineInfo:
        """What is running: family, sizes, precision, checksum."""
        return self.engine.info

    def __repr__(self) -> str:
        info = self.info
        return f"<Model {info.name}: {info.family}, {info.parameters:,} parameters, {info.precision}>"

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine's memory; the model cannot be used afterwards."""
        self.engine.close()

    # --------------------------------------------------------------- tokens

    def tokenize(
        self,
        prompt: str | Sequence[Message],
        *,
        add_special_tokens: bool = True,
        parse_special: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> Tokenization:
        """Cut a text, or a conversation rendered by the model's template, into tokens.

        Args:
            prompt: text or chat messages.
            add_special_tokens: add what the model's tokenizer adds, such as a begin-of-text token.
            parse_special: read `<|im_end|>` and the like in a text as control tokens rather than as text.
            chat_template_kwargs: handed to the template.
        """
        if isinstance(prompt, str):
            return self.tokenizer.encode(
                prompt, add_special_tokens=add_special_tokens, parse_special=parse_special
            )
        from tokenglass.chat import render_chat

        text = render_chat(self.tokenizer, prompt, **(chat_template_kwargs or {}))
        return self.tokenizer.encode(text, add_special_tokens=False, parse_special=True)

    def detokenize(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Token ids as text; half a character at an edge becomes U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def prompt_ids(
        self, prompt: Prompt, chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> tuple[int, ...]:
        """The ids a prompt stands for; an empty one is the model's begin-of-text token.

        Raises:
            ValueError: an empty prompt and no begin-of-text token, or an id outside the vocabulary.
        """
        if isinstance(prompt, bytes | bytearray | Mapping) or not isinstance(prompt, Sequence | np.ndarray):
            raise TypeError(
                f"a prompt is a text, a list of token ids or a list of messages, got {type(prompt).__name__}"
            )
        if isinstance(prompt, str) or (len(prompt) and isinstance(prompt[0], Mapping)):
            ids = self.tokenize(prompt, chat_template_kwargs=chat_template_kwargs).ids  # type: ignore[arg-type]
        else:
            ids = [self._checked_id(token) for token in prompt]
        if not ids:
            if self.info.bos_id is None:
                raise ValueError(
                    "the prompt is empty and this model has no begin-of-text token; "
                    "type at least one character"
                )
            ids = [self.info.bos_id]
        return tuple(ids)

    def _checked_id(self, token: Any) -> int:
        if isinstance(token, bool) or not isinstance(token, int | np.integer):
            raise TypeError(
                f"a prompt is a text, a list of token ids or a list of messages, got {token!r} in it"
            )
        if not 0 <= token < self.info.vocab_size:
            raise ValueError(f"token id must be in [0, {self.info.vocab_size - 1}], got {token}")
        return int(token)

    # --------------------------------------------------------------- logits

    def logits(self, prompt: Prompt) -> NDArray[np.float32]:
        """Logits of every position of a prompt, (T, V) float32; row t predicts the token after position t."""
        return np.concatenate(list(self.engine.iter_logits(self.prompt_ids(prompt))))

    def next_tokens(
        self,
        prompt: Prompt,
        n: int = 10,
        position: int = -1,
        *,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> NextTokens:
        """The `n` likeliest tokens after a position of a prompt, and numbers for all others.

        Args:
            prompt: text, ids or messages.
            n: rows of the table, at least 1.
            position: after which token of the prompt; -1 is the last, 0 the first.
            chat_template_kwargs: handed to the chat template.
            **config: generation keywords with transformers' names and meaning.

        Raises:
            ValueError: `n` or `position` outside its interval.
            ContextOverflow: the prompt is longer than the model's context.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
        if not isinstance(position, int) or not -len(ids) <= position < len(ids):
            raise ValueError(f"position must be in [{-len(ids)}, {len(ids) - 1}], got {position!r}")
        resolved = self._resolve(config, len(ids))
        at = position % len(ids)
        forward = self.engine.forward([Prefix(ids[: at + 1])])
        return NextTokens(
            prompt_ids=ids[: at + 1],
            position=at,
            logits=checked(forward.logits, at + 1),
            n=n,
            vocabulary=self.tokenizer,
            config=resolved.to_dict(),
        )

    # ---------------------------------------------------------------- text

    def stream(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Iterator[Step]:
        """Write tokens one at a time; each is yielded as soon as it is chosen.

        The arguments are checked at the call, before the first token is asked for.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        return decode(self.engine, self.tokenizer, ids, self._resolve(config, len(ids)))

    def generate(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Generation:
        """Write until an end-of-text token, a stop string or a limit; every step is recorded.

        Args:
            prompt: text, ids or messages.
            chat_template_kwargs: handed to the chat template.
            **config: `max_new_tokens` (20), `max_length`, `eos_token_id`, `stop_strings`, `max_time`:
                transformers' names and meaning.

        Raises:
            TypeError: an unknown keyword.
            ValueError: a value outside its interval.
            ContextOverflow: the prompt is longer than the model's context.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        resolved = self._resolve(config, len(ids))
        steps = tuple(decode(self.engine, self.tokenizer, ids, resolved))
        return Generation(
            prompt_ids=ids,
            prompt_text=self.detokenize(ids),
            sequences=(written(steps),),
            config=resolved.to_dict(),
        )

    def session(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Session:
        """Step, undo, redo and force tokens by hand; see `Session`."""
        from tokenglass.session import Session

        ids = self.prompt_ids(prompt, chat_template_kwargs)
        return Session(self, ids, self._resolve(config, len(ids)))

    def _resolve(self, config: Mapping[str, Any], prompt_length: int) -> configuration.GenerationConfig:
        return configuration.resolve(
            config,
            model_defaults=self.generation_defaults,
            model_eos=self.info.eos_ids,
            prompt_length=prompt_length,
            vocab_size=self.info.vocab_size,
        )


def written(steps: tuple[Step, ...]) -> Written:
    """Steps as one finished sequence."""
    return Written(
        ids=tuple(step.id for step in steps),
        text="".join(step.text for step in steps),
        steps=steps,
        finish_reason=(steps[-1].finish_reason if steps else None) or "cancelled",
    )
