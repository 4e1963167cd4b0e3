"""A CSV manifest: one row per image with its path and label, if you like also its group and split."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.folder import Found, is_image_name, stat_file
from headstart.data.names import BadFile, class_name, count, shown, some, split_named
from headstart.data.samples import ImageFile
from headstart.errors import DataError, problems

_USUAL = {
    "path": "path file filename file_name filepath file_path image image_path img img_path image_file image_name",
    "label": "label class category class_name target label_name y",
    "group": "group group_id patient patient_id subject subject_id",
    "split": "split subset partition",
}
USUAL = {role: names.split() for role, names in _USUAL.items()}


@dataclass
class Rows:
    """The usable rows of a manifest, and what was set aside; all lists are parallel."""

    files: list[ImageFile] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


def read_manifest(path: Path, wanted: dict[str, str | None]) -> Rows:
    """Read the CSV (or TSV) file `path`.

    `wanted` names the columns `path`, `label`, `group` and `split`; None is found by its usual names. Raises `DataError`
    naming the columns there are when one is missing, and listing unknown words in the split column.
    """
    header, lines = read_table(path)
    rows = Rows(columns=_columns(path, header, wanted))
    place = {role: header.index(name) for role, name in rows.columns.items()}
    unknown: dict[str, int] = {}
    for number, line in lines:
        cell = {role: line[at].strip() if at < len(line) else "" for role, at in place.items()}
        split = split_named(cell.get("split", "train"))
        if too_long := overlong(header, line):
            rows.bad.append(BadFile(f"{shown(path.name)}, line {number}", too_long))
        elif split is None:
            unknown.setdefault(cell["split"], number)
        else:
            _take(rows, path, number, cell, split)
    problems(DataError, f"{shown(path)} cannot be used as it is:", _wrong(path, rows, unknown, len(lines)))
    return rows


def _take(rows: Rows, path: Path, number: int, cell: dict[str, str], split: str) -> None:
    """Add one row, or set it aside with the reason."""
    if not cell["path"]:
        rows.bad.append(BadFile(f"{shown(path.name)}, line {number}", "has no path"))
        return
    if not cell["label"]:
        rows.bad.append(BadFile(shown(cell["path"]), f"has no label (line {number} of {shown(path.name)})"))
        return
    found = Found()
    stat_file(resolve(path.parent, cell["path"]), shown(cell["path"]), found)
    rows.bad += found.bad
    for file in found.files:
        rows.files.append(file)
        rows.labels.append(class_name(cell["label"]))
        rows.groups.append(cell.get("group") or f"\0{number}")  # a row without a group is a group of its own
        rows.splits.append(split)


def overlong(header: Sequence[str], line: Sequence[str]) -> str | None:
    """Why a row with more cells than the header cannot be trusted: a separator within a name moves all that follow."""
    if any(cell.strip() for cell in line[len(header) :]):
        return f"has {len(line)} cells where the header has {len(header)}; put names with a separator in them in quotes"
    return None


def _wrong(path: Path, rows: Rows, unknown: dict[str, int], total: int) -> list[str]:
    wrong = []
    if unknown:
        words = some((repr(word) if word else f"nothing (line {line})" for word, line in unknown.items()), 8)
        wrong.append(f"column {rows.columns['split']!r} must say train, val or test in every row, but it also says {words}")
    if not total:
        wrong.append("it has no rows below its header")
    elif not rows.files and not unknown:
        first = some(f"{b.path} {b.reason}" for b in rows.bad)
        wrong.append(
            f"none of its {count(total, 'row')} can be used: {first}; paths are looked up in {shown(path.parent)} "
            f"and in its images/ folder, and the label column is {rows.columns['label']!r}"
        )
    return wrong


def resolve(folder: Path, name: str) -> str:
    """Where a path of the manifest lies: absolute, next to the manifest, or in an `images/` folder there."""
    choices = [folder / name, folder / "images" / name]
    if "\\" in name:
        choices += [folder / name.replace("\\", "/"), folder / "images" / name.replace("\\", "/")]
    return str(next((c for c in choices if os.path.lexists(c)), choices[0]))


def _columns(path: Path, header: Sequence[str], wanted: dict[str, str | None]) -> dict[str, str]:
    """Which column plays which role; path and label are needed, group and split may be absent."""
    chosen, wrong = find_columns(header, wanted)
    if wrong:
        wrong.append(all_columns(header))
        if any(is_image_name(name) for name in header):
            wrong.append("its first line looks like a row and not like a header; write one above it, such as path,label")
    problems(DataError, f"the columns of {shown(path)} cannot be understood:", wrong)
    return chosen


def find_columns(
    header: Sequence[str], wanted: dict[str, str | None], apart: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """Which column plays which role of `wanted`, and what is wrong: path and label are needed, group and split are not.

    apart  columns that serve something else: no usual name finds them
    """
    folded = {name.casefold(): name for name in reversed(header) if name not in apart}
    chosen: dict[str, str] = {}
    wrong = []
    for role, asked in wanted.items():
        names = USUAL[role]
        usual = next((folded[n] for n in names if n in folded and folded[n] not in chosen.values()), None)
        if asked is None and usual is not None:
            chosen[role] = usual
        elif asked is not None and asked in header:
            chosen[role] = asked
        elif asked is not None:
            wrong.append(f"{role}_column={asked!r} is not one of its columns")
        elif role in ("path", "label"):
            wrong.append(f"no column has a usual name for the {role} ({', '.join(names[:6])}, ...); say {role}_column=NAME")
    for role, name in chosen.items():
        if header.count(name) > 1:
            wrong.append(f"several columns are called {name!r}, and one holds the {role}; give each a name of its own")
    return chosen, wrong


def all_columns(header: Sequence[str]) -> str:
    """The columns there are, for a message."""
    return f"its columns are: {', '.join(repr(shown(name)) for name in header)}"


def _unread(problem: csv.Error, line: int) -> str:
    """What is wrong with the row that begins in `line`, and what to do."""
    if "end of data" in str(problem):
        return f'a quote (") opened in line {line} is never closed; close it, or write a quote within a cell twice'
    return (
        f"{problem} (line {line}); a cell with a quote or a separator in it goes in quotes, a quote within it written twice"
    )


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a CSV or TSV file with the rows' line numbers; blank lines are left out. Raises `DataError`."""
    rows: list[tuple[int, list[str]]] = []
    done = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
            handle.seek(0)
            reader = csv.reader(handle, delimiter=max(",\t;", key=first.count), strict=True)
            for row in reader:
                done = reader.line_num
                if any(cell.strip() for cell in row):
                    rows.append((done, row))
    except UnicodeDecodeError as problem:
        raise DataError(f"{shown(path)} is not UTF-8 text; save it as UTF-8 (CSV)") from problem
    except csv.Error as problem:
        raise DataError(f"{shown(path)} is not a readable CSV file: {_unread(problem, done + 1)}") from problem
    except OSError as problem:
        raise DataError(f"{shown(path)} cannot be read: {problem.strerror}") from problem
    if not rows:
        raise DataError(f"{shown(path)} is empty; it needs a header line with path and label, then one row per image")
    return [name.strip() for name in rows[0][1]], rows[1:]
