"""Memory is bounded by the batch: 100 000 images and a cache of 2 GB train in little memory of the process's own.

Counted is RssAnon, memory that belongs to the process; pages of files that are mapped into it can be taken back by the
system at any time and do not count. A thread reads it every 20 ms; the peak is told, and what libraries alone take.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import Row
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine.fit import Machine, fit
from headstart.nets.small import cifar_resnet
from headstart.seeding import generator
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.supervised import Supervised

CLASSES = 10


def anonymous() -> float:
    """This process's RssAnon in GB (10^9 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("/proc/self/status does not tell RssAnon; this benchmark needs Linux")


class Peak:
    """The largest RssAnon while inside."""

    def __enter__(self) -> Peak:
        self.value, self._over = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.value = max(self.value, anonymous())


def _task(folder: Path, count: int) -> Task:
    """Random images in a memory-mapped file, written a part at a time."""
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, 32, 32, 3))
    draw = generator(0, "benchmark", "memory")
    for start in range(0, count, 1000):
        part = pixels[start : start + 1000]
        part[:] = draw.integers(0, 256, part.shape, dtype=np.uint8)
    pixels.flush()
    mapped = np.load(folder / "pixels.npy", mmap_mode="r")
    return task_of("task", store_of(mapped), np.arange(count) % CLASSES, tuple("abcdefghij"))


def measure(*, quick: bool) -> list[Row]:
    """A ResNet-8 of width 10 whose third stage trains: 20 x 16 x 16 floats, 20 kB, are cached per image."""
    torch.manual_seed(0)
    count = 10_000 if quick else 100_000
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as place:
        need = count * (4 * 20 * 16 * 16 + 3 * 32 * 32) + 1_000_000_000
        if shutil.disk_usage(place).free < need:
            raise RuntimeError(f"the temporary folder needs {need / 1e9:.1f} GB free; set TMPDIR to a larger disk")
        before = anonymous()
        began = time.perf_counter()
        with Peak() as peak:
            _train(_task(Path(place), count), Path(place))
        size = sum(file.stat().st_size for file in Path(place).glob("prefix-*.npy")) / 1e9
        spent = time.perf_counter() - began
    return [
        Row(f"{count} images, cache of {size:.2f} GB: peak RssAnon", peak.value, "GB", limit=1.5),
        Row("of which libraries before the start", before, "GB"),
        Row("whole run, two epochs", spent, "s"),
    ]


def _train(task: Task, folder: Path) -> None:
    """Two epochs of the last stage and a head, on the cached prefix."""
    net = cifar_resnet(8, width=10)
    net.add_head("task", CLASSES)
    stage = Stage(
        "top",
        task,
        trains={"blocks.layer3_0": 1.0, "heads.task": 1.0},
        terms={"supervised": Supervised("task")},
        budget=Budget(epochs=2),
        optimizer=Optimizer(lr=0.01),
        cache="on",
    )
    fit(net, stage, machine=Machine(cache=folder))
