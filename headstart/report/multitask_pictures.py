"""Test images whose answers do not go together, and the surest mistakes, with what every task said and what is true."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from headstart.report.folder import RunFolder, rows_of, table_of
from headstart.report.multitask_read import Found
from headstart.report.pictures import picture

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What one task said of an image. `mark` is `right`, `wrong` or empty where nobody knows; `odd`: one of the pair."""

    task: str
    said: str
    true: str
    mark: str
    odd: bool = False


@dataclass(frozen=True)
class Shown:
    """One picture with the answers about it."""

    picture: str
    file: str
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Pictures:
    """`apart`: answers that no training image has together; `mistakes`: by task; `why` says why there are none."""

    apart: Sequence[Shown]
    mistakes: Sequence[tuple[str, Sequence[Shown]]]
    small: bool
    why: str = ""


def pictures(run: RunFolder, found: Found) -> Pictures:
    """Everything that was kept for the page; with `why` instead where it is not there or cannot be read."""
    images, about, why = _read(run.path)
    if why and found.best is not None and not (run.path / "thumbnails.npz").exists():
        why = "pictures; there are none where the data are no images, or their files were removed."
    if images is None:
        return Pictures((), (), small=False, why=why)
    kinds = {task.name: task.kind for task in found.tasks}
    apart = [one for row in rows_of(about.get("apart")) if (one := _shown(row, images, kinds, _names(row.get("pair"))))]
    by_task: dict[str, list[Shown]] = {}
    for row in rows_of(about.get("mistakes")):
        name = row.get("task")
        one = _shown(row, images, kinds, (str(name),)) if isinstance(name, str) else None
        if one is not None:
            by_task.setdefault(str(name), []).append(one)
    return Pictures(apart, list(by_task.items()), small=max(images.shape[1:3], default=0) <= 40)


def _read(folder: Path) -> tuple[Images | None, Mapping[str, Any], str]:
    """Pixels, what is told of them, and why they are not there."""
    try:
        with np.load(folder / "thumbnails.npz", allow_pickle=False) as arrays:
            images = arrays["images"]
        about = table_of(json.loads((folder / "thumbnails.json").read_text("utf-8")))
    except FileNotFoundError as error:
        return None, {}, f"pictures; {Path(error.filename).name} is missing."
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        return None, {}, f"pictures; they cannot be read: {error}."
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        return None, {}, f"pictures; they are {images.dtype} {images.shape} instead of uint8 [M, h, w, 3]."
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images, about, ""


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _shown(row: Mapping[str, Any], images: Images, kinds: Mapping[str, str], odd: Sequence[str]) -> Shown | None:
    at = row.get("index")
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(images):
        return None
    return Shown(picture(images[at]), str(row.get("file") or ""), list(_answers(row, kinds, odd)))


def _answers(row: Mapping[str, Any], kinds: Mapping[str, str], odd: Sequence[str]) -> Iterator[Answer]:
    """The tasks in question first; a number is neither right nor wrong, only near or far."""
    told = table_of(row.get("answers"))
    for name in sorted(told, key=lambda task: task not in odd):
        one = table_of(told[name])
        said, truth = (one.get(key) if isinstance(one.get(key), str) else "" for key in ("said", "true"))
        right = one.get("right")
        if not isinstance(right, bool):
            right = said == truth if truth and kinds.get(name) not in ("number", "several") else None
        mark = "" if right is None else "right" if right else "wrong"
        yield Answer(name, str(said), str(truth or ""), mark, name in odd)
