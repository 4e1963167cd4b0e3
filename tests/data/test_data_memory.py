"""Stored samples: what they weigh, how they are replaced and cut, and that they survive being saved."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.memory import Memory
from headstart.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def filled(count: int = 4, capacity: int = 5) -> Memory:
    empty = Memory.empty(capacity, (4, 4, 3), np.uint8)
    return empty.put(np.arange(count), IMAGES[:count], LABELS[:count], 0, offered=count)


def test_bytes_are_those_of_everything_stored() -> None:
    memory = filled()
    assert memory.bytes == 4 * (48 + 16) == Memory.bytes_for(4, (4, 4, 3), np.uint8)
    memory.logits = np.zeros((4, 7), np.float32)
    assert memory.bytes == 4 * (48 + 16 + 28) == Memory.bytes_for(4, (4, 4, 3), np.uint8, 7)
    assert Memory.bytes_for(10, (6,), np.float32) == 10 * (24 + 16)
    assert Memory.empty(0, (6,), np.float32).bytes == 0


def test_put_replaces_and_appends_and_copies() -> None:
    memory = filled()
    after = memory.put(np.array([1, 4]), IMAGES[4:], LABELS[4:], 3, offered=9)
    assert after.tasks.tolist() == [0, 3, 0, 0, 3]
    assert after.labels.tolist() == [0, 1, 2, 0, 2]
    np.testing.assert_array_equal(after.samples, IMAGES[[0, 4, 2, 3, 5]])
    assert after.seen == 13
    np.testing.assert_array_equal(memory.samples, IMAGES[:4])
    assert not np.shares_memory(after.samples, IMAGES)


def test_put_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="outside a memory of 5"):
        filled().put(np.array([5]), IMAGES[:1], LABELS[:1], 0, offered=1)
    with pytest.raises(DataError, match="size of the network's input"):
        filled().put(np.array([0]), IMAGES[:1, :2], LABELS[:1], 0, offered=1)


def test_take_keeps_the_order_asked_for() -> None:
    memory = filled()
    memory.logits = np.arange(8, dtype=np.float32).reshape(4, 2)
    some = memory.take(np.array([3, 0]), capacity=2)
    assert (some.capacity, some.seen, some.labels.tolist()) == (2, 4, [0, 0])
    assert some.logits is not None
    assert some.logits.tolist() == [[6, 7], [0, 1]]


@pytest.mark.parametrize("logits", [None, np.array([[1.0, np.nan]] * 4, np.float32)])
def test_state_comes_back(logits: np.ndarray | None) -> None:
    memory = filled()
    memory.logits = logits
    again = Memory.from_state(memory.to_state())
    assert (again.capacity, again.seen) == (memory.capacity, memory.seen)
    for name in ("samples", "labels", "tasks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(memory, name))
    assert (again.logits is None) == (logits is None)
    if logits is not None:
        np.testing.assert_array_equal(again.logits, logits)
