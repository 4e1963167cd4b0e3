"""Costs as a person reads them. Units are decimal (1 MB = 1 000 000 bytes), figures have three digits."""

from __future__ import annotations

import math

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def _scaled(value: float, unit: str, whole_below: float = 1000.0) -> str:
    if not math.isfinite(value):
        return f"{value} {unit}".strip()
    sign, size = "-" if value < 0 else "", abs(value)
    step = 0
    # 999.5 would print as 1000 of its own unit: round first, then choose the unit
    while step + 1 < len(_PREFIXES) and float(f"{size:.3g}") >= whole_below:
        size, step = size / 1000, step + 1
    digits = f"{size:.0f}" if (step == 0 and size == int(size)) or size >= 99.95 else f"{size:.3g}"
    return f"{sign}{digits} {_PREFIXES[step]}{unit}".strip()


def format_bytes(count: float) -> str:
    """`1530000` -> `1.53 MB`."""
    return _scaled(count, "B")


def format_flops(count: float) -> str:
    """Floating-point operations, a multiply-add counting two: `1.8e9` -> `1.8 GFLOP`."""
    return _scaled(count, "FLOP")


def format_count(count: float) -> str:
    """Parameters, images: `272474` -> `272 k`."""
    return _scaled(count, "")


def format_seconds(seconds: float) -> str:
    """A duration: `0.0042` -> `4.2 ms`, `75` -> `1 min 15 s`, `7300` -> `2 h 2 min`."""
    if not math.isfinite(seconds):
        return f"{seconds} s"
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if float(f"{seconds:.3g}") < 60:
        return _short(seconds)
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _short(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if float(f"{seconds * factor:.3g}") >= 1:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 99.95 else f"{seconds * factor:.0f} {unit}"
    return "0 s" if seconds == 0 else f"{seconds * 1e9:.3g} ns"
