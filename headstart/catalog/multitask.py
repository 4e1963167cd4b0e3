"""Settings of `headstart multitask`: one network for many questions about the same image; torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.asked import parse_tasks
from headstart.catalog.sharing import PULL, SHARINGS
from headstart.catalog.weightings import WEIGHTINGS, check_extra
from headstart.errors import ConfigError, problems


@dataclass(frozen=True)
class TableConfig:
    """How a table of labels is read and its images are divided."""

    path_column: str | None = None
    """column that names the image file; none: found by its name"""
    group_column: str | None = None
    """column whose equal values (a patient, a video) never go to different parts"""
    split_column: str | None = None
    """column that holds train, val or test"""
    fit: Literal["squash", "pad", "crop"] = "squash"
    """how an image is brought to a square: squeezed, padded, or its centre cut out"""
    test_fraction: float = 0.2
    """share of the images set aside for the test when the data bring no test split"""
    validation_fraction: float = 0.15
    """share set aside to choose between several ways asked for, when the data bring no val split"""


@dataclass(frozen=True)
class MultitaskConfig:
    """Train one network for many questions about the same image, and measure what sharing brings."""

    data: tuple[str, ...]
    """table of labels (CSV) with a column per task; or several data sets, one per task"""
    out: Path = Path("runs/multitask")
    """run folder to write; the model is in its model/"""
    tasks: tuple[str, ...] = ()
    """columns to learn: NAME, NAME:KIND (class, yes_no, several, number), NAME=COLUMN, NAME=COL1+COL2; none: all columns;
    of several data sets their names"""
    main: str | None = None
    """the task that counts: the others are judged by what they do for it"""
    sharing: tuple[str, ...] = ("hard",)
    """hard, partly, soft, cross_stitch (see below); several are compared"""
    weighting: tuple[str, ...] = ("sum",)
    """how the tasks' losses become one (see below); several are compared"""
    task_weights: tuple[str, ...] = ()
    """TASK=NUMBER, fixed weights of the sum; TASK=FORMULA or one table by epoch, for the schedule: "1 - 0.5 * t" """
    normalise: bool = False
    """scale a schedule's weights to add up to the number of tasks"""
    shared: int = 0
    """with towers (partly, soft, cross_stitch): so many lower blocks stay one"""
    stitch: tuple[str, ...] = ()
    """blocks after which cross-stitch units mix the towers; none: after every stage of the network"""
    pull: float = PULL
    """soft sharing: strength of the pull of every tower towards their mean, as of a weight decay"""
    settings: tuple[str, ...] = ()
    """settings of the weighting as key=value, e.g. alpha=1.5 temperature=2"""
    sampling: Literal["proportional", "sqrt", "round_robin"] = "proportional"
    """of several data sets: which share of the images each gives"""
    per: Literal["batch", "sample"] = "sample"
    """of several data sets: a batch is mixed (sample), or of one of them (batch)"""
    leave_out: bool = False
    """also train without each task in turn: which helps, which harms (with --main always)"""
    alone: bool = True
    """also train a network for each task alone, in as many steps; --no-alone leaves out what sharing is compared with"""
    network: BackboneConfig = field(default_factory=BackboneConfig)
    images: TableConfig = TableConfig()
    epochs: int | None = None
    """passes over the images; none: 20, for few images up to 60"""
    batch_size: int | None = None
    """images per optimiser step; none: a thirtieth of the images, 16 to 64"""
    lr: float | None = None
    """learning rate of the heads; none: what suits the network"""
    scale: float = 0.1
    """learning rate of the blocks relative to it; 1 to train from scratch"""
    smoothing: float = 0.0
    """label smoothing"""
    delta: float | None = None
    """numbers: Huber's loss, linear beyond so many standard deviations; none: squared error"""
    mirror: bool = True
    """train on mirrored images too; --no-mirror where left and right matter, as in digits, letters and traffic signs"""
    augment: bool = True
    """shift, crop and mirror images while learning"""
    seeds: int = 1
    """how often everything is trained, from --seed, --seed + 1, ...; the model saved is the first one's"""
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


def check_settings(config: MultitaskConfig, *, given: bool = False) -> None:
    """Raise ConfigError listing every setting that cannot be; `given`: the data come from Python."""
    images = config.images
    rules = [
        (given or config.data, "DATA is missing: name the table of labels"),
        (config.seeds >= 1, f"--seeds {config.seeds}: at least 1 is needed; an interval over seeds needs 2"),
        (config.epochs is None or config.epochs >= 1, f"--epochs {config.epochs} must be at least 1"),
        (config.batch_size is None or config.batch_size >= 2, f"--batch-size {config.batch_size} must be at least 2"),
        (config.lr is None or 0 < config.lr < 100, f"--lr {config.lr} must lie between 0 and 100, e.g. 0.01"),
        (0 < config.scale <= 10, f"--scale {config.scale} must lie above 0 and be 10 at most"),
        (config.delta is None or config.delta > 0, f"--delta {config.delta} must be above 0"),
        (0 <= config.smoothing < 1, f"--smoothing {config.smoothing} must lie between 0 and 1"),
        (config.shared >= 0, f"--shared {config.shared}: a number of blocks, from the input"),
        (0 <= config.pull < float("inf"), f"--pull {config.pull} must be 0 or more"),
        (0 < images.test_fraction < 1, f"--test-fraction {images.test_fraction} must lie between 0 and 1, e.g. 0.2"),
        (
            0 < images.validation_fraction < 1,
            f"--validation-fraction {images.validation_fraction} must lie between 0 and 1, e.g. 0.15",
        ),
        (
            images.test_fraction + images.validation_fraction < 1,
            f"--test-fraction {images.test_fraction} and --validation-fraction {images.validation_fraction} leave nothing "
            "to learn from",
        ),
    ]
    said = [text for holds, text in rules if not holds]
    said += _named("--sharing", config.sharing, SHARINGS) + _named("--weighting", config.weighting, WEIGHTINGS)
    said += list(_together(config)) + _tasks(config)
    problems(ConfigError, "these settings cannot be:", said)


def _named(flag: str, names: tuple[str, ...], there: object) -> list[str]:
    known = list(there)  # type: ignore[call-overload]
    found = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 2, 0.4)
            offer = f", did you mean {' or '.join(near)}?" if near else ";"
            found.append(f"{flag} {name!r} is unknown{offer} there are {', '.join(known)}")
    return found if names else [f"{flag} names nothing; there are {', '.join(known)}"]


def _together(config: MultitaskConfig) -> Iterator[str]:
    """Settings that only go with others."""
    towers = {"partly", "soft", "cross_stitch"} & set(config.sharing)
    if config.shared and not towers:
        yield f"--shared {config.shared}: so many blocks under towers stay one; add --sharing partly, soft or cross_stitch"
    if "partly" in config.sharing and not config.shared:
        yield "--sharing partly needs --shared N: how many blocks, from the input, all tasks have in common"
    if config.stitch and "cross_stitch" not in config.sharing:
        yield f"--stitch {' '.join(config.stitch)}: units are part of --sharing cross_stitch"
    if config.pull != MultitaskConfig.pull and "soft" not in config.sharing:
        yield f"--pull {config.pull} is a setting of --sharing soft"
    if config.normalise and "schedule" not in config.weighting:
        yield "--normalise scales the weights of --weighting schedule"
    if "schedule" in config.weighting and not config.task_weights:
        yield '--weighting schedule needs --task-weights, e.g. "digit=1 - 0.5 * t" parity=0.5, or a table by epoch'
    if config.task_weights and not {"sum", "schedule"} & set(config.weighting):
        yield f"--task-weights go with --weighting sum or schedule, not with {', '.join(config.weighting)}"
    for name in config.weighting:
        if name in WEIGHTINGS:
            try:
                check_extra(name)
            except ConfigError as error:
                yield f"--weighting {name}: {error}"


def _tasks(config: MultitaskConfig) -> list[str]:
    """What is wrong with the words of --tasks, as far as no data are needed to see it."""
    if len(config.data) > 1 or not config.tasks:  # of several data sets these are their names
        return []
    try:
        names = [one.name for one in parse_tasks(config.tasks)]
    except ConfigError as error:
        return [str(error)]
    wrong = [f"--tasks {names[0]}: there is one task only; headstart adapt learns one task"] if len(names) == 1 else []
    if config.main is not None and config.main not in names:
        wrong.append(f"--main {config.main} is none of the tasks {', '.join(names)}")
    return wrong
