"""Rendering inside a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.data.views import Erase, Flip, ResizedCrop, Shift, View
from headstart.engine.step import render


@pytest.mark.parametrize("op", [Flip(), Shift(), ResizedCrop(), Erase()], ids=lambda op: type(op).__name__)
def test_a_view_is_the_same_under_half_precision(op: Flip | Shift | ResizedCrop | Erase) -> None:
    """Augmentation happens inside the loop's autocast, which must not touch pixels."""
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    task = task_of("main", store_of(images), np.zeros(6, np.int64), ("a", "b"))
    cpu = torch.device("cpu")
    plain = render(task, task.rows, View((op,)), seed=1, draw=2, device=cpu)
    with torch.autocast("cpu", torch.bfloat16):
        half = render(task, task.rows, View((op,)), seed=1, draw=2, device=cpu)
    assert torch.equal(plain, half)
