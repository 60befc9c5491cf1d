r"""How text is cut into words before byte-pair encoding, by the name a GGUF file gives its rule.

The rules are llama.cpp's (`tokenizer.ggml.pre`, https://github.com/ggml-org/llama.cpp: src/llama-vocab.cpp),
because a GGUF's ids mean what llama.cpp makes of them. A rule is one pattern or several in turn: each cuts
every piece the one before left, into what it matches and what lies between. No byte is lost or added.

In the patterns `\p{L}` and its like stand inside brackets only and are filled in from Unicode 15.1; `\s` is
Unicode's White_Space. `re` knows neither: it has no categories, and its own `\s` takes U+001C to U+001F too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tokenglass.tokenizer.unicode_ranges import WHITE_SPACE, char_class

_CONTRACTION = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_SPACES = r"[\s]*[\r\n]+|[\s]+(?![^\s])|[\s]+"
# OpenAI's encoder.py; Llama 3 in groups of three digits; Qwen2 in single digits; Qwen3.5 with marks in words
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|[\s]+(?![^\s])|[\s]+"
_LLAMA3 = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}]+|[\p{N}]{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_QWEN35 = _QWEN2.replace(r"[\p{L}]+", r"[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}")
# A letter that is no small one, then one that is no capital, ASCII alone being asked for its case.
_CASED = r"[^\r\n\p{L}\p{N}]?[\p{L-a}]*[\p{L-A}]+", r"[^\r\n\p{L}\p{N}]?[\p{L-a}]+[\p{L-A}]*"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|[\p{{N}}]| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
_GPT4O = (
    rf"{_CASED[0]}(?:{_CONTRACTION})?|{_CASED[1]}(?:{_CONTRACTION})?"
    rf"|[\p{{N}}]{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES
)
# U+0800 to U+9FA5 and U+AC00 to U+D7FF, but no white space, for so llama.cpp reads DeepSeek's own ranges
_ASIAN = "[ࠀ-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-龥가-\ud7ff]+"
_DIGIT, _DIGITS, _THREE_DIGITS = r"[\p{N}]", r"[\p{N}]+", r"[0-9][0-9][0-9]"


@dataclass(frozen=True, slots=True)
class Rule:
    """How a family of vocabularies cuts text.

    Attributes:
        patterns: applied in turn.
        whole_words: a word that is itself a token is taken at once, whatever the merges say.
        adds_bos: texts begin with BOS unless the file says otherwise.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False


_RULES: dict[str, Rule] = {
    "default": Rule((r"[\p{P}$+<=>\^~|]+", _GPT2, _DIGITS, _THREE_DIGITS)),
    "falcon": Rule((r"[\p{P}$+<=>\^~|`]+", _GPT2, _THREE_DIGITS)),
    "gpt-2": Rule((_GPT2,)),
    "smollm": Rule((_DIGIT, _GPT2)),
    "llama-bpe": Rule((_LLAMA3,), whole_words=True, adds_bos=True),
    "dbrx": Rule((_LLAMA3,)),
    "glm4": Rule((_LLAMA3,), whole_words=True),
    "qwen2": Rule((_QWEN2,)),
    "qwen35": Rule((_QWEN35,)),
    "tekken": Rule((_TEKKEN,), whole_words=True, adds_bos=True),
    "gpt-4o": Rule((_GPT4O,)),
    "deepseek-v3": Rule((r"[\p{N}]{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK3)),
    "deepseek-coder": Rule((r"[\r\n]", r"[\s]?[\p{L}]+", r"[\s]?[\p{P}]+", _ASIAN, _DIGIT)),
}
_SAME = {
    "gpt-2": "phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert mpt olmo jais "
    "exaone4 trillion granite-docling",
    "smollm": "starcoder refact command-r codeshell exaone minerva-7b mellum2",
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    "dbrx": "smaug-bpe chatglm-bpe",
    "glm4": "glm5",
    "qwen2": "deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    "gpt-4o": "llama4 kanana2 talkie minimax-m2",
    "deepseek-v3": "hunyuan-dense joyai-llm hy_v4",
}
RULES: dict[str, Rule] = _RULES | {
    name: _RULES[model] for model, names in _SAME.items() for name in names.split()
}


class Splitter:
    r"""Cuts text by one rule's patterns.

    >>> Splitter(RULES["smollm"].patterns).words("It's 42!\n\n  ok")
    ['It', "'s", ' ', '4', '2', '!', '\n\n ', ' ok']
    """

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns

    def words(self, text: str) -> list[str]:
        """The words of `text` in order, none empty; joined they are `text`."""
        pieces = [text] if text else []
        for pattern in self.patterns:
            regex = _compiled(pattern, text.isascii())
            pieces = [word for piece in pieces for word in regex.split(piece) if word]
        return pieces


@cache
def _compiled(pattern: str, ascii_only: bool) -> re.Pattern[str]:
    """The pattern with its classes filled in; in a group, so that `split` keeps what it matches."""
    for category in "LNMPS":
        pattern = pattern.replace(rf"\p{{{category}}}", char_class(category, ascii_only))
    letters = char_class("L", ascii_only)  # begins with A-Za-z in both forms
    pattern = pattern.replace(r"\p{L-a}", letters.replace("a-z", "", 1))
    pattern = pattern.replace(r"\p{L-A}", letters.replace("A-Z", "", 1))
    pattern = pattern.replace(r"[\s]", f"[{WHITE_SPACE}]").replace(r"[^\s", f"[^{WHITE_SPACE}")
    return re.compile(f"({pattern})")
