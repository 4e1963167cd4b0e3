"""Thumbnails: the arrays a run wrote for its report, as data URIs that need no other file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.report import words
from headstart.report.folder import number, rows_of, table_of

PER_CLASS = 8
"""Most thumbnails shown for one class."""


@dataclass(frozen=True)
class Mistake:
    """One wrongly answered test image, as the page shows it."""

    picture: str
    file: str
    true: str
    predicted: str
    sure: str


@dataclass(frozen=True)
class Pictures:
    """The thumbnails of a run.

    images    `[M, h, w, 3]` uint8
    classes   positions in `images` per class name
    mistakes  the most confident wrong answers, most confident first
    gap       a sentence when there are no thumbnails, else empty
    """

    images: NDArray[np.uint8]
    classes: Mapping[str, Sequence[int]]
    wrong: Sequence[Mapping[str, Any]] = ()
    gap: str = ""

    def strip(self, name: str) -> list[str]:
        """Pictures of one class, at most `PER_CLASS`."""
        return [picture(self.images[i]) for i in self.classes.get(name, ())[:PER_CLASS]]

    def mistakes(self, limit: int) -> list[Mistake]:
        """The first `limit` mistakes whose picture is there."""
        found = []
        for row in self.wrong[:limit]:
            at = row.get("index")
            if isinstance(at, int) and 0 <= at < len(self.images):
                file, true, predicted = (str(row.get(key, "")) for key in ("file", "true", "predicted"))
                sure = words.sure(number(row.get("confidence")))
                found.append(Mistake(picture(self.images[at]), file, true, predicted, sure))
        return found


def read_pictures(folder: Path) -> Pictures:
    """Read `thumbnails.npz` and `thumbnails.json` of a run's `report_data` folder."""
    none = np.zeros((0, 1, 1, 3), np.uint8)
    try:
        with np.load(folder / "thumbnails.npz", allow_pickle=False) as arrays:
            images = arrays["images"]
        about = table_of(json.loads((folder / "thumbnails.json").read_text("utf-8")))
    except FileNotFoundError as error:
        return Pictures(none, {}, gap=f"report_data/{Path(error.filename).name} is missing (the thumbnails).")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        return Pictures(none, {}, gap=f"The thumbnails in report_data cannot be read: {error}.")
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        return Pictures(none, {}, gap=f"The thumbnails are {images.dtype} {images.shape} instead of uint8 [M, h, w, 3].")
    classes = {
        str(name): [i for i in places if isinstance(i, int) and 0 <= i < len(images)]
        for name, places in table_of(about.get("classes")).items()
        if isinstance(places, list)
    }
    return Pictures(images, classes, rows_of(about.get("mistakes")))


def picture(pixels: NDArray[np.uint8]) -> str:
    """`[h, w, 3]` uint8 as a data URI: small ones without loss, since every pixel of them is seen, others as JPEG."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(pixels.shape[:2]) <= 40:
        image.save(buffer, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    image.save(buffer, "JPEG", quality=84, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
