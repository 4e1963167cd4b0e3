"""SVG by hand: elements, scales and text that fits. Colours are classes of the style sheet, so dark mode costs nothing.

Everything here returns `Markup` and escapes what it is given; class and file names are somebody else's text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup, escape

WIDE, NARROW = 760, 350
"""Widths in CSS pixels of the two drawings of a responsive figure: a desktop column and a phone."""

TEXT = 13
"""Font size of labels in pixels; the drawings are never shrunk below their own size on the screen they are meant for."""

_SPECIAL = re.compile("[&<>'\"]")


def tag(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element. Attribute names: `class_` is class, other underscores become hyphens; None leaves one out.

    A page has thousands, so what needs no escaping is not sent through it.
    """
    opened = "".join([f' {_hyphened(key)}="{_quoted(value)}"' for key, value in attributes.items() if value is not None])
    if not children:
        return Markup(f"<{name}{opened}/>")
    inside = "".join([child if type(child) is Markup else escape(child) for child in children])
    return Markup(f"<{name}{opened}>{inside}</{name}>")


@cache
def _hyphened(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _quoted(value: str | float) -> str:
    """The value of an attribute; a number has nothing to escape."""
    if isinstance(value, str):
        return escape(value) if _SPECIAL.search(value) or type(value) is not str else value
    return _plain(value)


def _plain(value: float) -> str:
    """Coordinates to a tenth of a pixel: small files, and the same text on every machine."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def drawing(width: float, height: float, label: str, *children: Markup, class_: str = "chart") -> Markup:
    """A whole picture with a spoken description; `label` is what a screen reader says in its place."""
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        width=width,
        height=height,
        class_=class_,
        role="img",
        aria_label=label,
    )


def both(draw: Callable[[float], Markup]) -> Markup:
    """The same figure drawn for a desktop and for a phone; the style sheet shows one of them."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(draw(WIDE), draw(NARROW))


def label(
    x: float, y: float, text: str, *, class_: str = "", anchor: str | None = None, size: float | None = None
) -> Markup:
    """Text whose baseline starts, centres (`middle`) or ends (`end`) at (x, y)."""
    return tag("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor, font_size=size)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: list[tuple[float, float]], class_: str) -> Markup:
    """A polyline."""
    return tag("path", d="M" + "L".join(f"{_plain(x)} {_plain(y)}" for x, y in points), class_=class_)


def text_width(text: str, size: float = TEXT) -> float:
    """Estimated width in pixels: an average sans-serif letter is 0.55 of the size, an East Asian one 1."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.55 for c in text)


def fit(text: str, pixels: float, size: float = TEXT) -> str:
    """`text`, cut with an ellipsis in its middle when it is wider than `pixels`."""
    if text_width(text, size) <= pixels:
        return text
    keep = max(2, int(pixels / (0.55 * size)) - 1)
    while keep > 2 and text_width(text[: keep - keep // 3] + "…" + text[len(text) - keep // 3 :], size) > pixels:
        keep -= 1
    return text[: keep - keep // 3] + "…" + text[len(text) - keep // 3 :]


@dataclass(frozen=True)
class Scale:
    """A straight map from [low, high] in data to [start, end] in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """At most about `wanted` round values inside the range, 1, 2 or 5 times a power of ten apart."""
        step = nice_step((self.high - self.low) / max(1, wanted))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def padded(values: list[float], floor: float = 0.0, ceiling: float = 1.0, least: float = 0.02) -> tuple[float, float]:
    """A range around `values` with some air, at least `least` wide, inside [floor, ceiling]."""
    low, high = min(values), max(values)
    air = max(0.06 * (high - low), (least - (high - low)) / 2, 0.0)
    low, high = max(floor, low - air), min(ceiling, high + air)
    return (low, high) if high > low else (max(floor, low - least), min(ceiling, low + least))
