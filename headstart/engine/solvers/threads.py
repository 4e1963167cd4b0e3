"""How many threads a solver uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2_000_000
"""Numbers in the features below which threads wait for each other longer than they compute; on a shared machine, where a
thread may not be running when it is waited for, by a factor of ten or more."""


@contextmanager
def fitting(features: torch.Tensor) -> Iterator[None]:
    """While inside, torch uses one thread for small problems and all it has for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if features.numel() < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
