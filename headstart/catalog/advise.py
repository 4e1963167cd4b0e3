"""Settings of the advice that is given before anything is trained; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig


@dataclass(frozen=True)
class AdviseConfig:
    """Look at your images through a frozen network, and say how to adapt it and what to expect. Nothing is trained."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/advise")
    """run folder to write"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    source: str | None = None
    """images like those the network was trained on: folder, manifest or .npz file, for networks that do not carry
    statistics of their source; none: similarity by distances is left out"""
    budget: str = "10m"
    """time that adapting may take, which the advised number of steps fits into, e.g. 45s, 10m, 2h"""
    folds: int = 5
    """folds of the cross-validation that probes the network; not used when the data bring a val split"""
    seed: int = 0
    """everything random follows from it"""
    mirror: bool = True
    """advise training on mirrored images too; --no-mirror where left and right matter, as in digits and traffic signs"""
    class_weights: bool = False
    """advise weighing classes by the inverse of their size"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""

    def followed(self) -> AdaptConfig:
        """The adaptation that follows the advice alone, into a folder of its own."""
        return AdaptConfig(
            data=self.data,
            out=self.out.parent / ("adapt" if self.out.name == "advise" else f"{self.out.name}-adapted"),
            network=self.network,
            images=self.images,
            budget=self.budget,
            trust=True,
            folds=self.folds,
            seed=self.seed,
            mirror=self.mirror,
            class_weights=self.class_weights,
            device=self.device,
        )
