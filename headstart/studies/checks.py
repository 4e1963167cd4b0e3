"""What can be said against an adaptation before any time is spent on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.adapt import AdaptConfig
from headstart.catalog.advise import AdviseConfig
from headstart.data.arrays import VectorSamples
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.errors import ConfigError, DataError, problems
from headstart.nets.net import InputSpec
from headstart.studies.race import Fold


def check_settings(config: AdaptConfig) -> None:
    """Raise ConfigError listing every setting that cannot be."""
    network = config.network
    rules = [
        (
            not (config.trust and config.strategies),
            "--trust follows the advice alone, --strategies names rivals: give one of them",
        ),
        (config.folds >= 2, f"--folds {config.folds}: comparing needs at least 2"),
        (
            0 < config.images.test_fraction < 1,
            f"--test-fraction {config.images.test_fraction} must lie between 0 and 1, e.g. 0.2",
        ),
        (0 <= config.smoothing < 1, f"--smoothing {config.smoothing} must lie between 0 and 1, e.g. 0.1"),
        (0 <= config.mixup < float("inf"), f"--mixup {config.mixup} must be a number from 0 up; 0.2 is usual, 0 is none"),
        (config.patience is None or config.patience >= 1, f"--patience {config.patience} must be at least 1 epoch"),
        (
            config.average is None or 0 < config.average < 1,
            f"--average {config.average} must lie between 0 and 1, e.g. 0.99",
        ),
        (network.size is None or network.size >= 1, f"--size {network.size} must be at least 1 pixel"),
        *(
            (value is None or len(value) == 3, f"--{name} {value}: give one number for each of red, green and blue")
            for name, value in (("mean", network.mean), ("std", network.std))
        ),
    ]
    problems(ConfigError, "these settings cannot be:", [text for holds, text in rules if not holds])


def check_apart(config: AdaptConfig | AdviseConfig, data: Path | None) -> None:
    """Raise ConfigError when the run would write among the images in `data`, or over the network it starts from."""
    out, network = config.out.resolve(), config.network
    if data is not None and data.is_dir() and out.is_relative_to(data.resolve()):
        raise ConfigError(
            f"--out {config.out} lies in the folder of the images, {data}, where it would be taken for a class; "
            "choose a folder outside of it"
        )
    for flag, value in (("--backbone", network.backbone), ("--weights", network.weights)):
        path = Path(value) if value else None
        if path is not None and path.exists() and path.resolve().is_relative_to(out):
            raise ConfigError(
                f"{flag} {value} lies in the run folder, --out {config.out}, and would be replaced by the run; "
                "choose another folder with --out"
            )


def check_kind(source: Source, spec: InputSpec) -> None:
    """Raise ConfigError when the data are not of the kind that the network takes."""
    taken = f"images of {spec.size} px" if spec.kind == "image" else f"vectors of {spec.size} numbers"
    if isinstance(source.samples, VectorSamples):
        width = source.samples.vectors.shape[1]
        given, fits = f"vectors of {width} numbers", spec.kind == "vector" and width == spec.size
    else:
        given, fits = "images", spec.kind == "image"
    if not fits:
        raise ConfigError(f"the data are {given}, and the network takes {taken}; give a backbone for {given}")


def check_learnable(train: Task, parts: Sequence[Fold]) -> None:
    """Raise DataError unless each class has two different pictures in every training part.

    Heads choose their strength by cross-validation there. Copies of a picture, and pictures of one group, count as one.
    """
    units = np.arange(len(train)) if train.groups is None else train.groups[train.rows]
    there = _units_per_class(train.targets, units, train.num_classes)
    fewest = np.min([_units_per_class(train.targets[rows], units[rows], train.num_classes) for rows, _ in parts], axis=0)
    problems(
        DataError,
        "too few different pictures to learn from; every class needs two in the training part of every fold:",
        [
            f"class {name!r} has {have} besides the test images, which leaves {least}; add pictures, or take the class out"
            for name, have, least in zip(train.classes, there, fewest, strict=True)
            if least < 2
        ],
    )


def _units_per_class(targets: NDArray[np.int64], units: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """`[C]` number of different groups (or of samples, where there are none) that each class occurs in."""
    pairs = np.unique(np.stack([targets, units], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=classes)


def device_of(wanted: str) -> str:
    """`auto` is CUDA when there is one; asking for CUDA where there is none is an error."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
        raise ConfigError(f"--device {wanted!r} is unknown; give cpu, cuda, cuda:1 or auto")
    if wanted != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {wanted}: this machine has no CUDA device; use --device cpu")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {wanted}: the devices of this machine are cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return wanted
