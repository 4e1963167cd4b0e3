"""A task: one question asked of some of the samples in a store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.data.store import Store
from headstart.errors import DataError

UNKNOWN = -1
"""The label of a sample whose answer is not known; of a number: NaN."""
YES_NO = ("no", "yes")
"""The classes of a yes/no question, in order."""


@dataclass(frozen=True, eq=False)
class Task:
    """One question, its possible answers, and the samples it is asked of.

    name     names the task's head too
    store    where the samples are
    labels   indexed by store row, by `kind`:
             `classes` and `yes_no`: `[len(store)]` int64, positions in `classes`, `UNKNOWN` (-1) where not known;
             `several`: `[len(store), L]` int64, 1 yes, 0 no or `UNKNOWN`;
             `number`: `[len(store)]` float32, NaN where not known
    classes  names of the answers; ("no", "yes"); of the L yes/no questions; none for a number
    rows     `[N]` int64, the store rows that belong to this task, in the task's order
    groups   `[len(store)]` int64 or None; samples of one group never go to different folds
    """

    name: str
    store: Store
    labels: NDArray[Any]
    classes: tuple[str, ...]
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    groups: NDArray[np.int64] | None = None
    kind: Kind = "classes"

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise DataError(f"task name {self.name!r} is not a plain word; use letters, digits and underscores")
        if len(self.labels) != len(self.store):
            raise DataError(f"task {self.name!r}: {len(self.labels)} labels for {len(self.store)} samples")
        shape, dtype = self.labels.shape[1:], self.labels.dtype
        if shape != ((len(self.classes),) if self.kind == "several" else ()):
            raise DataError(f"task {self.name!r} ({self.kind}): labels of shape {list(self.labels.shape)} do not fit it")
        if dtype != (np.float32 if self.kind == "number" else np.int64):
            raise DataError(f"task {self.name!r} ({self.kind}): labels are {dtype}, not float32 for numbers or int64 else")
        if self.kind == "yes_no" and self.classes != YES_NO:
            raise DataError(f"task {self.name!r}: a yes/no question has the answers {YES_NO}, not {self.classes}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def outputs(self) -> int:
        """Numbers that a head gives for it: one per class or question, one for a number."""
        return max(1, len(self.classes))

    @property
    def targets(self) -> NDArray[Any]:
        """`[N]` (several: `[N, L]`) labels in the task's own order."""
        return self.labels[self.rows]

    @property
    def known(self) -> NDArray[np.bool_]:
        """`[N]` where there is an answer, to one of several questions at least, in the task's own order."""
        there = valid(self.targets)
        return np.asarray(there.any(1) if there.ndim == 2 else there, np.bool_)

    @property
    def counts(self) -> NDArray[np.int64]:
        """`[num_classes]` samples per class; with yes, for several questions."""
        if self.kind == "several":
            return np.asarray((self.targets == 1).sum(0), np.int64)
        return np.bincount(self.targets[self.known], minlength=self.num_classes).astype(np.int64)

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
        if self.kind != "classes":
            digest.update(self.kind.encode())
        return digest.hexdigest()


def valid(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where labels are known, in their own shape."""
    found: NDArray[np.bool_] = ~np.isnan(labels) if labels.dtype.kind == "f" else labels != UNKNOWN
    return found


def task_of(name: str, store: Store, labels: NDArray[Any], classes: tuple[str, ...], kind: Kind = "classes") -> Task:
    """A task over every sample of `store`."""
    made = np.asarray(labels, np.float32 if kind == "number" else np.int64)
    return Task(name, store, made, classes, np.arange(len(store), dtype=np.int64), kind=kind)
