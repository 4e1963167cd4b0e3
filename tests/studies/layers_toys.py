"""Small stand-ins for a study of layers: a data set of little pictures, a net of three layers, made-up runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.catalog.strategies import Recipe
from headstart.data.store import store_of
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.studies.layers_plan import Cut, Kind, Run, cuts_of
from headstart.studies.layers_runs import Half, Setup, stored_half

FEATURES = 8
"""Of six, MKL computes the first and the last rows of a batch differently, and shared activations differ in the last bit."""


def vectors(count: int, classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(0, 2, (classes, FEATURES))
    return (centres[labels] + draw.normal(0, 1, (count, FEATURES))).astype(np.float32), labels.astype(np.int64)


def net_of_three() -> Net:
    with forked(5):
        return mlp(FEATURES, (8, 8, 8))


def setup_in(folder: Path, **changed: Any) -> Setup:
    """A study of vectors in two halves of two classes each."""
    (x, y), net = vectors(150, 2), net_of_three()
    halves = {}
    for half in "AB":
        store, rows = store_of(x if half == "A" else -x), np.arange(150)
        parts = [
            stored_half(folder / "halves", store, r, y[r], ("p", "q"), f"{half}-{len(r)}") for r in (rows[:50], rows[50:])
        ]
        halves[f"like 0 {half}"] = Half(*parts)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.05, augment=False)
    cuts = {cut.n: cut.blocks for cut in cuts_of(net, ())}
    values: dict[str, Any] = {
        "folder": folder,
        "network": net.source,
        "cuts": cuts,
        "halves": halves,
        "recipe": recipe,
        "seed": 3,
    }
    return Setup(**{**values, **changed})


def run(
    kind: Kind, n: int, target: str = "B", *, seed: int = 0, images: int = 0, split: int = 0, halves: str = "like"
) -> Run:
    other = {"A": "B", "B": "A"}[target]
    source = {"base": None, "random": None, "selffer": target, "selffer+": target}.get(kind, other)
    return Run(kind, n, source, target, split, seed, halves, images)


def pictures(folder: Path, classes: int = 4, each: int = 16, size: int = 8) -> Path:
    """A folder of small pictures, one class after another, that a network can learn."""
    draw = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"kind {label}"
        place.mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 90, (size, size, 3))
            pixels[:, :, label % 3] += 100 if label < 3 else 0
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:02}.png")
    return folder


CUTS = [Cut(n, (f"b{n}",), 10 * n) for n in (1, 2, 3)]
