"""Samples held as one array: in memory, or memory-mapped so that its size is bounded by the disk and not by memory."""

from __future__ import annotations

import fcntl
import hashlib
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Store:
    """All samples of a data set, decoded once.

    array        `[N, H, W, C]` uint8 images at the working size, or `[N, D]` float32 vectors; may be a `numpy.memmap`
    fingerprint  hash of the content; two stores with equal fingerprints hold equal samples in equal order
    file         `.npy` file that `array` is mapped from, all of it; what is pickled is then the path and not the samples
    """

    array: NDArray[Any]
    fingerprint: str
    file: Path | None = None

    def __len__(self) -> int:
        return len(self.array)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return Store, (self.array, self.fingerprint)
        return _reopened, (self.file, self.fingerprint)

    @property
    def is_image(self) -> bool:
        return self.array.ndim == 4 and self.array.dtype == np.uint8

    def gather(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The samples of `rows` as a tensor `[B, H, W, C]` (uint8) or `[B, D]` (float32): one copy, no per-sample work."""
        return torch.from_numpy(np.ascontiguousarray(self.array[rows]))


def _reopened(file: Path, fingerprint: str) -> Store:
    return Store(mapped(file), fingerprint, file)


def mapped(file: Path) -> NDArray[Any]:
    """The array in a `.npy` file, mapped read-only from the disk; the file is `in_use` for as long as the array lives."""
    handle = file.open("rb")
    with suppress(OSError):  # on a file system without locks every file counts as in use
        fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except BaseException:
        handle.close()
        raise
    weakref.finalize(array, handle.close)
    return array  # type: ignore[no-any-return]


def in_use(file: Path) -> bool:
    """Whether an array of this or another living process is `mapped` from the file, or nothing can tell."""
    try:
        with file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def store_of(array: NDArray[Any]) -> Store:
    """A store around an array already in memory: uint8 `[N, H, W]`, `[N, H, W, C]`, or float `[N, D]`."""
    if array.ndim == 3 and array.dtype == np.uint8:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.dtype != np.uint8:
        array = np.ascontiguousarray(array, dtype=np.float32)
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    for start in range(0, len(array), 4096):
        digest.update(np.ascontiguousarray(array[start : start + 4096]).data)
    return Store(array, digest.hexdigest())
