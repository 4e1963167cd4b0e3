"""The mean relative change of several tasks' measures with an interval: images and seeds drawn anew for all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.metrics.drawn import Drawn, defined
from headstart.metrics.intervals import Interval
from headstart.metrics.measured import MEASURES, statistic
from headstart.metrics.multitask import DRAWS, delta_m
from headstart.metrics.resample import image_counts

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
    """`multitask.delta_m` (percent, positive is better) of the mean measures over seeds, with an interval.

    Images are drawn anew for all tasks at once, since one image may be asked about in several; seeds too, where there are
    several, and the percentile interval is then widened to Student's t with Satterthwaite's degrees of freedom, as that of
    `multitask.difference` is: variances over images and over seeds each bring their own. Draws in which a measure is not
    defined are left out; raises DataError where that is most of them, or the change is not defined at all.
    """
    images = np.unique(np.concatenate([one.images for one in tasks.values()]))
    places = [np.searchsorted(images, one.images) for one in tasks.values()]
    measures = {name: one.measure for name, one in tasks.items()}
    signs = np.array([1.0 if MEASURES[measure].higher else -1.0 for measure in measures.values()])
    sides = [
        [[statistic(one.measure, one.labels, said) for said in side] for side in (one.several, one.alone)]
        for one in tasks.values()
    ]

    def values(weights: Floats) -> Floats:
        """`[tasks, 2, S, B]`"""
        each = zip(sides, places, strict=True)
        return np.stack([[[one(weights[:, own]) for one in side] for side in two] for two, own in each])

    own = values(np.ones((1, len(images))))
    several, alone = (dict(zip(tasks, own.mean(2)[:, side, 0].tolist(), strict=True)) for side in (0, 1))
    estimate = delta_m(several, alone, measures)  # refuses what is not relative to anything
    many = np.concatenate(
        [_by_seed(values(weights), signs) for weights in image_counts(len(images), seed, draws, "delta")], -1
    )
    many = defined(many, draws, len(images), "the mean relative change")
    low, high = Drawn.over_seeds(_by_seed(own, signs)[:, 0], many, len(images), seed, "delta").ends(level)
    return Interval(estimate, low, high, level, "percentile" if len(many) == 1 else "hierarchical")


def _by_seed(values: Floats, signs: Floats) -> Floats:
    """`[S, B]` what each seed adds to the mean relative change in percent, which is their mean.

    values  `[tasks, 2, S, B]` measures of the one network and of the tasks' own; signs `[tasks]` -1 where less is better

    The change of means, M / B - 1, is no mean over seeds; its first order in them is: M / B - 1 + (M_s - M / B B_s) / B.
    """
    several, alone = values[:, 0], values[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = alone.mean(1, keepdims=True)
        ratio = several.mean(1, keepdims=True) / level
        changes = ratio - 1 + (several - ratio * alone) / level
    found: Floats = 100 * (signs[:, None, None] * changes).mean(0)
    return found
