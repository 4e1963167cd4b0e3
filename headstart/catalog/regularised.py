"""Settings of the continual methods that hold weights near where they were; torch-free.

Every `strength` multiplies 1/2 sum_i F_i (theta_i - theta*_i)^2 beside the new task's mean cross-entropy. Other papers and
tools leave out the 1/2, or mean another F: a number does not carry over without its convention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from headstart.catalog.continual import Learn


@dataclass(frozen=True)
class FeatureExtractionConfig:
    """The new head alone, blocks and old heads frozen (Li & Hoiem 2016, their feature extraction, by gradient steps)."""

    learn: Learn = Learn()

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        return self.learn.faults()


@dataclass(frozen=True)
class L2spConfig:
    """L2-SP (Li, Grandvalet & Davoine 2018): all weights held near those the task began with."""

    learn: Learn = Learn()
    strength: float = 0.1
    """alpha, on what was there before; F is one. Larger forgets less and learns less; the paper tries 0.001 to 1"""
    head_strength: float = 0.01
    """beta, on the new head, towards zero (the paper's value)"""
    from_start: bool = False
    """hold the first task too, to the weights that the model came with (for a pretrained backbone)"""
    warmup_epochs: int = 0
    """epochs of the new head alone before everything trains"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        head = [] if 0 <= self.head_strength < float("inf") else [f"head_strength={self.head_strength}: 0 or more"]
        return [*_faults(self.learn, self.strength, self.warmup_epochs), *head]


@dataclass(frozen=True)
class EwcConfig:
    """Elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018)."""

    learn: Learn = Learn()
    strength: float = 100.0
    """lambda of the paper; F is the Fisher information per sample. Larger forgets less and learns less"""
    mode: Literal["separate", "online"] = "separate"
    """a penalty about the end of every task, kept as their sum; or one about the latest weights, earlier tasks fading"""
    gamma: float = 0.95
    """share of earlier importances that is kept at each task, in mode online"""
    fisher: Literal["exact", "empirical", "batch", "likeliest"] = "exact"
    """over the model's own answers, with the true labels, or squared gradients of whole batches, with the labels or with the
    likeliest answers; they differ by orders of magnitude, and the strength goes with one kind"""
    samples: int | None = None
    """how many of a task's samples importances are found on; none: all"""
    warmup_epochs: int = 0
    """epochs of the new head alone before everything trains"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = [*_faults(self.learn, self.strength, self.warmup_epochs, self.samples)]
        if self.mode not in ("separate", "online"):
            found.append(f"mode={self.mode} is neither separate nor online")
        if not 0 <= self.gamma <= 1:
            found.append(f"gamma={self.gamma}: between 0 (earlier tasks forgotten at once) and 1 (never)")
        if self.fisher not in ("exact", "empirical", "batch", "likeliest"):
            found.append(f"fisher={self.fisher} is not one of exact, empirical, batch, likeliest")
        return found


@dataclass(frozen=True)
class SiConfig:
    """Synaptic intelligence (Zenke, Poole & Ganguli 2017)."""

    learn: Learn = Learn()
    strength: float = 2.0
    """twice the paper's c, which leaves out the 1/2; a c of 1 weighs old and new losses alike. Larger forgets less"""
    xi: float = 0.1
    """added to the squared way of a weight, so that those that hardly moved get no huge importance (the authors' value)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        xi = [] if 0 < self.xi < float("inf") else [f"xi={self.xi}: a positive number, as 0.1 or 0.001"]
        return [*_faults(self.learn, self.strength, 0), *xi]


@dataclass(frozen=True)
class MasConfig:
    """Memory aware synapses (Aljundi et al. 2018)."""

    learn: Learn = Learn()
    strength: float = 2.0
    """twice the paper's lambda, which leaves out the 1/2 and is 1 there. Larger forgets less and learns less"""
    samples: int | None = None
    """how many of a task's samples importances are found on; none: all"""
    warmup_epochs: int = 0
    """epochs of the new head alone before everything trains"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        return list(_faults(self.learn, self.strength, self.warmup_epochs, self.samples))


def _faults(learn: Learn, strength: float, warmup_epochs: int, samples: int | None = None) -> Iterator[str]:
    if not 0 <= strength < float("inf"):
        yield f"strength={strength}: 0 (nothing is held) or more"
    if learn.scale == 0:
        yield "scale=0: with shared blocks frozen there is nothing to hold; use feature_extraction for that"
    if warmup_epochs < 0:
        yield f"warmup_epochs={warmup_epochs}: 0 or more"
    if samples is not None and samples < 1:
        yield f"samples={samples}: one at least, or none for all"
