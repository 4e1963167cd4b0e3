"""How one network learns several tasks: what the strategy `multitask` can be told; torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from headstart.catalog.strategies import Recipe

Sharing = Literal["hard", "partly", "soft", "cross_stitch"]
SHARINGS: dict[str, str] = {
    "hard": "one backbone, a head per task",
    "partly": "the first --shared blocks are one, a tower per task above them",
    "soft": "a tower per task, each pulled towards their mean (after Duong et al. 2015)",
    "cross_stitch": "a tower per task, mixed after blocks by learned units (Misra et al. 2016)",
}
"""Ways to share a network, in words."""
assert tuple(SHARINGS) == get_args(Sharing)

PULL = 0.01
"""Usual strength of soft sharing: twenty times the usual weight decay, so that towers stay near one another for as long as
no task gains much by leaving."""


@dataclass(frozen=True)
class SharingConfig:
    """One network for several tasks."""

    recipe: Recipe = field(default_factory=Recipe)
    scale: float = 0.1
    """learning rate of the blocks relative to the heads'"""
    weighting: str = "sum"
    """how the tasks' losses become one gradient, see `catalog/weightings.py`"""
    weighting_settings: Any = None
    """that weighting's settings; none: its own"""
    pull: float = 0.0
    """strength of the pull of every tower towards their mean (soft sharing), as of a weight decay"""
    stitch_scale: float = 100.0
    """learning rate of cross-stitch units relative to the blocks', 0.1 in all at most; the paper: 100 to 1000, of 0.001"""
    delta: float | None = None
    """numbers: Huber's loss (smooth L1), linear beyond so many standard deviations; none: squared error"""
    watch: bool = True
    """measure gradients of the tasks against each other, once per epoch"""
    steps: int | None = None
    """optimiser steps instead of the recipe's epochs"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (0 < self.scale <= 10, f"scale={self.scale}: above 0, 10 at most"),
            (0 <= self.pull < float("inf"), f"pull={self.pull}: 0 (none) or more"),
            (0 < self.stitch_scale <= 1e5, f"stitch_scale={self.stitch_scale}: above 0"),
            (self.delta is None or self.delta > 0, f"delta={self.delta}: above 0"),
            (self.steps is None or self.steps >= 1, f"steps={self.steps}: one at least"),
        ]
        return [text for holds, text in rules if not holds]
