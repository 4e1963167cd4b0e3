"""Settings of the studies that train many backbones for a short time: augmentations and scaling; torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from headstart.catalog.adapt import BackboneConfig, DataConfig
from headstart.catalog.contrast import SimclrConfig
from headstart.catalog.durations import parse_seconds
from headstart.catalog.pipelines import view_faults
from headstart.errors import ConfigError, problems


@dataclass(frozen=True)
class ShortRunsConfig:
    """What both studies have in common: SimCLR, trained shortly again and again from random weights, judged by a probe."""

    data: str
    """labelled images: a folder with one sub-folder per class, a CSV manifest, or an .npz file; labels only judge"""
    out: Path = Path("runs/study")
    """run folder to write"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    most: int = 2000
    """images that are learned from at most"""
    epochs: int = 10
    """passes over them"""
    batch_size: int = 128
    """images per optimiser step"""
    lr: float | None = None
    """learning rate; none: as simclr has it"""
    seeds: int = 1
    """how often every training is done, from --seed, --seed + 1, ...; with one, no difference is called decided"""
    budget: str = "30m"
    """time for all trainings, e.g. 10m, 2h; those that it does not reach are named"""
    seed: int = 0
    """everything random follows from it"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""

    @property
    def seconds(self) -> float:
        """Time for all trainings."""
        return parse_seconds(self.budget)


@dataclass(frozen=True)
class AugmentationsConfig(ShortRunsConfig):
    """Which two augmentations together teach most? SimCLR's heat map (Chen et al. 2020, figure 5) on your images."""

    out: Path = Path("runs/augmentations")
    """run folder to write"""
    steps: tuple[str, ...] = ()
    """augmentations to be paired, as `headstart pretrain --views` has them, each tried alone too; none: crop, colour jitter,
    grey, erase, blur and flip"""

    @property
    def paired(self) -> tuple[str, ...]:
        """The augmentations asked for, or the usual ones."""
        return self.steps or ("crop(0.2, 1.0)", "jitter(p=1)", "grey(0.5)", "erase(p=1)", "blur(p=1)", "flip")


@dataclass(frozen=True)
class ScalingConfig(ShortRunsConfig):
    """What do the projection head, the batch, the network and the length of training bring? SimCLR's findings on your
    images."""

    out: Path = Path("runs/scaling")
    """run folder to write"""
    projections: tuple[str, ...] = ("none", "linear", "nonlinear")
    """what stands between features and embeddings; the last is what the other comparisons have"""
    batches: tuple[int, ...] = (32, 128, 512)
    """images per step, half of those learned from at most; rates go with the root of the batch"""
    networks: tuple[str, ...] = ("headstart:resnet8", "headstart:resnet20")
    """networks, the smallest first"""
    lengths: tuple[int, ...] = (3, 10, 30)
    """passes over the images"""


def check_short_runs(config: ShortRunsConfig, *, given: bool = False) -> None:
    """Raise ConfigError listing every setting that cannot be; `given`: the data come from Python."""
    rules = [
        (given or config.data, "DATA is missing: name a folder of images, one sub-folder per class"),
        (config.most >= 2 * config.batch_size, f"--most {config.most}: two batches of {config.batch_size} at least"),
        (config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr is None or 0 < config.lr < 100, f"--lr {config.lr} must lie between 0 and 100, e.g. 0.06"),
        (config.seeds >= 1, f"--seeds {config.seeds}: at least 1 is needed; an interval over seeds needs 2"),
        (
            0 < config.images.test_fraction < 1,
            f"--test-fraction {config.images.test_fraction} must lie between 0 and 1, e.g. 0.2",
        ),
    ]
    said = [text for holds, text in rules if not holds]
    try:
        if config.seconds <= 0:
            said.append(f"--budget {config.budget} leaves no time")
    except ConfigError as error:
        said.append(str(error))
    special = _augmentations if isinstance(config, AugmentationsConfig) else _scaling
    problems(ConfigError, "these settings cannot be:", [*said, *special(config)])


def _augmentations(config: ShortRunsConfig) -> Iterator[str]:
    assert isinstance(config, AugmentationsConfig)
    if len(config.paired) < 2:
        yield f"--steps {' '.join(config.steps)}: two augmentations at least, to be paired"
    if len(set(config.steps)) < len(config.steps):
        yield f"--steps {' '.join(config.steps)}: one stands there twice"
    for step in config.steps:
        yield from (f"--steps {step!r}: {fault}" for fault in view_faults(step))


def _scaling(config: ShortRunsConfig) -> Iterator[str]:
    assert isinstance(config, ScalingConfig)
    known = ("none", "linear", "nonlinear")
    for name in config.projections:
        if name not in known:
            yield f"--projections {name!r} is none of {', '.join(known)}"
    for flag, values in (("--batches", config.batches), ("--lengths", config.lengths)):
        if any(value < (2 if flag == "--batches" else 1) for value in values):
            yield f"{flag} {' '.join(map(str, values))}: {'2' if flag == '--batches' else '1'} or more each"
        if list(values) != sorted(set(values)):
            yield f"{flag} {' '.join(map(str, values))}: ascending, each once"
    if config.batches and max(config.batches) * 2 > config.most:
        yield f"--batches {max(config.batches)} of --most {config.most} images: an epoch should have two batches at least"
    if not any(len(values) > 1 for values in (config.projections, config.batches, config.networks, config.lengths)):
        yield "nothing is compared: name two projections, batches, networks or lengths"


def simclr_with(config: ShortRunsConfig, **changes: Any) -> SimclrConfig:
    """SimCLR's settings as the study has them, with `changes` of the method or of how it learns."""
    usual = SimclrConfig()
    school: dict[str, Any] = {"epochs": config.epochs, "batch_size": config.batch_size, "lr": config.lr, "seed": config.seed}
    names = {one.name for one in fields(usual.school)}
    school |= {name: value for name, value in changes.items() if name in names}
    kept = {name: value for name, value in school.items() if value is not None}
    rest = {name: value for name, value in changes.items() if name not in names}
    return replace(usual, school=replace(usual.school, **kept), **rest)
