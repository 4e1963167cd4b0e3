"""What every strategy should reach, learned from past experiments: a small regression on a few measures. Torch-free.

A past experiment is a `Case`: what was measured before anything was trained, and what each strategy then reached on test
images. For each strategy the logit of its accuracy, less the logit of the frozen probe's, is a linear function of the
measures (ridge regression, each data set counting the same). What the regression misses on data sets that it has not seen
becomes the interval; the misses of all strategies are kept together, for they err together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.transferability.evidence import MEASURES, Evidence, logit

Floats = NDArray[np.float64]
STRENGTH = 3.0
"""ridge penalty on standardised measures, per 36 cases"""
LEVEL = 0.8
REACH = 2.5
"""standard deviations beyond which a measure is taken to be no further out: the line was not learned there"""
CLOSE = 0.01
"""strategies closer than a point are as good as each other"""


@dataclass(frozen=True)
class Case:
    """One past experiment: evidence, and test accuracy by strategy.

    source, target  names of what the network was trained on and of the data
    tested          images that the accuracies were read on
    """

    source: str
    target: str
    evidence: Evidence
    accuracy: Mapping[str, float]
    tested: int

    @property
    def label(self) -> str:
        """A line for people."""
        return f"{self.source} > {self.target}, {self.evidence.typical:.0f} per class"


@dataclass(frozen=True, eq=False)
class Forecast:
    """Accuracies to expect.

    strategies  best first
    mean        `[S]`
    drawn       `[R, S]` possible outcomes, equally likely
    sets        data sets that the outcomes come from; so many independent ones there are, and no probability is surer
                than they allow: the share of outcomes counts `sets` times, the one of a guess once
    """

    strategies: tuple[str, ...]
    mean: Floats
    drawn: Floats
    sets: int

    def interval(self, strategy: str, level: float = LEVEL) -> tuple[float, float]:
        """Where the accuracy should lie with probability `level`."""
        place = self.strategies.index(strategy)
        low, high = np.quantile(self.drawn[:, place], [0.5 - level / 2, 0.5 + level / 2])
        return min(float(low), float(self.mean[place])), max(float(high), float(self.mean[place]))

    def expected(self, strategy: str) -> float:
        """The accuracy to expect."""
        return float(self.mean[self.strategies.index(strategy)])

    def sure(self, strategy: str) -> float:
        """Probability that no other strategy is more than a point better."""
        place = self.strategies.index(strategy)
        return self._tempered(float((self.drawn[:, place] >= self.drawn.max(1) - CLOSE).mean()), 0.5)

    def probability_best(self, strategy: str) -> float:
        """Probability of being the best."""
        won = self.drawn.argmax(1) == self.strategies.index(strategy)
        return self._tempered(float(won.mean()), 1 / len(self.strategies))

    def _tempered(self, share: float, guess: float) -> float:
        return (self.sets * share + guess) / (self.sets + 1)


@dataclass(frozen=True, eq=False)
class Forecaster:
    """The regression.

    strategies  in the order of the columns
    measures    names in `MEASURES`
    centre, scale  `[M]` of the measures in the cases
    weights     `[1 + M, S]`
    misses      `[K, S]` logits by which left-out data sets were missed, one row per case
    shares      `[K]` how much each row counts; each data set the same
    sets        data sets among the cases
    most        images beyond which it says nothing: ten times those of the largest case
    """

    strategies: tuple[str, ...]
    measures: tuple[str, ...]
    centre: Floats
    scale: Floats
    weights: Floats
    misses: Floats
    shares: Floats
    sets: int
    most: float

    def reaches(self, evidence: Evidence) -> bool:
        """Whether the experiments say anything here: a pretrained network, all measures there, data not far larger."""
        there = all(MEASURES[name](evidence) is not None for name in self.measures)
        return evidence.pretrained and there and evidence.images <= self.most and evidence.typical >= 1

    def predict(self, evidence: Evidence) -> Floats:
        """Expected logits `[S]`."""
        x = (_row(evidence, self.measures) - self.centre) / self.scale
        logits: Floats = _base(evidence) + np.concatenate([[1.0], np.clip(x, -REACH, REACH)]) @ self.weights
        return logits

    def forecast(self, evidence: Evidence) -> Forecast:
        """What each strategy should reach; not less than guessing does."""
        logits = self.predict(evidence)
        order = np.argsort(-logits, kind="stable")
        times = np.maximum(np.round(self.shares / self.shares.min()), 1).astype(int)
        mean = np.maximum(_sigmoid(logits), evidence.chance)
        drawn = np.maximum(_sigmoid(logits + np.repeat(self.misses, times, axis=0)), evidence.chance)
        return Forecast(tuple(self.strategies[i] for i in order), mean[order], drawn[:, order], self.sets)


def fit(cases: Sequence[Case], measures: Sequence[str], *, strength: float = STRENGTH) -> Forecaster:
    """Learn from past experiments. Raises DataError when they hold fewer than three data sets or lack a measure.

    The misses are those of regressions that each have not seen one data set, on that one.
    """
    targets = sorted({case.target for case in cases})
    if len(targets) < 3:
        raise DataError(f"{len(targets)} data sets are too few to learn a forecast from; give at least three")
    strategies = tuple(cases[0].accuracy)
    misses = np.empty((len(cases), len(strategies)))
    for target in targets:
        apart = _line([case for case in cases if case.target != target], strategies, tuple(measures), strength)
        for row, case in enumerate(cases):
            if case.target == target:
                misses[row] = _outcome(case, strategies) - apart.predict(case.evidence)
    return replace(_line(cases, strategies, tuple(measures), strength), misses=misses, shares=_balance(cases))


def _line(cases: Sequence[Case], strategies: tuple[str, ...], measures: tuple[str, ...], strength: float) -> Forecaster:
    """The regression alone, without knowing how far it misses."""
    raw = np.array([_row(case.evidence, measures) for case in cases])
    centre, scale = raw.mean(0), np.maximum(raw.std(0), 1e-9)
    x = np.concatenate([np.ones((len(raw), 1)), np.clip((raw - centre) / scale, -REACH, REACH)], 1)
    y = np.array([_outcome(case, strategies) - _base(case.evidence) for case in cases])
    shares = _balance(cases)
    penalty = np.full(x.shape[1], strength * len(cases) / 36)
    penalty[0] = 0.0
    sets = len({case.target for case in cases})
    most = 10.0 * max(case.evidence.images for case in cases)
    weights = np.linalg.solve(x.T @ (shares[:, None] * x) + np.diag(penalty), x.T @ (shares[:, None] * y))
    return Forecaster(strategies, measures, centre, scale, weights, np.zeros((1, len(strategies))), np.ones(1), sets, most)


def _row(evidence: Evidence, measures: Sequence[str]) -> Floats:
    values = {name: MEASURES[name](evidence) for name in measures}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise DataError(f"the forecast needs {', '.join(missing)}, which was not measured here")
    return np.array(list(values.values()), np.float64)


def _outcome(case: Case, strategies: Sequence[str]) -> Floats:
    return np.array([logit(case.accuracy[name], case.tested) for name in strategies])


def _base(evidence: Evidence) -> float:
    """The frozen probe's logit, which every forecast starts from."""
    return logit(evidence.probe_last, evidence.images)


def _balance(cases: Sequence[Case]) -> Floats:
    """`[K]` of mean one: every data set counts the same."""
    counts = Counter(case.target for case in cases)
    shares = np.array([1 / counts[case.target] for case in cases])
    balanced: Floats = shares / shares.mean()
    return balanced


def _sigmoid(x: Floats) -> Floats:
    y: Floats = 1 / (1 + np.exp(-x))
    return y
