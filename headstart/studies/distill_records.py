"""A distillation as records, text and files: the content of summary.json, thumbnails, and the student as a model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headstart
from headstart.catalog.distill import DistillJobConfig
from headstart.data.names import count
from headstart.data.prepare import DataSet
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.source_statistics import evenly, statistics_from_task
from headstart.files import write_atomic, write_json
from headstart.metrics.cost import format_bytes, format_count
from headstart.nets.net import Net
from headstart.studies.distill_audit import Audit, Seen, size_record
from headstart.studies.distill_outcome import KINDS, Tested, gained, summed
from headstart.studies.distill_runs import Run, Runs
from headstart.studies.distill_temperature import choose_examples, example_records, temperature_record
from headstart.studies.outcome import shrunk
from headstart.studies.records import again, data_record, plain
from headstart.studies.splitting import Splits

_RECIPE = ("optimizer", "lr", "batch_size", "weight_decay", "clip")


@dataclass(frozen=True, eq=False)
class Found:
    """All that a distillation found.

    tests     the teachers' answers on the test images, in their order
    combined  `[n, C]` what they say together on the training images that were looked at
    """

    config: DistillJobConfig
    data: DataSet
    splits: Splits
    student: Net
    audits: Sequence[Audit]
    tests: Sequence[Seen]
    combined: NDArray[np.float64]
    temperature: float
    runs: Runs
    results: Sequence[Tested]
    warnings: Sequence[str]
    given: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the student is called."""
        return self.config.student or str((self.student.source or {}).get("name") or "a network given from Python")

    def of(self, kind: str) -> list[Tested]:
        """Results of one way of learning, seed by seed."""
        return [one for one in self.results if one.run.kind == kind]


def summary_of(f: Found, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    config = f.config
    parts = {kind: summed(f.of(kind), config.seed) for kind in KINDS if f.of(kind)}
    gains = {kind: gained(f.of(kind), f.of("alone"), config.seed) for kind in parts if kind != "alone"}
    teachers = [_teacher(one, test, parts["alone"]["accuracy"]) for one, test in zip(f.audits, f.tests, strict=True)]
    warnings = [*f.warnings, *(f"teacher {row['name']}: {text}" for row in teachers for text in row["warnings"])]
    looked = f.splits.train.take(evenly(len(f.splits.train), len(f.combined)))
    return plain(  # type: ignore[no-any-return]
        {
            "command": "distill",
            "data": {**data_record(f.data, f.splits.train, f.splits.test), "unlabelled": _unlabelled(f)},
            "student": {"name": f.name, **_size(f)},
            "teachers": teachers,
            "temperature": temperature_record(
                f.combined,
                looked.targets,
                f.temperature,
                config.share,
                automatic=config.fixed_temperature is None,
                target=config.target_entropy,
                kind=config.kind,
            ),
            "examples": example_records(f.combined, looked, choose_examples(f.combined, looked.targets), f.temperature),
            "share": config.share,
            "kind": config.kind,
            "losses": list(config.losses),
            "average": config.average,
            "token": config.token,
            "epochs": f.runs.taught.recipe.epochs,
            "recipe": {
                name: getattr(f.runs.taught.recipe, name) for name in ("optimizer", "lr", "batch_size", "weight_decay")
            },
            "views": config.views,
            "runs": [_run(one, f.runs) for one in f.results],
            **{kind: part for kind, part in parts.items() if kind != "born_again"},
            "gain": gains["distilled"],
            "born_again": {**parts["born_again"], "gain": gains["born_again"]} if "born_again" in parts else None,
            "record": f.runs.recorded(),
            "curves": [_curve(one.run, f.runs) for one in f.results],
            "warnings": list(dict.fromkeys(warnings)),
            "test": {"num_images": len(f.splits.test), "num_classes": len(f.data.classes)},
            "classes": list(f.data.classes),
            "model": str(config.out / "model"),
            "seconds_by_phase": {name: round(value, 2) for name, value in seconds.items()},
            "reproduce": again("distill", config, f.given),
            "version": headstart.__version__,
        }
    )


def _unlabelled(f: Found) -> int:
    return 0 if f.runs.unlabelled is None else len(f.runs.unlabelled)


def _size(f: Found) -> dict[str, Any]:
    net = f.runs.net(Run("distilled", f.config.seed))
    return size_record(net, f.splits.train.name)


def _teacher(one: Audit, test: Seen, alone: float) -> dict[str, Any]:
    worse = test.accuracy < alone
    said = []
    if worse:
        said.append(
            f"it is right on {test.accuracy:.1%} of the test images, less often than the student trained alone ({alone:.1%})"
        )
    return {
        "name": one.teacher.name,
        "classes": one.teacher.num_classes,
        **size_record(one.live.net, one.teacher.head),
        "mapped": one.order.kind == "mapped",
        "order": one.order.kind,
        "train_accuracy": one.train.accuracy,
        "train_interval": [one.train.interval.low, one.train.interval.high],
        "train_calibration_error": one.train.calibration_error,
        "test_accuracy": test.accuracy,
        "test_interval": [test.interval.low, test.interval.high],
        "calibration_error": test.calibration_error,
        "mode": "train" if one.live.net.training else "eval",
        "worse_than_student": worse,
        "warnings": [*one.warnings, *said],
    }


def _run(one: Tested, runs: Runs) -> dict[str, Any]:
    course = runs.seen(one.run)
    return {
        "kind": one.run.kind,
        "seed": one.run.seed,
        "accuracy": one.accuracy,
        "agreement": one.agreement,
        "kl": one.kl,
        "calibration_error": one.calibration_error,
        "seconds": course["seconds"],
        "seconds_per_epoch": course["seconds_per_epoch"],
        "final_losses": course["points"][-1]["losses"] if course["points"] else {},
    }


def _curve(run: Run, runs: Runs) -> dict[str, Any]:
    return {"kind": run.kind, "seed": run.seed, "points": runs.seen(run)["points"]}


# --- files --------------------------------------------------------------------------------------------------------------


def write_pictures(f: Found, folder: Path) -> None:
    """Thumbnails of the examples, in their order."""
    if not f.data.store.is_image:
        return
    looked = f.splits.train.take(evenly(len(f.splits.train), len(f.combined)))
    places = choose_examples(f.combined, looked.targets)
    images = shrunk(np.asarray(f.data.store.array[looked.rows[places]]))
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, images=images)

    write_atomic(folder / "thumbnails.npz", write)
    write_json(folder / "thumbnails.json", {"classes": {}, "mistakes": []})


def model_of(f: Found, summary: Mapping[str, Any]) -> Model:
    """The distilled student of the first seed, its teachers and this run as its ancestors."""
    net = f.runs.net(Run("distilled", f.config.seed))
    row = next(one for one in summary["runs"] if one["kind"] == "distilled" and one["seed"] == f.config.seed)
    names = [one.teacher.name for one in f.audits]
    this = Ancestor(
        Path(f.config.out).name,
        "distilled",
        str(summary["data"]["path"]),
        f.data.fingerprint,
        {"student": f.name, "teachers": names, "seed": f.config.seed, "command": summary["reproduce"]},
        row["accuracy"],
    )
    lines = [one for audit in f.audits for one in audit.teacher.ancestors]
    card = Card(f.splits.train.name, f.data.classes, f.config.images.fit, (*lines, this), headstart.__version__)
    return Model(net.cpu(), card, statistics_from_task(net, f.splits.train))


# --- text ---------------------------------------------------------------------------------------------------------------


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    data, student, chosen = summary["data"], summary["student"], summary["temperature"]
    how = "by itself" if chosen["automatic"] else "as asked"
    lines = [
        f"{data['splits']['train']} images to learn from, {data['num_classes']} classes"
        + (f", and {data['unlabelled']} without label" if data["unlabelled"] else ""),
        f"T = {chosen['value']:g} ({how}), lambda = {summary['share']:g}, {count(summary['epochs'], 'epoch')}, "
        f"{count(len({run['seed'] for run in summary['runs']}), 'seed')}",
        "",
        f"{'network':<34} {'accuracy':>8}  {'95 % interval':<16} {'agreement':>9} {'KL':>7} {'calib.':>6} {'weights':>8}",
    ]
    for row in summary["teachers"]:
        lines.append(_line(row["name"], row["test_accuracy"], row["test_interval"], row, row["parameters"]))
    for name, title in (("alone", "alone"), ("distilled", "distilled"), ("born_again", "born again")):
        if summary[name]:
            part = summary[name]
            lines.append(
                _line(f"{student['name']}, {title}", part["accuracy"], part["interval"], part, student["parameters"])
            )
    said = [summary["gain"]["sentence"], *([summary["born_again"]["gain"]["sentence"]] if summary["born_again"] else [])]
    lines += ["", *(line for text in said for line in textwrap.wrap(text, 110))]
    lines += [line for text in summary["warnings"] for line in _bullet(f"warning: {text}")]
    lines += ["", *_costs(summary)]
    return "\n".join([*lines, f"model of seed {summary['runs'][0]['seed']}: {summary['model']}"])


def _line(name: str, accuracy: float, interval: Sequence[float], row: Mapping[str, Any], weights: int) -> str:
    short = name if len(name) <= 34 else f"{name[:15]}...{name[-16:]}"
    alike = f"{row['agreement']:>9.3f} {row['kl']:>7.3f}" if "agreement" in row else f"{'':>9} {'':>7}"
    span = f"{interval[0]:.3f} to {interval[1]:.3f}"
    return f"{short:<34} {accuracy:>8.3f}  {span:<16} {alike} {row['calibration_error']:>6.3f} {format_count(weights):>8}"


def _costs(summary: Mapping[str, Any]) -> list[str]:
    each = {
        kind: float(np.median([run["seconds_per_epoch"] for run in summary["runs"] if run["kind"] == kind]))
        for kind in ("alone", "distilled")
    }
    kept = summary["record"]
    told = f"{each['distilled']:.2f} s per epoch distilled, {each['alone']:.2f} s alone"
    if kept:
        told += f"; teachers' answers kept: {format_bytes(kept['bytes'])}, {kept['seconds']:.1f} s once"
    return [f"{told}; {summary['seconds']:.0f} s in all"]


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  - ", subsequent_indent="    ")
