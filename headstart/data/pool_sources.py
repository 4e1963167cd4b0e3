"""Images to pretrain on, understood: labels are welcome and not needed. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.arrays import VectorSamples, index_labels, load_npz, parts_of, role_of
from headstart.data.folder import Found, read_layout, stat_file, walk
from headstart.data.manifest import find_columns, overlong, read_table, resolve
from headstart.data.names import SPLITS, BadFile, class_name, natural_key, shown, some, split_named
from headstart.data.samples import FileSamples, ImageFile, Samples
from headstart.data.sources import Source
from headstart.errors import DataError, problems

Columns = Mapping[str, str | None]


def open_pool(data: Any, *, labels: bool = True, columns: Columns | None = None) -> Source:
    """Understand `data` without decoding it; the label of an image that nobody gave is -1.

    data     a folder of images at any depth, whose first sub-folders are classes (below `train/ val/ test/` if you like)
             where there are several; a CSV or TSV file, with labels in some rows or none; an `.npz` file or dict with
             `images` and, if there are any, `labels`; an array of images; `(images, labels)`; a map-style Dataset of
             pictures or of (picture, label); or a `Source`
    labels   whether to look at labels; without, sub-folders mean nothing
    columns  of a CSV file: which one is `path`, `label`, `group`, `split`; None where its usual name finds it

    Raises DataError where there is no image.
    """
    if isinstance(data, Source):
        return data
    named = {role: (columns or {}).get(role) for role in ("path", "label", "group", "split")}
    if not isinstance(data, (str, os.PathLike)):
        return _from_memory(data, type(data).__name__, labels)
    path = Path(data)
    if path.is_dir():
        return _from_folder(path, labels)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        return _from_table(path, named, labels)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _from_memory(load_npz(path), shown(path), labels)
    what = "is not data that can be read" if path.exists() else "does not exist"
    raise DataError(f"{shown(path)} {what}; give a folder of images, a .csv file, or an .npz file of arrays")


def _from_folder(root: Path, labels: bool) -> Source:
    """Every image below `root`; a class and a split for those that lie in a class folder."""
    found = walk(root, root)
    if not found.files:
        told = f": {some(f'{one.path} {one.reason}' for one in found.bad)}" if found.bad else ""
        raise DataError(f"{shown(root)} holds no image{told}; give a folder with images, at any depth")
    layout = read_layout(root)
    home: dict[str, tuple[str, str]] = {}
    if labels and not layout.problems:
        home = {
            file.path: (name, split)
            for split, parts in layout.splits.items()
            for name, part in parts.items()
            for file in part.files
        }
    classes = tuple(sorted({name for name, _ in home.values()}, key=natural_key))
    position = {name: place for place, name in enumerate(classes)}
    # What lies beside the class folders is learned from, unless it lies in the part that is for testing.
    files = [file for file in found.files if file.path in home or not (home and _aside(file))]
    splits = [home.get(file.path, ("", "train"))[1] for file in files]
    return _source(
        "folder",
        shown(root),
        files,
        np.array([position.get(home.get(file.path, ("", ""))[0], -1) for file in files], np.int64),
        classes,
        splits,
        bad=found.bad,
        ignored=found.others,
    )


def _aside(file: ImageFile) -> bool:
    """Whether a file lies in a folder called like a split that nothing is learned from."""
    return split_named(file.name.replace(os.sep, "/").split("/")[0]) in SPLITS[1:]


def _from_table(path: Path, named: Columns, labels: bool) -> Source:
    header, lines = read_table(path)
    roles = {role: name for role, name in named.items() if role != "label"}
    with_label, _ = find_columns(header, dict(named)) if labels else ({}, [])
    chosen, wrong = find_columns(header, roles, apart=[with_label["label"]] if "label" in with_label else [])
    if named["label"] is not None and labels and "label" not in with_label:
        wrong.append(f"label_column={named['label']!r} is not one of its columns")
    problems(DataError, f"the columns of {shown(path)} cannot be understood:", wrong)
    if "label" in with_label:
        chosen["label"] = with_label["label"]
    place = {role: header.index(name) for role, name in chosen.items()}
    files: list[ImageFile] = []
    raw: list[int | str | None] = []
    groups: list[str] = []
    splits: list[str] = []
    bad: list[BadFile] = []
    for number, line in lines:
        cell = {role: line[at].strip() if at < len(line) else "" for role, at in place.items()}
        split = split_named(cell.get("split", "train"))
        too_long = overlong(header, line)
        if too_long or not cell["path"] or split is None:
            what = too_long or "has no path"
            if split is None and not too_long:
                what = f"is of split {cell['split']!r}, not train, val or test"
            bad.append(BadFile(f"{shown(path.name)}, line {number}", what))
            continue
        found = Found()
        stat_file(resolve(path.parent, cell["path"]), shown(cell["path"]), found)
        bad += found.bad
        for file in found.files:
            files.append(file)
            raw.append(class_name(cell["label"]) if cell.get("label") else None)
            groups.append(cell.get("group") or f"\0{number}")
            splits.append(split)
    if not files:
        raise DataError(f"{shown(path)} names no image that is there: {some(f'{b.path} {b.reason}' for b in bad)}")
    where, classes, _ = index_labels(raw, None)
    return _source("manifest", shown(path), files, where, classes, splits, groups if "group" in chosen else None, bad)


def _source(
    kind: Any,
    where: str,
    files: list[ImageFile],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    splits: list[str],
    groups: list[str] | None = None,
    bad: list[BadFile] | None = None,
    ignored: list[str] | None = None,
) -> Source:
    of = np.array([SPLITS.index(split) for split in splits], np.int64)
    by_split = {name: np.flatnonzero(of == place).astype(np.int64) for place, name in enumerate(SPLITS)}
    names, numbers = (
        np.unique(np.array(groups), return_inverse=True) if groups is not None else (np.empty(0, str), np.empty(0, np.int64))
    )
    return Source(
        kind,
        where,
        FileSamples(files),
        [file.name for file in files],
        labels,
        classes,
        {name: rows for name, rows in by_split.items() if len(rows) or name == "train"},
        numbers.astype(np.int64) if groups is not None else None,
        tuple("(no group)" if str(name).startswith("\0") else str(name) for name in names),
        tuple(bad or ()),
        tuple(ignored or ()),
    )


class _Bare:
    """Samples of a Dataset or of arrays without what they say of themselves."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> tuple[Any, None]:
        item = self.data[place]
        return (item[0] if isinstance(item, (tuple, list)) else item), None


def _from_memory(data: Any, where: str, labels: bool) -> Source:
    """Arrays, dicts of arrays and Datasets; see `arrays.parts_of` for those with labels."""
    given = _with_labels(data, labels)
    parts = parts_of(given)
    names, splits, start = [], {}, 0
    for split, length in parts.lengths.items():
        splits[split] = np.arange(start, start + length, dtype=np.int64)
        names += [f"{split}[{place}]" for place in range(length)]
        start += length
    samples: Samples | VectorSamples = parts.samples
    if parts.labels is None:  # they come with the samples, or do not come at all
        bare = not labels or _is_bare(given)
        found = np.full(start, -1, np.int64) if bare else None
        return Source("dataset", "Dataset", samples, names, found, () if bare else parts.classes, splits)
    # Below zero means that nobody knows, as in torch's own data sets.
    raw = [None if isinstance(one, int) and one < 0 else one for one in parts.labels] if labels else [None] * start
    where_in, classes, _ = index_labels(raw, parts.classes if labels else None)
    return Source("arrays", "arrays" if where == type(data).__name__ else where, samples, names, where_in, classes, splits)


def _with_labels(data: Any, labels: bool) -> Any:
    """`data` as `arrays.parts_of` takes it: what has no labels gets some that say so."""
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return data, np.full(len(data), -1, np.int64)
    if isinstance(data, Mapping):
        flat = {str(key): value for key, value in data.items()}
        if all(hasattr(value, "shape") for value in flat.values()):
            return _paired(flat)
        return data if labels and not any(map(_is_bare, flat.values())) else {k: _Bare(v) for k, v in flat.items()}
    if isinstance(data, tuple) and len(data) == 2 and data[1] is None:
        return data[0], np.full(len(data[0]), -1, np.int64)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (str, bytes, tuple)):
        return data if labels and not _is_bare(data) else _Bare(data)
    return data


def _paired(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays by name, those of images that have no labels beside them paired with unknown ones."""
    roles = {key: role_of(key) for key in arrays}
    labelled = {split for role, split in roles.values() if role == "labels"}
    lone = {key: split for key, (role, split) in roles.items() if role == "images" and split not in labelled}
    return {**arrays, **{f"labels_{split}": np.full(len(arrays[key]), -1, np.int64) for key, split in lone.items()}}


def _is_bare(data: Any) -> bool:
    """Whether a Dataset yields pictures alone, by its first item."""
    if isinstance(data, _Bare):
        return True
    if isinstance(data, (tuple, Mapping)) or not len(data):
        return False
    return not isinstance(data[0], (tuple, list))
