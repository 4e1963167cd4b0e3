"""Settings of the choice of a source network; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig

Strategy = Literal["lpft", "full"]


@dataclass(frozen=True)
class Candidate:
    """A network that might be the source.

    backbone  what `--backbone` takes: a name, a saved model's folder, or from Python an nn.Module or a Net
    name      what it is called in the results; empty: from `backbone` and `weights`
    weights   a weight file to load into it
    args      builder options as key=value
    size      side of its input in pixels; `mean`, `std`: per channel, in units of 0 to 1. None: as the library or file says
    """

    backbone: Any
    name: str = ""
    weights: Path | None = None
    args: tuple[str, ...] = ()
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __str__(self) -> str:
        if self.name:
            return self.name
        what = self.backbone if isinstance(self.backbone, (str, Path)) else type(self.backbone).__name__
        return f"{what}@{self.weights.name}" if self.weights is not None else str(what)


@dataclass(frozen=True)
class SelectConfig:
    """Rank networks by what they know about your images, before anything is trained, and let the best race."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    candidates: tuple[str, ...] = ("all-local",)
    """networks to choose from: NAME,NAME,... with anything --backbone takes, NAME@WEIGHTFILE, patterns such as
    timm:resnet*, groups, `all-local`, or a file that lists them (see above); may be repeated"""
    out: Path = Path("runs/select")
    """run folder to write"""
    images: DataConfig = DataConfig()
    race: bool = True
    """let the best fine-tune for a while after the scores; --no-race stops after the scores"""
    budget: str = "10m"
    """time for that race, e.g. 45s, 10m, 2h"""
    finalists: int = 8
    """networks in the race, at most"""
    strategy: Strategy = "lpft"
    """how they train in the race: lpft (probe, then fine-tune all) or full (fine-tune all from the start)"""
    folds: int = 5
    """folds of the cross-validation that compares the networks; not used when the data bring a val split"""
    at_most: int = 40
    """candidates that are accepted, so that a pattern does not download hundreds by mistake"""
    runs: Path = Path("runs")
    """folder that `all-local` searches for saved models"""
    seed: int = 0
    """everything random follows from it"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""

    def followed(self, one: Candidate) -> AdaptConfig:
        """The adaptation that starts from this candidate, into a folder of its own."""
        named = isinstance(one.backbone, (str, Path))
        return AdaptConfig(
            data=self.data,
            out=self.out.parent / ("adapt" if self.out.name == "select" else f"{self.out.name}-adapted"),
            network=BackboneConfig(str(one.backbone) if named else None, one.weights, one.args, one.size, one.mean, one.std),
            images=self.images,
            folds=self.folds,
            seed=self.seed,
            mirror=self.mirror,
            device=self.device,
        )
