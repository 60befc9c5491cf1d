"""Texts that break tokenizers: hand-picked ones, and random ones from a seed."""

from __future__ import annotations

import random

from tests.conftest import FULL

RANDOM = 10_000 if FULL else 1_000

NASTY = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n\r\n",
    " \n \n\n  x",
    "a  b   c    d",
    "\t\tif x:\n\t\t\treturn 'y'  # z\n",
    "Preposterous, I'm flabbergasted!",
    "I am learning about generative ai and LLM's",
    "we'll they've I'd it's DON'T CAN'T 'Tis rock'n'roll",
    "0 12 345 6789 01234567890 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥ 一二三",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 0x1F; } // <|im_end|>\n",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|></s><s><unk>[UNK][CLS]<0x0A>",
    "<<|im_end|>> <|im_end|><|im_end|> <|im_end |> <|IM_END|>",
    "你好，世界！これはテストです。안녕하세요 세계",
    "שלום עולם مرحبا بالعالم ‏RTL‎ \u202ertl\u202c",
    "Zażółć gęślą jaźń Ünïcödé naïve ﬁ ﬀ Ǆ ß İ ı ſ K Å",
    "e\u0301 \u0301\u0301\u0301 क्षि ก็ำ Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A",
    "👍🏽 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪🇩 ☺️ \U0001fae8",
    "\x00\x01\x04\x06\x13\x14\x16\x1b[31mred\x1b[0m\x1d\x7f\x80\x9f",
    "\x1c\x1d\x1e\x1f \x85 \xa0 \u1680 \u2003 \u2028 \u2029 \u202f \u205f \u3000 \u200b \ufeff",
    "\ufffd\ufffe\uffff\U0010ffff\U000f0000\ue000",
    "\U00040000\U00080001\U000c0002\U000f1234\U00100000",  # lead bytes F1 and F2
    "\u1c89\ua7cb\U000105c0\U00011380\U0001ccf0\u2427\U0002ebf0",  # letters and digits of Unicode 15.1 and 16
    "▁▁ ▁a ▁ b▁c",
    "https://example.org/~user?q=a+b&c=%20d#e",
    "$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$",
    "!!!??...---===___###@@@",
    "A" * 3_000,
    "\n" * 3_000,
    " " * 3_000 + "x",
    "ab" * 1_000 + "1" * 1_000,
]

_ALPHABETS = [
    [chr(code) for code in range(0x20, 0x7F)],
    list("abcdefghijklmnopqrstuvwxyz      etaoin"),
    list(" \n\t\r\u00a0\u3000'\x85"),
    list("0123456789٣²Ⅷ"),
    [chr(code) for code in range(0x80, 0x3000) if chr(code).isprintable()],
    [chr(code) for code in range(0x4E00, 0x9FFF, 7)],
    [chr(code) for code in range(0x1F300, 0x1FAFF)] + ["\u200d", "\ufe0f"],
    [chr(code) for code in range(0x20)],
]


def random_texts(count: int, seed: int) -> list[str]:
    """Texts of up to 40 characters, from mixed alphabets and from all of Unicode."""
    rng = random.Random(seed)
    return ["".join(_character(rng) for _ in range(rng.randint(1, 40))) for _ in range(count)]


def _character(rng: random.Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(rng.choice(_ALPHABETS))
    code = rng.randrange(0x110000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)  # every code point but the surrogates
