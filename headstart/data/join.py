"""Samples whose answers are known and samples whose answers are not, as one task."""

from __future__ import annotations

import hashlib
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


def with_unlabelled(task: Task, unlabelled: Task, folder: Path | None = None) -> Task:
    """The task's samples and, after them, the samples of `unlabelled` with labels `UNKNOWN`, whatever labels those have.

    folder  where the samples of two stores are put together in a file; None puts them together in memory

    Rows of the task stay what they were, so that its samples are augmented as without the others. Samples that the task has
    already are not taken twice where both share a store. Raises DataError when samples are of different shapes.
    """
    if task.store.fingerprint == unlabelled.store.fingerprint:
        added = np.setdiff1d(unlabelled.rows, task.rows)
        labels = task.labels.copy()
        labels[added] = UNKNOWN
        return replace(task, labels=labels, rows=np.concatenate([task.rows, added]))
    ours, theirs = task.store.array, unlabelled.store.array
    if ours.shape[1:] != theirs.shape[1:] or ours.dtype != theirs.dtype:
        raise DataError(
            f"the unlabelled samples are {list(theirs.shape[1:])} {theirs.dtype}, those of {task.name!r} "
            f"{list(ours.shape[1:])} {ours.dtype}; read both at the same size"
        )
    added = len(ours) + np.arange(len(unlabelled), dtype=np.int64)
    labels = np.concatenate([task.labels, np.full(len(unlabelled), UNKNOWN, np.int64)])
    groups = (
        None
        if task.groups is None
        else np.concatenate([task.groups, task.groups.max(initial=0) + 1 + np.arange(len(added))])
    )
    store = _together(task.store, unlabelled, folder)
    return replace(task, store=store, labels=labels, rows=np.concatenate([task.rows, added]), groups=groups)


def _together(store: Store, other: Task, folder: Path | None) -> Store:
    """All samples of `store`, then those of `other` in its order."""
    digest = hashlib.blake2b(f"{store.fingerprint} and {other.store.fingerprint}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(other.rows).data)
    fingerprint = digest.hexdigest()
    shape = (len(store) + len(other), *store.array.shape[1:])
    if folder is None:
        array = np.empty(shape, store.array.dtype)
        _copy(array, store, other)
        return Store(array, fingerprint)
    path = folder / f"joined-{fingerprint}.npy"

    def write(temporary: Path) -> None:
        file = np.lib.format.open_memmap(temporary, "w+", store.array.dtype, shape)
        _copy(file, store, other)
        file.flush()

    if not path.exists():
        write_atomic(path, write)
    return Store(np.load(path, mmap_mode="r", allow_pickle=False), fingerprint, path)


def _copy(array: NDArray[Any], store: Store, other: Task) -> None:
    """A part at a time, so that neither has to fit into memory."""
    for start in range(0, len(store), _CHUNK):
        array[start : min(start + _CHUNK, len(store))] = store.array[start : start + _CHUNK]
    for start in range(0, len(other), _CHUNK):
        rows = other.rows[start : start + _CHUNK]
        array[len(store) + start : len(store) + start + len(rows)] = other.store.array[rows]
