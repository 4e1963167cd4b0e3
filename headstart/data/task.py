"""A task: one question asked of some of the samples in a store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.data.store import Store
from headstart.errors import DataError

UNKNOWN = -1
"""The label of a sample whose answer is not known."""


@dataclass(frozen=True, eq=False)
class Task:
    """One question, its possible answers, and the samples it is asked of.

    name     names the task's head too
    store    where the samples are
    labels   `[len(store)]` int64, `UNKNOWN` (-1) where not known; indexed by store row
    classes  names of the answers; `labels` are positions in it
    rows     `[N]` int64, the store rows that belong to this task, in the task's order
    groups   `[len(store)]` int64 or None; samples of one group never go to different folds
    """

    name: str
    store: Store
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise DataError(f"task name {self.name!r} is not a plain word; use letters, digits and underscores")
        if len(self.labels) != len(self.store):
            raise DataError(f"task {self.name!r}: {len(self.labels)} labels for {len(self.store)} samples")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def targets(self) -> NDArray[np.int64]:
        """`[N]` labels in the task's own order."""
        return self.labels[self.rows]

    @property
    def counts(self) -> NDArray[np.int64]:
        """`[num_classes]` samples per class."""
        known = self.targets[self.targets != UNKNOWN]
        return np.bincount(known, minlength=self.num_classes).astype(np.int64)

    def take(self, positions: NDArray[np.integer]) -> Task:
        """The same question asked of fewer samples: `positions` index the task's own order, not the store."""
        return replace(self, rows=self.rows[np.asarray(positions)])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the samples, their order and their labels."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.store.fingerprint.encode())
        digest.update(np.ascontiguousarray(self.rows).data)
        digest.update(np.ascontiguousarray(self.targets).data)
        digest.update("\x1f".join((self.name, *self.classes)).encode())
        return digest.hexdigest()


def task_of(name: str, store: Store, labels: NDArray[np.integer], classes: tuple[str, ...]) -> Task:
    """A task over every sample of `store`."""
    return Task(name, store, np.asarray(labels, np.int64), classes, np.arange(len(store), dtype=np.int64))
