"""Settings of `headstart pretrain`; torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.catalog.adapt import BackboneConfig, DataConfig
from headstart.catalog.durations import parse_seconds
from headstart.catalog.pipelines import view_faults
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.pretraining import PretrainMethod
from headstart.errors import ConfigError, problems

DEFAULT_SMALL, DEFAULT_LARGE = "headstart:resnet20", "torchvision:resnet18"
"""Networks that are trained where none is named: for images up to 40 px, and for larger ones."""


@dataclass(frozen=True)
class PretrainConfig:
    """Learn from images without labels (or layer by layer), and see measured what that is worth."""

    data: str
    """folder of images at any depth (class sub-folders count as labels), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/pretrain")
    """run folder to write; --backbone RUN uses what was learned"""
    method: str = "simclr"
    """how to learn, see below"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    start: Literal["random", "trained"] = "random"
    """random: all weights of the network are drawn anew; trained: it goes on from those it has"""
    labels: bool = True
    """look at labels, to judge or where a method learns from them; --no-labels: not at all, and sub-folders mean nothing"""
    epochs: int | None = None
    """passes over the images; none: as the method has it"""
    batch_size: int | None = None
    """images per optimiser step; none: as the method has it"""
    lr: float | None = None
    """learning rate; none: as the method has it"""
    views: str | None = None
    """how images are changed before they are shown, e.g. "crop(0.2, 1.0) flip(0.5) grey(0.2)"; a | stands between the lists
    of several views; none: as the method has it, which `headstart views METHOD` prints"""
    settings: tuple[str, ...] = ()
    """settings of the method as key=value, e.g. temperature=0.2"""
    looks: int = 20
    """how often in the course of the training it is judged; 0: never"""
    budget: str = "5m"
    """time for the verdict at the end, where there are labels, e.g. 45s, 10m, 2h; 0: no verdict"""
    against: str | None = None
    """network to compare with besides: a name, a saved model's folder, or `embedded`"""
    draws: int = 3
    """how often parts of the labels are drawn for the verdict, as far as its time reaches"""
    mirror: bool = True
    """mirror images while fine-tuning for the verdict; --no-mirror where left and right matter"""
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
        """Time for the verdict; 0: there is none."""
        return 0.0 if self.budget.strip() in ("0", "0s", "none") else parse_seconds(self.budget)


def check_settings(
    config: PretrainConfig, *, given: bool = False, methods: Mapping[str, PretrainMethod] | None = None
) -> None:
    """Raise ConfigError listing every setting that cannot be.

    given    the data come from Python
    methods  that there are; None: those of the catalog
    """
    images, there = config.images, PRETRAINING if methods is None else methods
    rules = [
        (given or config.data, "IMAGES is missing: name a folder of images"),
        (config.epochs is None or config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size is None or config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr is None or 0 < config.lr < 100, f"--lr {config.lr} must lie between 0 and 100, e.g. 0.06"),
        (config.looks >= 0, f"--looks {config.looks}: a number, 0 for none"),
        (config.draws >= 1, f"--draws {config.draws}: at least 1; intervals over draws need 2"),
        (0 < images.test_fraction < 1, f"--test-fraction {images.test_fraction} must lie between 0 and 1, e.g. 0.2"),
        (
            config.network.size is None or config.network.size >= 1,
            f"--size {config.network.size} must be at least 1 pixel",
        ),
        (
            config.start == "random" or config.network.backbone is not None,
            "--start trained goes on from a network's weights; name it with --backbone",
        ),
        (
            config.start == "trained" or config.network.weights is None,
            f"--weights {config.network.weights}: --start random draws all weights anew; add --start trained",
        ),
    ]
    said = [text for holds, text in rules if not holds] + _method(config.method, there)
    try:
        _ = config.seconds
    except ConfigError as error:
        said.append(str(error))
    if config.views is not None:
        said += [f"--views: {fault}" for fault in view_faults(config.views)]
    problems(ConfigError, "these settings cannot be:", said)


def _method(name: str, there: Mapping[str, PretrainMethod]) -> list[str]:
    if name in there:
        return []
    near = difflib.get_close_matches(name, there, 3, 0.4)
    offer = f", did you mean {' or '.join(near)}?" if near else ";"
    return [f"--method {name!r} is unknown{offer} there are {', '.join(there)}"]
