"""How well scores put the yes before the no: arrays in, numbers out. Equal scores are one threshold in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """Images from the highest score to the lowest.

    order   `[N]` where each image of the ranking stood
    yes     `[N]` 1.0 where the answer is yes, in the ranking's order
    starts  `[G]` where each group of equal scores begins
    scores  `[G]` what it is
    """

    order: NDArray[np.int64]
    yes: Floats
    starts: NDArray[np.int64]
    scores: Floats

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Yes and no per group `[B, G]`, of `weights` `[B, N]`: how often each image counts."""
        picked = np.take(weights, self.order, axis=1)
        yes = picked * self.yes
        if len(self.starts) < len(self.order):  # without ties every image is a group
            picked, yes = (np.add.reduceat(one, self.starts, axis=1) for one in (picked, yes))
        return yes, picked - yes

    def average_precision(self, weights: Floats) -> Floats:
        """`[B]` average precision where image i counts `weights[:, i]` times; NaN without a yes."""
        yes, no = self.counts(weights)
        above = yes.cumsum(1)
        precision = above / np.maximum(above + no.cumsum(1), 1e-300)
        return _ratio((precision * yes).sum(1), above[:, -1])

    def auc(self, weights: Floats) -> Floats:
        """`[B]` area under the ROC curve where image i counts `weights[:, i]` times; NaN without a yes or without a no."""
        yes, no = self.counts(weights)
        above = yes.cumsum(1) - yes / 2  # half of the pairs of equal score are in the right order
        return _ratio((above * no).sum(1), yes.sum(1) * no.sum(1))


def ranked(labels: ArrayLike, scores: ArrayLike) -> Ranked:
    """Put images in order. labels `[N]` 0 or 1, scores `[N]` any finite numbers, higher for yes. Raises DataError."""
    truth, said = np.asarray(labels), np.asarray(scores, np.float64)
    found = []
    if truth.ndim != 1 or truth.shape != said.shape or not truth.size:
        found.append(f"labels {truth.shape} and scores {said.shape} must be equally long, flat and not empty")
    else:
        if not np.isin(truth, (0, 1)).all():
            found.append("labels must be 0 or 1; leave out the images whose answer is not known")
        if not np.isfinite(said).all():
            found.append(f"{int((~np.isfinite(said)).sum())} of {said.size} scores are not finite")
    problems(DataError, "a ranking cannot be measured:", found)
    order = np.argsort(-said, kind="stable").astype(np.int64)
    falling = said[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]]).astype(np.int64)
    return Ranked(order, truth[order].astype(np.float64), starts, falling[starts])


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """`sum_g (R_g - R_(g-1)) P_g` over thresholds from the highest score down: precision, averaged over the yes.

    No interpolation. Of random scores it is near the share of yes, not near a half. NaN when no answer is yes.
    """
    one = ranked(labels, scores)
    return float(one.average_precision(np.ones((1, len(one.order))))[0])


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: how often a yes scores higher than a no, a tie counting half. NaN when one is missing."""
    one = ranked(labels, scores)
    return float(one.auc(np.ones((1, len(one.order))))[0])


@dataclass(frozen=True)
class Roc:
    """Points of a ROC curve from (0, 0) to (1, 1): both rates `[P]`, and the score from which on an image is called yes.

    The first threshold is infinite: nothing is called yes.
    """

    false_positive: Floats
    true_positive: Floats
    threshold: Floats


def roc(labels: ArrayLike, scores: ArrayLike, points: int = 200) -> Roc:
    """The ROC curve, thinned to `points` at most (2 or more) without moving any: corners first, then evenly along the curve.

    Raises DataError unless there is a yes and a no.
    """
    if points < 2:
        raise ValueError(f"points={points}: a curve has two ends at least")
    one = ranked(labels, scores)
    yes, no = (part[0].cumsum() for part in one.counts(np.ones((1, len(one.order)))))
    if not yes[-1] or not no[-1]:
        raise DataError(
            f"a ROC curve needs a yes and a no, but all {len(one.order)} answers are {'yes' if yes[-1] else 'no'}"
        )
    no, yes = np.r_[0.0, no], np.r_[0.0, yes]
    kept = _thinned(no, yes, points)
    return Roc(no[kept] / no[-1], yes[kept] / yes[-1], np.r_[np.inf, one.scores][kept])


def _thinned(across: Floats, up: Floats, points: int) -> NDArray[np.int64]:
    """Which points of a rising staircase of counts to keep: those where it turns, or as many evenly along it as fit."""
    steps = np.c_[np.diff(across), np.diff(up)]
    turns = np.r_[True, (steps[1:, 0] * steps[:-1, 1] != steps[1:, 1] * steps[:-1, 0]), True]
    kept = np.flatnonzero(turns)
    if len(kept) > points:
        along = (across / across[-1] + up / up[-1])[kept]
        wanted = np.linspace(along[0], along[-1], points)
        kept = kept[np.unique(np.r_[0, np.searchsorted(along, wanted[1:-1]), len(kept) - 1])]
    return kept.astype(np.int64)


def _ratio(over: Floats, under: Floats) -> Floats:
    found: Floats = np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)
    return found
