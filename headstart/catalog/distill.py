"""Settings of distillation: a small network learns from big ones; torch-free."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.catalog.adapt import DataConfig
from headstart.errors import ConfigError, problems

AUTO = "auto"
BY_NAME = "names"
LOSSES = ("hints", "attention", "relational", "decoupled", "contrastive", "standardise")
"""What can be added to the mission's loss, or (`standardise`) done to the logits of its soft term."""

ALONE, DISTILLED = "student, alone", "student, distilled"
"""What the two students for several questions are called where they are compared."""


@dataclass(frozen=True)
class DistillJobConfig:
    """Train a small network on what big ones answer, and measure what it gained against the same network trained alone."""

    data: str
    """image folder with one sub-folder per class (train/ val/ test/ respected), a CSV manifest, or an .npz file; for a
    multi-task teacher a table of labels"""
    teacher: tuple[str, ...] = ()
    """networks to learn from: saved models, run folders, or NAME@WEIGHTFILE (see above); may be repeated"""
    student: str = ""
    """network that learns, its weights drawn anew: headstart:NAME, timm:NAME, torchvision:NAME or a saved model's folder"""
    task: str | None = None
    """of a multi-task teacher: learn this task alone; none: all of them, from a table of labels"""
    out: Path = Path("runs/distill")
    """run folder to write"""
    images: DataConfig = DataConfig()
    size: int | None = None
    """side of the student's input in pixels; none: as its library says, headstart's own as the images are (64 at most)"""
    temperature: str = "4"
    """T, which softens the answers of teacher and student alike: a number, or `auto` by --target-entropy"""
    target_entropy: float = 0.5
    """of --temperature auto: mean entropy that the softened answers shall have, as a share of the largest possible"""
    share: float = 0.9
    """lambda, the weight of the soft term: loss = lambda T^2 soft + (1 - lambda) hard"""
    kind: Literal["soft", "hard"] = "soft"
    """what is learned from the teacher: its softened probabilities, or the class it calls (no T then)"""
    losses: tuple[str, ...] = ()
    """more losses: hints, attention, relational, decoupled (in the soft term's place), contrastive; or standardise logits"""
    average: Literal["logits", "probabilities"] = "logits"
    """what of several teachers is averaged"""
    teacher_weights: tuple[float, ...] = ()
    """weight of each teacher in that average, in their order; none: all alike"""
    token: bool = False
    """a distillation token with a head of its own; students that have one: headstart:vit"""
    views: int = 4
    """augmented renderings per image that are drawn once, so that teachers answer once; 0: drawn anew in every epoch"""
    epochs: int | None = None
    """passes over the images; none: 30, for few images up to 100"""
    batch_size: int = 64
    """images per optimiser step"""
    lr: float | None = None
    """learning rate; none: 0.05 (SGD), 0.001 for transformers (AdamW)"""
    seeds: int = 3
    """how often everything is trained, from --seed, --seed + 1, ...; the gain's interval rests on it"""
    born_again: int = 0
    """generations of born-again students besides, each with the one before as its teacher; 0: none"""
    unlabelled: str | None = None
    """folder of images without labels, from which the soft term learns too"""
    map_classes: str | None = None
    """CSV file `teacher class,data class` for teachers of other classes, or `names`: those that are called alike"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    record_dtype: Literal["float32", "float16"] = "float32"
    """how teachers' answers are kept on disk"""
    top_k: int | None = None
    """answers kept per image, for very many classes: the likeliest, and how much is left for the others; none: all"""
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
    def fixed_temperature(self) -> float | None:
        """T where it is a number; None for `auto`."""
        return None if self.temperature == AUTO else float(self.temperature)


def check_settings(config: DistillJobConfig, teachers: int) -> None:
    """Raise ConfigError listing every setting that cannot be.

    teachers  how many there are, those given from Python included
    """
    rules = [
        (teachers >= 1, "--teacher is missing: name a saved model, its run folder, or NAME@WEIGHTFILE"),
        (0 <= config.share <= 1, f"--share {config.share} must lie between 0 (labels alone) and 1 (the teacher alone)"),
        (0 < config.target_entropy < 1, f"--target-entropy {config.target_entropy} must lie between 0 and 1, e.g. 0.5"),
        (config.size is None or config.size >= 4, f"--size {config.size} must be at least 4 pixels"),
        (config.views >= 0, f"--views {config.views} must not be negative; 0 draws anew in every epoch"),
        (config.epochs is None or config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr is None or 0 < config.lr < math.inf, f"--lr {config.lr} must be positive"),
        (config.seeds >= 1, f"--seeds {config.seeds}: at least 1 is needed; an interval over seeds needs 2"),
        (config.born_again >= 0, f"--born-again {config.born_again} must not be negative; 0 trains none"),
        (config.top_k is None or config.top_k >= 1, f"--top-k {config.top_k} must be at least 1"),
        (
            0 < config.images.test_fraction < 1,
            f"--test-fraction {config.images.test_fraction} must lie between 0 and 1, e.g. 0.2",
        ),
    ]
    said = [text for holds, text in rules if not holds]
    problems(
        ConfigError,
        "these settings cannot be:",
        [*said, *_temperature(config), *_weights(config, teachers), *_losses(config)],
    )


def _temperature(config: DistillJobConfig) -> Iterator[str]:
    try:
        value = config.fixed_temperature
    except ValueError:
        yield f"--temperature {config.temperature!r} is no number; give one such as 4, or auto"
        return
    if value is not None and not 0 < value < math.inf:
        yield f"--temperature {config.temperature} must be more than 0; 1 leaves answers as they are, 4 is usual"


def _weights(config: DistillJobConfig, teachers: int) -> Iterator[str]:
    weights = config.teacher_weights
    if not weights:
        return
    told = " ".join(f"{weight:g}" for weight in weights)
    if len(weights) != teachers:
        yield f"--teacher-weights {told}: that is {len(weights)} for {teachers} teachers; give one for each"
    if not all(0 <= weight < math.inf for weight in weights) or sum(weights) <= 0:
        yield f"--teacher-weights {told}: they must not be negative, and one must be positive"


def _losses(config: DistillJobConfig) -> Iterator[str]:
    for name in config.losses:
        if name not in LOSSES:
            near = difflib.get_close_matches(name, LOSSES, 2, 0.4)
            offer = f", did you mean {' or '.join(near)}?" if near else ""
            yield f"--losses {name!r} is unknown{offer} There are {', '.join(LOSSES)}"
    probable = [name for name in ("decoupled", "standardise") if name in config.losses]
    if probable and config.kind == "hard":
        yield f"--losses {' '.join(probable)} needs the teacher's probabilities, and --kind hard learns its calls alone"
    if len(probable) == 2:
        yield "--losses decoupled standardise are two ways of the same term; choose one"
    if config.token and config.share == 0:
        yield "--token learns from the teacher alone, and with --share 0 it learns nothing"
