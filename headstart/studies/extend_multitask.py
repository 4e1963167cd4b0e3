"""What `headstart extend` makes of a model for several questions: its past, and its old images from their table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from headstart.catalog.extend import ExtendConfig
from headstart.data.labelled import LabelledSet, prepare_labelled
from headstart.data.labelled_sources import open_labelled
from headstart.data.sources import Source
from headstart.data.task import UNKNOWN
from headstart.engine.model import Model, saved_card
from headstart.engine.multi_answers import Question
from headstart.engine.past import Learned, Past
from headstart.errors import ConfigError, DataError
from headstart.nets.net import Net
from headstart.studies.table_run import TableRun, asked_of, is_table, of_multitask_run

Old = TypeVar("Old")


def asks_several(config: ExtendConfig, given: Any = None) -> bool:
    """Whether the model to be extended answers several questions about an image."""
    card = given.card if isinstance(given, Model) else saved_card(config.model) if given is None else None
    return bool(card is not None and card.questions)


def past_of(config: ExtendConfig, model: Model, name: str) -> Past:
    """What a model brings that was trained for several questions: each is an old task.

    Raises ConfigError for a scenario in which tasks do not stay apart.
    """
    if config.scenario not in (None, "task"):
        raise ConfigError(
            f"--scenario {config.scenario}: {name} answers several questions about the same image, so that a new one is a "
            "task of its own; leave --scenario out"
        )
    if model.past is not None:
        return replace(model.past, tasks=list(model.past.tasks))
    last = model.card.ancestors[-1] if model.card.ancestors else None
    told = (last.data, last.fingerprint) if last else ("", "")
    tasks = [Learned(one.name, one.head, one.classes, *told, kind=one.kind) for one in model.card.questions]
    return Past("task", tasks, seed=config.seed, together=True)


def in_place(past: Past, found: Sequence[Old]) -> list[Old | None]:
    """Old tasks answered with one class where they stand among all of them; None for the others."""
    left = iter(found)
    return [next(left) if one.one_class else None for one in past.tasks]


def unmeasured(past: Past, *, given: bool) -> list[str]:
    """What is not known about the old tasks afterwards, in words; `given`: their images were."""
    if not past.tasks:
        return []
    said = []
    if not given:
        where = "the table of labels (--old TABLE.csv)" if past.together else "--old FOLDER"
        said.append(
            f"the old tasks' images were not given, so what is kept of them is not measured; with {where} their "
            "test images are looked at, and only looked at"
        )
    odd = [one.name for one in past.tasks if not one.one_class]
    if odd and given:
        said.append(f"what is kept of {', '.join(odd)} is not measured: only answers that are one class are right or wrong")
    if past.together:
        said.append(
            "all questions are asked about every image, so that its task is always known; the numbers with the task not "
            "known only tell how often the surest head is the task's own"
        )
    return said


def old_sources(
    past: Past,
    data: Any,
    config: ExtendConfig,
    net: Net,
    *,
    fit: str,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Source]:
    """The old images for each question that is answered with one class, in order: train and test as they were divided.

    Raises ConfigError for what is no table of labels, DataError for tables that cannot be read or do not ask a question.
    """
    if not is_table(data):
        raise ConfigError(
            f"--old {data}: this model's questions were learned from one table of labels; give that table first, then the "
            "data of tasks that it learned since"
        )
    run = (of_multitask_run(Path(config.model)) if config.model else None) or TableRun(None)
    mine = [one for one in past.tasks if one.fingerprint == past.tasks[0].fingerprint]
    questions = [Question(one.name, one.head, one.classes, one.kind) for one in mine]
    table = open_labelled(data, asked_of(data, run, questions))
    labelled = prepare_labelled(table, size=net.input.size, fit=fit, cache=cache, progress=progress)
    seed = config.seed if run.seed is None else run.seed
    parts = labelled.split(seed, val_fraction=run.fractions[0], test_fraction=run.fractions[1])
    test = {labelled.names[row] for row in parts.test.tolist()}
    return [_source(table.first, labelled, one, test) for one in mine if one.one_class]


def _source(base: Source, data: LabelledSet, one: Learned, test: set[str]) -> Source:
    """One question of the table as data of its own, without the images whose answer is not known."""
    task = data.tasks.get(one.name)
    if task is None or task.kind != one.kind:
        raise DataError(f"--old {data.findings.where} does not ask {one.name!r} as the model was; give its own table")
    known = {name: int(label) for name, label in zip(data.names, task.labels, strict=True) if label != UNKNOWN}
    labels = np.array([known.get(name, UNKNOWN) for name in base.names], np.int64)
    there = [place for place, name in enumerate(base.names) if name in known]
    splits = {
        split: np.array([place for place in there if (base.names[place] in test) == (split == "test")], np.int64)
        for split in ("train", "test")
    }
    return replace(base, labels=labels, classes=task.classes, splits=splits, set_aside=(), notes=())
