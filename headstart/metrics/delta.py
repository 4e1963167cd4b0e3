"""The mean relative change of several tasks' measures with an interval: images and seeds drawn anew for all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.metrics.intervals import Interval, normal_quantile, t_quantile
from headstart.metrics.measured import MEASURES, statistic
from headstart.metrics.multitask import DRAWS, delta_m
from headstart.metrics.resample import image_counts
from headstart.seeding import generator

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """One task as it was judged.

    measure  name in `MEASURES`
    images   `[N]` numbers of its images; one image may have labels for several tasks
    labels   `[N]` (several questions: `[N, L]`)
    several  answers of the one network, one array in the shape of `labels` per seed
    alone    answers of the task's own network, paired by seed
    """

    measure: str
    images: NDArray[np.int64]
    labels: ArrayLike
    several: Sequence[ArrayLike]
    alone: Sequence[ArrayLike]


def delta_m_interval(tasks: Mapping[str, Judged], seed: int, *, level: float = 0.95, draws: int = DRAWS) -> Interval:
    """`multitask.delta_m` (percent, positive is better) of the mean measures over seeds, with a percentile interval.

    Images are drawn anew for all tasks at once, since one image may be asked about in several; seeds too, where there are
    several, and the interval is then widened to Student's t with one degree of freedom less than seeds. Draws in which a
    measure is not defined are left out.
    """
    images = np.unique(np.concatenate([one.images for one in tasks.values()]))
    places = {name: np.searchsorted(images, one.images) for name, one in tasks.items()}
    measures = {name: one.measure for name, one in tasks.items()}
    sides = {
        name: [[statistic(one.measure, one.labels, said) for said in side] for side in (one.several, one.alone)]
        for name, one in tasks.items()
    }
    seeds = len(next(iter(tasks.values())).several)

    def values(weights: Floats) -> Floats:
        """`[tasks, 2, seeds, B]`"""
        return np.stack([[[one(weights[:, places[name]]) for one in side] for side in sides[name]] for name in tasks])

    own = values(np.ones((1, len(images)))).mean(2)[..., 0]
    several, alone = ({name: float(row[side]) for name, row in zip(tasks, own, strict=True)} for side in (0, 1))
    estimate = delta_m(several, alone, measures)
    many = np.concatenate([values(weights) for weights in image_counts(len(images), seed, draws, "delta")], -1)
    if seeds > 1:
        drawn = generator(seed, "delta", "seeds").multinomial(seeds, np.full(seeds, 1 / seeds), many.shape[-1])
        averaged = np.einsum("tksb,bs->tkb", many, drawn / seeds)
    else:
        averaged = many[:, :, 0]
    signs = np.array([1.0 if MEASURES[measures[name]].higher else -1.0 for name in tasks])
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = 100 * (signs[:, None] * (averaged[:, 0] - averaged[:, 1]) / averaged[:, 1]).mean(0)
    changes = changes[np.isfinite(changes)]
    upper = 0.5 + level / 2
    # Drawing S seeds from S understates their spread; Student's t with few degrees of freedom is wider by more than that.
    factor = 1.0 if seeds == 1 else t_quantile(upper, seeds - 1) / normal_quantile(upper) * math.sqrt(seeds / (seeds - 1))
    low, high = np.quantile(changes, [1 - upper, upper])
    method = "percentile" if seeds == 1 else "hierarchical"
    return Interval(
        estimate, float(estimate + factor * (low - estimate)), float(estimate + factor * (high - estimate)), level, method
    )
