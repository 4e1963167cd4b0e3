"""Parts in which every label is as frequent as in the whole, although a sample carries several labels at once.

The iterative stratification of Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011,
algorithm 1: the label with the fewest samples left is dealt out first, each of its samples to the part that still wants
most of that label; ties go to the part that wants most samples, then to chance. Deviation: what is dealt is a *unit* - a
group of samples that must not be torn apart, or a single sample - and among the units of a label the largest come first;
without groups this is the published algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.seeding import generator

_EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Units:
    """What is dealt out, and the labels that go with it.

    of      `[N]` the unit of each sample
    sizes   `[U]` samples in each unit
    starts  `[U + 1]` where the labels of each unit begin in `labels` and `counts`, which say how many of its samples carry
            each label
    number  labels there are
    """

    of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    number: int

    def holders(self) -> list[NDArray[np.int64]]:
        """For each label the units that carry it, ascending."""
        owner = np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))
        order = np.argsort(self.labels, kind="stable")
        cuts = np.searchsorted(self.labels[order], np.arange(1, self.number))
        return [part.astype(np.int64) for part in np.split(owner[order], cuts)] if self.number else []


def units_of(codes: NDArray[np.int64], groups: NDArray[np.integer] | None) -> Units:
    """Samples gathered into units.

    codes   `[N, T]`, the labels of each sample, numbered over all columns; negative: none
    groups  `[N]` or None: samples of one group are one unit
    """
    samples, number = len(codes), int(codes.max(initial=-1)) + 1
    if groups is not None and len(groups) != samples:
        raise DataError(f"there are {len(groups)} groups for {samples} samples; give one group per sample")
    of = np.arange(samples) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(of) if samples else np.empty(0, np.int64)
    at, column = np.nonzero(codes >= 0)
    pairs, counts = np.unique(of[at] * max(1, number) + codes[at, column], return_counts=True)
    unit, labels = np.divmod(pairs, max(1, number))
    starts = np.searchsorted(unit, np.arange(len(sizes) + 1))
    return Units(
        of.astype(np.int64), sizes.astype(np.int64), starts.astype(np.int64), labels.astype(np.int64), counts, number
    )


def stratified(units: Units, fractions: Sequence[float], seed: int, *names: str | int) -> NDArray[np.int64]:
    """`[U]` the part of each unit, 0 to len(fractions) - 1.

    fractions  of all samples, one per part; they add up to 1
    names      tell the seed's streams apart
    """
    rng = generator(seed, "stratify", *names)
    deal = _Deal(units, np.asarray(fractions, np.float64), rng)
    holders = units.holders()
    left = np.array([len(part) for part in holders], np.int64)
    shuffled = rng.permutation(len(units.sizes))
    rank = np.empty(len(shuffled), np.int64)
    rank[shuffled] = np.arange(len(shuffled))
    while left.any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        mine = holders[label][deal.part[holders[label]] < 0]
        for unit in mine[np.lexsort((rank[mine], -units.sizes[mine]))].tolist():
            carried = deal.give(unit, label)
            left[carried] -= 1
    rest = np.flatnonzero(deal.part < 0)
    for unit in rest[np.lexsort((rank[rest], -units.sizes[rest]))].tolist():
        deal.give(unit, None)
    return deal.part


class _Deal:
    """What each part has got, and what it still wants."""

    def __init__(self, units: Units, fractions: NDArray[np.float64], rng: np.random.Generator):
        self.units, self.rng = units, rng
        self.part = np.full(len(units.sizes), -1, np.int64)
        total = np.bincount(units.labels, units.counts, units.number)
        self.wants = fractions[:, None] * total
        self.wants_samples = fractions * units.sizes.sum()
        self.open = fractions > 0

    def give(self, unit: int, label: int | None) -> NDArray[np.int64]:
        """Give a unit to the part that wants most of `label`; returns the labels that it carries."""
        best = self.open
        for wanted in (self.wants_samples,) if label is None else (self.wants[:, label], self.wants_samples):
            most = wanted[best].max()
            best = best & (wanted >= most - _EQUAL)
        ties = np.flatnonzero(best)
        chosen = int(ties[0] if len(ties) == 1 else ties[self.rng.integers(len(ties))])
        span = slice(self.units.starts[unit], self.units.starts[unit + 1])
        carried = self.units.labels[span]
        self.part[unit] = chosen
        self.wants[chosen, carried] -= self.units.counts[span]
        self.wants_samples[chosen] -= self.units.sizes[unit]
        return carried
