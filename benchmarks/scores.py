"""Every score of a source network for 10 000 images of 512 cached features, with 10 and with 100 classes.

Point values, and then the same with intervals: probe and k-NN from per-image answers, the others from 50 half-samples. The
source network answers with 1000 classes.

    python -m benchmarks scores      measures, and keeps the numbers in the table
    python -m benchmarks.scores      prints them, keeps nothing
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of
from headstart.engine.solvers import stratified_folds
from headstart.seeding import generator
from headstart.transferability.scores import Scores, score_all

IMAGES, FEATURES, SOURCE = 10_000, 512, 1000
POINTS, INTERVALS = 20.0, 60.0
"""seconds promised"""


def _data(images: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Features with the falling spectrum that networks have, not negative, labels, and answers with 1000 classes."""
    rng = generator(0, "benchmark", "scores", classes)
    labels = rng.integers(0, classes, images)
    spread = np.arange(1, FEATURES + 1) ** -0.5
    drawn = rng.standard_normal((images, FEATURES)) + rng.standard_normal((classes, FEATURES))[labels]
    features = np.maximum(drawn * spread @ rng.standard_normal((FEATURES, FEATURES)), 0).astype(np.float32)
    answers = torch.from_numpy(features @ rng.standard_normal((FEATURES, SOURCE)).astype(np.float32) / 20).softmax(1)
    return features, labels, answers.numpy()


def measure(*, quick: bool) -> list[Row]:
    """Seconds of everything together, and of each score."""
    rows = []
    for classes in (10, 100):
        features, labels, answers = _data(1000 if quick else IMAGES, classes)
        folds = stratified_folds(torch.from_numpy(labels), 5)
        spent: dict[str, list[float]] = {}

        def scored(
            intervals: bool,
            f: NDArray[np.float32] = features,
            y: NDArray[np.int64] = labels,
            said: NDArray[np.float32] = answers,
            classes: int = classes,
            folds: list[tuple[torch.Tensor, torch.Tensor]] = folds,
            spent: dict[str, list[float]] = spent,
        ) -> Scores:
            found = score_all(
                {"last": f}, y, classes, folds, source_probabilities=said, parameters=1, seed=0, intervals=intervals
            )
            for name, took in found.seconds.items():
                spent.setdefault(name, []).append(took)
            return found

        parts = {"points": lambda: scored(False), "intervals": lambda: scored(True)}
        taken = in_turn(parts, rounds=1 if quick else 3, warm_up=0)
        for name, promise in (("points", POINTS), ("intervals", INTERVALS)):
            what = "point values" if name == "points" else "with intervals"
            rows.append(row(f"{classes} classes: all scores, {what}", median_of(taken[name]), unit="s", limit=promise))
        rows += [row(f"{classes} classes: of which {name}", median_of(took), unit="s") for name, took in spent.items()]
    return rows


if __name__ == "__main__":
    for found in measure(quick=False):
        print(" | ".join(found.cells()), flush=True)
