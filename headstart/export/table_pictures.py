"""Real images from a table of labels, for files of models that answer several questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.device import ColumnsConfig
from headstart.data.labelled import LabelledSet, prepare_labelled
from headstart.data.labelled_sources import open_labelled
from headstart.data.names import some
from headstart.engine.multi_answers import Question
from headstart.errors import DataError
from headstart.export.pictures import Pictures, Wanted, first_of
from headstart.studies.checks import check_kind
from headstart.studies.table_run import TableRun, asked_of, labels_as


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
    given = {name: value for name, value in vars(columns or ColumnsConfig()).items() if name != "label_column"}
    source = open_labelled(data, asked_of(data, run, questions), **(given if isinstance(data, (str, Path)) else {}))
    check_kind(source.first, wanted.spec)
    found = prepare_labelled(source, size=wanted.spec.size, fit=wanted.fit, cache=cache, progress=progress)
    rows = _rows(found, wanted, run, only)
    array, where = found.store.array, found.findings.where
    check, rest = (np.asarray(array[rows[name]]) for name in ("check", "calibrate"))
    every = {one.name: labels_as(one, found.tasks.get(one.name)) for one in questions}
    answers = {name: None if labels is None else labels[rows["check"]] for name, labels in every.items()}
    bad = [one.path for one in found.findings.set_aside]
    notes = tuple(f"{name}: no answer is known to its question here" for name, one in answers.items() if one is None)
    notes += (f"{len(bad)} images cannot be read: {some(bad)}",) if bad else ()
    known = {name: one for name, one in answers.items() if one is not None}
    named = tuple(found.names[row] for row in rows["check"])
    return Pictures(where, check, None, (), rest, notes, known, named)


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
