"""`headstart predict MODEL IMAGES...`: name what is on images."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headstart.cli import speak
from headstart.cli.command import EXIT_CODES, Command
from headstart.errors import ConfigError, DataError, ModelFileError

if TYPE_CHECKING:
    from headstart.engine.predictions import Predictions

Format = Literal["table", "csv", "json"]

ENDINGS: dict[str, Format] = {".csv": "csv", ".json": "json", ".txt": "table", "": "table"}
SOME_UNREADABLE = 1


@dataclass(frozen=True)
class PredictConfig:
    """What to predict, with which model."""

    model: Path
    """folder of a saved model, or of the run that made it"""
    images: tuple[Path, ...]
    """image files, or folders that are searched for images"""
    top_k: int = 3
    """number of classes to name per image, the likeliest first"""
    task: str | None = None
    """task that the images are known to belong to, of a model that has learned several one after the other; none: it is
    inferred. Of a multi-task model the tasks to answer (digit,odd); none: all of them, in one pass"""
    format: Format | None = None
    """how to write the result; none: as the name of --out ends (.csv, .json), else a table"""
    json: bool = False
    """the same as --format json"""
    out: Path | None = None
    """file to write the result to; none: print it"""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one"""


def run(config: PredictConfig) -> int:
    """Carry out `headstart predict`; 1 when an image could not be read."""
    _check(config)
    folder = model_folder(config.model)
    from headstart.engine.model import Model
    from headstart.studies.checks import device_of

    result = Model.load(folder, device=device_of(config.device)).predict(
        list(config.images), top_k=config.top_k, task=_tasks(config)
    )
    text = as_text(result, _form(config))
    if config.out is None:
        speak.say(text)
    else:
        _write(config.out, text)
        speak.note(f"{len(result.rows)} predictions written to {config.out}")
    for bad in result.unreadable:
        speak.complain(f"{bad.path}: {bad.reason}", label="unreadable", style="yellow")
    return SOME_UNREADABLE if result.unreadable else 0


def _form(config: PredictConfig) -> Format:
    """The format asked for, or the one that the ending of the file's name stands for."""
    if config.json or config.format is not None:
        return config.format or "json"
    return "table" if config.out is None else ENDINGS[config.out.suffix.lower()]


def _tasks(config: PredictConfig) -> list[str] | None:
    """The names in `--task`, which have no comma in them."""
    return None if config.task is None else [name.strip() for name in config.task.split(",")]


def model_folder(given: Path) -> Path:
    """`given`, once it is known to be a folder; which of its folders holds the model is the model's own business."""
    if not given.is_dir():
        kind = "is a file" if given.exists() else "does not exist"
        raise ModelFileError(f"MODEL: {given} {kind}; give the folder of a saved model, or a run folder that has one")
    return given


def as_text(result: Predictions, form: Format) -> str:
    """The predictions as they are printed. Unreadable files are part of the JSON; a table or CSV holds predictions only."""
    if form == "json":
        return json.dumps(result.to_json(), indent=2, ensure_ascii=False)
    if form == "csv":
        return result.to_csv().removesuffix("\n")
    return speak.clean(str(dataclasses.replace(result, unreadable=[])))


def _check(config: PredictConfig) -> None:
    if config.top_k < 1:
        raise ConfigError(f"--top-k {config.top_k}: give 1 or more")
    if not config.images:
        raise DataError("IMAGES: none given; name image files or folders after the model")
    if config.json and config.format not in (None, "json"):
        raise ConfigError(f"--json and --format {config.format}: only one of them can be had")
    if config.out is not None and not config.json and config.format is None and config.out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {config.out}: name a file that ends in .csv, .json or .txt, or give --format")
    if config.out is not None and (config.out.is_dir() or not config.out.absolute().parent.is_dir()):
        why = "is a folder" if config.out.is_dir() else "lies in a folder that does not exist"
        raise ConfigError(f"--out {config.out} {why}; name a file in a folder that exists")


def _write(path: Path, text: str) -> None:
    from headstart.files import write_text

    write_text(path, text + "\n")


COMMAND = Command(
    name="predict",
    summary="Name what is on images, with probabilities.",
    config=PredictConfig,
    run=run,
    examples=(
        "headstart predict runs/photos new/1.jpg new/2.jpg",
        "headstart predict runs/photos new --top-k 1 --out new.csv",
        "headstart predict runs/pets-cars new --task cars",
        "headstart predict runs/many-questions new --task digit,odd --format csv",
    ),
    details=EXIT_CODES,
)
