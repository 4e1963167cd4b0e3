"""The methods: one generator per file, and a plain dict of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headstart.stage import Solve, Stage
from headstart.strategies.born_again import born_again
from headstart.strategies.distill import distill
from headstart.strategies.early_probe import early_probe
from headstart.strategies.full import full
from headstart.strategies.gradual import gradual
from headstart.strategies.lpft import lpft
from headstart.strategies.partial import partial
from headstart.strategies.probe import probe
from headstart.strategies.retrain import retrain
from headstart.strategies.svm import svm

Strategy = Callable[..., Iterator[Stage | Solve]]

STRATEGIES: dict[str, Strategy] = {
    "probe": probe,
    "svm": svm,
    "early_probe": early_probe,
    "partial": partial,
    "full": full,
    "lpft": lpft,
    "retrain": retrain,
    "gradual": gradual,
    "distill": distill,
    "born_again": born_again,
}
"""Name -> generator function `(net, task, config) -> stages`; `distill` takes `teachers` besides."""

__all__ = ["STRATEGIES", "Strategy"]
