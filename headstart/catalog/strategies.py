"""Settings of every strategy, torch-free so that the command line starts at once.

Learning rates are given relative to `lr`, the rate one would use from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.catalog.distill import LOSSES


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


@dataclass(frozen=True)
class DistillConfig:
    """A student learns from labels and from what one teacher or several say (Hinton et al. 2015)."""

    recipe: Recipe = Recipe()
    temperature: float = 4.0
    """divides the logits of teacher and student alike before the softmax: higher shows more of what a teacher holds likely
    besides its answer"""
    share: float = 0.9
    """lambda: weight of the soft term; the labels' is one minus it. 0: labels alone, which is the student without teacher"""
    kind: Literal["soft", "hard"] = "soft"
    """learn the teacher's probabilities, or its answer alone (hard distillation, DeiT)"""
    losses: tuple[str, ...] = ()
    """more to learn by: `hints`, `attention`, `relational`, `contrastive` (features of the first teacher), `decoupled` (in
    place of the soft term), `standardise` (logits by their own spread)"""
    teacher_average: Literal["logits", "probabilities"] = "logits"
    """what is averaged over several teachers"""
    teacher_weights: tuple[float, ...] = ()
    """one weight per teacher; none: all the same"""
    token: bool = False
    """the teacher speaks to a transformer's distillation token, the labels to its class token; both answer together"""
    record: bool = True
    """ask the teacher once for every rendering and keep its answers, where renderings are plain or fixed in number"""
    dtype: Literal["float32", "float16"] = "float32"
    """how answers are kept"""
    top_k: int | None = None
    """keep only so many likeliest classes per answer (for very many classes); none: all"""

    def faults(self, teachers: int | None = None) -> list[str]:
        """What cannot be, in words; `teachers` is their number where it is known."""
        return [*_taught_faults(self.temperature, self.share), *self._loss_faults(), *self._teacher_faults(teachers)]

    def _loss_faults(self) -> list[str]:
        found = []
        unknown = [name for name in self.losses if name not in LOSSES]
        if unknown:
            found.append(f"losses={','.join(unknown)} is unknown; there are {', '.join(LOSSES)}")
        if self.kind == "hard" and {"decoupled", "standardise"} & set(self.losses):
            found.append("kind=hard learns the answer alone; decoupled and standardise need probabilities (kind=soft)")
        if {"decoupled", "standardise"} <= set(self.losses):
            found.append("decoupled and standardise are two ways of the same term; choose one")
        if self.kind not in ("soft", "hard"):
            found.append(f"kind={self.kind} is neither soft nor hard")
        if self.top_k is not None and self.top_k < 1:
            found.append(f"top_k={self.top_k}: keep one class at least, or none for all")
        return found

    def _teacher_faults(self, teachers: int | None) -> list[str]:
        found = []
        if self.teacher_weights and (min(self.teacher_weights) < 0 or sum(self.teacher_weights) <= 0):
            found.append(f"teacher_weights={self.teacher_weights}: weights are not negative, and one at least is positive")
        if teachers is not None and self.teacher_weights and len(self.teacher_weights) != teachers:
            found.append(f"teacher_weights={self.teacher_weights}: {len(self.teacher_weights)} for {teachers} teachers")
        if teachers == 0 and (self.share > 0 or set(self.losses)):
            found.append("there is no teacher; give one, or share=0 and no losses for a student alone")
        if self.token and self.share == 0:
            found.append("a distillation token learns from the teacher alone; with share=0 it learns nothing")
        return found


@dataclass(frozen=True)
class BornAgainConfig:
    """The same architecture again and again, each taught by the one before (born-again networks, Furlanello et al. 2018)."""

    recipe: Recipe = Recipe()
    temperature: float = 4.0
    """divides the logits of teacher and student alike before the softmax"""
    share: float = 0.9
    """lambda: weight of the soft term; the labels' is one minus it"""
    generations: int = 2
    """networks drawn anew and taught by the one before, after the first, which has only labels"""
    record: bool = True
    """ask the teacher once for every rendering and keep its answers, where renderings are plain or fixed in number"""
    seed: int = 0
    """the new weights follow from it"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        few = [f"generations={self.generations}: one at least"] if self.generations < 1 else []
        return [*_taught_faults(self.temperature, self.share), *few]


def _taught_faults(temperature: float, share: float) -> list[str]:
    found = []
    if not temperature > 0 or temperature == float("inf"):
        found.append(f"temperature={temperature}: a temperature is a positive number, usually 1 to 10")
    if not 0 <= share <= 1:
        found.append(f"share={share}: the share of the soft term is between 0 (labels alone) and 1 (the teacher alone)")
    return found
