"""Real images from a table of labels, for files of models that answer several questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked, parse_tasks
from headstart.catalog.device import ColumnsConfig
from headstart.catalog.multitask import TableConfig
from headstart.data.labelled import LabelledSet, prepare_labelled
from headstart.data.labelled_sources import LabelledSource, open_labelled
from headstart.data.names import some
from headstart.data.task import UNKNOWN, Task
from headstart.engine.multi_answers import Question
from headstart.errors import DataError
from headstart.export.pictures import Pictures, Wanted, first_of
from headstart.studies.checks import check_kind


@dataclass(frozen=True)
class TableRun:
    """What a run of `headstart multitask` was told about its data.

    data       one table, or a data set per task; None where they are not there any more
    words      of `--tasks`
    fractions  of images set aside to choose by and to test on, with `seed`
    """

    data: Any
    words: tuple[str, ...] = ()
    columns: ColumnsConfig | None = None
    fractions: tuple[float, float] = (TableConfig.validation_fraction, TableConfig.test_fraction)
    seed: int | None = None


def of_multitask_run(model: Path) -> TableRun | None:
    """What is known of the `headstart multitask` run that made a model, from its folder; None of any other."""
    for place in (model, model.parent):
        path = place / "config.json"
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None  # a damaged run says nothing about its images; the model's own files are checked by themselves
        return _run(config) if config.get("command") == "multitask" else None
    return None


def _run(config: Mapping[str, Any]) -> TableRun:
    data, words, images = config["data"], tuple(config["tasks"]), config["images"]
    columns = ColumnsConfig(**{name: images.get(name) for name in ColumnsConfig.__dataclass_fields__})
    fractions = (images["validation_fraction"], images["test_fraction"])
    if not data or not all(Path(one).exists() for one in data):
        return TableRun(None, words, columns, fractions, config["seed"])
    if len(data) == 1:
        return TableRun(data[0], words, columns, fractions, config["seed"])
    names = [one.name for one in parse_tasks(words or [Path(one).stem for one in data])]
    return TableRun(dict(zip(names, data, strict=True)), (), columns, fractions, config["seed"])


def is_table(data: Any) -> bool:
    """Whether data say something about several questions: a table, `(images, {task: labels})`, a data set per task."""
    if isinstance(data, (str, Path)):
        return Path(data).suffix.lower() in (".csv", ".tsv")
    pair = isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Mapping)
    return pair or isinstance(data, (Mapping, LabelledSource))


def table_pictures(
    data: Any,
    wanted: Wanted,
    questions: Sequence[Question],
    *,
    run: TableRun | None = None,
    cache: Path,
    columns: ColumnsConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    only: Pictures | None = None,
) -> Pictures:
    """Read images with the answers to the questions.

    run    that made the model: its words for the tasks, its way of dividing. None: every question is a column called like it
    only   pictures of the same data at another size: those are read, at this one

    Those to check on are the test split, or what `multitask` would set aside; those to calibrate with come from the rest.
    Raises DataError for what cannot be read.
    """
    run = run or TableRun(None)
    asked = parse_tasks(run.words) if run.words else tuple(Asked(one.name, (one.name,), one.kind) for one in questions)
    given = {name: value for name, value in vars(columns or ColumnsConfig()).items() if name != "label_column"}
    source = open_labelled(data, asked if _takes_names(data) else (), **(given if isinstance(data, (str, Path)) else {}))
    check_kind(source.first, wanted.spec)
    found = prepare_labelled(source, size=wanted.spec.size, fit=wanted.fit, cache=cache, progress=progress)
    rows = _rows(found, wanted, run, only)
    array, where = found.store.array, found.findings.where
    check, rest = (np.asarray(array[rows[name]]) for name in ("check", "calibrate"))
    answers = {one.name: _truth(one, found.tasks.get(one.name), rows["check"]) for one in questions}
    bad = [one.path for one in found.findings.set_aside]
    notes = tuple(f"{name}: no answer is known to its question here" for name, one in answers.items() if one is None)
    notes += (f"{len(bad)} images cannot be read: {some(bad)}",) if bad else ()
    known = {name: one for name, one in answers.items() if one is not None}
    named = tuple(found.names[row] for row in rows["check"])
    return Pictures(where, check, None, (), rest, notes, known, named)


def _takes_names(data: Any) -> bool:
    """Whether tasks are chosen by name; of one data set per task all are there."""
    return not (isinstance(data, Mapping) and not all(isinstance(value, tuple) for value in data.values()))


def _rows(data: LabelledSet, wanted: Wanted, run: TableRun, only: Pictures | None) -> dict[str, NDArray[np.int64]]:
    if only is not None:
        place = {name: row for row, name in enumerate(data.names)}
        return {"check": np.array([place[name] for name in only.names], np.int64), "calibrate": np.empty(0, np.int64)}
    val, test = run.fractions
    seed = wanted.seed if run.seed is None else run.seed
    parts = data.split(seed, val_fraction=val, test_fraction=test)
    if not len(parts.test):
        raise DataError(f"{data.findings.where} has no images to check on; name a test part in its split column")
    rest = np.sort(np.concatenate([parts.train, parts.val]))
    return {
        name: rows[first_of(len(rows), most, wanted.seed)]
        for name, rows, most in (("check", parts.test, wanted.check), ("calibrate", rest, wanted.calibrate))
    }


def _truth(question: Question, task: Task | None, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Labels in the order of the model's classes; None where the data do not ask the question."""
    if task is None or task.kind != question.kind:
        return None
    labels = task.labels[rows]
    if question.kind == "number":
        return labels
    if question.kind == "several":
        absent = np.full(len(labels), UNKNOWN, np.int64)
        return np.stack([labels[:, task.classes.index(c)] if c in task.classes else absent for c in question.classes], 1)
    known = {name: place for place, name in enumerate(question.classes)}
    place = np.array([*(known.get(name, UNKNOWN) for name in task.classes), UNKNOWN], np.int64)
    return np.asarray(place[labels])
