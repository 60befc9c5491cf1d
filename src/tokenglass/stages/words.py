"""Words given as text: which token sequences they are, and how the model can still write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenglass.stages.base import require
from tokenglass.stages.spelling import Spelling, spelling
from tokenglass.text import safe_line, safe_text
from tokenglass.types import Vocabulary

Ids = tuple[int, ...]
Tokenize = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as token sequences.

    Attributes:
        sequences: ids of each text, in order, each once.
        warnings: what stays free although a reader may think it forbidden, one line each; safe to print.
    """

    sequences: tuple[Ids, ...]
    warnings: tuple[str, ...]


def words_from_text(
    texts: Sequence[str],
    tokenize: Tokenize,
    vocabulary: Vocabulary | None = None,
    parameter: str = "words",
) -> Words:
    """Token sequences of texts, with a warning for everything alike that they do not cover.

    Twins are the same word with or without a space in front and in other case. With a vocabulary there is a
    second warning for every text that other tokens can write too: a list of token sequences never forbids a
    text, only these ways of writing it.

    Args:
        texts: at least one character each.
        tokenize: text to ids, without special tokens.
        vocabulary: names the ids; without it nothing is said about other ways of writing.
        parameter: what errors call the texts.

    Raises:
        ValueError: an empty text, or one that has no tokens.

    >>> words = words_from_text(["mess"], lambda text: list(text.encode()))
    >>> words.sequences
    ((109, 101, 115, 115),)
    >>> words.warnings
    ("'mess' is listed, but these twins are not: 'Mess', ' Mess', 'MESS', ' MESS'",)
    """
    _check(parameter, texts)
    sequences = tuple(dict.fromkeys(_ids(parameter, text, tokenize) for text in texts))
    return Words(sequences, _warnings(texts, sequences, tokenize, vocabulary))


def vllm_bad_words(texts: Sequence[str], tokenize: Tokenize, vocabulary: Vocabulary | None = None) -> Words:
    """The token sequences that vLLM forbids for `bad_words`, which looks at written tokens only.

    Each word counts without white space in front, and with a space where that changes the first token and
    not the number of tokens. So " mess" stays free where it is one token and "mess" is two: the warnings say
    so.

    Args:
        texts: at least one character each.
        tokenize: text to ids, without special tokens.
        vocabulary: as in `words_from_text`.

    Raises:
        ValueError: an empty text, or one that has no tokens.

    Source: vLLM's `SamplingParams.update_from_tokenizer`.

    >>> vllm_bad_words(["ab"], lambda text: [len(word) for word in text.split("b")]).sequences
    ((1, 0), (2, 0))
    """
    _check("bad_words", texts)
    words = [text.lstrip() for text in dict.fromkeys(texts)]
    sequences = []
    for word in words:
        bare, spaced = _ids("bad_words", word, tokenize), tuple(tokenize(" " + word))
        sequences.append(bare)
        if len(spaced) == len(bare) and spaced[0] != bare[0]:
            sequences.append(spaced)
    once = tuple(dict.fromkeys(sequences))
    return Words(once, _warnings(words, once, tokenize, vocabulary))


def _check(parameter: str, texts: Sequence[str]) -> None:
    require(not isinstance(texts, str), parameter, "a list of texts", texts)
    for text in texts:
        require(isinstance(text, str) and bool(text), parameter, "texts of at least one character", text)


def _ids(parameter: str, text: str, tokenize: Tokenize) -> Ids:
    ids = tuple(tokenize(text))
    require(bool(ids), parameter, "texts of at least one token", text)
    return ids


def _warnings(
    texts: Sequence[str],
    sequences: tuple[Ids, ...],
    tokenize: Tokenize,
    vocabulary: Vocabulary | None,
) -> tuple[str, ...]:
    warnings = []
    for text in texts:
        free = [twin for twin in _twins(text) if not _caught(tuple(tokenize(twin)), sequences)]
        if free:
            names = ", ".join(f"'{safe_line(twin)}'" for twin in free)
            warnings.append(f"'{safe_line(text)}' is listed, but these twins are not: {names}")
        if vocabulary is not None:
            warnings += _other_writing(text, sequences, vocabulary)
    return tuple(dict.fromkeys(warnings))


def _caught(ids: Ids, sequences: Sequence[Ids]) -> bool:
    """Whether writing these ids would complete a listed sequence somewhere."""
    return any(
        ids[at : at + len(listed)] == listed
        for listed in sequences
        for at in range(len(ids) - len(listed) + 1)
    )


def _twins(text: str) -> list[str]:
    """The same word with or without a space in front, in lower case, capitalised, titled and in capitals."""
    word = text.removeprefix(" ")
    forms = dict.fromkeys([word, word.lower(), word.capitalize(), word.title(), word.upper()])
    return [twin for form in forms for twin in (form, " " + form) if form and twin != text]


def _other_writing(text: str, sequences: Sequence[Ids], vocabulary: Vocabulary) -> list[str]:
    """How the text can still come about: other tokens with the same bytes, and tokens that hold it whole."""
    known, data = spelling(vocabulary), text.encode()
    examples = []
    other = _free_writing(data, sequences, known)
    if other is not None:
        examples.append("as " + " + ".join(_name(token_id, vocabulary) for token_id in other))
    holders = [i for i in known.containing(data) if not _caught((i,), sequences)]
    if holders:
        more = f" and {len(holders) - 1:,} more" if len(holders) > 1 else ""
        examples.append(f"inside {_name(holders[0], vocabulary)}{more}")
    if not examples:
        return []
    ways = ", or ".join(examples)
    return [f"'{safe_line(text)}' is listed as token sequences; others can still write the same text, {ways}"]


def _free_writing(data: bytes, sequences: Sequence[Ids], known: Spelling) -> Ids | None:
    """The fewest tokens that write `data` without completing a listed sequence, or None.

    A search over (bytes written, which beginning of a listed sequence the tokens end in): of two ways to the
    same place only the first is followed, so that long texts cost no more than their length.
    """
    beginnings = {listed[:n] for listed in sequences for n in range(len(listed))} | {()}
    begun: dict[tuple[int, Ids], Ids] = {(0, ()): ()}
    seen = set(begun)
    while begun:
        longer: dict[tuple[int, Ids], Ids] = {}
        for (at, tail), ids in begun.items():
            for end in range(min(len(data), at + known.longest), at, -1):
                for token_id in known.exactly(data[at:end]):
                    last = (*tail, token_id)
                    if _caught(last, sequences):
                        continue
                    if end == len(data):
                        return (*ids, token_id)
                    tails = (last[n:] for n in range(len(last) + 1))
                    place = (end, next(rest for rest in tails if rest in beginnings))
                    if place not in seen:
                        seen.add(place)
                        longer[place] = (*ids, token_id)
        begun = longer
    return None


def _name(token_id: int, vocabulary: Vocabulary) -> str:
    return f"'{safe_text(vocabulary.token(token_id).bytes)}'"
