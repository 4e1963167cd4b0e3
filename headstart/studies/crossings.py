"""Where two learning curves cross and where each leads, with uncertainty from redrawn training sets and test images.

A curve is accuracy against the number of images, straight between measured sizes when images are on a logarithmic scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.intervals import normal_quantile, t_quantile
from headstart.metrics.resample import chunks, degrees_of_freedom, spread_seeds
from headstart.seeding import generator

Floats = NDArray[np.float64]
LEVEL = 0.95
TIMES = 2000
"""redrawings; the ends of an interval then move by a few per cent of its width from seed to seed"""
_MOST = 40_000_000
"""Numbers that are kept of all redrawings; with more test images than that allows they are fewer, 500 at least."""
_FLOORS = np.linspace(0.0, 0.95, 20)
"""Floors that a fitted curve may have, as shares of the smallest error seen."""
_PLACES = 129
"""Numbers of images, in equal ratios, at which extrapolated curves are compared: 1 % apart up to four times the largest."""
_FOR_A_FLOOR = 4
"""Sizes from which a floor is fitted: with three it could always be found, whatever the truth."""


class Redrawn:
    """Draws and test images drawn anew with replacement, the same for everything that is asked.

    draws, images  how many there are of each; every draw answered the same images, so they are crossed (Owen 2007)
    """

    def __init__(self, draws: int, images: int, seed: int, times: int = TIMES) -> None:
        rng = generator(seed, "crossings", draws, images)
        times = min(times, max(_MOST // images, 500))
        self.times = times
        self._draws = rng.multinomial(draws, np.full(draws, 1 / draws), size=times).astype(np.float64)
        self._images = np.empty((times, images), np.float32)
        start = 0
        for size in chunks(times, images):
            picked = rng.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
            counts = np.bincount(picked.ravel(), minlength=size * images).reshape(size, images)
            self._images[start : start + size] = counts / images
            start += size

    def means(self, grid: Floats) -> Floats:
        """`[times]` means of `grid` `[draws, images]`; a draw that is missing is a row of NaN.

        As in `intervals.hierarchical`, deviations are widened for the few draws there are.
        """
        there = np.isfinite(grid).all(1)
        rows = grid[there]
        mean, weights = rows.mean(), self._draws[:, there]
        lost = weights.sum(1) == 0  # every draw that was picked is missing: all that are there count the same
        weights = np.where(lost[:, None], 1.0, weights)
        each = self._images @ spread_seeds(rows).T.astype(np.float32)
        drawn = (each * weights).sum(1) / weights.sum(1)
        upper = 0.5 + LEVEL / 2
        factor = t_quantile(upper, degrees_of_freedom(rows)) / normal_quantile(upper)
        return np.asarray(mean + factor * (drawn - mean), np.float64)


@dataclass(frozen=True)
class Crossing:
    """Where the difference of two curves, a minus b, changes its sign.

    images    None where it does not within the sizes measured
    interval  an end is None where it lies below the smallest or beyond the largest size; None when there is no crossing
    leads     who is ahead below the crossing, or everywhere: 1 for a, -1 for b, 0 for neither
    sure      share of redrawings that say the same: a crossing in this direction, or none with the same one ahead
    """

    images: float | None
    interval: tuple[float | None, float | None] | None
    leads: int
    sure: float


def crossing(sizes: Sequence[float], mean: Floats, drawn: Floats) -> Crossing:
    """Find the crossing of the differences `mean` `[K]` at K `sizes`, ascending; `drawn` `[times, K]` gives its interval.

    Curves that touch several times are cut once, where the sides differ most (see `cuts`).
    """
    places = np.log(np.asarray(sizes, np.float64))
    place, lead = (found[0] for found in cuts(places, mean[None]))
    where, leads = cuts(places, drawn)
    if not np.isfinite(place):
        return Crossing(None, None, int(lead), float(np.mean(~np.isfinite(where) & (leads == lead))))
    same = leads == lead
    # No crossing: the one behind at small sizes catches up beyond the largest, or did so below the smallest.
    ends = np.where(np.isfinite(where), where, np.where(same, np.inf, -np.inf))
    opposite = np.isfinite(where) & ~same
    ends[opposite] = np.where(np.arange(opposite.sum()) % 2, np.inf, -np.inf)  # says nothing: widens both ends
    low, high = np.quantile(ends, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="inverted_cdf")
    span = tuple(float(np.exp(end)) if np.isfinite(end) else None for end in (min(low, place), max(high, place)))
    return Crossing(float(np.exp(place)), (span[0], span[1]), int(lead), float(np.mean(np.isfinite(where) & same)))


def cuts(places: Floats, differences: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Where each of `differences` `[B, K]`, straight between `places` `[K]`, is best cut into one sign before and one after.

    Returns the places `[B]`, infinite where no cut is better than one sign throughout, and the sign before the cut `[B]`.
    A cut is as good as the area that it explains: with one change of sign it lies there, with several where most is gained.
    """
    step = np.diff(places)
    left, right = differences[:, :-1], differences[:, 1:]
    area = np.concatenate([np.zeros((len(differences), 1)), np.cumsum(step * (left + right) / 2, axis=1)], axis=1)
    changes = (left * right < 0) | ((right == 0) & (left != 0))
    along = np.divide(left, left - right, out=np.zeros_like(left), where=changes)
    at, before = places[:-1] + step * along, area[:, :-1] + step * along * left / 2
    total = area[:, -1:]
    gain = np.where(changes, 2 * before - total, 0.0)
    best = np.abs(gain).argmax(1)
    rows = np.arange(len(differences))
    better = np.abs(gain[rows, best]) > np.abs(total[:, 0]) * (1 + 1e-9) + 1e-15
    found = np.where(better, at[rows, best], np.inf)
    return found, np.sign(np.where(better, gain[rows, best], total[:, 0])).astype(np.int64)


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """Error against images n, `floor + scale n^-exponent`; `[B]` each, one per curve."""

    floor: Floats
    scale: Floats
    exponent: Floats

    def __call__(self, images: float) -> Floats:
        """Errors `[B]` at `images`."""
        return np.asarray(self.floor + self.scale * images**-self.exponent, np.float64)


def power_law(sizes: Sequence[float], errors: Floats) -> PowerLaw:
    """Fit curves of `errors` `[B, K]`, positive, at K `sizes`.

    Weighted least squares of log(error - floor) on log(images). Hestness et al. 2017: error falls as a power of the data,
    down to a floor. The floor is the best of twenty between zero and 0.95 of the smallest error, zero with fewer than four
    sizes; the exponent is never negative. Weights make the log's squares those of the error itself.
    """
    x = np.log(np.asarray(sizes, np.float64))
    shares = _FLOORS if len(x) >= _FOR_A_FLOOR else _FLOORS[:1]
    fits = [_line(x, errors, share * errors.min(1)) for share in shares]
    loss = np.stack([((law_at(fit, x) - errors) ** 2).sum(1) for fit in fits])
    # Of floors that fit alike, the lowest: it needs no floor to say so.
    best = (loss > loss.min(0) + 1e-12).argmin(0)
    chosen = np.stack([np.stack(fit) for fit in fits])[best, :, np.arange(errors.shape[0])]
    return PowerLaw(chosen[:, 0], chosen[:, 1], chosen[:, 2])


def law_at(fit: tuple[Floats, Floats, Floats], x: Floats) -> Floats:
    """Errors `[B, K]` of floors, scales and exponents at logarithms `x` `[K]`."""
    floor, scale, exponent = fit
    return np.asarray(floor[:, None] + scale[:, None] * np.exp(-exponent[:, None] * x), np.float64)


def _line(x: Floats, errors: Floats, floor: Floats) -> tuple[Floats, Floats, Floats]:
    above = errors - floor[:, None]
    y, weights = np.log(above), above**2 / (above**2).sum(1, keepdims=True)
    mean_x, mean_y = (weights * x).sum(1), (weights * y).sum(1)
    spread = (weights * (x - mean_x[:, None]) ** 2).sum(1)
    slope = (weights * (x - mean_x[:, None]) * (y - mean_y[:, None])).sum(1) / np.maximum(spread, 1e-300)
    slope = np.minimum(slope, 0.0)
    return floor, np.exp(mean_y - slope * mean_x), -slope


@dataclass(frozen=True)
class Ahead:
    """Accuracy expected at `images` that were not measured, with an interval of level 0.95."""

    images: int
    accuracy: float
    interval: tuple[float, float]


def extrapolate(sizes: Sequence[float], mean: Floats, drawn: Floats, images: Sequence[int], least: float) -> list[Ahead]:
    """Where the accuracies `mean` `[K]`, redrawn `drawn` `[times, K]`, lead by a power law of the error.

    least  smallest error that the test could have told from none, e.g. half an image of it
    """
    one, many = (power_law(sizes, np.clip(1 - values, least, 1.0)) for values in (mean[None], drawn))
    found = []
    for n in images:
        expected, ends = float(1 - one(n)[0]), np.quantile(1 - many(n), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        found.append(Ahead(int(n), expected, (min(float(ends[0]), expected), max(float(ends[1]), expected))))
    return found


@dataclass(frozen=True)
class Meeting:
    """Where two extrapolated curves meet, beyond what was measured.

    interval  an end is None where it lies at or below the largest size measured, or beyond `until`
    """

    images: float
    interval: tuple[float | None, float | None]
    until: float


def meeting(
    sizes: Sequence[Sequence[float]], mean: Sequence[Floats], drawn: Sequence[Floats], leads: int, until: float, least: float
) -> Meeting | None:
    """Where the one behind catches up between the largest size and `until`, should both go on by their power laws.

    sizes, mean, drawn  of both curves, as for `extrapolate`; the redrawings of both are the same ones
    leads               1 when the first is ahead in what was measured, -1 when the second is

    None where the means themselves do not meet there.
    """
    start = max(float(one[-1]) for one in sizes)
    along = np.geomspace(start, until, _PLACES)
    place = float(_level(sizes, [values[None] for values in mean], leads, along, least)[0])
    if not np.isfinite(place):
        return None
    places = _level(sizes, drawn, leads, along, least)
    low, high = np.quantile(places, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="inverted_cdf")
    low, high = min(float(low), place), max(float(high), place)
    return Meeting(place, (low if low > start else None, high if np.isfinite(high) else None), until)


def _level(
    sizes: Sequence[Sequence[float]], accuracies: Sequence[Floats], leads: int, along: Floats, least: float
) -> Floats:
    """The first of `along` `[B]` at which the fitted curves of `accuracies`, twice `[B, K]`, are level; infinite: none."""
    first, second = (power_law(x, np.clip(1 - y, least, 1.0)) for x, y in zip(sizes, accuracies, strict=True))
    behind = np.stack([leads * (second(x) - first(x)) <= 0 for x in along.tolist()], 1)
    return np.where(behind.any(1), along[behind.argmax(1)], np.inf)
