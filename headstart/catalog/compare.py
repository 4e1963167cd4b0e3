"""Settings of the comparison of strategies; torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig

USUAL = ("probe", "svm", "early_probe", "partial", "full", "lpft", "retrain", "gradual")
"""One way of every strategy."""


@dataclass(frozen=True)
class CompareConfig:
    """Run several strategies on the same data, folds, seeds and number of epochs, and put them side by side."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/compare")
    """run folder to write"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    strategies: tuple[str, ...] = USUAL
    """what to compare, two at least, separated by commas or spaces: strategies, their variants as adapt races them
    (partial_1, full_100, ...), born_again, distill with a --teacher, or `all` variants"""
    budget: str = "10m"
    """time for all of them together, e.g. 45s, 10m, 2h: as many epochs as it reaches for, the same for all"""
    folds: int = 5
    """folds of the cross-validation, on each of which every strategy runs; not used when the data bring a val split"""
    seeds: int = 1
    """times that everything is repeated on the same folds, from --seed, --seed + 1, ..."""
    teacher: tuple[str, ...] = ()
    """of the strategy `distill`: networks that answer the same classes, as `headstart distill` takes them"""
    map_classes: str | None = None
    """for teachers of other classes: CSV file `teacher class,data class`, or `names`: those that are called alike"""
    source: str | None = None
    """labelled images of the task the network comes from, whose class names are its head's: what adapting forgets is
    measured on them (their test part where they have one); none: that is left out"""
    seed: int = 0
    """everything random follows from it"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    class_weights: bool = False
    """weigh classes by the inverse of their size, in training and in judging"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""
    resume: bool = False
    """go on with an interrupted run in the same folder"""
    overwrite: bool = False
    """replace a run that is in the folder already"""
    json: bool = False
    """print the summary as JSON and nothing else"""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The strategies one by one, each once."""
        words = (word.strip() for text in self.strategies for word in text.split(","))
        return tuple(dict.fromkeys(word for word in words if word))

    def followed(self, strategies: Sequence[str] = ()) -> AdaptConfig:
        """The adaptation with these strategies, into a folder of its own."""
        return AdaptConfig(
            data=self.data,
            out=self.out.parent / ("adapt" if self.out.name == "compare" else f"{self.out.name}-adapted"),
            network=self.network,
            images=self.images,
            budget=self.budget,
            strategies=tuple(strategies),
            folds=self.folds,
            seed=self.seed,
            mirror=self.mirror,
            class_weights=self.class_weights,
            device=self.device,
        )
