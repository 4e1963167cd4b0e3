"""What every way to pretrain has in common: how it learns, and what is to be known before one is chosen; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["pretext", "contrastive", "without negatives", "reconstruction", "supervised"]
"""A made-up question; images against other images; images against themselves; what was hidden; labels."""


@dataclass(frozen=True)
class Schooling:
    """How a method learns. A view pass is one rendering of one image that goes through the network."""

    epochs: int = 50
    """passes over the images"""
    batch_size: int = 128
    """images per optimiser step, over all processes; every image is rendered as often as the method has views"""
    lr: float = 0.06
    """learning rate"""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """rule that moves the weights"""
    weight_decay: float = 5e-4
    """pull of the weights towards zero"""
    warmup: float = 0.1
    """share of the training in which the rate rises"""
    clip: float | None = None
    """largest gradient norm; none: no limit"""
    seed: int = 0
    """what is drawn between stages (new weights of heads, cluster centres) follows from it"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.epochs >= 1, f"epochs={self.epochs}: one at least"),
            (self.batch_size >= 2, f"batch_size={self.batch_size}: two at least"),
            (0 < self.lr < 100, f"lr={self.lr}: above 0, below 100"),
            (self.weight_decay >= 0, f"weight_decay={self.weight_decay}: 0 or more"),
            (0 <= self.warmup < 1, f"warmup={self.warmup}: a share of the training"),
            (self.clip is None or self.clip > 0, f"clip={self.clip}: above 0"),
        ]
        return [text for holds, text in rules if not holds]


@dataclass(frozen=True)
class PretrainMethod:
    """What is to be known of a way to pretrain before it is chosen.

    family   see `Family`
    summary  one line
    paper    where it is from
    passes   view passes per image and epoch, by which methods are given equal work
    limits   what it cannot do or needs, in a sentence
    batchnorm  `fine`; `forbidden`: the method is not itself with batch normalisation in the backbone
    needs    `any` backbone, or a `transformer`
    least    images that a step should have, where the loss is about all of them together; fewer are warned of
    network  a backbone that it works with, named where another is refused
    labels   whether it learns from labels
    """

    family: Family
    summary: str
    paper: str
    passes: float
    limits: str
    batchnorm: Literal["fine", "forbidden"] = "fine"
    needs: Literal["any", "transformer"] = "any"
    least: int = 2
    network: str = "headstart:resnet20"
    labels: bool = False
