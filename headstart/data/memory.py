"""Stored samples of tasks whose own data are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass
class Memory:
    """Samples kept with a model.

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
    def empty(capacity: int, shape: tuple[int, ...], dtype: Any) -> Memory:
        """Room for `capacity` samples of one shape."""
        none = np.empty(0, np.int64)
        return Memory(capacity, np.empty((0, *shape), dtype), none, none)

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
