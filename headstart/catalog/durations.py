"""Times as people write them."""

from __future__ import annotations

import re

from headstart.errors import ConfigError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str | float, argument: str = "--budget") -> float:
    """Seconds of `45s`, `10m`, `1.5h`, `1h30m` or a plain number of seconds.

    >>> parse_seconds("1h30m")
    5400.0
    """
    stripped = str(text).strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", stripped)
    if parts and "".join(number + unit for number, unit in parts) == stripped:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", stripped):
        seconds = float(stripped)
    else:
        raise ConfigError(f"{argument} {text!r} is not a time; write it like 45s, 10m or 2h")
    if seconds <= 0:
        raise ConfigError(f"{argument} {text!r} must be more than nothing; write it like 45s, 10m or 2h")
    return seconds
