"""Accuracy by depth: what a linear head reads from each block of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.engine.solvers import Selection, cross_validate
from headstart.engine.solvers.folds import Folds
from headstart.engine.solvers.select import DEFAULT_PENALTIES, Solver
from headstart.errors import ConfigError
from headstart.metrics.intervals import Interval, wilson
from headstart.metrics.paired import Difference, paired_bootstrap


@dataclass(frozen=True, eq=False)
class DepthPoint:
    """A linear probe of one block.

    accuracy   out of fold, with its Wilson interval over images
    correct    `[M]` bool, per held-out image, in the order of the labels
    selection  penalty, out-of-fold logits and fold accuracies
    """

    block: str
    accuracy: Interval
    correct: NDArray[np.bool_]
    selection: Selection


@dataclass(frozen=True, eq=False)
class DepthCurve:
    """Probe accuracy by depth, shallow to deep.

    peak      block with the best accuracy; of equals the deepest
    earliest  shallowest block that is not decidedly worse than the peak (paired over images)
    drop      the peak's accuracy less the last block's, as a paired difference
    """

    points: tuple[DepthPoint, ...]
    peak: str
    earliest: str
    drop: Difference

    @property
    def accuracies(self) -> dict[str, float]:
        """Accuracy per block, shallow to deep: what `advise` takes."""
        return {point.block: point.accuracy.mean for point in self.points}

    def __str__(self) -> str:
        width = max(len(point.block) for point in self.points)
        marks = {self.earliest: "  earliest as good", self.peak: "  peak"}
        return "\n".join(f"{p.block:<{width}}  {p.accuracy}{marks.get(p.block, '')}" for p in self.points)


def probe_by_depth(
    features: Mapping[str, Tensor],
    labels: Tensor,
    num_classes: int,
    folds: Folds,
    *,
    seed: int,
    penalties: Sequence[float] = DEFAULT_PENALTIES,
    solver: Solver = "ridge",
    sample_weight: Tensor | None = None,
) -> DepthCurve:
    """Cross-validate a linear head on every block.

    features  pooled features `{block: [N, D]}`, shallow to deep
    labels    `[N]`
    folds     (train, valid) row numbers, the same for every block, so that depths are compared on the same images
    seed      of the paired comparisons
    solver    `ridge` is the cheapest; `logistic` is what the probe strategy uses

    Each block chooses its own penalty, which makes every point a little hopeful, all of them alike.
    """
    if not features:
        raise ConfigError("features is empty; give at least one block")
    points = []
    for block, x in features.items():
        selection = cross_validate(solver, x, labels, num_classes, penalties, folds, sample_weight)
        held = torch.isfinite(selection.out_of_fold_logits).all(1)
        right = (selection.out_of_fold_logits.argmax(1) == labels)[held].numpy()
        points.append(DepthPoint(block, wilson(int(right.sum()), len(right)), right, selection))
    peak = max(reversed(points), key=lambda point: point.accuracy.mean)
    against = {point.block: paired_bootstrap(peak.correct, point.correct, seed) for point in points}
    earliest = next(p.block for p in points if p is peak or not (against[p.block].decided and against[p.block].mean > 0))
    return DepthCurve(tuple(points), peak.block, earliest, against[points[-1].block])
