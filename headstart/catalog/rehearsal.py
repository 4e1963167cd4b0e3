"""Settings of the continual methods that show the net old samples or old outputs again; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.catalog.continual import Learn

Policy = Literal["reservoir", "class_balanced", "herding"]


@dataclass(frozen=True)
class ReplayConfig:
    """Experience replay: stored samples of old tasks beside the new ones at every step."""

    learn: Learn = Learn()
    capacity: int = 500
    """samples kept, of all tasks together"""
    policy: Policy = "reservoir"
    """which: all equally likely; equal shares per class, drawn; or equal shares, those that follow the class's mean best"""
    replay_size: int | None = None
    """stored samples per step; none: as many as new ones"""
    weight: float = 1.0
    """of their loss beside the new samples'; larger forgets less and learns less"""
    max_bytes: int = 1_000_000_000
    """largest memory"""


@dataclass(frozen=True)
class DerConfig:
    """Dark experience replay (Buzzega et al. 2020)."""

    learn: Learn = Learn()
    capacity: int = 500
    """samples kept, of all tasks together"""
    alpha: float = 0.3
    """weight of the squared error against stored logits; larger forgets less and learns less"""
    replay_size: int | None = None
    """stored samples per step; none: as many as new ones"""
    max_bytes: int = 1_000_000_000
    """largest memory, stored logits included"""


@dataclass(frozen=True)
class DerppConfig:
    """Dark experience replay with labels (Buzzega et al. 2020, DER++)."""

    learn: Learn = Learn()
    capacity: int = 500
    """samples kept, of all tasks together"""
    alpha: float = 0.1
    """weight of the squared error against stored logits; larger forgets less and learns less"""
    beta: float = 0.5
    """weight of the labels of a second draw; larger forgets less and learns less"""
    replay_size: int | None = None
    """stored samples per step, for each of the two; none: as many as new ones"""
    max_bytes: int = 1_000_000_000
    """largest memory, stored logits included"""


@dataclass(frozen=True)
class AgemConfig:
    """Averaged gradient episodic memory (Chaudhry et al. 2019)."""

    learn: Learn = Learn()
    capacity: int = 500
    """samples kept, of all tasks together"""
    policy: Policy = "class_balanced"
    """which: all equally likely; equal shares per class, drawn; or equal shares, those that follow the class's mean best"""
    replay_size: int | None = None
    """stored samples per step, whose gradient is looked at; none: as many as new ones"""
    max_bytes: int = 1_000_000_000
    """largest memory"""


@dataclass(frozen=True)
class IcarlConfig:
    """Incremental classifier and representation learning (Rebuffi et al. 2017)."""

    learn: Learn = Learn()
    capacity: int = 500
    """exemplars kept, of all classes together; one per class at least"""
    max_bytes: int = 1_000_000_000
    """largest memory"""


@dataclass(frozen=True)
class LwfMcConfig:
    """Learning without Forgetting for many classes in one list (Rebuffi et al. 2017, LwF.MC)."""

    learn: Learn = Learn()
