"""Settings of every strategy, torch-free so that the command line starts at once.

Learning rates are given relative to `lr`, the rate one would use from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """What all strategies that train by gradient steps share."""

    epochs: int = 20
    """passes over the training data"""
    batch_size: int = 64
    """images per optimiser step, over all processes"""
    lr: float = 0.1
    """learning rate one would use from scratch"""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """rule that moves the weights"""
    weight_decay: float = 5e-4
    """pull of the weights towards zero"""
    warmup: float = 0.1
    """share of the training in which the rate rises"""
    clip: float | None = None
    """largest gradient norm; none: no limit"""
    augment: bool = True
    """random shifts or crops, and mirroring where `mirror`"""
    mirror: bool = True
    """mirroring keeps the class (it does not for digits and letters)"""
    views: int | None = None
    """number of fixed augmented renderings per image (makes frozen work cacheable); none: drawn anew every epoch"""
    smoothing: float = 0.0
    """label smoothing"""
    mixup: float = 0.0
    """strength of image mixing; 0: none"""
    class_weights: bool = False
    """weigh classes by the inverse of their size"""
    average: float | None = None
    """decay per step of a weight average; none: no averaging"""
    patience: int | None = None
    """stop after so many epochs without improvement on a held-out tenth; none: train to the end"""
    seed: int = 0
    """that tenth follows from it"""


@dataclass(frozen=True)
class ProbeConfig:
    """Frozen backbone, linear head by L-BFGS."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """ridge strengths to choose from by cross-validation"""
    folds: int = 5
    """folds of that cross-validation"""
    class_weights: bool = False
    """weigh classes by the inverse of their size"""


@dataclass(frozen=True)
class SvmConfig:
    """Frozen backbone, linear support vector machine on the features, calibrated by cross-validation."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """ridge strengths to choose from by cross-validation"""
    folds: int = 5
    """folds of that cross-validation and of the calibration"""
    class_weights: bool = False
    """weigh classes by the inverse of their size"""


@dataclass(frozen=True)
class EarlyProbeConfig:
    """Linear head or SVM at an earlier depth, or on all depths together."""

    depth: str = "all"
    """name of the block to read; `all`: every block's features side by side; `best`: chosen by cross-validation"""
    head: Literal["logistic", "svm"] = "logistic"
    """kind of head"""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """ridge strengths to choose from by cross-validation"""
    folds: int = 5
    """folds of that cross-validation"""
    class_weights: bool = False
    """weigh classes by the inverse of their size"""


@dataclass(frozen=True)
class PartialConfig:
    """Top blocks at a tenth of the learning rate, head at the full rate, the rest frozen."""

    recipe: Recipe = Recipe()
    top: int = 3
    """number of blocks with weights, counted from the top, that are fine-tuned"""
    scale: float = 0.1
    """learning rate of those blocks relative to the head's"""


@dataclass(frozen=True)
class FullConfig:
    """Every block at a tenth or a hundredth of the learning rate, or at rates that fall layer by layer."""

    recipe: Recipe = Recipe()
    scale: float = 0.1
    """learning rate of the blocks relative to the head's (of the top block when `decay` < 1)"""
    decay: float = 1.0
    """factor from each block to the one below it"""


@dataclass(frozen=True)
class LpftConfig:
    """Probe, then fine-tune everything from that head (LP-FT, Kumar et al. 2022)."""

    recipe: Recipe = Recipe()
    scale: float = 0.1
    """learning rate of the blocks and the head in the second stage relative to `lr`"""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """ridge strengths of the probe to choose from by cross-validation"""
    folds: int = 5
    """folds of that cross-validation"""


@dataclass(frozen=True)
class RetrainConfig:
    """All weights drawn anew, or only the top blocks, the rest frozen or at a tenth of the rate."""

    recipe: Recipe = Recipe()
    top: int | None = None
    """number of blocks with weights, from the top, that are drawn anew; none: all"""
    below: float = 0.0
    """learning rate of the blocks below relative to `lr`; 0: frozen"""
    seed: int = 0
    """the new weights follow from it"""


@dataclass(frozen=True)
class GradualConfig:
    """Gradual unfreezing: the head, then one more block from the top in every stage (Howard & Ruder 2018)."""

    recipe: Recipe = Recipe()
    scale: float = 0.1
    """learning rate of the blocks relative to the head's"""
    decay: float = 1.0
    """factor from each block to the one below it"""
    stages: int = 4
    """number of stages; blocks are shared out evenly among them, the head alone in the first"""
