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
    """

    family: Literal["regularisation", "rehearsal", "architecture", "bound"]
    summary: str
    limits: str
    scenarios: tuple[Scenario, ...] = SCENARIOS
    old_data: bool = False
    memory: bool = False


METHODS: dict[str, Method] = {
    "fine_tune": Method(
        "regularisation",
        "train everything (or the top blocks) on the new task alone",
        "nothing holds the old skill: it is forgotten as far as the new task moves the shared blocks",
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
