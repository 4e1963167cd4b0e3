"""Which images a backbone is pretrained on, and which are set aside to judge it by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.prepare import DataSet, duplicate_groups
from headstart.data.splits import split_off
from headstart.data.task import UNKNOWN, Task
from headstart.engine.log import RunLog
from headstart.errors import DataError
from headstart.seeding import generator, seed_for

HELD, MOST_HELD = 0.1, 1000
"""Share of the labelled training images that are only looked at while it learns, and how many at most."""
_KEEP = 3
"""As many different pictures of a class stay behind as other jobs keep with five folds, so that all split alike."""


@dataclass(frozen=True)
class Parts:
    """Who sees what. `pool` is pretrained on, labels as they are; the others are None where there are too few labels.

    known  the labelled images of the pool: neighbours and probes learn from them
    held   labelled images that nothing learns from, looked at while the backbone learns
    test   labelled images for the verdict, looked at once
    """

    pool: Task
    known: Task | None = None
    held: Task | None = None
    test: Task | None = None

    @property
    def unlabelled(self) -> Task:
        """The pool as methods see it that learn without labels: nothing is known about any image."""
        return replace(self.pool, labels=np.full(len(self.pool.store), UNKNOWN, np.int64), classes=())


def parts_of(data: DataSet, *, test_fraction: float, seed: int, log: RunLog) -> Parts:
    """The user's splits where there are some; else parts are set aside by class and group.

    Every job with the same data, seed and settings sets the same test images aside, so that what was pretrained on here is
    not tested on there. Copies of what is set aside are not pretrained on either.
    """
    groups = duplicate_groups(data, near=True)
    train = data.splits["train"]
    whole = Task("main", data.store, data.labels, data.classes, train, groups)
    labelled = train[data.labels[train] != UNKNOWN]
    if not len(labelled):
        return Parts(whole)
    try:
        rest, test = _test(data, labelled, groups, test_fraction, seed)
        known, held = _held(data, rest, groups, seed)
    except DataError as error:
        log.event("warning", text=f"the labels there are cannot judge: {error}")
        return Parts(whole)
    aside = np.isin(groups, groups[np.concatenate([held, test])])
    pool = np.sort(np.concatenate([known, train[(data.labels[train] == UNKNOWN) & ~aside[train]]]))
    return Parts(*(replace(whole, rows=rows) for rows in (pool, known, held, test)))


def _test(
    data: DataSet, labelled: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows that stay, rows for the test)."""
    given = data.splits.get("test")
    if given is not None and (data.labels[given] != UNKNOWN).any():
        return labelled, given[data.labels[given] != UNKNOWN]
    kept, taken = split_off(data.labels[labelled], groups[labelled], fraction, seed_for(seed, "test split"), keep=_KEEP)
    return labelled[kept], labelled[taken]


def _held(
    data: DataSet, rows: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows that are learned from, rows that are only looked at): the val split, or a tenth of every class."""
    given = data.splits.get("val")
    if given is not None and (data.labels[given] != UNKNOWN).any():
        return rows, given[data.labels[given] != UNKNOWN]
    share = min(HELD, MOST_HELD / len(rows))
    kept, taken = split_off(data.labels[rows], groups[rows], share, seed_for(seed, "held out"), keep=2)
    return rows[kept], rows[taken]


def some_of(task: Task, most: int, seed: int) -> Task:
    """At most so many of its samples, drawn at random, in the task's order."""
    if len(task) <= most:
        return task
    drawn = generator(seed, "some", task.name, len(task)).permutation(len(task))[:most]
    return task.take(np.sort(drawn))
