"""The rows of a label table gathered by image: which file each is about, and what several rows say of one together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.answers import Answers, said
from headstart.data.folder import Found, stat_file
from headstart.data.label_reading import LISTED, Reading
from headstart.data.manifest import resolve
from headstart.data.names import SPLITS, count, shown, some, split_named
from headstart.data.samples import ImageFile
from headstart.data.task import UNKNOWN, valid


@dataclass(frozen=True)
class ByImage:
    """The rows of a table by image, in order of the first row of each; what is wrong goes to the table's problems.

    files  of each image; None for a row whose image is not there, which stands alone
    rows   positions of the rows that speak of each image
    """

    table: Reading
    files: Sequence[ImageFile | None]
    rows: Sequence[Sequence[int]]

    @staticmethod
    def of(table: Reading) -> ByImage:
        """Look for the image of every row. Missing images and rows without a path are told."""
        files: list[ImageFile | None] = []
        rows: dict[str, list[int]] = {}
        for row, file in enumerate(_files(table)):
            key = f"\0{row}" if file is None else os.path.normpath(os.path.abspath(file.path))
            if key not in rows:
                files.append(file)
            rows.setdefault(key, []).append(row)
        return ByImage(table, files, list(rows.values()))

    def joined(self, made: Answers) -> Answers:
        """One answer per image from one per row; rows that contradict each other are told."""
        labels = made.labels[np.array([rows[0] for rows in self.rows], np.int64)]
        against = []
        for at, rows in enumerate(self.rows):
            for row in rows[1:]:
                new, old = made.labels[row], labels[at]
                if _differ(new, old):
                    holder = next(r for r in rows if _differ(made.labels[r], new))
                    told = (f"line {self.table.numbers[r]} says {_short(made, r, (holder, row))!r}" for r in (holder, row))
                    against.append(f"{self._name(at)}: {' and '.join(told)}")
                labels[at] = np.where(valid(np.asarray(old)), old, new)
        if against:
            many = count(len(against), "time", "times")
            told_all = some(against, LISTED)
            self.table.wrong.append(
                f"task {made.name!r}: rows of one image contradict each other {many}: {told_all}; keep the right one"
            )
        return Answers(made.name, made.kind, made.classes, labels, made.note)

    def groups(self) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """`[N]` the group of each image, and what the groups are called; None where the table has no such column."""
        words = self._agreed("group")
        if words is None:
            return None, ()
        alone = [word or f"\0{at}" for at, word in enumerate(words)]  # an image without a group is a group of its own
        names, groups = np.unique(np.array(alone), return_inverse=True)
        shown_names = tuple("(no group)" if str(name).startswith("\0") else str(name) for name in names)
        return groups.astype(np.int64), shown_names

    def splits(self) -> dict[str, NDArray[np.int64]]:
        """Positions of the images of each split; empty where the table has no such column, or it says something else."""
        words = self._agreed("split")
        if words is None:
            return {}
        column = self.table.column(self.table.roles["split"])
        other: dict[str, int] = {}
        for text, line in zip(column.texts, column.lines, strict=True):
            if split_named(text) is None:
                other.setdefault(text, line)
        if other:
            told = some((f"{word!r} (line {n})" if word else f"nothing (line {n})" for word, n in other.items()), 8)
            self.table.wrong.append(
                f"column {column.name!r} must say train, val or test in every row, but it also says {told}"
            )
            return {}
        of = np.array([SPLITS.index(split_named(word) or "train") for word in words], np.int64)
        return {split: np.flatnonzero(of == i).astype(np.int64) for i, split in enumerate(SPLITS) if (of == i).any()}

    def _agreed(self, role: str) -> list[str] | None:
        """What a column says of each image; rows of one image that say different things are told."""
        cells, numbers = self.table.role(role), self.table.numbers
        if cells is None:
            return None
        out, against = [], []
        for at, rows in enumerate(self.rows):
            words = {cells[row]: numbers[row] for row in reversed(rows) if cells[row]}
            if len({split_named(word) or word for word in words} if role == "split" else words) > 1:
                two = sorted(words.items(), key=lambda found: found[1])[:2]
                told = " and ".join(f"line {line} says {word!r}" for word, line in two)
                against.append(f"{self._name(at)}: {told}")
            out.append(next((cells[row] for row in rows if cells[row]), ""))
        self.table.tell(f"rows of one image are of different {role}s", against, "; keep one")
        return out

    def _name(self, at: int) -> str:
        file = self.files[at]
        return file.name if file is not None else ""


def _files(table: Reading) -> list[ImageFile | None]:
    """The image of each row; None where there is none, which is told."""
    cells = table.role("path")
    if cells is None:
        return [None] * len(table.lines)
    files: list[ImageFile | None] = []
    lost, nameless = [], []
    for text, line in zip(cells, table.numbers, strict=True):
        found = Found()
        if text:
            stat_file(resolve(table.path.parent, text), shown(text), found)
            lost += [f"line {line}, {bad.path} {bad.reason}" for bad in found.bad]
        else:
            nameless.append(f"line {line}")
        files.append(found.files[0] if found.files else None)
    if lost:
        many = count(len(lost), "image is not there", "images are not there")
        near = shown(table.path.parent)
        table.wrong.append(f"{many}: {some(lost, LISTED)}; paths are looked up in {near} and in its images/ folder")
    table.tell("rows without a path", nameless, "; say in each which image it is about")
    return files


def _differ(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    """Whether two labels are both known somewhere and not equal there."""
    one, two = np.atleast_1d(a), np.atleast_1d(b)
    return bool(((one != two) & valid(one) & valid(two)).any())


def _short(made: Answers, row: int, pair: tuple[int, int]) -> str:
    """What a row says; of several questions only those on which the two rows differ."""
    label = made.labels[row]
    if made.kind == "several":
        a, b = (made.labels[r] for r in pair)
        label = np.where((a != b) & valid(a) & valid(b), label, UNKNOWN)
    return said(made.kind, made.classes, label)
