"""Settings of the methods that teach a model one more task, and what is to be known of each; torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headstart.catalog.strategies import Recipe

Scenario = Literal["task", "domain", "class"]
SCENARIOS: tuple[Scenario, ...] = ("task", "domain", "class")
"""Task-incremental: a question of its own with every task, which is known when answering. Domain-incremental: the same
question about other images. Class-incremental: new answers to one question, whose task nobody names."""


@dataclass(frozen=True)
class Method:
    """What is to be known of a method before it is chosen.

    family     `regularisation`, `rehearsal` or `architecture`, and `bound` for those that only mark how well it can go
    summary    one line
    limits     what it cannot do, in words for the report
    scenarios  where it can work at all
    old_data   whether it needs the old tasks' own images again
    memory     whether it keeps old images with the model
    unused     settings that all methods have and this one makes no use of
    any_kind   whether old questions may be answered with several yes or no, or a number, too
    state_from_old  whether a state, or stored samples, that a model lacks can be had when its old data are given once
    """

    family: Literal["regularisation", "rehearsal", "architecture", "bound"]
    summary: str
    limits: str
    scenarios: tuple[Scenario, ...] = SCENARIOS
    old_data: bool = False
    memory: bool = False
    state_from_old: bool = False
    unused: tuple[str, ...] = ()
    any_kind: bool = False


METHODS: dict[str, Method] = {
    "fine_tune": Method(
        "regularisation",
        "train everything (or the top blocks) on the new task alone",
        "nothing holds the old skill: it is forgotten as far as the new task moves the shared blocks",
        any_kind=True,
    ),
    "feature_extraction": Method(
        "regularisation",
        "train the new head alone by gradient steps, blocks and old heads frozen",
        "learns only what the old features tell apart; domain-incrementally the one head changes, old answers with it",
        unused=("scale", "top", "norm"),
        any_kind=True,
    ),
    "l2sp": Method(
        "regularisation",
        "L2-SP: hold all weights near those the task began with, and the new head small",
        "holds weights that do not matter as hard as those that do; after many tasks the first is far away",
        any_kind=True,
    ),
    "ewc": Method(
        "regularisation",
        "elastic weight consolidation: hold weights harder that the old answers depend on (Fisher information)",
        "a quadratic guess that fails far from the old weights, stored as two copies of them; in one list new classes win",
        state_from_old=True,
    ),
    "si": Method(
        "regularisation",
        "synaptic intelligence: hold weights harder that brought the old losses down, found while they were learned",
        "what matters cannot be found afterwards: it has to teach every task; in one list of classes the new ones win",
    ),
    "mas": Method(
        "regularisation",
        "memory aware synapses: hold weights harder that the size of the old answers changes with; needs no labels",
        "what changes the size of answers need not change which is right; in one list of classes the new ones win",
        state_from_old=True,
    ),
    "lwf": Method(
        "rehearsal",
        "Learning without Forgetting: keep what the old heads say about the new images, recorded before training",
        "the old skill is held only as far as the new images show it: the less alike they are, the more is forgotten",
        any_kind=True,
    ),
    "packnet": Method(
        "architecture",
        "PackNet: each task claims some of the weights that earlier ones left free, and keeps them for ever",
        "a sample's task must be known when answering, because each task has weights of its own; the room runs out",
        scenarios=("task",),
    ),
    "replay": Method(
        "rehearsal",
        "experience replay: train on stored samples of the old tasks beside the new ones",
        "it needs a memory and the right to keep old samples; with few of them it learns those by heart",
        memory=True,
        state_from_old=True,
    ),
    "der": Method(
        "rehearsal",
        "dark experience replay: match the logits that the net gave for stored samples while it learned them",
        "it needs a memory and the right to keep old samples; answers stored early in training are those of a beginner",
        memory=True,
        state_from_old=True,
    ),
    "derpp": Method(
        "rehearsal",
        "DER++: dark experience replay, and the labels of a second draw of stored samples",
        "it needs a memory and the right to keep old samples, and three passes through the network at every step",
        memory=True,
        state_from_old=True,
    ),
    "agem": Method(
        "rehearsal",
        "A-GEM: project each gradient that would raise the loss of stored samples",
        "stored samples only forbid and teach nothing: it keeps less than replay of the same samples at the same cost",
        memory=True,
        state_from_old=True,
    ),
    "icarl": Method(
        "rehearsal",
        "iCaRL: answer by the nearest mean of stored samples, learn with them and the old network's outputs",
        "its one answer is a list of all classes, which is for class-incremental tasks alone; it needs a memory and the "
        "right to keep old samples, a share of it per class that shrinks; its probabilities are not calibrated",
        scenarios=("class",),
        memory=True,
        state_from_old=True,
    ),
    "lwf_mc": Method(
        "rehearsal",
        "LwF.MC: sigmoid outputs over all classes, the old ones held by the old network's on new images",
        "it makes one list of all classes, for class-incremental tasks alone; without old samples new classes win over old",
        scenarios=("class",),
    ),
    "new_head": Method(
        "architecture",
        "solve for a new head on the frozen blocks; nothing old is touched",
        "learns only what the old features tell apart; a sample's task must be known when answering, because heads solved "
        "apart cannot be compared in one list",
        scenarios=("task",),
        unused=("epochs", "batch_size", "lr", "scale", "top", "norm"),
        any_kind=True,
    ),
    "expand": Method(
        "architecture",
        "grow a column of upper blocks for every task; all that was there stays frozen",
        "the network and each answer cost more with every task; a sample's task must be known when answering, because no "
        "old image tells a new head when to be silent",
        scenarios=("task",),
        any_kind=True,
    ),
    "joint": Method(
        "bound",
        "train on the new and all old data together: the upper bound",
        "needs every old image again and time that grows with all tasks; tells how well it can go, not how to do without",
        old_data=True,
    ),
}
"""Name of a method (its file in `strategies/continual/`) -> what is to be known of it."""


@dataclass(frozen=True)
class Learn:
    """How a model learns one more task, whatever the method."""

    recipe: Recipe = field(default_factory=lambda: Recipe(lr=0.05))
    """of the gradient steps"""
    scale: float = 0.1
    """learning rate of shared blocks and old heads relative to the new head's"""
    top: int | None = None
    """number of blocks with weights, counted from the top, that may change; none: all"""
    norm: Literal["frozen", "train"] = "frozen"
    """batch normalisation: statistics stay those of the first task, or follow the new images"""
    schedule: Literal["cosine", "linear", "constant", "steps"] = "cosine"
    """course of the learning rate; `steps`: a tenth of it after three quarters (as Learning without Forgetting does)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = []
        if self.scale < 0:
            found.append(f"scale={self.scale}: the rate of shared blocks is 0 (frozen) or a share of the head's, as 0.1")
        if self.top is not None and self.top < 1:
            found.append(f"top={self.top}: one block at least, or none for all")
        return found


@dataclass(frozen=True)
class FineTuneConfig:
    """The new task alone, from the old weights (Li & Hoiem 2016, their fine-tuning; the lower bound of every other)."""

    learn: Learn = Learn()
    warmup_epochs: int = 0
    """epochs of the new head alone before everything trains"""


@dataclass(frozen=True)
class LwfConfig:
    """Learning without Forgetting (Li & Hoiem 2016): record, warm up, train jointly."""

    learn: Learn = Learn(Recipe(lr=0.05, warmup=0.0), schedule="steps")
    warmup_epochs: int | None = None
    """epochs of the new head alone before everything trains; none: as many as the recipe says"""
    joint_epochs: int | None = None
    """epochs of everything together; none: as many as the recipe says"""
    temperature: float = 2.0
    """divides the logits, old and new alike: higher keeps more of what the old heads hold likely besides their answer"""
    old_weight: float = 1.0
    """lambda_o: weight of the old heads' losses beside the new task's; larger forgets less and learns less"""
    record: bool = True
    """keep the old answers to the plain images once (the paper's way), or ask the old network about every batch"""
    new_as_zero: bool = True
    """class-incrementally old answers are targets over all classes, the new ones with probability zero, so that they hold
    new classes down (van de Ven & Tolias 2019); else over the old classes alone, beside which new ones win"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = []
        if self.learn.scale <= 0:
            found.append(f"scale={self.learn.scale}: with shared blocks frozen nothing is forgotten; use new_head for that")
        if self.warmup_epochs is not None and self.warmup_epochs < 0:
            found.append(f"warmup_epochs={self.warmup_epochs}: 0 (no warm-up) or more, or none for the recipe's")
        if self.joint_epochs is not None and self.joint_epochs < 1:
            found.append(f"joint_epochs={self.joint_epochs}: one at least, or none for the recipe's")
        if not 0 < self.temperature < float("inf"):
            found.append(f"temperature={self.temperature}: a temperature is a positive number; the paper's is 2")
        if not 0 <= self.old_weight < float("inf"):
            found.append(f"old_weight={self.old_weight}: 0 or more; the paper's is 1")
        if self.record and self.learn.recipe.mixup:
            found.append("mixup blends images, about which no answers were recorded; use record=False or mixup=0")
        return found


@dataclass(frozen=True)
class PacknetConfig:
    """PackNet (Mallya & Lazebnik 2018): train the free weights, prune, retrain what is kept."""

    learn: Learn = Learn()
    share: float = 0.5
    """of a task's weights that it gives back for later tasks, per layer, the smallest in magnitude"""
    retrain_epochs: int | None = None
    """epochs of the kept weights after pruning; none: half the recipe's"""

    @property
    def retraining(self) -> int:
        """Epochs after pruning."""
        return max(self.learn.recipe.epochs // 2, 1) if self.retrain_epochs is None else self.retrain_epochs

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = []
        if not 0 <= self.share < 1:
            found.append(
                f"share={self.share}: from 0 (nothing is left for later tasks) to below 1; the paper's is 0.5 to 0.75"
            )
        if self.retrain_epochs is not None and self.retrain_epochs < 1:
            found.append(f"retrain_epochs={self.retrain_epochs}: one at least, or none for half the recipe's")
        if self.learn.scale <= 0:
            found.append(f"scale={self.learn.scale}: no shared weight could be claimed; use new_head for frozen blocks")
        if self.learn.recipe.average is not None:
            found.append(f"average={self.learn.recipe.average}: an average of weights would move those that are fixed")
        return found


@dataclass(frozen=True)
class NewHeadConfig:
    """A new head by a solver, on frozen blocks (feature extraction)."""

    learn: Learn = Learn()
    depth: str = "last"
    """block that the head reads: `last`, `best` (chosen by cross-validation), `all` side by side, or a block's name"""
    solver: Literal["logistic", "svm"] = "logistic"
    """kind of head"""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """ridge strengths to choose from by cross-validation"""
    folds: int = 5
    """folds of that cross-validation"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = []
        if not self.penalties or min(self.penalties) <= 0:
            found.append(f"penalties={self.penalties}: one strength at least, all positive")
        if self.folds < 2:
            found.append(f"folds={self.folds}: two at least")
        if self.solver not in ("logistic", "svm"):
            found.append(f"solver={self.solver} is neither logistic nor svm")
        return found


@dataclass(frozen=True)
class ExpandConfig:
    """New columns of upper blocks, the old ones frozen."""

    learn: Learn = Learn()
    first: str | None = None
    """block from which on columns are grown; none: the upper half of the blocks, or where earlier columns began"""
    start: Literal["copy", "fresh"] = "copy"
    """a new column is a copy of the old network's blocks, or drawn anew"""
    warmup_epochs: int = 0
    """epochs of the new head alone before the column trains"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = []
        if self.learn.top is not None:
            found.append(f"top={self.learn.top}: no old block changes here; say where columns begin (first=BLOCK)")
        if self.start not in ("copy", "fresh"):
            found.append(f"start={self.start} is neither copy nor fresh")
        if self.start == "copy" and self.learn.scale <= 0:
            found.append(
                f"scale={self.learn.scale}: a column that does not train is the old one again; use new_head for that"
            )
        if self.warmup_epochs < 0:
            found.append(f"warmup_epochs={self.warmup_epochs}: 0 or more")
        return found


@dataclass(frozen=True)
class JointConfig:
    """Multi-task training on all data at once."""

    learn: Learn = Learn()
    warmup_epochs: int = 0
    """epochs of the new head alone, on the new task, before everything trains"""

    def faults(self, scenario: Scenario = "class") -> list[str]:
        """What cannot be, in words."""
        found = []
        if self.warmup_epochs < 0:
            found.append(f"warmup_epochs={self.warmup_epochs}: 0 or more")
        recipe = self.learn.recipe
        if scenario == "task" and recipe.mixup:
            found.append(f"mixup={recipe.mixup} blends images of different tasks, which no single head answers; use mixup=0")
        if scenario == "task" and recipe.smoothing:
            found.append(f"smoothing={recipe.smoothing} spreads labels over the classes of other tasks; use smoothing=0")
        return found
