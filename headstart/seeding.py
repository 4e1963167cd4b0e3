"""Named seed streams. Nothing in headstart draws from a global random generator.

A seed is a function of names, so that a stream does not depend on what else was drawn before it: adding an evaluation,
a stage or a second process changes no other number.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def seed_for(run_seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` within `run_seed`.

    >>> seed_for(0, "stage", "order") == seed_for(0, "stage", "order") != seed_for(1, "stage", "order")
    True
    """
    text = "\x1f".join([str(int(run_seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(run_seed: int, *names: str | int) -> np.random.Generator:
    """A fresh NumPy generator for the stream called `names`."""
    return np.random.default_rng(seed_for(run_seed, *names))


def permutation(n: int, run_seed: int, *names: str | int) -> NDArray[np.int64]:
    """A permutation of `range(n)`, the same on every machine and in every process."""
    return generator(run_seed, *names).permutation(n).astype(np.int64)
