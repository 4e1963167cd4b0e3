"""Settings of the studies: a grid of runs that answers one question; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.catalog.adapt import DataConfig

Halves = Literal["like", "unlike"]


@dataclass(frozen=True)
class ArchitectureConfig:
    """Which network is trained, from weights drawn at random."""

    backbone: str | None = None
    """architecture: `timm:NAME`, `torchvision:NAME`, `headstart:cifar_resnet20`; none: eight plain layers"""
    backbone_args: tuple[str, ...] = ()
    """builder options as key=value, e.g. pad_type=same"""
    size: int | None = None
    """side of the network's input in pixels; none: as the images or the library say"""


@dataclass(frozen=True)
class LayersConfig:
    """How transferable is each layer of a network? Yosinski et al. 2014 on your own images."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/study-layers")
    """run folder to write"""
    network: ArchitectureConfig = ArchitectureConfig()
    images: DataConfig = DataConfig()
    source: str | None = None
    """second data set, used as half A; DATA is then half B, and nothing is split"""
    group_a: tuple[str, ...] = ()
    """classes of one kind, CLASS,CLASS,... or a text file with one per line; the others are of the other kind.
    Half A is then drawn from the one and half B from the other"""
    half_column: str | None = None
    """column of the CSV manifest with two values, one per kind of class, in place of --group-a"""
    halves: tuple[Halves, ...] = ()
    """like: classes are dealt out at random; unlike: by kind, as --group-a or --half-column say; or both.
    None: unlike where kinds are given"""
    classes: int | None = None
    """classes in each half, drawn anew in every split; none: as many as there are for both"""
    limit: int | None = None
    """training images of a half, at most; none: all"""
    splits: int = 1
    """ways to split the classes"""
    seeds: int = 1
    """networks that are trained for each split"""
    cuts: tuple[int, ...] = ()
    """numbers of transferred blocks to study; none: all"""
    epochs: int = 20
    """passes over a half's training images in each run"""
    batch_size: int = 32
    """images per step"""
    lr: float = 0.05
    """learning rate of every run, from which it falls to zero along half a cosine; fine-tuned blocks have the same"""
    target_images: tuple[int, ...] = ()
    """training images of the target, fewer than there are, at which frozen is compared with fine-tuned too"""
    workers: int | None = None
    """processes that share the runs, each with one thread; none: one per core, and one on an accelerator"""
    ray: bool = False
    """hand the runs to a Ray cluster (needs `pip install headstart[ray]`); --out must be seen by all its machines"""
    seed: int = 0
    """everything random follows from it"""
    device: str = "cpu"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""
