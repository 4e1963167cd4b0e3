"""The tasks in the order learned, and what was found in their data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import words
from headstart.report.distill_tables import Row, texts
from headstart.report.extend_read import Task
from headstart.report.folder import RunFolder, number, rows_of, table_of

LISTED = 25
"""Most files set aside that are listed."""


@dataclass(frozen=True)
class Shown:
    """The section of tasks and data."""

    lead: str
    rows: Sequence[Row]
    classes: Sequence[tuple[str, str]]
    found: Sequence[str]
    warnings: Sequence[str]
    set_aside: Sequence[tuple[str, str]]
    more: int


def tasks_shown(run: RunFolder, tasks: Sequence[Task]) -> Shown | None:
    """Tasks and data, or None when the run wrote of neither."""
    data = rows_of(run.summary.get("data")) or [row for row in [table_of(run.summary.get("data"))] if row]
    if not tasks and not data:
        return None
    aside = [row for one in data for row in rows_of(one.get("set_aside"))]
    old, new = (sum(task.new is role for task in tasks) for role in (False, True))
    lead = f"{words.plural(new, 'task')} learned here"
    lead += f", after {words.plural(old, 'task')} that the model came with." if old else "."
    lead += f" {words.plural(len(aside), 'file')} {'was' if len(aside) == 1 else 'were'} set aside." if aside else ""
    return Shown(
        lead,
        [_row(place, task) for place, task in enumerate(tasks, 1)],
        [(task.name, ", ".join(task.classes)) for task in tasks if task.classes],
        [text for one in data if (text := _data(one))],
        [words.sentence(words.grouped(text)) for text in texts(run.inspection.get("warnings"))],
        [(str(row.get("path", "")), str(row.get("reason", ""))) for row in aside[:LISTED]],
        max(0, len(aside) - LISTED),
    )


def _row(place: int, task: Task) -> Row:
    judged = words.count(task.tests) if task.judged else "not given"
    cells = [
        ("Classes", words.count(len(task.classes)) if task.classes else words.UNKNOWN, ""),
        ("Learned from", words.count(task.images), "images" if task.images is not None else ""),
        ("Judged on", judged, "images" if task.judged and task.tests is not None else ""),
    ]
    tag = ("learned here", "chosen") if task.new else ("from before", "")
    return Row(f"{place}. {task.name}", cells, *tag, below=task.where)


def _data(row: Mapping[str, Any]) -> str:
    """One data set in a sentence."""
    splits = table_of(row.get("splits"))
    train = number(row.get("num_train")) or number(splits.get("train"))
    test = number(row.get("num_test")) or number(splits.get("test"))
    images, classes = number(row.get("num_images")), number(row.get("num_classes"))
    if images is None and train is None:
        return ""
    name = row.get("path") or row.get("where") or "The data"
    text = f"{name}: {words.plural(train if images is None else images, 'image')}"
    text += f" in {words.plural(classes, 'class', 'classes')}" if classes else ""
    text += f"; {words.count(train)} to learn from, {words.count(test)} to judge by" if train and test else ""
    return f"{text}."
