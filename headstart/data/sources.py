"""What the user gave, understood: which samples there are, of which class, in which split. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.arrays import Parts, VectorSamples, index_labels, load_npz, parts_of
from headstart.data.folder import read_layout
from headstart.data.manifest import Rows, read_manifest
from headstart.data.names import SPLITS, BadFile, count, natural_key, shown, some
from headstart.data.samples import FileSamples, ImageFile, Samples
from headstart.errors import DataError, problems


@dataclass(frozen=True, eq=False)
class Source:
    """Data before it is decoded.

    kind       where it came from
    where      the same for people: a path, or `arrays`
    samples    reads the N samples by position
    names      how each is shown: a relative path, or `train[17]`
    labels     `[N]` int64 positions in `classes`, -1 where not known; None: they come with the samples (a Dataset)
    classes    names in natural order; for a Dataset what it names itself, or None until it has been read
    splits     `train`, and `val` and `test` where given: positions, int64
    groups     `[N]` int64 or None: samples of one group belong together; `group_names` says what they are called
    set_aside  what cannot be used, with the reason, as far as it shows without decoding
    ignored    files that are no images
    notes      remarks for the inspection
    """

    kind: Literal["folder", "manifest", "arrays", "dataset"]
    where: str
    samples: Samples | VectorSamples
    names: Sequence[str]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    splits: dict[str, NDArray[np.int64]]
    groups: NDArray[np.int64] | None = None
    group_names: tuple[str, ...] = ()
    set_aside: tuple[BadFile, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def split_of(self) -> NDArray[np.int64]:
        """`[N]` positions in `SPLITS`, -1 for samples in none."""
        out = np.full(len(self), -1, np.int64)
        for place, split in enumerate(SPLITS):
            out[self.splits.get(split, np.empty(0, np.int64))] = place
        return out


def open_source(
    data: Any,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
) -> Source:
    """Understand `data` without decoding it.

    data  an image folder (one sub-folder per class, optionally below `train/ val/ test/`); a CSV or TSV file with a path and
          a label column, and optionally a group and a split column, found by their usual names if not named; an `.npz` file
          or dict with `images_train, labels_train, images_test, labels_test`; `(images, labels)`; a map-style Dataset of
          (picture, label); a dict of those by split; or a `Source`, returned as it is

    Raises `DataError` naming everything that stands in the way.
    """
    if isinstance(data, Source):
        return data
    columns = {"path": path_column, "label": label_column, "group": group_column, "split": split_column}
    if not isinstance(data, (str, os.PathLike)):
        _no_columns(columns, type(data).__name__)
        return _from_parts(parts_of(data), "arrays")
    path = Path(data)
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".csv", ".tsv"):
        return _from_manifest(path, read_manifest(path, columns))
    _no_columns(columns, shown(path))
    if path.is_dir():
        return _from_folder(path)
    if path.is_file() and suffix == ".npz":
        return _from_parts(parts_of(load_npz(path)), shown(path))
    raise DataError(f"{shown(path)} {_not_data(path, suffix)}")


def _not_data(path: Path, suffix: str) -> str:
    kinds = "give a folder with one sub-folder per class, a .csv file, or an .npz file of arrays"
    if not path.exists():
        near = path.parent
        return "does not exist" + ("" if near.is_dir() else f", nor does its folder {shown(near)}") + f"; {kinds}"
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        return f"is an archive; unpack it and give the folder ({kinds})"
    return f"is not data that can be read; {kinds}"


def _no_columns(columns: dict[str, str | None], what: str) -> None:
    problems(
        DataError,
        f"columns can be chosen for a CSV file only, and {what} is none:",
        [f"{role}_column={name!r}" for role, name in columns.items() if name is not None],
    )


def _from_folder(root: Path) -> Source:
    layout = read_layout(root)
    problems(DataError, f"{shown(root)} cannot be used as an image folder:", layout.problems)
    classes = tuple(sorted(layout.splits["train"], key=natural_key))
    files: list[ImageFile] = []
    labels: list[int] = []
    splits: dict[str, NDArray[np.int64]] = {}
    bad, ignored = list(layout.bad), list(layout.ignored)
    for split, parts in layout.splits.items():
        start = len(files)
        for name in sorted(parts, key=natural_key):
            files += parts[name].files
            labels += [classes.index(name)] * len(parts[name].files)
            bad += parts[name].bad
            ignored += parts[name].others
        splits[split] = np.arange(start, len(files), dtype=np.int64)
    return Source(
        "folder",
        shown(root),
        FileSamples(files),
        [f.name for f in files],
        np.array(labels, np.int64),
        classes,
        splits,
        set_aside=tuple(bad),
        ignored=tuple(ignored),
    )


def _from_manifest(path: Path, rows: Rows) -> Source:
    in_split = np.array([SPLITS.index(s) for s in rows.splits], np.int64)
    splits = {s: np.flatnonzero(in_split == i).astype(np.int64) for i, s in enumerate(SPLITS) if (in_split == i).any()}
    labels, classes, _ = index_labels(rows.labels, None)
    groups: NDArray[np.int64] | None = None
    group_names: tuple[str, ...] = ()
    if "group" in rows.columns:
        distinct, inverse = np.unique(np.array(rows.groups), return_inverse=True)
        groups = inverse.astype(np.int64)
        group_names = tuple("(no group)" if str(g).startswith("\0") else str(g) for g in distinct)
    _check_classes(shown(path), labels, classes, splits, rows.bad)
    used = ", ".join(f"{role} from {name!r}" for role, name in rows.columns.items())
    return Source(
        "manifest",
        shown(path),
        FileSamples(rows.files),
        [f.name for f in rows.files],
        labels,
        classes,
        splits,
        groups,
        group_names,
        set_aside=tuple(rows.bad),
        notes=(f"columns used: {used}",),
    )


def _from_parts(parts: Parts, where: str) -> Source:
    splits, names, start = {}, [], 0
    for split, length in parts.lengths.items():
        splits[split] = np.arange(start, start + length, dtype=np.int64)
        names += [f"{split}[{i}]" for i in range(length)]
        start += length
    if not parts.lengths.get("train"):
        raise DataError(f"{where}: there are no training samples")
    if parts.labels is None:
        return Source("dataset", "Dataset", parts.samples, names, None, parts.classes, splits)
    labels, classes, absent = index_labels(parts.labels, parts.classes)
    unlabelled = tuple(BadFile(names[i], "has no label") for i in np.flatnonzero(labels < 0))
    splits = {split: rows[labels[rows] >= 0] for split, rows in splits.items()}
    _check_classes(where, labels, classes, splits, unlabelled)
    return Source(
        "arrays", where, parts.samples, names, labels, classes, splits, set_aside=unlabelled, notes=absent_note(absent)
    )


def absent_note(absent: Sequence[str]) -> tuple[str, ...]:
    """A remark on classes that are named but have no sample."""
    if not absent:
        return ()
    return (
        f"{count(len(absent), 'class', 'classes')} named by the Dataset but without samples left out: {some(absent, 8)}",
    )


def _check_classes(
    where: str,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    splits: dict[str, NDArray[np.int64]],
    aside: Sequence[BadFile],
) -> None:
    problems(DataError, f"{where} cannot be used:", class_problems(labels, classes, splits, aside))


def class_problems(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    splits: dict[str, NDArray[np.int64]],
    aside: Sequence[BadFile] = (),
) -> list[str]:
    """What makes labelled samples unusable for training and testing; empty when nothing does.

    aside  samples that were set aside before, which may be why a class is missing
    """
    wrong = []
    have = {split: np.bincount(labels[rows][labels[rows] >= 0], minlength=len(classes)) for split, rows in splits.items()}
    train = have.get("train", np.zeros(len(classes), np.int64))
    if len(classes) < 2:
        what = f"only one class, {classes[0]!r}" if classes else "no labelled sample"
        said = some((f"{b.path} {b.reason}" for b in aside), 3)
        lost = f" ({count(len(aside), 'sample')} set aside: {said})" if aside else ""
        wrong.append(f"there is {what}; telling things apart needs at least two classes{lost}")
    if not train.any():
        wrong.append("there are no training samples; mark some as train")
    for split in SPLITS[1:]:
        if split not in have:
            continue
        extra = [classes[int(c)] for c in np.flatnonzero((have[split] > 0) & (train == 0))]
        if extra and train.any():
            wrong.append(
                f"{split} has {count(len(extra), 'class', 'classes')} that train does not have: {some(extra, 10)}; "
                "add training samples of them, or take them out"
            )
    return wrong
