"""All scores of one source network on one target, from its features, before anything is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from headstart.engine.solvers.folds import Folds
from headstart.errors import ConfigError, DataError
from headstart.metrics.intervals import Interval
from headstart.transferability.depth import DepthCurve, probe_by_depth
from headstart.transferability.halves import HALVES, half_interval, half_samples, share_of
from headstart.transferability.hscore import hscore_of
from headstart.transferability.knn import knn
from headstart.transferability.leep import checked_probabilities, leep_of, nce_of
from headstart.transferability.logme import logme, logme_near
from headstart.transferability.moments import checked, moments_of
from headstart.transferability.transrate import transrate_of

LEVEL = 0.95
WIDE, FEWER = 768, 20
"""features above which an eigendecomposition of each half is dear, and the half-samples there are then"""

T = TypeVar("T")


class About(NamedTuple):
    """What a score is: for reports."""

    label: str
    unit: str
    what: str
    source: str


SCORES: dict[str, About] = {
    "probe": About(
        "Linear probe, best depth",
        "accuracy",
        "cross-validated accuracy of a linear head on the block where it does best",
        "Alain & Bengio 2016",
    ),
    "probe_last": About(
        "Linear probe, last block",
        "accuracy",
        "cross-validated accuracy of a linear head on the last block",
        "Kornblith et al. 2019",
    ),
    "knn": About(
        "Nearest neighbours", "accuracy", "leave-one-out vote of the most similar images, last block", "Wu et al. 2018"
    ),
    "logme": About(
        "LogME", "nats", "evidence per image of a Bayesian linear regression of the labels, last block", "You et al. 2021"
    ),
    "hscore": About(
        "H-score, regularised",
        "score",
        "how far apart the class means lie in the spread of all features, last block",
        "Bao et al. 2019; Ibrahim et al. 2021",
    ),
    "transrate": About(
        "TransRate", "nats", "coding rate that knowing the class takes away, last block", "Huang et al. 2022"
    ),
    "leep": About(
        "LEEP", "nats", "log likelihood of the labels given the source classes' probabilities", "Nguyen et al. 2020"
    ),
    "nce": About("NCE", "nats", "minus the entropy of the labels given the source class answered", "Tran et al. 2019"),
    "size": About("Bigger is better", "weights", "weights of the network: a baseline that looks at no image", "-"),
}
"""Every score, in the order reports show them; for all of them higher is better."""

NO_SOURCE = "no source classes known"
TWO_CLASSES = "with two classes of like size it is about 0 for every network"
WHY_MISSING = {"leep": NO_SOURCE, "nce": NO_SOURCE, "transrate": TWO_CLASSES}


@dataclass(frozen=True)
class Score:
    """A score and, where it was asked for and there is one, its interval.

    method  `wilson` over images, or `half-samples`; empty without an interval
    """

    value: float
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str = ""

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high) or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @staticmethod
    def of(found: Interval) -> Score:
        """The same numbers."""
        return Score(found.mean, found.low, found.high, found.level, found.method)

    def __str__(self) -> str:
        if self.low is None or self.high is None or self.level is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} ({100 * self.level:g} %: {self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True, eq=False)
class Scores:
    """All scores of one network.

    values       by name, in the order of SCORES; all higher is better
    why_missing  for names of SCORES that are not in `values`
    depth        the probe by depth
    k            neighbours that voted
    seconds      by name; `probe` is all depths, `intervals` all half-samples, `moments` what hscore and transrate share
    """

    values: dict[str, Score]
    why_missing: dict[str, str]
    depth: DepthCurve
    k: int
    seconds: dict[str, float]

    def __str__(self) -> str:
        width = max(len(about.label) for about in SCORES.values())
        lines = []
        for name, about in SCORES.items():
            said = str(self.values[name]) if name in self.values else f"- ({self.why_missing[name]})"
            lines.append(f"{about.label:<{width}}  {said}")
        return "\n".join(lines)


def score_all(
    by_depth: Mapping[str, NDArray[np.floating]] | Mapping[str, torch.Tensor],
    labels: ArrayLike,
    num_classes: int,
    folds: Folds,
    *,
    source_probabilities: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    parameters: int,
    seed: int,
    intervals: bool = True,
) -> Scores:
    """Every score that the features of a frozen network allow.

    by_depth              pooled features `{block: [N, D]}`, shallow to deep; all but `probe` look at the last one
    labels                `[N]` of the target
    folds                 (train, valid) row numbers for the probe
    source_probabilities  `[N, S]` of the source network's own classes; None: it has none, so no LEEP and no NCE
    groups                `[N]`: images of one group neither vote for each other nor part in half-samples
    parameters            of the network
    seed                  of the paired comparisons by depth and of the half-samples
    intervals             False leaves out the half-samples; probe and k-NN have theirs from per-image answers anyway

    Half-samples are 50, or 20 where the smaller of features and images in a half is above 768.
    """
    tensors, last, truth = _checked(by_depth, labels, num_classes)
    spent: dict[str, float] = {}
    depth = _timed(spent, "probe", lambda: probe_by_depth(tensors, torch.from_numpy(truth), num_classes, folds, seed=seed))
    nearest = _timed(spent, "knn", lambda: knn(last, truth, num_classes, groups=groups))
    theta = None if source_probabilities is None else checked_probabilities(source_probabilities, truth, num_classes)[0]
    target = _Target(last, truth, num_classes, theta)
    # threads that share one small decomposition wait for each other more than they compute, above all beside other work
    with threadpool_limits(1, "blas"):
        points = target.points(spent)
    values = {
        "probe": Score.of(next(point.accuracy for point in depth.points if point.block == depth.peak)),
        "probe_last": Score.of(depth.points[-1].accuracy),
        "knn": Score.of(nearest.accuracy),
        "size": Score(float(parameters)),
    }
    if intervals:
        values |= _timed(spent, "intervals", lambda: _with_intervals(target, points, groups, seed))
    else:
        values |= {name: Score(value) for name, value in points.items()}
    present = {name: values[name] for name in SCORES if name in values}
    missing = {name: WHY_MISSING[name] for name in SCORES if name not in values}
    return Scores(present, missing, depth, nearest.k, spent)


def _checked(
    by_depth: Mapping[str, NDArray[np.floating]] | Mapping[str, torch.Tensor], labels: ArrayLike, num_classes: int
) -> tuple[dict[str, torch.Tensor], NDArray[np.floating], NDArray[np.int64]]:
    """All features as tensors, the last block's as an array, and the labels."""
    if not by_depth:
        raise ConfigError("by_depth is empty; give the features of at least one block")
    tensors = {name: torch.as_tensor(features) for name, features in by_depth.items()}
    block, features = list(tensors.items())[-1]
    last, truth = checked(features.numpy(), labels, num_classes, f"features of {block!r}")
    wrong = [name for name, features in tensors.items() if features.shape[:1] != truth.shape]
    if wrong:
        raise DataError(f"features of {', '.join(wrong)} are not of {len(truth)} images, as the labels are")
    return tensors, last, truth


class _Target:
    """Features and labels, scored as a whole and in parts."""

    def __init__(
        self,
        features: NDArray[np.floating],
        truth: NDArray[np.int64],
        num_classes: int,
        theta: NDArray[np.floating] | None,
    ) -> None:
        self.features, self.truth, self.num_classes, self.theta = features, truth, num_classes, theta
        self.classes = len(np.unique(truth))

    def points(self, spent: dict[str, float]) -> dict[str, float]:
        """The scores of all images; seconds go to `spent`."""
        f, truth, classes = self.features, self.truth, self.num_classes
        evidence = _timed(spent, "logme", lambda: logme(f, truth, classes))
        self.ratio = evidence.ratio
        m = _timed(spent, "moments", lambda: moments_of(f, truth, classes))
        found = {"logme": evidence.score, "hscore": _timed(spent, "hscore", lambda: hscore_of(m))}
        if self.classes > 2:
            found["transrate"] = _timed(spent, "transrate", lambda: transrate_of(m))
        if self.theta is not None:
            whole, theta = np.ones((1, len(truth)), bool), self.theta
            found["leep"] = float(_timed(spent, "leep", lambda: leep_of(theta, truth, classes, whole))[0])
            found["nce"] = float(_timed(spent, "nce", lambda: nce_of(theta.argmax(1), truth, whole))[0])
        return found

    def over(self, parts: NDArray[np.bool_]) -> dict[str, list[float] | NDArray[np.float64]]:
        """The scores of each of `parts` `[H, N]`, as many at a time as torch has threads."""
        found: dict[str, list[float] | NDArray[np.float64]] = {}
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            taken = list(pool.map(self._covariances, parts))
        found |= {name: [one[name] for one in taken] for name in taken[0]}
        if self.theta is not None:
            found["leep"] = leep_of(self.theta, self.truth, self.num_classes, parts)
            found["nce"] = nce_of(self.theta.argmax(1), self.truth, parts)
        return found

    def _covariances(self, part: NDArray[np.bool_]) -> dict[str, float]:
        m = moments_of(self.features[part], self.truth[part], self.num_classes)
        found = {"logme": logme_near(m, self.ratio), "hscore": hscore_of(m)}
        return found | ({"transrate": transrate_of(m)} if self.classes > 2 else {})


def _with_intervals(target: _Target, points: dict[str, float], groups: ArrayLike | None, seed: int) -> dict[str, Score]:
    narrow = min(target.features.shape[1], len(target.truth) // 2) <= WIDE
    parts = half_samples(target.truth, seed, groups=groups, count=HALVES if narrow else FEWER)
    limits = {
        "hscore": (0.0, math.inf),
        "transrate": (0.0, math.inf),
        "leep": (-math.inf, 0.0),
        "nce": (-math.inf, 0.0),
        "logme": (-math.inf, math.inf),
    }
    halves, share = target.over(parts), share_of(parts)
    return {
        name: Score.of(half_interval(value, halves[name], share, level=LEVEL, limits=limits[name]))
        for name, value in points.items()
    }


def _timed(spent: dict[str, float], name: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    found = work()
    spent[name] = time.perf_counter() - began
    return found
