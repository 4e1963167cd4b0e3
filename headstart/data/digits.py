"""scikit-learn's bundled handwritten digits (Alpaydin & Kaynak 1998, UCI) as an image folder, for trying things out.

1 797 grey images of 8 x 8 pixels, ten classes. Nothing is downloaded.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.names import shown
from headstart.errors import DataError
from headstart.seeding import permutation

TEST_SHARE = 0.25
_TOP = 16
"""The largest grey value in scikit-learn's array."""


def digit_files(test_share: float = TEST_SHARE) -> dict[str, bytes]:
    """`train/7/0042.png` and so on -> the bytes of the file; the number is the place in scikit-learn's array.

    The test share is taken class by class, the same in every call and on every machine.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels: NDArray[np.int64] = digits.target.astype(np.int64)
    pixels = np.rint(digits.images * (255 / _TOP)).astype(np.uint8)
    test = _test_places(labels, test_share)
    return {
        f"{'test' if place in test else 'train'}/{label}/{place:04d}.png": _png(pixels[place])
        for place, label in enumerate(labels.tolist())
    }


def write_digits(folder: Path, test_share: float = TEST_SHARE) -> Path:
    """Write the digits below `folder` as `train/CLASS/*.png` and `test/CLASS/*.png`, and return it.

    A folder that already holds exactly these files is left as it is. It appears whole or not at all. Raises DataError when
    it holds something else.
    """
    files = digit_files(test_share)
    if _missing_or_empty(folder):
        _write(folder, files)
    if not _holds(folder, files):
        raise DataError(
            f"{shown(folder)} is there already and does not hold the digits (or not unchanged). "
            "Name another place with --data-folder, or remove it"
        )
    return folder


def _test_places(labels: NDArray[np.int64], share: float) -> set[int]:
    chosen: set[int] = set()
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        order = permutation(len(places), 0, "digits", "test", int(label))
        chosen.update(places[order[: round(share * len(places))]].tolist())
    return chosen


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _missing_or_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch) / "digits"
        for place in sorted({name.rpartition("/")[0] for name in files}):
            (whole / place).mkdir(parents=True)
        for name, content in files.items():
            (whole / name).write_bytes(content)
        try:
            whole.rename(folder)
        except OSError:
            # Another process may have been faster (torchrun starts several); the caller looks at what is there.
            if _missing_or_empty(folder):
                raise
            shutil.rmtree(whole)


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether the folder holds these pictures and no other file; bytes may differ, the packing of a PNG does not matter."""
    if not folder.is_dir():
        return False
    there = {os.path.relpath(os.path.join(here, name), folder) for here, _, names in os.walk(folder) for name in names}
    if {name.replace(os.sep, "/") for name in there} != set(files):
        return False
    return all((folder / name).read_bytes() == content or _same(folder / name, content) for name, content in files.items())


def _same(path: Path, content: bytes) -> bool:
    try:
        with Image.open(path) as one, Image.open(io.BytesIO(content)) as other:
            return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))
    except (OSError, ValueError):
        return False
