"""Settings of the study of pipelines, end-to-end learning and transfer on growing data; torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig
from headstart.errors import ConfigError, problems

Family = Literal["pipeline", "end-to-end", "transfer"]
FAMILIES: tuple[Family, ...] = ("pipeline", "end-to-end", "transfer")


@dataclass(frozen=True)
class Way:
    """One way to learn from images.

    headline  stands for its family where space is short
    strategy  of the ways that use a network, the arm of `headstart adapt` that carries it out; else empty
    seeded    whether two seeds on the same images give two results
    """

    name: str
    family: Family
    label: str
    description: str
    headline: bool = False
    strategy: str = ""
    seeded: bool = False


BEST_PIPELINE, BY_WAY_OF, LOGISTIC = "pipeline", "pipeline_intermediate", "pipeline_logistic"
HAND = "hand-designed features (gradients, colours, textures), scaled"
WAYS: tuple[Way, ...] = (
    Way(BEST_PIPELINE, "pipeline", "Pipeline", f"{HAND}, and the classical model that cross-validates best", True, "", True),
    Way(LOGISTIC, "pipeline", "Pipeline, logistic regression", f"{HAND}, and logistic regression"),
    Way("pipeline_svm", "pipeline", "Pipeline, SVM", f"{HAND}, and a linear support vector machine"),
    Way("pipeline_forest", "pipeline", "Pipeline, forest", f"{HAND}, and a random forest", seeded=True),
    Way(BY_WAY_OF, "pipeline", "Pipeline in two steps", f"{HAND}, predicting {{column}} first and then the class", True),
    Way("scratch", "end-to-end", "From scratch", "the same network, all weights drawn at random", True, "retrain", True),
    Way("probe", "transfer", "Linear probe", "frozen backbone, linear head", True, "probe"),
    Way(
        "early_probe", "transfer", "Probe on all depths", "frozen backbone, linear head on every block", False, "early_probe"
    ),
    Way("lpft", "transfer", "Probe, then fine-tune", "linear head first, then every block", True, "lpft", True),
    Way("full", "transfer", "Fine-tune all", "every block at a tenth of the learning rate", True, "full", True),
)
"""Every way there is, in the order in which pages show them."""

ON_WISH = ("full",)
"""Ways that are left out where none are named."""


def choose_ways(wanted: Sequence[str], column: str | None) -> list[Way]:
    """The ways named in `wanted`, by name or by family; all usual ones when none is named. Unknown names get suggestions.

    column  the intermediate label, without which there is no pipeline in two steps
    """
    known = [*dict.fromkeys([*FAMILIES, *(way.name for way in WAYS)])]
    unknown = [name for name in wanted if name not in known]
    near = {name: difflib.get_close_matches(name, known, 3, 0.4) for name in unknown}
    said = [f"{name!r}" + (f", did you mean {' or '.join(near[name])}?" if near[name] else "") for name in unknown]
    if BY_WAY_OF in wanted and column is None:
        said.append(f"{BY_WAY_OF!r} needs --intermediate COLUMN, the label that is predicted first")
    problems(ConfigError, f"--ways names what cannot be; there are {', '.join(known)}:", said)

    def taken(way: Way) -> bool:
        if way.name == BY_WAY_OF and column is None:
            return False
        if way.name in wanted:
            return True
        return way.name not in ON_WISH if not wanted else way.family in wanted

    told = [replace(way, description=way.description.format(column=column)) for way in WAYS if taken(way)]
    if column is not None and not any(way.name == BY_WAY_OF for way in told):
        raise ConfigError(
            f"--intermediate {column} is used by {BY_WAY_OF} only; name it with --ways, or leave the column out"
        )
    return told


@dataclass(frozen=True)
class DataSizeConfig:
    """Learn from growing parts of your images in three ways, and see where their learning curves cross."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file"""
    out: Path = Path("runs/study-data-size")
    """run folder to write"""
    network: BackboneConfig = BackboneConfig()
    images: DataConfig = DataConfig()
    sizes: tuple[int, ...] = ()
    """numbers of images to learn from; none: five, each twice the one before, up to all there are"""
    draws: int = 3
    """how often the parts are drawn and the training seeds with them; intervals rest on it"""
    ways: tuple[str, ...] = ()
    """ways to learn, by name or by family (pipeline, end-to-end, transfer); none: all but full"""
    intermediate: str | None = None
    """column of a CSV manifest, e.g. superclass: one more pipeline predicts it first, and then the class given it"""
    budget: str = "10m"
    """time for all runs together, which the length of training fits into, e.g. 45s, 10m, 2h"""
    epochs: int | None = None
    """passes over the images of ways that train; none: 500 steps, from scratch 1 000, as far as the budget reaches"""
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

    def shared(self) -> AdaptConfig:
        """The settings that adapting has too."""
        return AdaptConfig(
            data=self.data,
            out=self.out,
            network=self.network,
            images=self.images,
            budget=self.budget,
            seed=self.seed,
            mirror=self.mirror,
            device=self.device,
        )
