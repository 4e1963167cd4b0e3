"""Settings of the ways to pretrain that need no negatives; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.catalog.pipelines import view_faults
from headstart.catalog.pretraining import Schooling

Rules = list[tuple[bool, str]]


def _broken(school: Schooling, pipeline: str, rules: Rules) -> list[str]:
    views = [f"pipeline: {fault}" for fault in view_faults(pipeline)]
    return school.faults() + views + [text for holds, text in rules if not holds]


def _sizes(**sizes: int) -> Rules:
    return [(size >= 1, f"{name}={size}: one at least") for name, size in sizes.items()]


def _freed(frozen: int | None, school: Schooling) -> Rules:
    said = f"frozen_epochs={frozen} of {school.epochs}: 0 or more, and fewer than all, or what is frozen never learns"
    return [(frozen is None or 0 <= frozen < max(school.epochs, 1), said)]


@dataclass(frozen=True)
class ByolConfig:
    """Bootstrap your own latent (Grill et al. 2020)."""

    school: Schooling = Schooling()
    pipeline: str = "byol"
    """augmentations of both views: a name, or a list of them; a | stands between those of one and the other"""
    dimensions: int = 128
    """of the projection (paper: 256)"""
    hidden: int = 512
    """units in projection and predictor (paper: 4096)"""
    momentum: float | None = None
    """share of its own that the slow copy keeps at every step, at the start; rises to 1 (paper: 0.996 for 1000 epochs, 0.99
    for 100 to 300). None: 1 - 20 / steps, from 0.9 to 0.996: a copy that is slow beside the training teaches nothing new"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [(self.momentum is None or 0 <= self.momentum <= 1, f"momentum={self.momentum}: from 0 to 1")]
        return _broken(self.school, self.pipeline, _sizes(dimensions=self.dimensions, hidden=self.hidden) + rules)


@dataclass(frozen=True)
class SimSiamConfig:
    """Siamese networks with a stopped gradient (Chen & He 2021)."""

    school: Schooling = Schooling()
    pipeline: str = "simclr"
    """augmentations of both views: a name, or a list of them; a | stands between those of one and the other"""
    dimensions: int = 512
    """of the projection's three layers (paper: 2048)"""
    hidden: int = 128
    """units in the predictor, a bottleneck (paper: 512)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        return _broken(self.school, self.pipeline, _sizes(dimensions=self.dimensions, hidden=self.hidden))


@dataclass(frozen=True)
class BarlowConfig:
    """Barlow Twins (Zbontar et al. 2021)."""

    school: Schooling = Schooling()
    pipeline: str = "byol"
    """augmentations of both views: a name, or a list of them; a | stands between those of one and the other"""
    dimensions: int = 512
    """of the embedding and the two layers before it (paper: 8192)"""
    weight: float = 0.005
    """of correlations between different dimensions"""
    scale: float = 0.024
    """of the whole loss, a rate by another name"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.weight >= 0, f"weight={self.weight}: 0 or more"),
            (self.scale > 0, f"scale={self.scale}: above 0"),
        ]
        return _broken(self.school, self.pipeline, _sizes(dimensions=self.dimensions) + rules)


@dataclass(frozen=True)
class VicregConfig:
    """Variance-invariance-covariance regularisation (Bardes et al. 2022).

    Gradients are clipped by default: covariances are squared, so that without the limit that the paper's LARS sets to every
    layer's step a few large embeddings make larger ones, until they are no numbers (226 images in batches of 32: gradients
    of 5 to 10, then 35, 1249 and 5e12 within five steps at the usual rate).
    """

    school: Schooling = Schooling(clip=3.0)
    pipeline: str = "byol"
    """augmentations of both views: a name, or a list of them; a | stands between those of one and the other"""
    dimensions: int = 512
    """of the embedding and the two layers before it (paper: 8192)"""
    alike: float = 25.0
    """weight of the distance between views"""
    spread: float = 25.0
    """weight of the standard deviations' lack to 1"""
    apart: float = 1.0
    """weight of covariances between different dimensions"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        weights = {"alike": self.alike, "spread": self.spread, "apart": self.apart}
        rules = [(value >= 0, f"{name}={value}: 0 or more") for name, value in weights.items()]
        return _broken(self.school, self.pipeline, _sizes(dimensions=self.dimensions) + rules)


@dataclass(frozen=True)
class DinoConfig:
    """Self-distillation without labels (Caron et al. 2021)."""

    school: Schooling = Schooling(lr=3e-3, optimizer="adamw", weight_decay=0.04, clip=3.0)
    pipeline: str = "dino"
    """augmentations: a name, or a list of them; a | stands between those of the first, the second and all small views"""
    local: int = 0
    """small views besides the two (paper: 8); for networks that take images of other sizes"""
    words: int = 1024
    """outputs that views are described by (paper: 65536)"""
    hidden: int = 512
    """units in the head (paper: 2048)"""
    bottleneck: int = 128
    """of the head (paper: 256)"""
    norm: bool | None = None
    """batch normalisation in the head; None: where the network has it"""
    momentum: float = 0.996
    """share of its own that the slow copy keeps at every step, at the start; rises to 1"""
    temperature: float = 0.1
    """of the network; larger is less sure"""
    teacher_start: float = 0.04
    """temperature of the copy at the start"""
    teacher_end: float = 0.04
    """and after its warm-up (paper: 0.07); short trainings with it stay where every word is as likely as another"""
    teacher_warmup: float = 0.3
    """share of the training that this takes"""
    centre: float = 0.9
    """share of the old in the copy's centre at every step"""
    frozen_epochs: int | None = None
    """in which the head's last layer does not learn. None: the first (paper: 1), or a tenth of the training if less"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        heats = {"temperature": self.temperature, "teacher_start": self.teacher_start, "teacher_end": self.teacher_end}
        rules = [(value > 0, f"{name}={value}: above 0") for name, value in heats.items()]
        shares = {"momentum": self.momentum, "teacher_warmup": self.teacher_warmup, "centre": self.centre}
        rules += [(0 <= value <= 1, f"{name}={value}: from 0 to 1") for name, value in shares.items()]
        rules += [(self.words >= 2, f"words={self.words}: two at least")]
        rules += _freed(self.frozen_epochs, self.school)
        rules += [(self.local >= 0, f"local={self.local}: 0 or more")]
        return _broken(self.school, self.pipeline, _sizes(hidden=self.hidden, bottleneck=self.bottleneck) + rules)


@dataclass(frozen=True)
class DeepClusterConfig:
    """Clusters of features as labels, again in every epoch (Caron et al. 2018)."""

    school: Schooling = Schooling()
    pipeline: str = "moco"
    """augmentations: a name, or a list of them"""
    clusters: int | None = None
    """how many; several times the classes one expects (paper: 10000 for 1000). None: a 25th of the images, at most 1000"""
    components: int = 256
    """principal components that are kept of the features before clustering, at most"""
    iterations: int = 20
    """of k-means at most"""
    every: int = 1
    """epochs between clusterings; with few images an epoch is too short to learn what the clusters are"""
    schedule: Literal["constant", "cosine"] = "constant"
    """course of the rate over the epochs; the paper's is constant"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [(self.clusters is None or self.clusters >= 2, f"clusters={self.clusters}: two at least")]
        return _broken(
            self.school,
            self.pipeline,
            _sizes(components=self.components, iterations=self.iterations, every=self.every) + rules,
        )


@dataclass(frozen=True)
class SwavConfig:
    """Swapped prediction of cluster codes (Caron et al. 2020)."""

    school: Schooling = Schooling(lr=0.2)
    pipeline: str = "simclr"
    """augmentations: a name, or a list of them; a | stands between those of the first, the second and all small views"""
    local: int = 0
    """small views besides the two (paper: 6), for networks that take images of other sizes; pipeline=dino has small views"""
    prototypes: int | None = None
    """how many; several times the classes that one expects (paper: 3000 for 1000). None: 128, or as many as images share in
    the codes of a step where those are fewer"""
    dimensions: int = 128
    """of the projection"""
    hidden: int = 512
    """units in it (paper: 2048)"""
    temperature: float = 0.1
    """of the prediction"""
    eps: float = 0.03
    """entropy of the codes; larger is more even (paper: 0.05, and 0.03 where the loss stays at ln(prototypes))"""
    iterations: int = 3
    """of Sinkhorn and Knopp's algorithm"""
    frozen_epochs: int | None = None
    """in which prototypes do not learn. None: the first (paper: 1), or a tenth of the training if less"""
    queue: int = 0
    """earlier images that share in the codes; for steps of fewer images than prototypes (paper: 3840 with batches of 256)"""
    queue_from: float = 0.075
    """share of the training after which they do (paper: 15 of 200 epochs)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.prototypes is None or self.prototypes >= 2, f"prototypes={self.prototypes}: two at least"),
            (self.temperature > 0, f"temperature={self.temperature}: above 0"),
            (self.eps > 0, f"eps={self.eps}: above 0"),
            (self.queue >= 0, f"queue={self.queue}: 0 or more"),
            (0 <= self.queue_from <= 1, f"queue_from={self.queue_from}: a share of the training"),
            *_freed(self.frozen_epochs, self.school),
        ]
        rules += [(self.local >= 0, f"local={self.local}: 0 or more")]
        sizes = {"dimensions": self.dimensions, "hidden": self.hidden, "iterations": self.iterations}
        return _broken(self.school, self.pipeline, _sizes(**sizes) + rules)


@dataclass(frozen=True)
class MaeConfig:
    """Masked autoencoder (He et al. 2022)."""

    school: Schooling = Schooling(lr=1e-3, optimizer="adamw", weight_decay=0.05)
    pipeline: str = "crop"
    """augmentations: a name, or a list of them; little is needed"""
    share: float = 0.75
    """of the patches that is hidden"""
    width: int = 64
    """of the decoder's tokens, a multiple of 4 (paper: 512)"""
    depth: int = 1
    """of the decoder's layers (paper: 8; one reaches the same when fine-tuned)"""
    heads: int = 2
    """of the decoder's attention, a divisor of its width (paper: 16)"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        fits = self.width >= 4 and not self.width % 4 and self.heads >= 1 and not self.width % self.heads
        rules = [
            (0 < self.share < 1, f"share={self.share}: above 0, below 1"),
            (fits, f"width={self.width}, heads={self.heads}: 4 and the heads must divide the width"),
        ]
        return _broken(self.school, self.pipeline, _sizes(depth=self.depth) + rules)
