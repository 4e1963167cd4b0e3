"""Images of which nobody said what they show."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.decoded import DecodedFile, decode_all
from headstart.data.folder import find_images
from headstart.data.names import BadFile, shown, some
from headstart.data.prepare import Progress, reporting
from headstart.data.samples import FileSamples
from headstart.data.store import Store
from headstart.errors import DataError


def read_unlabelled(
    folder: Path, *, size: int, fit: str, cache: Path, progress: Progress | None = None
) -> tuple[Store, list[BadFile]]:
    """Every picture below `folder`, decoded once to squares of `size` pixels, and those that cannot be read.

    Folders below it mean nothing. `fit`, `cache` and `progress` are as of `prepare`. Raises DataError when there is no
    picture, DiskFull when the cache cannot hold them.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{shown(folder)} {what}; give a folder of images without labels")
    found = find_images([folder])
    samples = FileSamples(found.files)
    places = np.arange(len(found.files), dtype=np.int64)
    file = DecodedFile(cache, os.path.abspath(folder), samples.key(), size, fit)
    chunks = reporting(decode_all(samples, places, size, fit), len(places), progress)
    decoded = file.load() or file.make(len(places), chunks)
    bad = [*found.bad, *(BadFile(found.files[place].name, reason) for place, reason in decoded.bad)]
    if not len(decoded.pixels):
        told = f": {some(f'{one.path} {one.reason}' for one in bad)}" if bad else ""
        raise DataError(f"{shown(folder)} holds no image that can be read{told}")
    return Store(decoded.pixels, decoded.fingerprint, decoded.file), bad


def copies_of(store: Store, others: Store, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`[len(store)]`: which pictures equal, pixel by pixel, one of `rows` of `others`."""
    known = {_mark(others.array[row]) for row in rows}
    return np.array([_mark(picture) in known for picture in store.array], np.bool_)


def _mark(picture: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest()
