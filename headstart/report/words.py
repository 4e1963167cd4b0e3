"""Numbers and names as a person reads them. Every function takes None for "not known" and then says so."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

NARROW = "\u202f"  # narrow no-break space: groups of digits, and before units
MINUS = "\u2212"
UNKNOWN = "\u2013"


def _fixed(value: float, places: int) -> str:
    text = f"{abs(value):.{places}f}"
    return (MINUS if value < 0 and float(text) != 0 else "") + text


def percent(fraction: float | None, places: int = 1) -> str:
    """0.9423 -> 94.2 %."""
    return UNKNOWN if fraction is None else f"{_fixed(100 * fraction, places)}{NARROW}%"


def percent_range(pair: tuple[float, float] | None) -> str:
    """(0.919, 0.96) -> 91.9–96.0 %."""
    return UNKNOWN if pair is None else f"{_fixed(100 * pair[0], 1)}\u2013{percent(pair[1])}"


def points(fraction: float | None, *, sign: bool = False) -> str:
    """A difference of two accuracies, 0.023 -> 2.3 points."""
    if fraction is None:
        return UNKNOWN
    text = _fixed(100 * fraction, 1)
    plus = "+" if sign and fraction > 0 and text != "0.0" else ""
    return f"{plus}{text} point{'' if text in ('1.0', MINUS + '1.0') else 's'}"


def points_range(pair: tuple[float, float] | None) -> str:
    """(-0.004, 0.018) -> −0.4 to 1.8."""
    return UNKNOWN if pair is None else f"{_fixed(100 * pair[0], 1)} to {_fixed(100 * pair[1], 1)}"


def count(value: float | None) -> str:
    """12345 -> 12 345."""
    return UNKNOWN if value is None else f"{round(value):,}".replace(",", NARROW)


def grouped(text: str) -> str:
    """Somebody else's sentence with its numbers as on the rest of the page: "20,000" and "94.3 %" with narrow spaces."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", NARROW, text)
    return re.sub(r"(?<=\d) (?=(?:%|s\b|px\b))", NARROW, text)


def compact(value: float | None) -> str:
    """Three figures and a unit: 272474 -> 272 k."""
    if value is None:
        return UNKNOWN
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{figures(value / size)}{NARROW}{unit}"
    return figures(value)


def size(value: float | None) -> str:
    """Bytes: 1094860 -> 1.09 MB."""
    return UNKNOWN if value is None else f"{compact(value)}{'' if abs(value) >= 999.5 else NARROW}B"


def flop(value: float | None) -> str:
    """Operations with a unit: 1.51e12 -> 1.51 TFLOP."""
    if value is None:
        return UNKNOWN
    text = f"{figures(value / 1e12)}{NARROW}T" if value >= 0.9995e12 else compact(value)
    return f"{text}{'' if value >= 999.5 else NARROW}FLOP"


def short(seconds: float | None) -> str:
    """A duration that may be far below a second: 0.00123 -> 1.23 ms; microseconds only below a hundredth of that."""
    if seconds is None or seconds >= 0.9995:
        return duration(seconds)
    unit, size = ("ms", 1e-3) if seconds >= 1e-5 or seconds == 0 else ("µs", 1e-6)
    return f"{figures(seconds / size)}{NARROW}{unit}"


def figures(value: float | None, wanted: int = 3) -> str:
    """A plain number to `wanted` figures, without trailing zeros or exponents where they can be avoided."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or (value == round(value) and abs(value) < 1e6):
        return count(value).replace("-", MINUS)
    if not 1e-4 <= abs(value) < 1e7:
        digits, power = f"{value:.{wanted - 1}e}".split("e")
        return f"{digits}e{int(power)}".replace("-", MINUS)
    places = max(0, wanted - 1 - math.floor(math.log10(abs(value))))
    text = f"{abs(value):.{places}f}"
    return (MINUS if value < 0 else "") + (text.rstrip("0").rstrip(".") if "." in text else text)


def duration(seconds: float | None) -> str:
    """0.34 -> 0.3 s, 72 -> 1 min 12 s, 3840 -> 1 h 04 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f}{NARROW}s" if seconds >= 0.05 or seconds == 0 else f"{seconds:.1g}{NARROW}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NARROW}s"
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60:02d}{NARROW}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{NARROW}h {minutes % 60:02d}{NARROW}min"


def p_value(value: float | None) -> str:
    """0.00001 -> p < 0.001."""
    if value is None:
        return f"p {UNKNOWN}"
    return "p < 0.001" if value < 0.001 else f"p = {value:.2f}" if value >= 0.0995 else f"p = {value:.3f}"


def sure(probability: float | None) -> str:
    """A confidence; one that only rounds to certainty is not called certain."""
    return f"> 99.9{NARROW}%" if probability is not None and 0.9995 <= probability < 1 else percent(probability)


def plural(n: float | None, one: str, many: str = "") -> str:
    """(1, "image") -> 1 image; (2, "class", "classes") -> 2 classes."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def listed(items: Iterable[str]) -> str:
    """a, b and c."""
    found = list(items)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else ""


def human(name: str) -> str:
    """seconds_by_phase -> seconds by phase."""
    return name.replace("_", " ").strip()


def sentence(text: str) -> str:
    """Capital at the start, full stop at the end."""
    text = text.strip()
    return text if not text else text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
