"""Made-up trials: who was right on which held-out image, without any training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from headstart.studies.race import Arm, Fold, Standing, Trial


def arm(name: str, cost: float = 0.0, *, frozen: bool = False) -> Arm:
    return Arm(name, "probe" if frozen else "full", None, name.upper(), f"what {name} does", frozen, cost)


def folds_of(count: int, images: int = 40) -> list[Fold]:
    """`count` folds of `images` held-out images each."""
    every = np.arange(count * images)
    return [(every[every // images != k], every[every // images == k]) for k in range(count)]


def answers(right: int, images: int, seed: int = 0) -> NDArray[np.bool_]:
    """`right` of `images` correct, at random places."""
    correct = np.zeros(images, bool)
    correct[np.random.default_rng(seed).permutation(images)[:right]] = True
    return correct


def standing(
    who: Arm,
    right: Iterable[int] | Mapping[int, NDArray[np.bool_]],
    *,
    images: int = 40,
    seed: int = 0,
    folds: int | None = None,
) -> Standing:
    """An arm that got so many of `images` right on each fold (or exactly these); finished when it ran all `folds`."""
    each = right if isinstance(right, Mapping) else {k: answers(r, images, 97 * k + seed) for k, r in enumerate(right)}
    trials = {fold: Trial(who.name, fold, correct, 1.0, 10) for fold, correct in each.items()}
    done = folds is None or len(trials) == folds
    return Standing(who, trials, "finished" if done else "eliminated" if trials else "skipped")
