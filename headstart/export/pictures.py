"""Real images to check exported files on: some to calibrate with, others to compare answers on, at the network's size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.device import ColumnsConfig
from headstart.data.arrays import VectorSamples
from headstart.data.decode import UnreadableError, decode_file
from headstart.data.folder import find_images
from headstart.data.names import class_name, some
from headstart.data.prepare import DataSet, duplicate_groups, prepare
from headstart.data.sources import Source, open_source
from headstart.data.splits import split_off
from headstart.errors import DataError
from headstart.nets.net import InputSpec
from headstart.seeding import generator, seed_for
from headstart.studies.checks import check_kind

TEST_SHARE = 0.2
"""Set aside where the data bring no test split; `adapt` sets the same images aside, with the same seed and share."""
NEVER = -1
"""Label of an image whose class the model does not know."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """How many images, and of what shape.

    spec, fit  the network's input, and how an image is brought to its square
    check      how many to compare answers on, at most
    calibrate  how many others, at most
    """

    spec: InputSpec
    fit: str
    check: int
    calibrate: int
    seed: int


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images as a network takes them, uint8 `[N, S, S, 3]` (vectors: float32 `[N, D]`).

    where      where they come from, for people; None: drawn at random, for want of real ones
    check      to compare answers on
    labels     `[N]` positions in `classes`; None: not known
    calibrate  others, to calibrate with
    notes      what a person should know about them
    answers    by question the labels `[N, ...]` of those to check on, as a model for several questions has them, some of
               them unknown; None: none is known, or of any other model
    names      of those to check on, where they come from a table
    """

    where: str | None
    check: NDArray[Any]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    calibrate: NDArray[Any]
    notes: tuple[str, ...] = ()
    answers: Mapping[str, NDArray[Any]] | None = None
    names: tuple[str, ...] = ()

    def truth(self, classes: Sequence[str]) -> NDArray[np.int64] | None:
        """`[N]` positions in a model's `classes`, `NEVER` where it does not have the class; None: no label is any good."""
        if self.labels is None:
            return None
        known = {class_name(name): place for place, name in enumerate(classes)}
        to = np.array([known.get(class_name(name), NEVER) for name in self.classes], np.int64)
        found = to[self.labels]
        return None if (found == NEVER).all() else found


def pictures(
    data: Any,
    wanted: Wanted,
    *,
    cache: Path,
    columns: ColumnsConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures:
    """Read images: labelled as `open_source` understands `data`, or a folder with images directly in it.

    Those to check on are the test split where there is one, else what `adapt` would set aside; those to calibrate with come
    from the rest. Raises DataError for what cannot be read.
    """
    source = parted(data, wanted, cache=cache, columns=columns, progress=progress)
    if isinstance(source, Path):
        return _unlabelled(source, wanted)
    check_kind(source, wanted.spec)
    found = prepare(_fewer(source, wanted), size=wanted.spec.size, fit=wanted.fit, cache=cache, progress=progress)
    bad = [one.path for one in found.inspection.set_aside]
    notes = [*source.notes, *([f"{len(bad)} images cannot be read: {some(bad)}"] if bad else [])]
    rows = {name: at[first_of(len(at), most, wanted.seed)] for name, at, most in _parts(found, wanted)}
    array, check = found.store.array, rows["check"]
    taken, rest = np.asarray(array[check]), np.asarray(array[rows["calibrate"]])
    return Pictures(source.where, taken, found.labels[check], found.classes, rest, tuple(notes))


def parted(
    data: Any,
    wanted: Wanted,
    *,
    cache: Path,
    columns: ColumnsConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Source | Path:
    """The images with a test part, so that networks of other input sizes can be asked about the same ones.

    A folder of images without classes is returned as it is.
    """
    if isinstance(data, (str, Path)) and _is_plain(Path(data)):
        return Path(data)
    source = open_source(data, **vars(columns or ColumnsConfig()))
    if len(source.splits.get("test", ())):
        return source
    check_kind(source, wanted.spec)
    found = prepare(source, size=wanted.spec.size, fit=wanted.fit, cache=cache, progress=progress)
    rows, val = found.splits["train"], found.splits.get("val", np.empty(0, np.int64))
    groups = duplicate_groups(found, near=True)[rows]
    try:
        at, taken = split_off(found.labels[rows], groups, TEST_SHARE, seed_for(wanted.seed, "test split"), keep=3)
    except DataError:
        at = taken = np.arange(len(rows))
        told = "too few images to keep some apart, so the answers are checked on the images that calibrate"
        source = replace(source, notes=(*source.notes, told))
    place = {name: number for number, name in enumerate(source.names)}
    parts = {"train": np.concatenate([rows[at], val]), "test": rows[taken]}
    splits = {split: np.array(sorted(place[found.names[row]] for row in at), np.int64) for split, at in parts.items()}
    return replace(source, splits=splits)


def drawn(wanted: Wanted) -> Pictures:
    """Noise in place of images, which tells whether two programs compute the same, and nothing about accuracy."""
    spec, rng = wanted.spec, generator(wanted.seed, "export", "noise")
    count = min(wanted.check, 64)
    if spec.kind != "image":
        made: NDArray[Any] = rng.standard_normal((count, spec.size)).astype(np.float32)
    else:
        made = rng.integers(0, 256, (count, spec.size, spec.size, len(spec.mean)), np.uint8)
    return Pictures(None, made, None, (), made[:0])


def of_run(model: Path) -> tuple[str, ColumnsConfig] | None:
    """The images of the run that made a model, where they still are; columns as the run was told."""
    for place in (model, model.parent):
        path = place / "config.json"
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None  # a damaged run says nothing about its images; the model's own files are checked by themselves
        data, images = config.get("data"), config.get("images") or {}
        if isinstance(data, str) and Path(data).exists():
            return data, ColumnsConfig(**{name: images.get(name) for name in ColumnsConfig.__dataclass_fields__})
    return None


def _is_plain(folder: Path) -> bool:
    """Whether images lie directly in a folder without sub-folders, so that nothing says what is on them."""
    if not folder.is_dir() or any(item.is_dir() and not item.name.startswith(".") for item in folder.iterdir()):
        return False
    if not any(folder.iterdir()):
        raise DataError(f"{folder} is empty; give a folder with images")
    return True


def _unlabelled(folder: Path, wanted: Wanted) -> Pictures:
    if wanted.spec.kind != "image":
        raise DataError(
            f"{folder} holds images, and the network takes vectors of {wanted.spec.size} numbers; give an .npz file"
        )
    found = find_images([folder])
    pixels, unread = [], [bad.path for bad in found.bad]
    for file in [found.files[place] for place in first_of(len(found.files), wanted.check + wanted.calibrate, wanted.seed)]:
        try:
            pixels.append(decode_file(file.path, wanted.spec.size, wanted.fit).pixels)
        except UnreadableError:
            unread.append(file.name)
    if not pixels:
        raise DataError(f"{folder} has no image that can be read{': ' + some(unread) if unread else ''}")
    order = generator(wanted.seed, "export", "parts").permutation(len(pixels))
    # At most half calibrates, so that there is always something to check on.
    cut = min(wanted.calibrate, len(pixels) // 2)
    every, notes = np.stack(pixels), [f"{folder} has no class folders: answers are compared, accuracy is not known"]
    notes += [f"{len(unread)} images of {folder} cannot be read: {some(unread)}"] if unread else []
    return Pictures(str(folder), every[order[cut:]], None, (), every[order[:cut]], tuple(notes))


def _fewer(source: Source, wanted: Wanted) -> Source:
    """The source without images that nobody asked for."""
    if source.labels is None or isinstance(source.samples, VectorSamples):
        return source
    rest = np.concatenate([rows for name, rows in source.splits.items() if name != "test"])
    # Duplicates may be set aside while reading, classes may lose their last image: one per class is kept.
    first = rest[np.unique(source.labels[rest], return_index=True)[1]]
    train = np.union1d(first, rest[first_of(len(rest), wanted.calibrate, wanted.seed)])
    test = source.splits["test"][first_of(len(source.splits["test"]), wanted.check, wanted.seed)]
    return replace(source, splits={"train": train, "test": test})


def _parts(data: DataSet, wanted: Wanted) -> tuple[tuple[str, NDArray[np.int64], int], ...]:
    """Rows to check on and rows to calibrate with, and how many of them are wanted."""
    rest = np.concatenate([rows for name, rows in data.splits.items() if name != "test"])
    return ("check", data.splits["test"], wanted.check), ("calibrate", rest, wanted.calibrate)


def first_of(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `count` things, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(generator(seed, "export", "some").permutation(count)[:most])
