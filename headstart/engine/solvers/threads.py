"""How many threads a solver uses, and for what.

Threads within one operation wait for each other after each, spinning; where a core is shared with other work that costs a
factor of ten or more. Threads that each solve a problem of their own wait once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TypeVar

import torch

SMALL = 2_000_000
"""Numbers in the features below which threads within an operation wait for each other longer than they compute."""

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def fitting(features: torch.Tensor) -> Iterator[None]:
    """While inside, torch uses one thread for small problems and all it has for others."""
    with _threads(1 if features.numel() < SMALL else torch.get_num_threads()):
        yield


def side_by_side(solve: Callable[[T], R], problems: Sequence[T], features: torch.Tensor) -> list[R]:
    """`solve` of each problem, several at a time, on torch's threads: shared out among them when `features` are large.

    Results do not depend on how many there are at a time when `features` are small: each is computed on one thread.
    """
    most = getattr(_here, "most", torch.get_num_threads())
    at_once = max(1, min(most, len(problems)))
    each = 1 if features.numel() < SMALL else max(1, most // at_once)
    with _threads(each):
        if at_once == 1:
            return [solve(problem) for problem in problems]
        # the number belongs to a thread: a new one starts with all there are
        with ThreadPoolExecutor(at_once, "solver", torch.set_num_threads, (each,)) as pool:
            return list(pool.map(solve, problems))


_here = local()
"""`most`: threads that torch had in this thread before a solver asked for fewer."""


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before, outermost = torch.get_num_threads(), not hasattr(_here, "most")
    if outermost:
        _here.most = before
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if outermost:
            del _here.most
