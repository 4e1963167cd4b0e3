"""Ways to weigh several tasks against each other, and what is to be known of each; torch-free."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from headstart.errors import ConfigError

Family = Literal["fixed", "scheduled", "by loss", "by gradient norm", "by gradients"]
"""What weights follow from: nothing, the course of training, losses, gradient norms, or whole gradients (Jacobian)."""

INSTALL = "pip install 'headstart[torchjd]'"
"""What brings the weightings of the family `by gradients`."""


@dataclass(frozen=True)
class Sum:
    """The plain sum, or one with a factor per task."""

    weights: Mapping[str, float] = field(default_factory=dict)
    """factor per task; 1 for those that are not named"""


@dataclass(frozen=True)
class Scheduled:
    """Weights as the user wrote them, see `catalog/schedules.py`."""

    schedule: Any = None
    """a formula per task, a table by epoch, or the file of one"""
    normalise: bool = False
    """scale the weights so that they add up to the number of tasks"""


@dataclass(frozen=True)
class Dwa:
    """Dynamic weight average."""

    temperature: float = 2.0
    """large ones bring the weights together"""


@dataclass(frozen=True)
class UncertaintyWeighting:
    """Uncertainty weighting."""

    variance: float = 1.0
    """noise of every task at the start"""
    scale: float = 1.0
    """learning rate of the variances, times the stage's"""


@dataclass(frozen=True)
class GradNormWeighting:
    """GradNorm."""

    alpha: float = 1.5
    """how hard a task that lags behind is pulled back"""
    rate: float = 0.025
    """step of the weights, apart from the network's"""
    floor: float = 1e-3
    """smallest weight"""


@dataclass(frozen=True)
class ByGradients:
    """A weighting without settings of its own besides the sum of its weights."""

    normalise: bool = False
    """scale the weights of a step so that they add up to the number of tasks, as those of the plain sum do"""


@dataclass(frozen=True)
class Mgda(ByGradients):
    """MGDA."""

    epsilon: float = 1e-3
    """stop when a step of the solver is smaller"""
    max_iters: int = 100
    """steps of the solver at most"""


@dataclass(frozen=True)
class CaGrad(ByGradients):
    """CAGrad."""

    c: float = 0.4
    """how far from the mean gradient the step may be, as a share of its length"""


@dataclass(frozen=True)
class NashMtl(ByGradients):
    """Nash-MTL."""

    max_norm: float = 1.0
    """longest gradient it returns; 0 for no limit"""
    optim_niter: int = 20
    """steps of the solver at most"""


@dataclass(frozen=True)
class FairGrad(ByGradients):
    """FairGrad."""

    alpha: float = 1.0
    """kind of fairness: 0 is the plain mean, 1 proportional; larger ones look to the task that gains least"""


@dataclass(frozen=True)
class Weighting:
    """What is to be known of a weighting before it is chosen.

    config   its settings, with their defaults
    summary  one line
    family   what its weights follow from
    paper    where it is from
    total    what its weights add up to
    """

    config: Any
    summary: str
    family: Family
    paper: str
    total: str


_K = "the number of tasks"

WEIGHTINGS: dict[str, Weighting] = {
    "sum": Weighting(
        Sum(), "the plain sum of the losses (the baseline), or one with a factor per task", "fixed", "", "as set"
    ),
    "schedule": Weighting(
        Scheduled(),
        "weights the user writes, as a formula of time or a table by epoch",
        "scheduled",
        "",
        "as written, or the number of tasks (normalise)",
    ),
    "dwa": Weighting(
        Dwa(),
        "dynamic weight average: a task whose loss fell slowly last epoch counts more in the next",
        "by loss",
        "Liu, Johns & Davison 2019",
        _K,
    ),
    "uncertainty": Weighting(
        UncertaintyWeighting(),
        "learn how noisy each task is, and count noisy ones less",
        "by loss",
        "Kendall, Gal & Cipolla 2018",
        "free",
    ),
    "gradnorm": Weighting(
        GradNormWeighting(),
        "GradNorm: gradients of equal length on the last shared block, longer for tasks that learn slowly",
        "by gradient norm",
        "Chen et al. 2018",
        _K,
    ),
    "pcgrad": Weighting(
        ByGradients(),
        "PCGrad: take from each gradient what points against another task's",
        "by gradients",
        "Yu et al. 2020",
        "the number of tasks or more",
    ),
    "mgda": Weighting(
        Mgda(),
        "MGDA: the shortest mean of the gradients, which no task loses by",
        "by gradients",
        "Sener & Koltun 2018",
        "1",
    ),
    "cagrad": Weighting(
        CaGrad(),
        "CAGrad: near the mean gradient, the step by which the worst task gains most",
        "by gradients",
        "Liu et al. 2021",
        "more than 1",
    ),
    "nash_mtl": Weighting(
        NashMtl(), "Nash-MTL: the step that tasks would agree on in bargaining", "by gradients", "Navon et al. 2022", "free"
    ),
    "upgrad": Weighting(
        ByGradients(),
        "UPGrad: project each gradient so that no task loses by it, and take the mean",
        "by gradients",
        "Quinton & Rey 2024",
        "1 or more",
    ),
    "dualproj": Weighting(
        ByGradients(),
        "the mean gradient, projected so that no task loses by it",
        "by gradients",
        "Lopez-Paz & Ranzato 2017",
        "1 or more",
    ),
    "aligned_mtl": Weighting(
        ByGradients(),
        "Aligned-MTL: make the gradients orthogonal and of one length",
        "by gradients",
        "Senushkin et al. 2023",
        "free",
    ),
    "imtl_g": Weighting(
        ByGradients(),
        "IMTL-G: a step that goes equally far along every task's gradient",
        "by gradients",
        "Liu et al. 2021 (impartial)",
        "1",
    ),
    "fairgrad": Weighting(
        FairGrad(), "FairGrad: share the gain among tasks by alpha-fairness", "by gradients", "Ban & Ji 2024", "free"
    ),
    "config": Weighting(
        ByGradients(),
        "ConFIG: the direction that has the same angle to every task's gradient",
        "by gradients",
        "Liu et al. 2024 (ConFIG)",
        "weighs no tasks",
    ),
    "graddrop": Weighting(
        ByGradients(),
        "GradDrop: keep one sign per number of the gradient, drawn by how much speaks for it",
        "by gradients",
        "Chen et al. 2020",
        "weighs no tasks",
    ),
}
"""Name -> what is to be known of it."""


def weighting(name: str) -> Weighting:
    """What is to be known of `name`. Raises ConfigError listing all there are."""
    if name not in WEIGHTINGS:
        raise ConfigError(f"weighting {name!r} is unknown; there are {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name]


def check_extra(name: str) -> None:
    """Raise ConfigError when `name` needs TorchJD and it is not installed. Looks without importing it."""
    if weighting(name).family == "by gradients" and importlib.util.find_spec("torchjd") is None:
        raise ConfigError(
            f"weighting {name!r} needs TorchJD, which is not installed:\n  {INSTALL}\n"
            f"Those that need nothing besides PyTorch are {', '.join(without_extra())}"
        )


def without_extra() -> list[str]:
    """Names of the weightings that need nothing besides PyTorch."""
    return [name for name, one in WEIGHTINGS.items() if one.family != "by gradients"]
