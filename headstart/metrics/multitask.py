"""One network for several questions against a network each: how much better, and how sure. Arrays in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from headstart.errors import DataError, problems
from headstart.metrics.drawn import Drawn, defined
from headstart.metrics.intervals import Interval, t_quantile, wilson
from headstart.metrics.measured import MEASURES, measure, statistic
from headstart.metrics.paired import POWER, Difference, paired_bootstrap
from headstart.metrics.resample import image_counts

Floats = NDArray[np.float64]
DRAWS = 2000
"""bootstrap draws; the ends of a 95 % interval then move by about 5 % of its width from seed to seed"""


def delta_m(several: Mapping[str, float], alone: Mapping[str, float], measures: Mapping[str, str]) -> float:
    """Mean relative change, in percent, of the tasks' measures against networks of their own; positive is better.

    several, alone  task -> value of its measure
    measures        task -> name of that measure in `MEASURES`; its direction gives the sign

    `100 / T sum_i s_i (M_i - B_i) / B_i`, with s_i = -1 where less is better (Maninis et al. 2019; Vandenhende et al. 2021).

    Raises DataError where a task is missing, or a network's own value is not positive and nothing can be relative to it.
    """
    problems(DataError, "the mean relative change cannot be taken:", _delta_faults(several, alone, measures))
    return 100 * float(np.mean(list(changes(several, alone, measures).values())))


def changes(several: Mapping[str, float], alone: Mapping[str, float], measures: Mapping[str, str]) -> dict[str, float]:
    """Relative change of every task, as `delta_m` averages them: 0.1 is a tenth better."""
    sign = {name: 1.0 if MEASURES[measures[name]].higher else -1.0 for name in alone}
    return {name: sign[name] * (several[name] - alone[name]) / alone[name] for name in alone}


def _delta_faults(several: Mapping[str, float], alone: Mapping[str, float], measures: Mapping[str, str]) -> list[str]:
    found = [] if alone else ["there are no tasks"]
    if set(several) != set(alone):
        found.append(f"tasks of the one network are {sorted(several)}, those with a network of their own {sorted(alone)}")
    found += [
        f"task {name!r}: measure {measures.get(name)!r} is unknown" for name in alone if measures.get(name) not in MEASURES
    ]
    for name, value in alone.items():
        if not 0 < value < math.inf:
            found.append(
                f"task {name!r}: its own network has {value}, and only a change against a positive number is relative"
            )
        elif name in several and not math.isfinite(several[name]):
            found.append(f"task {name!r}: the one network has {several[name]}")
    return found


def interval(
    name: str, labels: ArrayLike, networks: Sequence[ArrayLike], seed: int, *, level: float = 0.95, draws: int = DRAWS
) -> Interval:
    """How far the measure `name` could be from what it would be on more images, and with other seeds.

    labels    as `measured.statistic` has them
    networks  answers of each network, trained with another seed, in the shape of `labels`; of one, seeds take no part

    Percentile bootstrap over images; of several networks over seeds and images, widened by Student's t as
    `intervals.hierarchical` is. Of one network's accuracy Wilson's interval, which is sensible at 0 and 1 too. Draws in
    which the measure is not defined (no yes among the images) are left out.
    """
    truth = np.asarray(labels)
    if name == "accuracy" and truth.ndim == 1 and len(networks) == 1:
        return wilson(int((truth == np.asarray(networks[0])).sum()), len(truth), level)
    found = _drawn(name, truth, [networks], seed, draws)
    least, most = MEASURES[name].range  # a few seeds widen an interval beyond what can be
    low, high = (min(max(end, least), most) for end in found.ends(level))
    return Interval(found.mean, low, high, level, "percentile" if len(networks) == 1 else "hierarchical")


def difference(
    name: str,
    labels: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    seed: int,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Difference:
    """How much better the first network is than the second in the measure `name`, on the same images.

    first, second  answers of each seed's networks, paired by seed, see `interval`

    Positive is better, also where less of the measure is. Images, and with several networks seeds, are drawn anew for both
    at once. Accuracy and mean absolute error are means over images and go to `paired.paired_bootstrap`.
    """
    if len(first) != len(second) or not first:
        raise DataError(f"{len(first)} networks against {len(second)}; compare as many, paired by seed")
    truth = np.asarray(labels)
    if truth.ndim == 1 and name in ("accuracy", "mean_absolute_error"):
        a, b = (np.stack([_per_image(name, truth, one) for one in side]) for side in (first, second))
        return paired_bootstrap(a if len(a) > 1 else a[0], b if len(b) > 1 else b[0], seed, level=level)
    found = _drawn(name, truth, [first, second], seed, draws)
    low, high = found.ends(level)
    error, dof = float(found.drawn.std()), found.freedom
    if len(first) == 1:
        tail = 1 + min(int((found.drawn <= 0).sum()), int((found.drawn >= 0).sum()))
        p = min(1.0, 2 * tail / (len(found.drawn) + 1))
    else:
        p = _two_sided(found.mean / error, dof) if error else float(found.mean == 0)
    detectable = (t_quantile(0.5 + level / 2, dof) + t_quantile(POWER, dof)) * error
    method = "images" if len(first) == 1 else "hierarchical"
    return Difference(found.mean, low, high, p, not low <= 0 <= high, detectable, level, method)


def _per_image(name: str, truth: NDArray[np.generic], answers: ArrayLike) -> Floats:
    """What an image adds to the measure, higher for better."""
    if name == "accuracy":
        right: Floats = np.equal(truth, np.asarray(answers)).astype(np.float64)
        return right
    measure(name, truth, answers)  # refuses what is no number
    errors: Floats = np.abs(np.asarray(answers, np.float64) - truth.astype(np.float64))
    return -errors


def _two_sided(score: float, dof: float) -> float:
    return math.erfc(abs(score) / math.sqrt(2)) if math.isinf(dof) else float(2 * stdtr(dof, -abs(score)))


def _drawn(name: str, truth: NDArray[np.generic], sides: Sequence[Sequence[ArrayLike]], seed: int, draws: int) -> Drawn:
    """A measure with images and seeds drawn anew; of two sides the gain of the first."""
    sign = 1.0 if len(sides) == 1 or MEASURES.get(name) is None or MEASURES[name].higher else -1.0
    parts = [[statistic(name, truth, one) for one in side] for side in sides]
    if not all(parts):
        raise DataError("there are no networks to measure")

    def gaps(weights: Floats) -> Floats:
        """`[S, B]`"""
        values = np.stack([np.stack([one(weights) for one in side]) for side in parts])
        found: Floats = values[0] if len(values) == 1 else sign * (values[0] - values[1])
        return found

    own = gaps(np.ones((1, len(truth))))[:, 0]
    if np.isnan(own).any():
        raise DataError(f"{name} is not defined on these {len(truth)} images: every possible answer must be among them")
    many = np.concatenate([gaps(weights) for weights in image_counts(len(truth), seed, draws, "measure")], 1)
    return Drawn.over_seeds(own, defined(many, draws, len(truth), name), len(truth), seed, "measure")
