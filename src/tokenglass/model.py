"""A model with its tokenizer: what `tokenglass.load` returns, and where most uses begin.

Turns prompts into ids and ids into results; the computing is the engine's, the writing is `decode`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenglass import config as configuration
from tokenglass.chain import Plan
from tokenglass.chain import plan as make_plan
from tokenglass.decode import decode, decode_all
from tokenglass.engines.base import Engine
from tokenglass.onscreen import Explorable
from tokenglass.reading.listed import require_listable
from tokenglass.tables import asked_table
from tokenglass.text import safe_line
from tokenglass.types import EngineInfo, Generation, NextTokens, Step, Tokenization

if TYPE_CHECKING:
    from tokenglass.healing import Healing
    from tokenglass.search import SearchStep
    from tokenglass.session import Session
    from tokenglass.strategies import Search
    from tokenglass.tokenizer import Tokenizer
    from tokenglass.types import Chain, OptionScores, Score, Showcase

Message = Mapping[str, Any]
Prompt = str | Sequence[int] | Sequence[Message]


class Model(Explorable):
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
        name, family = safe_line(info.name), safe_line(info.family)
        return f"<Model {name}: {family}, {info.parameters:,} parameters, {info.precision}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """In a notebook's cell a model shows what it is."""
        return self.info._repr_mimebundle_(include, exclude)

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
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
        from tokenglass.prompting import prompt_ids

        return prompt_ids(self, prompt, chat_template_kwargs)

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
        return asked_table(self, ids[: position % len(ids) + 1], config, n)

    # ---------------------------------------------------------------- text

    def stream(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Iterator[Step]:
        """Write tokens one at a time; each is yielded as soon as it is chosen.

        The arguments are checked at the call, before the first token is asked for. `search` streams searches,
        whose text is settled only at their end.

        Raises:
            ValueError: a value outside its interval, a search, or more than one text.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        plan = self.plan(config, ids)
        if plan.config.mode in configuration.SEARCHES:
            name = plan.config.mode.replace("_", " ")
            raise ValueError(f"{name} settles its text at the end; use model.search or model.generate")
        if plan.config["num_return_sequences"] > 1:
            raise ValueError("stream writes one text; use model.generate for num_return_sequences above 1")
        plan, ids, _ = self._healed(plan, config, ids)
        return decode(self.engine, self.tokenizer, ids, plan)

    def generate(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Generation:
        """Write until an end-of-text token, a stop string or a limit; every step is recorded.

        Args:
            prompt: text, ids or messages.
            chat_template_kwargs: handed to the chat template.
            **config: generation keywords with transformers' names and meaning, such as `max_new_tokens` (20),
                `do_sample`, `temperature`, `top_k`, `num_beams`; `tokenglass generate --help` lists them all.

        Raises:
            TypeError: an unknown keyword.
            ValueError: a value outside its interval, or keywords that exclude each other.
            Unsupported: a keyword that is refused, with the reason.
            ContextOverflow: the prompt is longer than the model's context.
            NoTokenAllowed: every token of a step was banned.
            RemoteError: a server failed; its `partial` holds what was written before.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        plan, ids, healing = self._healed(self.plan(config, ids), config, ids)
        records: tuple[SearchStep, ...] = ()
        if plan.config.mode in configuration.SEARCHES:
            search = self._searching(ids, plan)
            records, sequences = tuple(search), search.sequences
        else:
            sequences = decode_all(self.engine, self.tokenizer, ids, plan)
        return Generation(
            prompt_ids=ids,
            prompt_text=self.detokenize(ids),
            sequences=sequences,
            config=plan.config.to_dict(),
            search=records,
            warnings=plan.warnings,
            healing=healing,
        )

    def search(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Search:
        """A search as it goes: iterate for its records, then read `sequences`.

        Raises:
            ValueError: keywords that ask for no search, or a value outside its interval.
        """
        ids = self.prompt_ids(prompt, chat_template_kwargs)
        plan, ids, _ = self._healed(self.plan(config, ids), config, ids)
        if plan.config.mode not in configuration.SEARCHES:
            raise ValueError(
                "these keywords ask for no search; set num_beams, penalty_alpha with top_k, dola_layers, "
                "assistant_model or prompt_lookup_num_tokens, or use model.stream"
            )
        return self._searching(ids, plan)

    def strategies(self, prompt: Prompt, names: Sequence[str] | None = None, **config: Any) -> Showcase:
        """One prompt under every strategy, or those named, and where and why each parts from greedy.

        `config` holds what all share, such as `max_new_tokens`, `seed` and `stop_strings`.

        Raises:
            ValueError: an unknown strategy, or a keyword that the strategies set themselves.
        """
        from tokenglass.showcase import strategies

        return strategies(self, prompt, names, **config)

    def score(self, text: str | Sequence[int], **options: Any) -> Score:
        """Surprise, rank and alternatives of each token of a text or ids; options as in `scoring.score`."""
        from tokenglass.scoring import score

        return score(self.engine, self.tokenizer, text, **options)

    def score_options(
        self, prompt: Prompt, options: Sequence[str | Sequence[int]], *, space_variants: bool = False
    ) -> OptionScores:
        """How likely each of several continuations is, normalised over the set and not.

        With `space_variants` each text is also scored with, or without, a space in front.
        """
        from tokenglass.scoring import score_options

        ids = self.prompt_ids(prompt)
        return score_options(self.engine, self.tokenizer, ids, options, space_variants=space_variants)

    def map(
        self,
        prompts: Iterable[Any],
        task: str = "next",
        *,
        lookahead: int = 128,
        errors: Literal["raise", "return"] = "raise",
        **config: Any,
    ) -> Iterator[Any]:
        """Results for many prompts, in their order: those of the single calls, in fewer runs of the model.

        Args:
            prompts: texts, ids or messages, or dicts with "prompt" and keywords of its own; may be endless.
            task: "next" (`next_tokens`), "score", "generate", "strategies" or "candidates" (`score_options`).
            lookahead: prompts read ahead at a time, and results kept in memory at most.
            errors: "raise" stops at the first prompt that fails; "return" puts its exception in its place.
            **config: keywords of the single call.
        """
        from tokenglass.batching import mapped

        return mapped(self, prompts, task, lookahead=lookahead, errors=errors, **config)

    def chain(self, **config: Any) -> Chain:
        """The stages in force under a configuration, in order, with where each value came from.

        Raises:
            TypeError, ValueError: an unknown keyword, a value outside its interval, or two that exclude.
        """
        return self.plan(config, (self.info.bos_id or 0,)).describe()

    def session(
        self, prompt: Prompt, *, chat_template_kwargs: Mapping[str, Any] | None = None, **config: Any
    ) -> Session:
        """Step, undo, redo, force and draw tokens by hand; see `Session`."""
        from tokenglass.session import Session

        ids = self.prompt_ids(prompt, chat_template_kwargs)
        _, ids, _ = self._healed(self.plan(config, ids), config, ids)
        session = Session(self, ids, config)
        if not isinstance(prompt, str) and len(prompt) and isinstance(prompt[0], Mapping):
            from tokenglass.chat import template_marks

            rendered = self.tokenize(prompt, chat_template_kwargs=chat_template_kwargs)  # type: ignore[arg-type]
            marks = template_marks(rendered.tokens, rendered.text, prompt)  # type: ignore[arg-type]
            session.template = marks if tuple(rendered.ids) == ids else ()  # healing may have moved the end
        return session

    def plan(self, config: Mapping[str, Any], prompt_ids: tuple[int, ...]) -> Plan:
        """What a configuration means for a prompt; for results and tools, `chain` shows it to people."""
        resolved = configuration.resolve(
            config,
            model_defaults=self.generation_defaults,
            model_eos=self.info.eos_ids,
            prompt_length=len(prompt_ids),
            vocab_size=self.info.vocab_size,
        )
        if resolved.mode in configuration.SEARCHES:
            from tokenglass.strategies import options

            options(resolved)  # a search's own intervals are checked before anything runs
        plan = make_plan(resolved, self.tokenizer, self.info.vocab_size, prompt_ids)
        if "listed" in self.info.capabilities:
            require_listable(plan)
        return plan

    def _searching(self, ids: tuple[int, ...], plan: Plan) -> Search:
        from tokenglass.strategies import searching  # the searches are only loaded when one is asked for

        return searching(self.engine, self.tokenizer, ids, plan)

    def _healed(
        self, plan: Plan, config: Mapping[str, Any], ids: tuple[int, ...]
    ) -> tuple[Plan, tuple[int, ...], Healing | None]:
        """The prompt with its last token written anew, where `token_healing` asks for it."""
        if not plan.config["token_healing"]:
            return plan, ids, None
        from tokenglass.healing import heal

        healing = heal(self.engine, self.tokenizer, ids)
        return self.plan(config, healing.prompt_ids), healing.prompt_ids, healing
