"""Which samples a job learns and chooses on, and which it sets aside for the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.prepare import DataSet, duplicate_groups
from headstart.data.splits import folds as make_folds
from headstart.data.splits import split_off
from headstart.data.task import Task
from headstart.engine.log import RunLog
from headstart.errors import DataError
from headstart.seeding import seed_for
from headstart.studies.checks import check_learnable
from headstart.studies.race import Fold


@dataclass(frozen=True)
class Splits:
    """Which samples serve what: `train` for learning and choosing, `test` read once, `folds` positions within `train`."""

    train: Task
    test: Task
    folds: list[Fold]


def split(data: DataSet, *, test_fraction: float, folds: int, seed: int, log: RunLog, chooses: bool = True) -> Splits:
    """The user's splits where there are some; else a test part is set aside by class and group.

    Copies, re-encoded ones too, count as one group; where the user's own splits share some, the inspection warns. Every job
    with the same data, seed and settings splits alike, so that what one chose never saw what another tests on. One that
    does not choose (`chooses`) says that it learns from the val split.
    """
    groups = duplicate_groups(data, near=True)
    rows = data.splits["train"]
    test_rows = data.splits.get("test")
    if test_rows is None:
        rest, taken = _set_aside(data.labels[rows], groups[rows], test_fraction, folds, seed)
        rows, test_rows = rows[rest], rows[taken]
    val_rows = data.splits.get("val", np.empty(0, np.int64))
    train = Task("main", data.store, data.labels, data.classes, np.concatenate([rows, val_rows]), groups)
    test = Task("main", data.store, data.labels, data.classes, test_rows)
    parts = [(np.arange(len(rows)), np.arange(len(rows), len(train)))]
    if len(val_rows):
        said = f"the arms are compared on the {len(val_rows)} images of the val split; --folds is not used"
        if not chooses:
            said = f"nothing is chosen by the {len(val_rows)} images of the val split, which are learned from too"
        log.event("note", text=said)
    else:
        parts = make_folds(train.targets, groups[rows], folds, seed_for(seed, "folds"), classes=data.classes)
    check_learnable(train, parts)
    return Splits(train, test, parts)


def _set_aside(
    labels: NDArray[np.int64], groups: NDArray[np.int64], test_fraction: float, folds: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, test images); of a class too small for both, all pictures are learned from."""
    # As many as leave two in the training part of every fold, see `check_learnable`.
    keep = 4 if folds == 2 else 3
    try:
        return split_off(labels, groups, test_fraction, seed_for(seed, "test split"), keep=keep)
    except DataError as error:
        raise DataError(
            f"no test images can be set aside: every class has fewer than {keep + 1} different pictures. "
            "Add pictures, or give a test split"
        ) from error
