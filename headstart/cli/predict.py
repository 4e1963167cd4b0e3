"""`headstart predict MODEL IMAGES...`: name what is on images."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headstart.cli import speak
from headstart.cli.command import EXIT_CODES, Command
from headstart.errors import ConfigError, DataError, ModelFileError

if TYPE_CHECKING:
    from headstart.engine.model import Predictions

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
    format: Literal["table", "csv", "json"] = "table"
    """how to print the result"""
    out: Path | None = None
    """file to write the result to; none: print it"""


def run(config: PredictConfig) -> int:
    """Carry out `headstart predict`; 1 when an image could not be read."""
    _check(config)
    folder = model_folder(config.model)
    from headstart.engine.model import Model

    result = Model.load(folder).predict(list(config.images), top_k=config.top_k)
    if not result.rows and not result.unreadable:
        raise DataError(
            f"IMAGES: no image in {', '.join(map(str, config.images))}; give image files or folders that hold some"
        )
    text = {"table": as_table, "csv": as_csv, "json": as_json}[config.format](result)
    if config.out is None:
        speak.say(text)
    else:
        _write(config.out, text)
        speak.note(f"{len(result.rows)} predictions written to {config.out}")
    for path, reason in ((bad.path, bad.reason) for bad in result.unreadable):
        speak.complain(f"{path}: {reason}", label="unreadable", style="yellow")
    return SOME_UNREADABLE if result.unreadable else 0


def model_folder(given: Path) -> Path:
    """The folder of the saved model: `given` itself, or the `model` folder of a run."""
    if not given.is_dir():
        kind = "is a file" if given.exists() else "does not exist"
        raise ModelFileError(f"MODEL: {given} {kind}; give the folder of a saved model, or a run folder that has one")
    inner = given / "model"
    return inner if inner.is_dir() else given


def as_table(result: Predictions) -> str:
    """Aligned columns: the image, then each class with its probability."""
    rows = [
        [row.path, *(f"{label} {p:.3f}" for label, p in zip(row.labels, row.probabilities, strict=True))]
        for row in result.rows
    ]
    width = max(map(len, rows), default=1)
    head = ["image", *(f"class {place}" for place in range(1, width))]
    return speak.table(head, [row + [""] * (width - len(row)) for row in rows])


def as_csv(result: Predictions) -> str:
    """One line per image: path, label_1, probability_1, label_2, ..."""
    width = max((len(row.labels) for row in result.rows), default=0)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", *(f"{what}_{place}" for place in range(1, width + 1) for what in ("label", "probability"))])
    for row in result.rows:
        pairs = zip(row.labels, row.probabilities, strict=True)
        writer.writerow([row.path, *(cell for label, p in pairs for cell in (label, f"{p:.6g}"))])
    return buffer.getvalue().removesuffix("\n")


def as_json(result: Predictions) -> str:
    """Predictions and unreadable files, nothing rounded."""
    value = {
        "predictions": [
            {"path": row.path, "labels": list(row.labels), "probabilities": [float(p) for p in row.probabilities]}
            for row in result.rows
        ],
        "unreadable": [{"path": bad.path, "reason": bad.reason} for bad in result.unreadable],
    }
    return json.dumps(value, indent=2, ensure_ascii=False)


def _check(config: PredictConfig) -> None:
    if config.top_k < 1:
        raise ConfigError(f"--top-k {config.top_k}: give 1 or more")
    if not config.images:
        raise DataError("IMAGES: none given; name image files or folders after the model")
    if config.out is not None and (config.out.is_dir() or not config.out.absolute().parent.is_dir()):
        why = "is a folder" if config.out.is_dir() else "lies in a folder that does not exist"
        raise ConfigError(f"--out {config.out} {why}; name a file in a folder that exists")


def _write(path: Path, text: str) -> None:
    from headstart.engine.files import write_atomic

    def write(temporary: Path) -> None:
        temporary.write_text(text + "\n", encoding="utf-8")

    write_atomic(path, write)


COMMAND = Command(
    name="predict",
    summary="Name what is on images, with probabilities.",
    config=PredictConfig,
    run=run,
    examples=(
        "headstart predict runs/photos new/1.jpg new/2.jpg",
        "headstart predict runs/photos new --top-k 1 --format csv --out new.csv",
    ),
    details=EXIT_CODES,
)
