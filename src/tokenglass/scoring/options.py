"""Scoring continuations of a prompt, of any number of tokens each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.engines.base import Engine, Prefix, Tells
from tokenglass.scoring.ids import Ids, checked_ids
from tokenglass.text import safe_text
from tokenglass.types import OptionScore, OptionScores

if TYPE_CHECKING:
    from tokenglass.tokenizer import Tokenizer

Floats = NDArray[np.float32]

ROWS = 64  # rows of logits held at once: 13 MB for a vocabulary of 49,152
SHOWN_TOKENS = 8  # of a split, in a note


def score_options(
    engine: Engine,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    options: Sequence[str | Sequence[int]],
    *,
    space_variants: bool = False,
) -> OptionScores:
    """How probable each of some continuations is after a prompt.

    Each option is scored by the tokens that the tokenizer makes of it alone, after the prompt's own ids. A
    note says where prompt and option as one text would be other tokens, and where one option is the
    beginning of another, so that their probabilities are not of separate events.

    Args:
        engine: computes the logits.
        tokenizer: of the model.
        prompt_ids: at least one id.
        options: texts of at least one character, or their ids; each once.
        space_variants: score each text with and without a space in front, whichever was given.

    Raises:
        ValueError: no prompt, no options, an empty one, or one given twice.
        ContextOverflow: prompt and option are longer than the context.
    """
    prompt = checked_ids(prompt_ids, engine.info.vocab_size)
    if not prompt:
        raise ValueError("prompt_ids must hold at least one id, got none; begin with the model's bos_id")
    listed = _with_variants(options) if space_variants else list(options)
    known = [_option(tokenizer, option, engine.info.vocab_size) for option in listed]
    if not known:
        raise ValueError("options must hold at least one text, got none")
    if len({ids for _, ids in known}) < len(known):
        raise ValueError(f"options must differ, got one twice in {listed!r}")
    logprobs = _logprobs(engine, prompt, [ids for _, ids in known])
    sums = np.array([sum(each) for each in logprobs])
    means = sums / np.array([len(each) for each in logprobs])
    notes = _notes(tokenizer, prompt, known)
    rows = tuple(
        OptionScore(text, tuple(map(tokenizer.token, ids)), each, float(share), float(mean_share), note)
        for (text, ids), each, share, mean_share, note in zip(
            known, logprobs, _shares(sums), _shares(means), notes, strict=True
        )
    )
    return OptionScores(prompt, tokenizer.decode(prompt), rows)


def _with_variants(options: Sequence[str | Sequence[int]]) -> list[str | Sequence[int]]:
    """Each text followed by itself with, or without, a space in front."""
    found: list[str | Sequence[int]] = []
    for option in options:
        found.append(option)
        if isinstance(option, str) and option.strip(" "):
            found.append(option[1:] if option.startswith(" ") else " " + option)
    return list(dict.fromkeys(o if isinstance(o, str) else tuple(o) for o in found))


def _option(tokenizer: Tokenizer, option: str | Sequence[int], vocab_size: int) -> tuple[str, Ids]:
    """Text and ids of an option."""
    if isinstance(option, str):
        text, ids = option, _continuation(tokenizer, option)
    else:
        ids = checked_ids(option, vocab_size)
        text = b"".join(tokenizer.token(i).bytes for i in ids).decode("utf-8", "replace")
    if not ids:
        raise ValueError(f"options must hold at least one token each, got {option!r}")
    return text, ids


def _continuation(tokenizer: Tokenizer, text: str) -> Ids:
    """The ids of a text that goes on after another: without the space that some tokenizers put in front."""
    data, alone = text.encode(), tokenizer.encode(text, add_special_tokens=False)
    if b"".join(token.bytes for token in alone.tokens) == data:
        return tuple(alone.ids)
    for other in ("\n", ".", "0"):  # one of them, of one byte each, will not merge with the text's beginning
        tokens = tokenizer.encode(other + text, add_special_tokens=False).tokens
        behind = [token for token in tokens if token.span is not None and token.span[0] >= 1]
        if b"".join(token.bytes for token in behind) == data:
            return tuple(token.id for token in behind)
    return tuple(alone.ids)


def _logprobs(engine: Engine, prompt: Ids, options: Sequence[Ids]) -> list[tuple[float, ...]]:
    """The logprob of each token of each option; options of one length run together and share the prompt."""
    if isinstance(engine, Tells):
        return [
            tuple(told.logprob for told in engine.iter_told(prompt + option, len(prompt), 1))
            for option in options
        ]
    forward = engine.forward([Prefix(prompt)])
    assert forward.logits is not None
    found = [[_logprob(forward.logits[0, -1], option[0])] for option in options]
    node = forward.nodes[0]
    lengths = {len(option) for option in options}
    for length in sorted(lengths - {1}):
        members = [n for n, option in enumerate(options) if len(option) == length]
        together = max(1, ROWS // (length - 1))
        for at in range(0, len(members), together):
            _extend(engine, prompt, options, members[at : at + together], found, node)
    return [tuple(each) for each in found]


def _extend(
    engine: Engine,
    prompt: Ids,
    options: Sequence[Ids],
    members: Sequence[int],
    found: list[list[float]],
    node: Any,
) -> None:
    """Logprobs of the second and later tokens of options of one length, at most `ROWS` rows at a time."""
    nodes = [node] * len(members)
    edges = [*range(0, len(options[members[0]]) - 1, ROWS), len(options[members[0]]) - 1]
    for start, stop in pairwise(edges):
        prefixes = [Prefix(prompt + options[n][:stop], hint) for n, hint in zip(members, nodes, strict=True)]
        forward = engine.forward(prefixes, last=stop - start)
        assert forward.logits is not None
        nodes = list(forward.nodes)
        for n, rows in zip(members, forward.logits, strict=True):
            found[n] += map(_logprob, rows, options[n][start + 1 : stop + 1])


def _logprob(row: Floats, token_id: int) -> float:
    return float(row[token_id]) - numbers.summarize(row).logsumexp


def _shares(logprobs: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logprobs - logprobs.max())
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _notes(tokenizer: Tokenizer, prompt: Ids, options: Sequence[tuple[str, Ids]]) -> list[tuple[str, ...]]:
    control = [n for n, token_id in enumerate(prompt, start=1) if tokenizer.token(token_id).kind == "control"]
    tail = prompt[control[-1] if control else 0 :]
    text = tokenizer.decode(tail)
    # where the prompt is not what the tokenizer makes of its text, there is nothing to compare with
    comparable = tuple(tokenizer.encode(text, add_special_tokens=False).ids) == tail
    found = []
    for option, ids in options:
        notes = [_joined(tokenizer, text, option, tail + ids)] if comparable else [""]
        longer = [other for other, more in options if len(more) > len(ids) and more[: len(ids)] == ids]
        notes += [f'also the beginning of "{safe_text(other)}"' for other in longer]
        found.append(tuple(filter(None, notes)))
    return found


def _joined(tokenizer: Tokenizer, text: str, option: str, scored: Ids) -> str:
    """How the tokenizer would cut prompt and option as one text, where that differs from what was scored."""
    joined = tokenizer.encode(text + option, add_special_tokens=False).tokens
    if tuple(token.id for token in joined) == scored:
        return ""
    same = next((n for n, (t, i) in enumerate(zip(joined, scored, strict=False)) if t.id != i), 0)
    split = " + ".join(f'"{token.text}"' for token in joined[same:][:SHOWN_TOKENS])
    more = " ..." if len(joined) - same > SHOWN_TOKENS else ""
    return f"as one text with the prompt the tokenizer would write {split}{more} here"
