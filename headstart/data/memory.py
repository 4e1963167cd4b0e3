"""Stored samples of tasks whose own data are gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.errors import DataError


@dataclass
class Memory:
    """Samples kept with a model. They are copies: nothing here refers to the data they came from.

    capacity  largest number of samples
    samples   `[K, ...]`, as the store has them: uint8 images `[K, H, W, C]` or vectors `[K, D]`
    labels    `[K]` int64, positions in the classes of their task's head
    tasks     `[K]` int64, which of the tasks learned, from 0
    logits    `[K, C]` float32 answers stored with them, NaN where there was no such class yet; None: none are stored
    seen      samples offered so far, which a reservoir counts
    """

    capacity: int
    samples: NDArray[Any]
    labels: NDArray[np.int64]
    tasks: NDArray[np.int64]
    logits: NDArray[np.float32] | None = None
    seen: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def bytes(self) -> int:
        """Of samples, labels and stored answers."""
        stored = 0 if self.logits is None else self.logits.nbytes
        return self.samples.nbytes + self.labels.nbytes + self.tasks.nbytes + stored

    @staticmethod
    def empty(capacity: int, shape: Sequence[int], dtype: Any) -> Memory:
        """Room for `capacity` samples of one shape."""
        none = np.empty(0, np.int64)
        return Memory(capacity, np.empty((0, *shape), dtype), none, none)

    @staticmethod
    def bytes_for(capacity: int, shape: Sequence[int], dtype: Any, classes: int = 0) -> int:
        """Bytes of a full memory of samples of one shape, with answers about so many classes."""
        one = math.prod(shape) * np.dtype(dtype).itemsize
        number, answer = (np.dtype(kind).itemsize for kind in (np.int64, np.float32))
        return int(capacity * (one + 2 * number + classes * answer))

    def take(self, places: NDArray[np.integer], *, capacity: int | None = None) -> Memory:
        """A memory of some of its samples, in the order of `places`."""
        logits = None if self.logits is None else self.logits[places]
        room = self.capacity if capacity is None else capacity
        return Memory(room, self.samples[places], self.labels[places], self.tasks[places], logits, self.seen)

    def put(
        self, slots: NDArray[np.int64], samples: NDArray[Any], labels: NDArray[np.int64], task: int, *, offered: int
    ) -> Memory:
        """A memory with `samples` of task number `task` in these slots; slots past the end, which leave no gap, are added.

        offered  samples that were offered for that, which `seen` counts

        Stored answers are dropped: those of the new samples are not known. Raises DataError when the samples are of
        another shape or type, or do not fit in.
        """
        if samples.shape[1:] != self.samples.shape[1:] or samples.dtype != self.samples.dtype:
            raise DataError(
                f"the memory holds samples of shape {list(self.samples.shape[1:])} {self.samples.dtype}, and the new task's "
                f"are {list(samples.shape[1:])} {samples.dtype}; read them at the size of the network's input"
            )
        size = max(len(self), int(slots.max(initial=-1)) + 1)
        if size > self.capacity:
            raise DataError(f"slot {size - 1} is outside a memory of {self.capacity} samples")
        kept = [np.empty((size, *a.shape[1:]), a.dtype) for a in (self.samples, self.labels, self.tasks)]
        new = (samples, labels, np.full(len(slots), task, np.int64))
        for array, old, value in zip(kept, (self.samples, self.labels, self.tasks), new, strict=True):
            array[: len(self)] = old
            array[slots] = value
        return Memory(self.capacity, kept[0], kept[1], kept[2], None, self.seen + offered)

    def to_state(self) -> dict[str, Any]:
        """Tensors and JSON values that `from_state` reads."""
        arrays = {"samples": self.samples, "labels": self.labels, "tasks": self.tasks}
        tensors: dict[str, Any] = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
        tensors["logits"] = None if self.logits is None else torch.from_numpy(np.ascontiguousarray(self.logits))
        return {**tensors, "capacity": self.capacity, "seen": self.seen}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Memory:
        """The memory that `to_state` described."""
        logits = state["logits"]
        return Memory(
            int(state["capacity"]),
            state["samples"].numpy(),
            state["labels"].numpy(),
            state["tasks"].numpy(),
            None if logits is None else logits.numpy(),
            int(state["seen"]),
        )
