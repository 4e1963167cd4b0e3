"""What all tests share: real data when it is there, small tasks, one thread, and a guard over global random numbers."""

from __future__ import annotations

import multiprocessing
import os
import random
import zipfile
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from headstart.data.store import store_of
from headstart.data.task import Task, task_of

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("headstart", deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("headstart")


def others_slow(cases: Iterable[Any], usual: Callable[[Any], bool]) -> list[Any]:
    """All cases for `parametrize`, of which those that are not usual are left to the slow tests."""
    return [case if usual(case) else pytest.param(case, marks=pytest.mark.slow) for case in cases]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums over threads depend on their number; one thread makes tests equal on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """Starts processes with `server.Process(target=...)` that have torch and headstart imported already.

    There is one such server per test process, so all tests that start processes take this one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    return context


@pytest.fixture(scope="session")
def in_two(server: ForkServerContext) -> Callable[..., None]:
    """`in_two(target, *arguments)` carries out `target(rank, *arguments)` in two processes, which must end well."""

    def carry_out(target: Callable[..., None], *arguments: object) -> None:
        processes = [server.Process(target=target, args=(rank, *arguments)) for rank in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0, 0]

    return carry_out


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights named by HEADSTART_SHARED; tests that need it are skipped without it."""
    folder = Path(os.environ.get("HEADSTART_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs real images: HEADSTART_SHARED should name a folder with data/ and weights/, {folder} is none")
    return folder


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Callable[[str], Path]:
    """`shared_data("hymenoptera")` -> the unpacked folder of that data set, kept in a cache between runs."""
    cache = Path.home() / ".cache" / "headstart-data"

    def unpacked(name: str) -> Path:
        archive, folder = shared / "data" / f"{name}.zip", cache / name
        if not archive.exists():
            pytest.skip(f"{archive} is missing")
        marker = cache / f".{name}.unpacked"
        if not marker.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(archive) as content:
                content.extractall(cache)
            marker.touch()
        return folder

    return unpacked


def images(count: int, classes: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`[N, S, S, 3]` uint8 pictures that a network can learn: a class is a colour and a place of a bright square."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = draw.integers(0, 90, (count, size, size, 3))
    half = size // 2
    for place, label in enumerate(labels):
        top, left = half * (label % 2), half * (label // 2 % 2)
        pixels[place, top : top + half, left : left + half, label % 3] += 120
    return pixels.astype(np.uint8), labels.astype(np.int64)


def make_image_task(count: int = 48, classes: int = 3, size: int = 16, seed: int = 0) -> Task:
    """A small, learnable task on images."""
    pixels, labels = images(count, classes, size, seed)
    return task_of("toy", store_of(pixels), labels, tuple(f"class{n}" for n in range(classes)))


def make_vector_task(count: int = 48, classes: int = 3, features: int = 6, seed: int = 0) -> Task:
    """A small, learnable task on vectors: one Gaussian cloud per class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = draw.normal(0, 2, (classes, features))
    vectors = (centres[labels] + draw.normal(0, 1, (count, features))).astype(np.float32)
    return task_of("toy", store_of(vectors), labels, tuple(f"class{n}" for n in range(classes)))


@pytest.fixture(scope="session")
def image_task() -> Task:
    """48 images of 16 px, 3 classes."""
    return make_image_task()


@pytest.fixture(scope="session")
def vector_task() -> Task:
    """48 vectors of 6 numbers, 3 classes."""
    return make_vector_task()


def random_states() -> tuple[bytes, str, str]:
    """The global generators' states (torch, NumPy, Python), comparable."""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), repr(random.getstate())


@pytest.fixture
def rng_guard() -> Iterator[None]:
    """Fails a test during which a global random generator moved."""
    before = random_states()
    yield
    for name, old, new in zip(("torch", "numpy", "random"), before, random_states(), strict=True):
        assert old == new, f"the global generator of {name} was moved"
