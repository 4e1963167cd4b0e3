"""Settings of ways to pretrain by telling images from other images; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headstart.catalog.pipelines import view_faults
from headstart.catalog.pretraining import Schooling

Projection = Literal["none", "linear", "nonlinear"]
"""What stands between the features and the embeddings that are compared."""
Similarity = Literal["cosine", "dot"]
"""Between directions, or the inner product of embeddings as they are."""


@dataclass(frozen=True)
class SimclrConfig:
    """Settings of `simclr`."""

    school: Schooling = Schooling()
    pipeline: str = "simclr"
    """augmentations of both views: a named pipeline, or steps; two lists, a | between them, for one each"""
    objective: Literal["nt_xent", "info_nce", "nce"] = "nt_xent"
    """softmax over all other views; over the other views of the other kind; or each pair by itself, yes or no"""
    similarity: Similarity = "cosine"
    """how two embeddings are compared"""
    temperature: float = 0.5
    """what similarities are divided by"""
    projection: Projection = "nonlinear"
    """what stands between features and embeddings: nothing, one linear map, or two with a rectifier between"""
    dimensions: int = 128
    """of an embedding"""
    chunk: int | None = None
    """renderings that pass through the backbone at a time, with the same negatives; none: the whole batch at once"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        return [
            *self.school.faults(),
            *_pipeline_faults(self.pipeline),
            *_embedding_faults(self),
            *_chunk_faults(self.chunk),
        ]


@dataclass(frozen=True)
class MocoConfig:
    """Settings of `moco`."""

    school: Schooling = Schooling()
    pipeline: str = "moco"
    """augmentations of both views: a named pipeline, or steps; two lists, a | between them, for one each"""
    objective: Literal["info_nce", "nce"] = "info_nce"
    """softmax over the positive and the queue, or each pair by itself, yes or no"""
    similarity: Similarity = "cosine"
    """how a query is compared with a key"""
    temperature: float = 0.2
    """what similarities are divided by"""
    momentum: float = 0.99
    """share of the old weights that the key encoder keeps at every step, in short trainings too: keys of one queue must come
    from nearly the same weights"""
    queue: int | None = None
    """keys of earlier batches that are negatives; none: 4096, or half as many as there are images if that is fewer"""
    groups: int = 8
    """parts in which keys pass through batch normalisation, so that it cannot give away which key is whose"""
    projection: Projection = "nonlinear"
    """what stands between features and embeddings: nothing, one linear map (the first paper), or two (the second)"""
    dimensions: int = 128
    """of an embedding"""
    chunk: int | None = None
    """queries that pass through the backbone at a time; none: the whole batch at once"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (0 <= self.momentum <= 1, f"momentum={self.momentum}: from 0 to 1"),
            (self.groups >= 1, f"groups={self.groups}: one at least"),
            (
                self.queue is None or self.queue >= self.school.batch_size,
                f"queue={self.queue}: at least a batch ({self.school.batch_size}), or nothing older than it would be in it",
            ),
        ]
        found = [text for holds, text in rules if not holds]
        return [
            *self.school.faults(),
            *_pipeline_faults(self.pipeline),
            *_embedding_faults(self),
            *found,
            *_chunk_faults(self.chunk),
        ]


@dataclass(frozen=True)
class CpcConfig:
    """Settings of `cpc`."""

    school: Schooling = Schooling(batch_size=64, optimizer="adamw", lr=1e-3)
    pipeline: str = "weak"
    """augmentations: a named pipeline, or steps"""
    objective: Literal["info_nce", "nce"] = "info_nce"
    """softmax over all patches, or each of them by itself, yes or no"""
    similarity: Similarity = "dot"
    """how a prediction is compared with a patch"""
    temperature: float = 1.0
    """what similarities are divided by"""
    patch: int | None = None
    """side of a patch in pixels; none: a quarter of the image's"""
    stride: int | None = None
    """pixels from one patch to the next; none: half a patch"""
    rows: int = 5
    """how many rows are predicted, beginning with the nearest that shares no pixel with what is known"""
    layers: int = 4
    """masked layers of the context network"""
    width: int = 128
    """channels of the context"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.temperature > 0, f"temperature={self.temperature}: above 0"),
            (self.patch is None or self.patch >= 1, f"patch={self.patch}: one pixel at least"),
            (self.stride is None or self.stride >= 1, f"stride={self.stride}: one pixel at least"),
            (self.rows >= 1, f"rows={self.rows}: one at least"),
            (self.layers >= 1, f"layers={self.layers}: one at least"),
            (self.width >= 1, f"width={self.width}: one channel at least"),
        ]
        return [*self.school.faults(), *_pipeline_faults(self.pipeline), *(text for holds, text in rules if not holds)]


@dataclass(frozen=True)
class AmdimConfig:
    """Settings of `amdim`."""

    school: Schooling = Schooling(lr=0.03)
    pipeline: str = "simclr"
    """augmentations of both copies: a named pipeline, or steps; two lists, a | between them, for one each"""
    dimensions: int = 256
    """of the embeddings in which maps are compared"""
    clip: float = 20.0
    """largest score, approached smoothly"""
    penalty: float = 0.05
    """weight of the mean squared score before it is clipped"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        rules = [
            (self.dimensions >= 1, f"dimensions={self.dimensions}: one at least"),
            (self.clip > 0, f"clip={self.clip}: above 0"),
            (self.penalty >= 0, f"penalty={self.penalty}: 0 or more"),
        ]
        return [*self.school.faults(), *_pipeline_faults(self.pipeline), *(text for holds, text in rules if not holds)]


@dataclass(frozen=True)
class TripletConfig:
    """Settings of `triplet`."""

    school: Schooling = Schooling()
    pipeline: str = "simclr"
    """augmentations of both views: a named pipeline, or steps; two lists, a | between them, for one each"""
    similarity: Similarity = "cosine"
    """distances on the unit sphere, or between embeddings as they are"""
    margin: float = 0.2
    """how much nearer the other view of an image should be than another image, in squared distance"""
    mining: Literal["hard", "all"] = "all"
    """of the other images the nearest, or each of them"""
    projection: Projection = "linear"
    """what stands between features and embeddings: nothing, one linear map, or two with a rectifier between"""
    dimensions: int = 128
    """of an embedding"""
    chunk: int | None = None
    """renderings that pass through the backbone at a time, with the same negatives; none: the whole batch at once"""

    def faults(self) -> list[str]:
        """What cannot be, in words."""
        found = [] if self.margin > 0 else [f"margin={self.margin}: above 0"]
        found += [] if self.dimensions >= 1 else [f"dimensions={self.dimensions}: one at least"]
        return [*self.school.faults(), *_pipeline_faults(self.pipeline), *found, *_chunk_faults(self.chunk)]


def _pipeline_faults(text: str) -> list[str]:
    return [f"pipeline: {fault}" for fault in view_faults(text)]


def _embedding_faults(cfg: SimclrConfig | MocoConfig) -> list[str]:
    found = [] if cfg.temperature > 0 else [f"temperature={cfg.temperature}: above 0"]
    return found + ([] if cfg.dimensions >= 1 else [f"dimensions={cfg.dimensions}: one at least"])


def _chunk_faults(chunk: int | None) -> list[str]:
    return [] if chunk is None or chunk >= 2 else [f"chunk={chunk}: two renderings at least"]
