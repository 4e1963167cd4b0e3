"""The samples of several tasks as one task, whose labels count in one list; and those of one task apart from all others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task
from headstart.errors import DataError
from headstart.files import write_atomic

_CHUNK = 4096


def united(
    tasks: Sequence[Task], name: str, classes: Sequence[str], firsts: Sequence[int], folder: Path | None = None
) -> Task:
    """All samples of `tasks`, one task after the other, as a task called `name` about `classes`.

    firsts  per task, what is added to its labels: the place in `classes` where its own begin
    folder  where samples of several stores are put together in a file; None puts them together in memory

    Nothing is copied where all are rows of one store and no row is in two tasks. Groups of different tasks stay apart.
    Raises DataError when samples are of different shapes or kinds, or there are no tasks.
    """
    if not tasks:
        raise DataError("there are no tasks to put together; give one at least")
    _check_shapes(tasks)
    rows = np.concatenate([task.rows for task in tasks])
    targets = [
        np.where(task.targets == UNKNOWN, UNKNOWN, task.targets + first) for task, first in zip(tasks, firsts, strict=True)
    ]
    store = tasks[0].store
    one_store = all(task.store.fingerprint == store.fingerprint for task in tasks) and len(np.unique(rows)) == len(rows)
    if not one_store:
        store, rows = _together(tasks, folder), np.arange(len(rows), dtype=np.int64)
    labels = np.full(len(store), UNKNOWN, np.int64)
    labels[rows] = np.concatenate(targets)
    return Task(name, store, labels, tuple(classes), rows, _groups(tasks, rows, len(store)))


def alone(task: Task, folder: Path | None = None) -> Task:
    """The same task with a store that holds its own samples and no others.

    folder  where they are put into a file; None puts them into memory
    """
    rows = np.arange(len(task), dtype=np.int64)
    groups = None if task.groups is None else task.groups[task.rows]
    return replace(task, store=_together([task], folder), labels=task.labels[task.rows], rows=rows, groups=groups)


def _check_shapes(tasks: Sequence[Task]) -> None:
    kinds = {(task.store.array.shape[1:], task.store.array.dtype.str) for task in tasks}
    if len(kinds) > 1:
        told = ", ".join(f"{task.name!r} {list(task.store.array.shape[1:])} {task.store.array.dtype}" for task in tasks)
        raise DataError(f"the tasks' samples are of different kinds: {told}; read all at the same size")


def _groups(tasks: Sequence[Task], rows: NDArray[np.int64], count: int) -> NDArray[np.int64] | None:
    """Numbers of the samples' groups, a sample without one being its own; None where no task has groups."""
    if all(task.groups is None for task in tasks):
        return None
    parts, first = [], 0
    for task in tasks:
        own = np.arange(len(task)) if task.groups is None else np.unique(task.groups[task.rows], return_inverse=True)[1]
        parts.append(own + first)
        first += int(own.max(initial=-1)) + 1
    groups = np.arange(first, first + count, dtype=np.int64)
    groups[rows] = np.concatenate(parts)
    return groups


def _together(tasks: Sequence[Task], folder: Path | None) -> Store:
    """The samples of all tasks in their order."""
    digest = hashlib.blake2b(b"united", digest_size=16)
    for task in tasks:
        digest.update(f"{task.store.fingerprint} {len(task)}".encode())
        digest.update(np.ascontiguousarray(task.rows).data)
    fingerprint = digest.hexdigest()
    example = tasks[0].store.array
    shape = (sum(len(task) for task in tasks), *example.shape[1:])
    if folder is None:
        array = np.empty(shape, example.dtype)
        _copy(array, tasks)
        return Store(array, fingerprint)
    path = folder / f"united-{fingerprint}.npy"

    def write(temporary: Path) -> None:
        file = np.lib.format.open_memmap(temporary, "w+", example.dtype, shape)
        _copy(file, tasks)
        file.flush()

    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, write)
    return Store(np.load(path, mmap_mode="r", allow_pickle=False), fingerprint, path)


def _copy(array: NDArray[Any], tasks: Sequence[Task]) -> None:
    """A part at a time, so that no data set has to fit into memory."""
    at = 0
    for task in tasks:
        for start in range(0, len(task), _CHUNK):
            rows = task.rows[start : start + _CHUNK]
            array[at : at + len(rows)] = task.store.array[rows]
            at += len(rows)
