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

WIDTH, HEIGHT, LOW = 350, 190, 96
NOUGHT = 1e-12
"""A loss is not told from zero below about this."""


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
    number: int | None

    @property
    def length(self) -> int:
        """Epochs logged."""
        return int(max((x for x, _ in (*self.valid, *self.train, *self.loss)), default=1))


def curves(run: RunFolder) -> Curves | None:
    """Learning curves of all arms that trained by gradient steps, or None when the log holds no epoch."""
    panels = _panels(run.events("epoch"))
    if not panels:
        return None
    folds = [fold for panel in panels.values() for fold in panel]
    kind = "valid" if any(f.valid for f in folds) else "train" if any(f.train for f in folds) else "loss"
    if not any(f.valid or f.train or f.loss for f in folds):
        return None
    limits = padded([y for f in folds for _, y in f.valid + f.train] or [0.0, 1.0])
    labels = labels_of(run.summary)
    drawn = [_panel(labels.get(arm, arm), refit, panel, kind, limits) for (arm, refit), panel in panels.items()]
    only = _only_fold(kind, list(panels.values()))
    return Curves(_lead(kind, len(drawn), only), _legend(kind, list(panels.values()), only), drawn)


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
        panels.setdefault((arm, not isinstance(fold, int)), []).append(
            _fold(records, fold if isinstance(fold, int) else None)
        )
    return panels


def _fold(records: Sequence[Mapping[str, Any]], fold_number: int | None) -> _Fold:
    fold = _Fold([], [], [], [], [], fold_number)
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
    title = f"{label} – final fit" if refit else label
    longest = max(folds, key=lambda fold: len(fold.loss) + len(fold.valid))
    pictures = [_accuracy(title, folds, longest, kind, limits)] if kind != "loss" else []
    pictures += [_loss(title, folds, longest)] if any(fold.loss for fold in folds) else []
    note = " → ".join(filter(None, longest.stages)) if len(longest.stages) > 1 else ""
    return Curve(title, note, Markup("").join(pictures))


def _accuracy(title: str, folds: Sequence[_Fold], longest: _Fold, kind: str, limits: tuple[float, float]) -> Markup:
    lines = {"valid": [f.valid for f in folds if f.valid], "train": [f.train for f in folds if f.train]}
    mean, train = _mean(lines[kind]), _mean(lines["train"])
    if not mean and not train:
        return Markup("")
    series = [Series(one, "fold") for one in lines[kind]] if len(lines[kind]) > 1 else []
    series += [Series(train, "dashed")] if kind == "valid" and train else []
    series += [Series(mean, "bold")] if mean else []
    end = (mean or train)[-1][1]
    spoken = f"Learning curve of {title}: {words.plural(longest.length, 'epoch')}, ending at {words.percent(end)}"
    return line_chart(
        series, WIDTH, HEIGHT, spoken, x_ticks=_ticks(longest.length), y_range=limits, marks=longest.starts[1:]
    )


def _loss(title: str, folds: Sequence[_Fold], longest: _Fold) -> Markup:
    """Training loss, on a scale of its own: losses of different stages and strategies do not compare."""
    mean = _mean([fold.loss for fold in folds if fold.loss])
    if not mean:
        return Markup("")
    spoken = f"Training loss of {title}: from {words.figures(mean[0][1])} to {words.figures(mean[-1][1])}"
    return line_chart(
        [Series(mean, "loss")],
        WIDTH,
        LOW,
        spoken,
        x_ticks=_ticks(longest.length),
        y_range=_loss_range([y for _, y in mean]),
        y_percent=False,
        marks=longest.starts[1:],
    )


def _loss_range(values: Sequence[float]) -> tuple[float, float]:
    """From zero, so that a loss that hardly falls looks so; further down where some are negative, as likelihoods can be.

    Losses that are all nought but for rounding are drawn as nought: their axis would have no readable numbers.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.05 * (high - low)
    return (low - air if low < 0 else 0.0, high + air) if air > NOUGHT else (0.0, 1.0)


def _ticks(length: int) -> list[tuple[float, str]]:
    places = sorted({1, length, *([round((1 + length) / 2)] if length > 4 else [])})
    return [(float(x), f"epoch {x}" if x == length else str(x)) for x in places]


def _mean(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Mean over the folds at the epochs that every fold reached."""
    found = [dict(line) for line in lines if line]
    shared = sorted(set.intersection(*(set(line) for line in found))) if found else []
    return [(x, sum(line[x] for line in found) / len(found)) for x in shared]


def _only_fold(kind: str, panels: Sequence[Sequence[_Fold]]) -> str:
    """The fold whose held-out images were looked at, when others trained too: the race looks at the first one only."""
    looked = {fold.number for panel in panels for fold in panel if fold.valid}
    trained = {fold.number for panel in panels for fold in panel} - {None}
    if kind != "valid" or len(looked) != 1 or len(trained) < 2:
        return ""
    return "first fold" if looked == {0} else f"fold {words.listed(str(at + 1) for at in looked if at is not None)}"


def _lead(kind: str, panels: int, only: str) -> str:
    what = {
        "valid": f"Accuracy on {'the ' if only else ''}held-out images",
        "train": "Accuracy on the training images",
        "loss": "Training loss",
    }[kind]
    what += f" of the {only}" if only else ""
    scale = ", on one scale" if panels > 1 and kind != "loss" else ""
    note = "" if kind == "valid" else " (the accuracy on held-out images was not logged)"
    return f"{what} by epoch{scale}{note}. Heads found by a solver have no curve."


def _legend(kind: str, panels: Sequence[Sequence[_Fold]], only: str) -> list[tuple[str, str]]:
    """Only lines that are drawn are explained."""
    lines = [[fold.valid if kind == "valid" else fold.train for fold in panel] for panel in panels]
    several = any(sum(map(bool, panel)) > 1 for panel in lines)
    folds = [fold for panel in panels for fold in panel]
    name = {"valid": "held-out images", "train": "training images", "loss": ""}[kind]
    name += f", {only}" if only else ""
    legend = [("bold", f"{name}, mean of the folds" if several else name)] if name else []
    legend += [("fold", "each fold")] if several else []
    legend += [("dashed", "training images")] if kind == "valid" and any(fold.train for fold in folds) else []
    losses = max(sum(bool(fold.loss) for fold in panel) for panel in panels)
    legend += [("loss", f"training loss{', mean of the folds' if losses > 1 else ''}")] if losses else []
    return [*legend, ("guide", "a new stage begins")] if any(len(fold.starts) > 1 for fold in folds) else legend
