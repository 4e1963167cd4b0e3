"""Library code that draws from the global generators is run inside a fork of them, so that no one else's numbers move."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def forked(seed: int) -> Iterator[None]:
    """Within the block the global CPU generators of torch, NumPy and Python start at `seed`; afterwards they are as before.

    Initialisers of torch, timm and torchvision draw from the global generator and take no other. Networks must be built on
    the CPU inside the block: device generators are not touched.
    """
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
