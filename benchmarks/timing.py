"""Taking times so that a ratio means something on a machine that also does other things.

The parts of a comparison run in turn, and a ratio is taken within each turn: whatever else the machine does meets all of
them alike. Reported is the median ratio with an interval that assumes nothing about how times are distributed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Median:
    """The median of `count` values, and the interval that holds the true one with at least 95 % (else all there are)."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] of {self.count}"


def median_of(values: Sequence[float], level: float = 0.95) -> Median:
    """Median with the exact binomial interval: from the k-th smallest to the k-th largest value.

    Each value is below the true median with probability one half, so the number below is binomial. With fewer than six
    values no such interval has 95 %; the whole range is given then.
    """
    ordered = sorted(values)
    count, cut, below = len(ordered), 0, 0.0
    while 2 * (cut + 1) < count:
        below += math.comb(count, cut) / 2**count
        if 2 * below > 1 - level:
            break
        cut += 1
    cut = max(cut - 1, 0)
    return Median(median(ordered), ordered[cut], ordered[-1 - cut], count)


def seconds(part: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    part()
    return time.perf_counter() - began


def in_turn(
    parts: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    ready: Callable[[str], object] = lambda name: None,
) -> dict[str, list[float]]:
    """Seconds of every part in every round, after `warm_up` uncounted rounds; each round begins with another part.

    ready  called with a part's name before it runs, and not counted
    """
    names = list(parts)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            ready(name)
            spent = seconds(parts[name])
            if number >= 0:
                taken[name].append(spent)
    return taken


def ratio(above: Sequence[float], below: Sequence[float]) -> Median:
    """Median of the ratios taken pair by pair."""
    return median_of([a / b for a, b in zip(above, below, strict=True)])
