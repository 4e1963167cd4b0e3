"""What the run of `headstart multitask` that made a model was told about its data, for those who look at them again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked, parse_tasks
from headstart.catalog.device import ColumnsConfig
from headstart.catalog.multitask import TableConfig
from headstart.data.labelled_sources import LabelledSource
from headstart.data.task import UNKNOWN, Task
from headstart.engine.model import Card
from headstart.engine.multi_answers import MULTITASK, Question


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


def of_card(card: Card) -> TableRun:
    """The same of a model without its folder: how its images were divided, where its card tells."""
    told = card.ancestors[-1].settings.get("divided") if card.ancestors else None
    if card.scenario != MULTITASK or not told:
        return TableRun(None)
    return TableRun(None, fractions=(told["validation_fraction"], told["test_fraction"]), seed=told["seed"])


def is_table(data: Any) -> bool:
    """Whether data say something about several questions: a table, `(images, {task: labels})`, a data set per task."""
    if isinstance(data, (str, Path)):
        return Path(data).suffix.lower() in (".csv", ".tsv")
    pair = isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Mapping)
    return pair or isinstance(data, (Mapping, LabelledSource))


def asked_of(data: Any, run: TableRun, questions: Sequence[Question]) -> tuple[Asked, ...]:
    """The tasks to read from `data`: as the run named them, else columns called like the questions; none of data sets given
    one per task, of which all are read."""
    if isinstance(data, Mapping) and not all(isinstance(value, tuple) for value in data.values()):
        return ()
    return parse_tasks(run.words) if run.words else tuple(Asked(one.name, (one.name,), one.kind) for one in questions)


def labels_as(question: Question, task: Task | None) -> NDArray[Any] | None:
    """All labels of a task in the order of a model's classes; None where the data do not ask the question.

    Classes that the model does not have are unknown.
    """
    if task is None or task.kind != question.kind:
        return None
    if question.kind == "number":
        return task.labels
    if question.kind == "several":
        absent = np.full(len(task.labels), UNKNOWN, np.int64)
        columns = [task.labels[:, task.classes.index(c)] if c in task.classes else absent for c in question.classes]
        return np.stack(columns, 1)
    known = {name: place for place, name in enumerate(question.classes)}
    place = np.array([*(known.get(name, UNKNOWN) for name in task.classes), UNKNOWN], np.int64)
    return np.asarray(place[task.labels])
