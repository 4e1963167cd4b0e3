"""The published numbers of "How transferable are features in deep neural networks?". Torch-free.

Source: Yosinski, Clune, Bengio, Lipson (2014), NIPS 27, figures 2 and 3 and the supplement on reduced data. What stands in
`assets/yosinski2014.json` was recomputed, by `examples/yosinski_summary.py`, from the authors' published logs, one row per
run: for each figure, kind of network, halves of ImageNet and cut n the mean top-1 share, the least and most of the runs and
how many there are. Differences to the base network were paired by split and target anew; the paper compares means, so that
its AnB+ (every run with target B, the easier half) seems further ahead of BnB+ (every run with target A) than it is.

The network is AlexNet: conv1 to conv5, fc6, fc7, fc8, cut after each of the first seven. Accuracies are shares of the
validation images, each run's mean of its ten best validations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Published:
    """One point of a published curve.

    figure    number of the paper's figure
    kind      `base`, `selffer` (BnB), `transfer` (AnB), `selffer+`, `transfer+` (the same, fine-tuned), `random`
    halves    `like` (random halves), `unlike` (natural and man-made things), `none` (all 1000 classes)
    target    `natural` or `man-made` for one direction of the unlike halves, else `both`
    n         layers taken over, 0 for base
    runs      how many runs the means are of
    accuracy, spread             mean share of images right; least and most of the runs
    relative, relative_spread    the same after subtracting the base network of the same split and target
    """

    figure: int
    kind: str
    halves: str
    target: str
    n: int
    runs: int
    accuracy: float
    spread: tuple[float, float]
    relative: float
    relative_spread: tuple[float, float]


@dataclass(frozen=True)
class Drop:
    """Accuracy lost at cut n, mean, least and most of `runs` pairs of runs."""

    n: int
    runs: int
    drop: float
    spread: tuple[float, float]


@dataclass(frozen=True)
class Reduced:
    """A network learned from scratch on so many images of each of the 1000 classes."""

    per_class: int
    accuracy: float
    iterations: int


@cache
def _content() -> dict[str, Any]:
    text = resources.files("headstart.assets").joinpath("yosinski2014.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def citation() -> str:
    """Where the numbers are from, as one line."""
    return str(_content()["citation"])


def layers() -> tuple[str, ...]:
    """Names of the network's layers, from the input."""
    return tuple(_content()["layers"])


@cache
def published() -> tuple[Published, ...]:
    """Every point of every curve."""
    return tuple(
        Published(**{**row, "spread": tuple(row["spread"]), "relative_spread": tuple(row["relative_spread"])})
        for row in _content()["curves"]
    )


def curve(kind: str, halves: str = "like", target: str = "both") -> tuple[Published, ...]:
    """One curve in order of n; empty when the paper has none such."""
    found = (one for one in published() if (one.kind, one.halves, one.target) == (kind, halves, target))
    return tuple(sorted(found, key=lambda one: one.n))


def coadaptation() -> tuple[Drop, ...]:
    """Base minus BnB of the same split and target: what is lost where co-adapted layers are parted."""
    return _drops("coadaptation")


def specificity() -> tuple[Drop, ...]:
    """BnB minus AnB of the same split and target: what is lost since features are specific to the other half."""
    return _drops("specificity")


def _drops(name: str) -> tuple[Drop, ...]:
    return tuple(Drop(**{**row, "spread": tuple(row["spread"])}) for row in _content()[name])


def reduced() -> tuple[Reduced, ...]:
    """Learning from scratch on part of ImageNet, fewest images first (200 000 iterations, `base1000` had 450 000)."""
    return tuple(Reduced(**row) for row in _content()["reduced"])


def base1000() -> Published:
    """The network learned on all images of all 1000 classes, which the random control is compared with."""
    return curve("base", "none")[0]
