"""Experiments with the words of a prompt: replace one, or put them in another order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import factorial, prod

from tokenglass.comparing.comparison import rows_at
from tokenglass.comparing.measures import LogProbs, difference, log_probs
from tokenglass.model import Model
from tokenglass.random import Philox, fresh_seed
from tokenglass.recording import checked
from tokenglass.types import Token
from tokenglass.types.comparison import Arrangement, Difference, WordChange, WordChanges, WordOrder

Words = tuple[str, ...]
_MOVERS = 10


def change_one_word(model: Model, prompt: str, word: str, replacements: Sequence[str]) -> WordChanges:
    """Replace one word of a prompt by others and measure what that does to the next token.

    Args:
        model: that reads.
        prompt: a text in which `word` stands once.
        word: a word or a longer piece, with no letter or digit directly before or after it.
        replacements: at least one text to stand in its place.

    Raises:
        TypeError: `prompt` is no text.
        ValueError: the word does not stand exactly once in the prompt, or nothing replaces it.
        ContextOverflow: a prompt is longer than the context.
    """
    _check_text(prompt)
    if isinstance(replacements, str) or not replacements:
        raise ValueError(f"replacements must be a list of at least one text, got {replacements!r}")
    places = list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt)) if word else []
    if len(places) != 1:
        raise ValueError(
            f"word must stand exactly once in the prompt, got {word!r}, which stands there {len(places)} "
            "times; give a word of the prompt with as many of its neighbours as make it the only one"
        )
    start, end = places[0].span()
    original = _after(model, model.prompt_ids(prompt))
    rows = []
    for replacement in replacements:
        text = prompt[:start] + replacement + prompt[end:]
        changed = _after(model, model.prompt_ids(text))
        rows.append(WordChange(replacement, text, _between(model, original, changed)))
    return WordChanges(prompt, word, tuple(sorted(rows, key=lambda row: -(row.difference.tv or 0.0))))


def word_order(model: Model, prompt: str, *, n: int = 24, seed: int | None = None) -> WordOrder:
    """Put the words of a prompt in other orders; how likely is each, and what comes next?

    A word is what stands between white space, its punctuation included. Every order is read after the model's
    begin-of-text token, so that its first token has a probability too.

    Args:
        model: that reads.
        prompt: a text of at least two different words.
        n: orders at most, the given one among them; all of them where there are no more than that.
        seed: of the orders drawn; None takes a fresh one, which is kept in the result.

    Raises:
        TypeError: `prompt` is no text.
        ValueError: too few words, or `n` below 2.
        ContextOverflow: the prompt is longer than the context.
    """
    _check_text(prompt)
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise ValueError(f"n must be a whole number of at least 2, got {n!r}")
    words = tuple(prompt.split())
    counts = Counter(words)
    if len(counts) < 2:
        raise ValueError(f"prompt must have at least two different words, got {len(counts)}; type some more")
    possible = factorial(len(words)) // prod(map(factorial, counts.values()))
    draws = possible > n
    seed = (fresh_seed() if seed is None else seed) if draws else None
    orders = _all(counts) if seed is None else _drawn(words, seed)
    chosen = {words: None}  # in order of appearance, each once
    for order in orders:
        if len(chosen) == min(n, possible):
            break
        chosen.setdefault(order)
    given = _given(model, prompt)
    read = [_read(model, " ".join(order), given) for order in chosen]
    first = read[0]
    rows = [
        Arrangement(text, ids, logprob, len(ids) - (given is None), _between(model, first[1:3], (ids, after)))
        for text, ids, after, logprob in read
    ]
    ranked = tuple(sorted(rows, key=lambda row: -row.logprob))
    return WordOrder(" ".join(words), ranked, possible, given, seed)


def _check_text(prompt: str) -> None:
    if not isinstance(prompt, str):
        raise TypeError(f"prompt must be a text here, got {type(prompt).__name__}")


def _after(model: Model, ids: tuple[int, ...]) -> tuple[tuple[int, ...], LogProbs]:
    """Some ids, and the log-probabilities (V,) of what comes after them."""
    return ids, log_probs(next(rows_at(model.engine, ids, [len(ids) - 1])))


def _between(
    model: Model, a: tuple[tuple[int, ...], LogProbs], b: tuple[tuple[int, ...], LogProbs]
) -> Difference:
    """The difference between two pairs of ids and what comes after them."""
    name = model.tokenizer.token
    return difference((len(a[0]) - 1, len(b[0]) - 1), name(a[0][-1]), a[1], b[1], name, _MOVERS)


def _given(model: Model, prompt: str) -> Token | None:
    """The begin-of-text token, where the tokenizer puts nothing in front itself."""
    bos = model.info.bos_id
    if bos is None or model.tokenize(prompt).tokens[0].span is None:
        return None
    return model.tokenizer.token(bos)


def _read(model: Model, text: str, given: Token | None) -> tuple[str, tuple[int, ...], LogProbs, float]:
    """A text, its ids, the log-probabilities of what comes next, and that of the text itself."""
    ids = tuple(model.tokenize(text).ids)
    sequence = ids if given is None else (given.id, *ids)
    total, position = 0.0, 0
    logs: LogProbs
    for piece in model.engine.iter_logits(sequence):
        for row in piece:
            position += 1
            logs = log_probs(checked(row[None, None], position))
            if position < len(sequence):
                total += float(logs[sequence[position]])
    return text, ids, logs, total


def _all(words: Counter[str]) -> Iterator[Words]:
    """Every different order of some words."""
    if not words:
        yield ()
    for word in words:
        for rest in _all(words - Counter([word])):
            yield (word, *rest)


def _drawn(words: Words, seed: int) -> Iterator[Words]:
    """Orders of some words without end, each drawn evenly (Fisher and Yates); one may come again."""
    source, attempt = Philox(seed), 0
    while True:
        order = list(words)
        for i in range(len(order) - 1, 0, -1):
            j = int(source.uniform(attempt, "order", i) * (i + 1))
            order[i], order[j] = order[j], order[i]
        yield tuple(order)
        attempt += 1
