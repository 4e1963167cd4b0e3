"""Learning curves from the log: one small picture per arm, every fold in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.folder import RunFolder, number
from headstart.report.svg import padded
from headstart.report.verdict import labels_of

WIDTH, HEIGHT = 350, 190


@dataclass(frozen=True)
class Curve:
    """One picture with its title."""

    title: str
    note: str
    picture: Markup


@dataclass(frozen=True)
class Curves:
    """The section of learning curves; `legend` pairs a line's class with what it means."""

    lead: str
    legend: Sequence[tuple[str, str]]
    panels: Sequence[Curve]


@dataclass(frozen=True)
class _Fold:
    """The epochs of one arm on one fold, stages one after another; `starts` are where a stage begins."""

    valid: list[tuple[float, float]]
    train: list[tuple[float, float]]
    loss: list[tuple[float, float]]
    starts: list[float]
    stages: list[str]


def curves(run: RunFolder) -> Curves | None:
    """Learning curves of all arms that trained by gradient steps, or None when the log holds no epoch."""
    panels = _panels(run.events("epoch"))
    if not panels:
        return None
    folds = [fold for panel in panels.values() for fold in panel]
    kind = "valid" if any(f.valid for f in folds) else "train" if any(f.train for f in folds) else "loss"
    values = [y for f in folds for y in ([y for _, y in f.loss] if kind == "loss" else [y for _, y in f.valid + f.train])]
    if not values:
        return None
    limits = padded(values, 0.0, max(values) * 1.05 if kind == "loss" else 1.0)
    labels = labels_of(run.summary)
    drawn = [_panel(labels.get(arm, arm), refit, panel, kind, limits) for (arm, refit), panel in panels.items()]
    return Curves(_lead(kind, len(drawn)), _legend(kind, folds), drawn)


def _panels(epochs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, bool], list[_Fold]]:
    """Group records by arm, folds apart from the final refit. Of records repeated after a resume the last counts."""
    unique: dict[tuple[str, Any, str, Any], Mapping[str, Any]] = {}
    for record in epochs:
        fold = record.get("fold")
        key = (
            str(record.get("arm")),
            fold if isinstance(fold, (int, str)) else None,
            str(record.get("stage")),
            record.get("epoch"),
        )
        unique[key] = record
    runs: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    for (arm, fold, _, _), record in unique.items():
        runs.setdefault((arm, fold), []).append(record)
    panels: dict[tuple[str, bool], list[_Fold]] = {}
    for (arm, fold), records in runs.items():
        panels.setdefault((arm, not isinstance(fold, int)), []).append(_fold(records))
    return panels


def _fold(records: Sequence[Mapping[str, Any]]) -> _Fold:
    fold = _Fold([], [], [], [], [])
    for place, record in enumerate(records, start=1):
        for key, line in (("valid_accuracy", fold.valid), ("accuracy", fold.train), ("loss", fold.loss)):
            value = number(record.get(key))
            if value is not None:
                line.append((float(place), value))
        stage = str(record.get("stage") or "")
        if not fold.stages or fold.stages[-1] != stage:
            fold.stages.append(stage)
            fold.starts.append(place - 0.5)
    return fold


def _panel(label: str, refit: bool, folds: Sequence[_Fold], kind: str, limits: tuple[float, float]) -> Curve:
    lines: dict[str, list[list[tuple[float, float]]]] = {
        "valid": [f.valid for f in folds],
        "train": [f.train for f in folds],
        "loss": [f.loss for f in folds],
    }
    series = [Series(one, "fold") for one in lines[kind] if one] if len(folds) > 1 else []
    if kind == "valid" and (mean := _mean(lines["train"])):
        series.append(Series(mean, "dashed"))
    if mean := _mean(lines[kind]):
        series.append(Series(mean, "bold"))
    length = int(max((x for one in series for x, _ in one.points), default=1))
    ticks = _ticks(length)
    longest = max(folds, key=lambda fold: len(fold.loss) + len(fold.valid))
    title = f"{label} – final fit" if refit else label
    end = mean[-1][1] if mean else None
    shown = words.figures(end) if kind == "loss" else words.percent(end)
    note = " → ".join(filter(None, longest.stages)) if len(longest.stages) > 1 else ""
    spoken = f"Learning curve of {title}: {words.plural(length, 'epoch')}, ending at {shown}"
    picture = line_chart(
        series, WIDTH, HEIGHT, spoken, x_ticks=ticks, y_range=limits, y_percent=kind != "loss", marks=longest.starts[1:]
    )
    return Curve(title, note, picture)


def _ticks(length: int) -> list[tuple[float, str]]:
    places = sorted({1, length, *([round((1 + length) / 2)] if length > 4 else [])})
    return [(float(x), f"epoch {x}" if x == length else str(x)) for x in places]


def _mean(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Mean over the folds at the epochs that every fold reached."""
    found = [dict(line) for line in lines if line]
    shared = sorted(set.intersection(*(set(line) for line in found))) if found else []
    return [(x, sum(line[x] for line in found) / len(found)) for x in shared]


def _lead(kind: str, panels: int) -> str:
    what = {"valid": "Accuracy on held-out images", "train": "Accuracy on the training images", "loss": "Training loss"}[
        kind
    ]
    note = "" if kind == "valid" else " (nothing else was logged)"
    return f"{what} after each epoch{note}{', on one scale' if panels > 1 else ''}. Heads found by a solver have no curve."


def _legend(kind: str, folds: Sequence[_Fold]) -> list[tuple[str, str]]:
    legend = [
        ("bold", {"valid": "held-out images", "train": "training images", "loss": "loss"}[kind] + ", mean of the folds")
    ]
    legend += [("fold", "each fold")]
    legend += [("dashed", "training images")] if kind == "valid" and any(f.train for f in folds) else []
    return [*legend, ("guide", "a new stage begins")] if any(len(f.starts) > 1 for f in folds) else legend
