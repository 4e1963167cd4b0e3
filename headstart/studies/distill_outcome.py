"""What came of a distillation, from the answers of every network on the test images, which are looked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.metrics.classification import calibration_error
from headstart.metrics.distillation import agreement, log_softmax, mean_kl
from headstart.metrics.intervals import Interval, hierarchical, wilson
from headstart.metrics.paired import Difference, paired_bootstrap
from headstart.seeding import seed_for
from headstart.studies.distill_runs import Kind, Run

Floats = NDArray[np.float64]
KINDS: tuple[Kind, ...] = ("alone", "distilled", "born_again")
NAMES = {"alone": "trained alone", "distilled": "distilled", "born_again": "born again"}


@dataclass(frozen=True, eq=False)
class Tested:
    """One training's answers on the test images, and how like its teacher's they are."""

    run: Run
    correct: NDArray[np.bool_]
    agreement: float
    kl: float
    calibration_error: float

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def tested(run: Run, logits: NDArray[Any], teacher: NDArray[Any], targets: NDArray[np.int64]) -> Tested:
    """Judge answers `[N, C]` by the labels and by the teacher's answers."""
    sure = np.exp(log_softmax(logits))
    return Tested(
        run,
        logits.argmax(1) == targets,
        agreement(teacher, logits),
        mean_kl(teacher, logits),
        calibration_error(targets, sure),
    )


def summed(found: Sequence[Tested], seed: int) -> dict[str, Any]:
    """Means over the seeds; the accuracy's interval is over seeds and images, of one seed over images alone."""
    grid = np.array([one.correct for one in found], np.float64)
    interval = _interval(grid, seed)
    return {
        "accuracy": float(grid.mean()),
        "interval": [interval.low, interval.high],
        **{name: float(np.mean([getattr(one, name) for one in found])) for name in ("agreement", "kl", "calibration_error")},
    }


def _interval(grid: Floats, seed: int) -> Interval:
    if len(grid) > 1:
        return hierarchical(grid, seed_for(seed, "interval"))
    return wilson(int(grid.sum()), grid.size)


def gained(taught: Sequence[Tested], alone: Sequence[Tested], seed: int) -> dict[str, Any]:
    """What one way of learning gained over learning alone, paired by seed and image."""
    pairs = {one.run.seed: one for one in alone}
    ours = np.array([one.correct for one in taught], np.float64)
    theirs = np.array([pairs[one.run.seed].correct for one in taught], np.float64)
    one = len(ours) == 1
    found = paired_bootstrap(ours[0] if one else ours, theirs[0] if one else theirs, seed_for(seed, "gain"))
    return {
        "estimate": found.mean,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "detectable": found.detectable,
        "decided": found.decided,
        "sentence": sentence(NAMES[taught[0].run.kind], float(ours.mean()), float(theirs.mean()), found, len(ours)),
    }


def sentence(name: str, taught: float, alone: float, found: Difference, seeds: int) -> str:
    """The gain in words; one that is not decided is said to be undecided."""
    gap = f"{100 * found.mean:+.2f} points ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
    tail = "" if seeds > 1 else " One seed only: how much training itself varies is not in the interval."
    if found.decided:
        side = "more" if found.mean > 0 else "less"
        return (
            f"The student {name} is right on {taught:.2%} of the test images, the same one trained alone on {alone:.2%}: "
            f"{side} by {gap}.{tail}"
        )
    return (
        f"Undecided whether the student {name} is better than the same one trained alone ({taught:.2%} and {alone:.2%}): "
        f"{gap}; this design can detect {100 * found.detectable:.2f} points.{tail}"
    )
