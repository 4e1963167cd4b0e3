"""The outcome of a comparison: how good each strategy is, how sure every difference between two is, and who is ahead."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.compare import CompareConfig
from headstart.data.prepare import DataSet
from headstart.metrics.intervals import Interval, bootstrap_mean, hierarchical, over_folds, wilson
from headstart.metrics.paired import Difference, corrected_t, holm_differences, paired_bootstrap
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies.compare_plan import Plan
from headstart.studies.costs import Course
from headstart.studies.observed import Look
from headstart.studies.race import Arm, Fold, Trial, weights_of
from headstart.studies.source_task import OwnHead, SourceTask
from headstart.studies.splitting import Splits
from headstart.studies.verdict import spanning

Floats = NDArray[np.float64]


@dataclass
class Entry:
    """One strategy and what was seen of it.

    trials, looks  by (seed, fold), both counted from 0
    reason         why it was not, or not to the end, compared; empty when it was
    shared         seconds of a trial that were spent once for all: features of the backbone as it came
    """

    arm: Arm
    trials: dict[tuple[int, int], Trial] = field(default_factory=dict)
    looks: dict[tuple[int, int], Look] = field(default_factory=dict)
    reason: str = ""
    diverged: bool = False
    shared: float = 0.0
    course: Course = field(default_factory=lambda: Course(0.0, 0))

    @property
    def finished(self) -> bool:
        return bool(self.trials) and not self.reason

    @property
    def status(self) -> str:
        """`finished`, `diverged`, or `skipped`: the time would not do."""
        return "finished" if self.finished else "diverged" if self.diverged else "skipped"

    @property
    def scores(self) -> Floats:
        """`[S, K]` accuracy of every seed on every fold."""
        seeds, folds = (sorted({key[place] for key in self.trials}) for place in (0, 1))
        return np.array([[self.trials[seed, fold].accuracy for fold in folds] for seed in seeds])

    @property
    def values(self) -> Floats:
        """`[S, N]` what each held-out image contributes to the accuracy, fold after fold."""
        seeds, folds = (sorted({key[place] for key in self.trials}) for place in (0, 1))
        return np.stack([np.concatenate([self.trials[seed, fold].values for fold in folds]) for seed in seeds])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """`[S, N]` right or wrong, in the same order."""
        seeds, folds = (sorted({key[place] for key in self.trials}) for place in (0, 1))
        return np.stack([np.concatenate([self.trials[seed, fold].correct for fold in folds]) for seed in seeds])

    @property
    def weights(self) -> Floats | None:
        """`[N]` of the images, the same for every seed; None where each counts the same."""
        first = min(seed for seed, _ in self.trials)
        return weights_of([self.trials[key] for key in sorted(self.trials) if key[0] == first])

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def seconds(self) -> float:
        """Mean seconds of a trial, with what it would have cost alone of what all share."""
        return float(np.mean([trial.seconds for trial in self.trials.values()])) + self.shared

    def looked(self, what: str) -> float:
        """Mean of one field of the looks."""
        values = [float(getattr(look, what)) for look in self.looks.values()]
        return values[0] if len(set(values)) == 1 else float(np.mean(values))  # a mean of equals may be rounded


@dataclass(frozen=True)
class Comparison:
    """Everything the records are made of.

    plan    how long those that train did so; None when none does
    origin  the source's images; `own` the head they were asked of, or why there is none
    given   what came from Python as an object instead of by name: `data`, `backbone`
    """

    config: CompareConfig
    net: Net
    data: DataSet
    splits: Splits
    entries: Sequence[Entry]
    plan: Plan | None
    origin: SourceTask | None
    own: OwnHead | str
    given: tuple[str, ...] = ()

    @property
    def finished(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.finished]


def interval_of(entry: Entry, folds: Sequence[Fold]) -> Interval:
    """Over images and seeds; from three folds on that and the one over folds (each the mean of its seeds) together."""
    images = _over_images(entry.values)
    return spanning(over_folds(entry.scores.mean(0), *_sizes(folds)), images) if len(folds) >= 3 else images


def _over_images(values: NDArray[np.float64]) -> Interval:
    """Of `[S, N]`: Wilson's for one seed, or where all is right or all wrong; else both are drawn anew."""
    if np.isin(values, (0.0, 1.0)).all() and (len(values) == 1 or values.min() == values.max()):
        return wilson(int(values[0].sum()), values.shape[1])
    return hierarchical(values, 0) if len(values) > 1 else bootstrap_mean(values[0], 0)


def difference(a: Entry, b: Entry, folds: Sequence[Fold], seed: int) -> Difference:
    """Arm a minus arm b on the same images, folds and seeds.

    A bootstrap over the images (and seeds, where there are several), and from three folds on the corrected resampled t-test
    over folds; the more cautious of the two counts, as in the race of `adapt`.
    """
    found = [paired_bootstrap(a.correct, b.correct, seed, weights=a.weights)]
    if len(folds) >= 3:
        found.append(corrected_t(a.scores.mean(0), b.scores.mean(0), *_sizes(folds)))
    return max(found, key=lambda one: (one.p_value, one.high - one.low))


def _sizes(folds: Sequence[Fold]) -> tuple[float, float]:
    train, test = (float(np.mean([len(fold[part]) for fold in folds])) for part in (0, 1))
    return train, test


Pairs = dict[tuple[str, str], Difference]


def pairs_of(entries: Sequence[Entry], folds: Sequence[Fold], seed: int) -> Pairs:
    """Every pair once, in the order given; p-values and decisions adjusted for the number of pairs (Holm)."""
    raw = {
        f"{a.arm.name}\x1f{b.arm.name}": difference(a, b, folds, seed_for(seed, "pair", a.arm.name, b.arm.name))
        for a, b in itertools.combinations(entries, 2)
    }
    adjusted = holm_differences(raw) if raw else {}
    return {(name.split("\x1f")[0], name.split("\x1f")[1]): one for name, one in adjusted.items()}


def between(pairs: Pairs, a: str, b: str) -> tuple[float, bool, Difference]:
    """How far a is ahead of b, whether that is decided, and the comparison as it stands in `pairs`."""
    turned = (a, b) not in pairs
    one = pairs[(b, a) if turned else (a, b)]
    return (-one.mean if turned else one.mean), one.decided, one


@dataclass(frozen=True)
class Standing:
    """The highest mean, those it cannot be told from (itself first), and the cheapest of these to train."""

    best: str | None
    equals: list[str]
    suggested: str | None

    @property
    def decided(self) -> bool:
        return len(self.equals) == 1


def stand(entries: Sequence[Entry], pairs: Pairs) -> Standing:
    """Who is ahead. Nobody is told apart from nobody: with fewer than two finished entries nothing is decided."""
    if not entries:
        return Standing(None, [], None)
    order = sorted(entries, key=lambda e: (-e.mean, e.course.flops))
    best = order[0].arm.name
    equals = [e for e in order if e is order[0] or not between(pairs, best, e.arm.name)[1]]
    cheap = min(equals, key=lambda e: (e.course.flops, -e.mean)).arm.name
    return Standing(best, [e.arm.name for e in equals], cheap)
