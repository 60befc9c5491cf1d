"""Numbers as people read them: percent with three significant digits, bits, counts, bars of eighths.

Rounds and never embellishes: what is not quite 0 or 1 is never shown as 0 % or 100 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import floor, isnan, log10, prod

EIGHTHS = " ▏▎▍▌▋▊▉"
FULL = "█"


def percent(p: float | None) -> str:
    """A probability with three significant digits.

    >>> [percent(p) for p in (0.2068, 0.0952, 0.00012345, 1.0, 0.99996, 0.0, 3e-9, None)]
    ['20.7 %', '9.52 %', '0.0123 %', '100 %', '>99.9 %', '0 %', '3.00e-7 %', 'unknown']
    """
    if p is None or isnan(p):
        return "unknown"
    if p <= 0.0 or p >= 1.0:
        return "0 %" if p <= 0.0 else "100 %"
    if p >= 0.9995:
        return ">99.9 %"
    return f"{significant(100.0 * p)} %"


def significant(x: float, digits: int = 3) -> str:
    """A number with so many significant digits, never more than it has before the point.

    >>> significant(18.3149), significant(-0.5), significant(12345.6), significant(2e-7), significant(0.0)
    ('18.3', '-0.500', '12,346', '2.00e-7', '0')
    """
    if x == 0 or x != x or x in (float("inf"), float("-inf")):
        return "0" if x == 0 else str(x)
    exponent = floor(log10(abs(float(f"{x:.{digits - 1}e}"))))
    if exponent < -4:
        mantissa, power = f"{x:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(power)}"
    return f"{x:,.{max(0, digits - 1 - exponent)}f}"


def differ(a: float | None, b: float | None) -> bool:
    """Whether two probabilities differ by more than rounding, or only one of them is known.

    >>> differ(0.5, 0.5 + 1e-9), differ(0.5, None), differ(None, None)
    (False, True, False)
    """
    return a is not b if a is None or b is None else abs(a - b) > 1e-6


def together(shares: Iterable[float | None]) -> float | None:
    """The product of probabilities; None where one is unknown.

    >>> together([0.5, 0.5]), together([0.5, None])
    (0.25, None)
    """
    known = list(shares)
    return None if None in known else prod(p for p in known if p is not None)


def bits(entropy_bits: float | None, bounds: tuple[float, float] | None = None) -> str:
    """An entropy, or the bounds of one that is unknown.

    Two decimals, because the effective number of choices doubles with each bit.

    >>> bits(5.0712), bits(None), bits(None, (2.131, 2.4))
    ('5.07 bits', 'unknown', '2.13–2.40 bits')
    """
    if bounds is not None and entropy_bits is None:
        return f"{bounds[0]:.2f}–{bounds[1]:.2f} bits"
    if entropy_bits is None or isnan(entropy_bits):
        return "unknown"
    return f"{entropy_bits:.2f} bits"


def choices(effective: float) -> str:
    """The effective number of choices in words.

    >>> choices(33.4), choices(1.04), choices(2.5)
    ('about 33 effective choices', 'about 1 effective choice', 'about 2.5 effective choices')
    """
    shown = f"{effective:.1f}" if effective < 9.95 else f"{effective:,.0f}"
    shown = shown.removesuffix(".0")
    return f"about {shown} effective choice{'' if shown == '1' else 's'}"


def ordinal(n: int) -> str:
    """A rank in words.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 22, 1013)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '22nd', '1,013th']
    """
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{suffix}"


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "token"), count(49152, "candidate")
    ('1 token', '49,152 candidates')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def size(n_bytes: int) -> str:
    """A file's or a process's size, in powers of ten as disks and downloads state it.

    >>> size(98_226_784), size(1_340_000_000), size(512)
    ('98.2 MB', '1.34 GB', '512 bytes')
    """
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= power:
            return f"{significant(n_bytes / power)} {unit}"
    return f"{n_bytes} bytes"


def unbroken(text: str) -> str:
    r"""`text` with no-break spaces between figures and their units.

    >>> unbroken("a has 4.92 % of 12.50 bits")
    'a has 4.92\xa0% of 12.50\xa0bits'
    """
    return re.sub(r"(?<=\d) (?=%|bits?\b)", "\u00a0", text)


def bar(p: float, width: int) -> str:
    """A bar for a share of 1 in eighths of a cell, linear; empty where it would be under half an eighth.

    >>> bar(1.0, 4), bar(0.5, 5), bar(0.001, 10), bar(0.01, 10)
    ('████', '██▌', '', '▏')
    """
    eighths = 0 if isnan(p) else min(round(max(p, 0.0) * width * 8), width * 8)
    return FULL * (eighths // 8) + EIGHTHS[eighths % 8].strip()
