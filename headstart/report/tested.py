"""The test section: the one look at images that no decision had seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.metrics.intervals import wilson
from headstart.report import words
from headstart.report.charts import little_interval
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.judged import judged_on
from headstart.report.matrix import LARGEST, Confusion, heat_map, spoken_share, top_confusions
from headstart.report.pictures import Mistake, Pictures
from headstart.report.svg import both

MISTAKES = 24
"""Most mistakes shown as pictures."""


@dataclass(frozen=True)
class PerClass:
    """One row of the per-class table; `picture` draws the recall and its interval."""

    name: str
    precision: str
    recall: str
    span: str
    f1: str
    support: str
    picture: Markup


@dataclass(frozen=True)
class Tested:
    """What the test section shows."""

    lead: str
    figures: Sequence[tuple[str, str, str]]
    matrix: Markup | None
    too_many: bool
    confusions: Sequence[tuple[str, str, str]]
    rows: Sequence[PerClass]
    mistakes: Sequence[Mistake]
    small: bool


def tested(run: RunFolder, pictures: Pictures) -> Tested | None:
    """The test section, or None when the test split was not read."""
    test = table_of(run.summary.get("test"))
    if number(test.get("accuracy")) is None:
        return None
    classes = [str(name) for name in run.summary.get("classes") or ()]
    counts = _square(test.get("confusion"), len(classes))
    fits = bool(counts) and len(classes) <= LARGEST
    return Tested(
        lead=_lead(test, judged_on(run).kind == "split"),
        figures=_figures(test),
        matrix=both(lambda width: heat_map(counts, classes, width)) if fits else None,
        too_many=bool(counts) and not fits,
        confusions=[_confusion(one) for one in top_confusions(counts, classes)],
        rows=_per_class(rows_of(test.get("per_class"))),
        mistakes=pictures.mistakes(MISTAKES),
        small=max(pictures.images.shape[1:3]) <= 40,
    )


def _square(value: Any, size: int) -> list[list[int]]:
    """The confusion matrix if it is `[size, size]`, else an empty list."""
    if not isinstance(value, list) or len(value) != size or not all(isinstance(r, list) and len(r) == size for r in value):
        return []
    return [[int(number(cell) or 0) for cell in row] for row in value]


def _lead(test: Mapping[str, Any], validated: bool) -> str:
    images, accuracy = number(test.get("num_images")), number(test.get("accuracy"))
    images_of = "training and validation images" if validated else "training images"
    text = f"The chosen way was fitted once more on all {images_of}, and the test images were looked at once."
    if images is None or accuracy is None:
        return text
    right = round(images * accuracy)
    return f"{text} Right: {words.count(right)} of {words.count(images)}; wrong: {words.count(images - right)}."


def _figures(test: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    span = interval(test.get("interval"))
    error = number(test.get("calibration_error"))
    found = [
        ("accuracy", words.percent(number(test.get("accuracy"))), f"95{words.NARROW}% interval {words.percent_range(span)}"),
        ("balanced accuracy", words.percent(number(test.get("balanced_accuracy"))), "mean recall of the classes"),
        ("calibration error", words.percent(error), "stated confidence against truth"),
    ]
    return [row for row in found if row[1] != words.UNKNOWN]


def _confusion(one: Confusion) -> tuple[str, str, str]:
    return one.true, one.predicted, spoken_share(one)


def _per_class(rows: Sequence[Mapping[str, Any]]) -> list[PerClass]:
    """The per-class table, the weakest class first."""
    return [_row(row) for row in sorted(rows, key=lambda row: number(row.get("f1")) or 0.0)]


def _row(row: Mapping[str, Any]) -> PerClass:
    recall, support = number(row.get("recall")), number(row.get("support"))
    span = _span(recall, support)
    return PerClass(
        name=str(row.get("class")),
        precision=words.percent(number(row.get("precision"))),
        recall=words.percent(recall),
        span=words.percent_range(span),
        f1=words.percent(number(row.get("f1"))),
        support=words.count(support),
        picture=little_interval(recall, span) if recall is not None and span else Markup(""),
    )


def _span(recall: float | None, support: float | None) -> tuple[float, float] | None:
    if recall is None or not support:
        return None
    found = wilson(round(recall * support), round(support))
    return found.low, found.high
