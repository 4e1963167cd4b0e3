"""Settings of the commands that look at data and adapt a network to it; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ReadingConfig:
    """How images are read."""

    path_column: str | None = None
    """column of a CSV manifest that names the image file; none: found by its name or content"""
    label_column: str | None = None
    """column that holds the label"""
    group_column: str | None = None
    """column whose equal values (a patient, a video) never go to different splits"""
    split_column: str | None = None
    """column that holds train, val or test"""
    fit: Literal["squash", "pad", "crop"] = "squash"
    """how an image is brought to a square: squeezed, padded, or its centre cut out"""


@dataclass(frozen=True)
class DataConfig(ReadingConfig):
    """How images are read and split."""

    test_fraction: float = 0.2
    """share of the images set aside for the test when the data brings no test split"""


@dataclass(frozen=True)
class BackboneConfig:
    """Which network, and where its weights come from."""

    backbone: str | None = None
    """`timm:NAME`, `torchvision:NAME`, a saved model's folder, or `embedded`; none: chosen by image size"""
    weights: Path | None = None
    """local weight file to load into the named network"""
    backbone_args: tuple[str, ...] = ()
    """builder options as key=value, e.g. pad_type=same"""
    size: int | None = None
    """side of the network's input in pixels; none: as the library or the file says"""
    mean: tuple[float, ...] | None = None
    """mean per channel of the input, in units of 0 to 1, e.g. 0.485 0.456 0.406"""
    std: tuple[float, ...] | None = None
    """standard deviation per channel of the input, in units of 0 to 1, e.g. 0.229 0.224 0.225"""


@dataclass(frozen=True)
class AdaptConfig:
    """Adapt a pretrained network to a folder of images, and verify that it was done the best way."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/adapt")
    """run folder to write"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    budget: str = "10m"
    """time to spend on verifying rivals, e.g. 45s, 10m, 2h"""
    strategies: tuple[str, ...] = ()
    """arms to race, by name or by strategy, besides the advised one; none: all, as far as the budget reaches"""
    trust: bool = False
    """follow the advice without racing it against rivals: sooner done, and not verified"""
    folds: int = 5
    """folds of the cross-validation that compares the arms; not used when the data bring a val split"""
    seed: int = 0
    """everything random follows from it"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    class_weights: bool = False
    """weigh classes by the inverse of their size"""
    smoothing: float = 0.0
    """label smoothing of arms that train by gradient steps"""
    mixup: float = 0.0
    """strength of image mixing of arms that train by gradient steps; 0: none"""
    patience: int | None = None
    """early stopping: epochs without improvement on a held-out tenth; none: train to the end"""
    average: float | None = None
    """decay per step of a weight average, e.g. 0.999; none: no averaging"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""
