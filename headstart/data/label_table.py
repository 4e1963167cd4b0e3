"""A table of labels: one row per image, a path, and a column per task, empty where the answer is not known.

Everything that is wrong with a table is said at once, with line numbers, before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked, asked_column
from headstart.data.answers import Answers, split_problems, value_problems
from headstart.data.label_columns import read_answers
from headstart.data.label_reading import LISTED, Reading
from headstart.data.label_rows import ByImage
from headstart.data.label_words import is_unknown
from headstart.data.manifest import all_columns, find_columns, read_table
from headstart.data.names import count, shown, some
from headstart.data.samples import ImageFile
from headstart.errors import DataError, problems


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A label table, understood; one entry per image, in order of their first rows.

    where        the table, for people
    files        the images; what several rows say of one image is joined
    lines        the table's lines that speak of each
    answers      one per task, over all images
    groups       `[N]` int64 or None: images of one group belong together; `group_names` says what they are called
    splits       `train`, and `val` and `test` where named: positions, int64; empty where the table has no such column
    notes        how the table was understood, a sentence for each column
    """

    where: str
    files: tuple[ImageFile, ...]
    lines: tuple[tuple[int, ...], ...]
    answers: tuple[Answers, ...]
    groups: NDArray[np.int64] | None
    group_names: tuple[str, ...]
    splits: dict[str, NDArray[np.int64]]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)


def read_label_table(
    path: Path,
    asked: Sequence[Asked] = (),
    *,
    path_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
) -> LabelTable:
    """Read the CSV or TSV file `path`.

    asked    the tasks; none: every column that is not the path, group or split is one
    columns  None is found by its usual names; paths are looked up next to the table and in its `images/` folder

    Rows of one image are joined where they agree or each know what the other does not. Images of which nothing is known in
    any of these tasks, but something in another column, are left out, with a note. Raises `DataError` with everything that
    is wrong: columns that there are not, rows of more or fewer cells, cells that do not fit their column, missing files,
    rows without a label in any column, rows that contradict each other, tasks with one value only, splits without a label
    or with classes of their own.
    """
    header, lines = read_table(path)
    table = Reading(path, header, lines)
    tasks, notes = _find(table, asked, {"path": path_column, "group": group_column, "split": split_column})
    read, sound = _read(table, tasks)
    _check_rows(table)
    images = ByImage.of(table)
    answers = tuple(images.joined(made) for made in read)
    groups, group_names = images.groups()
    splits = images.splits()
    for made in (one for one in answers if one.name in sound):
        table.wrong += value_problems(made) or (split_problems(made, splits) if splits else [])
    if splits and "train" not in splits:
        table.wrong.append("there are no training rows; mark some as train in the split column")
    problems(DataError, f"{shown(path)} cannot be used as it is:", table.wrong)
    told = ", ".join(f"{role} from {shown(name)!r}" for role, name in table.roles.items())
    whole = LabelTable(
        shown(path),
        tuple(file for file in images.files if file is not None),  # all are there, or it would have been told
        tuple(tuple(table.numbers[row] for row in rows) for rows in images.rows),
        answers,
        groups,
        group_names,
        splits,
        (f"columns used: {told}", *(made.note for made in answers), *notes),
    )
    return _answered(whole)


def _answered(table: LabelTable) -> LabelTable:
    """The images of which something is known in one of the tasks at least; the others are left out with a note."""
    known = np.any([made.known for made in table.answers], axis=0)
    if known.all():
        return table
    kept, gone = np.flatnonzero(known), np.flatnonzero(~known)
    first = f"line {table.lines[gone[0]][0]}, {shown(table.files[gone[0]].name)}"
    many = f"{count(len(gone), 'image')} of {len(table)} {'was' if len(gone) == 1 else 'were'} left out"
    it = "it" if len(gone) == 1 else "them"
    return replace(
        table,
        files=tuple(table.files[at] for at in kept),
        lines=tuple(table.lines[at] for at in kept),
        answers=tuple(made.take(kept) for made in table.answers),
        groups=None if table.groups is None else table.groups[kept],
        splits={split: np.flatnonzero(np.isin(kept, rows)).astype(np.int64) for split, rows in table.splits.items()},
        notes=(*table.notes, f"{many}: nothing is known of {it} in any of the tasks chosen (first: {first})"),
    )


# ----------------------------------------------------------------------------------------------------- columns


def _find(table: Reading, asked: Sequence[Asked], wanted: dict[str, str | None]) -> tuple[list[Asked], list[str]]:
    """The tasks whose columns are there, with notes; the columns of path, group and split are found on the way."""
    spread = [_as_header(table.header, one) for one in asked]
    apart = {column for one in spread for column in one.columns}
    table.roles, lost = find_columns(table.header, wanted, apart)
    serves = {name: role for role, name in table.roles.items()}
    notes: list[str] = []
    if not asked:
        spread = _every_column(table, notes)
    good = []
    for one in spread:
        missing = [repr(shown(column)) for column in one.columns if column not in table.header]
        if missing:
            lost.append(f"task {one.name!r}: there is no column {some(missing, 8)}")
        double = [repr(column) for column in one.columns if table.header.count(column) > 1]
        if double:
            table.wrong.append(
                f"task {one.name!r}: several columns are called {some(double, 8)}; give each a name of its own"
            )
        taken = [f"{column!r} is the {serves[column]} column" for column in one.columns if column in serves]
        if taken:
            table.wrong.append(f"task {one.name!r}: {some(taken, 8)}; a column serves one purpose only")
        if not (missing or double or taken):
            good.append(one)
    table.wrong += [*lost, all_columns(table.header)] if lost else []
    if not spread:
        table.wrong.append(f"there is no column of labels beside {some(map(repr, serves), 3)}; {all_columns(table.header)}")
    return good, notes


def _as_header(header: Sequence[str], one: Asked) -> Asked:
    """A column whose name holds a `+` is one column."""
    whole = "+".join(one.columns)
    if len(one.columns) > 1 and whole in header and not set(one.columns) <= set(header):
        return Asked(one.name, (whole,), None, one.note)
    return one


def _every_column(table: Reading, notes: list[str]) -> list[Asked]:
    """A task for every column that is not the path, group or split; index columns without a name are left out."""
    found: dict[str, Asked] = {}
    for column in dict.fromkeys(table.header):
        if column in table.roles.values():
            continue
        if not _may_be_labels(column):
            notes.append("a column without a name was left out (probably numbers of rows)")
            continue
        one = asked_column(column)
        if one is None or one.name in found:
            other = f", as of {found[one.name].columns[0]!r}" if one else ""
            table.wrong.append(
                f"no name of its own can be made of column {column!r}{other}; name the tasks: --tasks NAME=COLUMN"
            )
        else:
            found[one.name] = one
    return list(found.values())


# -------------------------------------------------------------------------------------------------------- rows


def _read(table: Reading, tasks: Sequence[Asked]) -> tuple[list[Answers], set[str]]:
    """The answers of all tasks, and the names of those whose cells had nothing wrong."""
    read: list[Answers] = []
    sound = set()
    for one in tasks if table.lines else ():
        before = len(table.wrong)
        made = read_answers(one, [table.column(name) for name in one.columns], table.wrong)
        read += [made] if made is not None else []
        sound |= {one.name} if len(table.wrong) == before else set()
    return read, sound


def _check_rows(table: Reading) -> None:
    """Rows of too many or too few cells, and rows without a label in any column, whatever tasks were chosen."""
    if not table.lines:
        table.wrong.append("it has no rows below its header")
        return
    wide = len(table.header)
    odd = [
        (number, len(line)) for number, line in table.lines if len(line) < wide or any(cell.strip() for cell in line[wide:])
    ]
    table.tell(
        f"rows must have as many cells as the header, {wide}",
        (f"line {number} has {cells}" for number, cells in odd),
        "; put text with a separator in it in quotes, and keep the separators of cells that are empty",
    )
    places = [at for at, name in enumerate(table.header) if _may_be_labels(name) and name not in table.roles.values()]
    empty = [
        f"line {number}"
        for number, line in table.lines
        if all(at >= len(line) or is_unknown(line[at].strip()) for at in places)
    ]
    if places and empty:
        many, it = count(len(empty), "row has", "rows have"), "it" if len(empty) == 1 else "them"
        told = f"{many} no label at all: {some(empty, LISTED)}"
        table.wrong.append(f"{told}; label {it} for one task at least, or take {it} out")


def _may_be_labels(column: str) -> bool:
    """Whether it is not a column of row numbers, as some programs write beside a table."""
    return bool(column) and not column.startswith("Unnamed:")
