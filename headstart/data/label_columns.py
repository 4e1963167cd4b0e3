"""The answers in the columns of a label table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked
from headstart.catalog.kinds import Kind
from headstart.data.answers import KIND_NAMES, Answers
from headstart.data.label_words import Cell, class_words, infer_kind, is_unknown, number, words_of, yes_or_no
from headstart.data.names import count, natural_key, shown, some
from headstart.data.task import UNKNOWN, YES_NO

_LISTED = 5


def read_answers(asked: Asked, columns: Sequence[Sequence[Cell]], wrong: list[str]) -> Answers | None:
    """The answers in the cells of one task's columns, None where nothing is known; problems go to `wrong`."""
    if len(columns) > 1:
        read = [_yes_no(asked, column, cells, wrong) for column, cells in zip(asked.columns, columns, strict=True)]
        made = Answers(asked.name, "several", asked.columns, np.stack(read, axis=1))
        return replace(made, note=_told(asked, made, "several columns of yes and no"))
    cells, column = columns[0], asked.columns[0]
    known = [cell.text for cell in cells if not is_unknown(cell.text)]
    if not known:
        wrong.append(f"column {column!r} has no known label in any row")
        return None
    kind, why = (asked.kind, "as asked") if asked.kind else infer_kind(known)
    made = _of_kind(kind, asked, column, cells, wrong)
    if asked.kind is None and kind == "classes" and 20 < len(known) < 2 * len(made.classes):
        wrong.append(
            f"column {column!r} holds {count(len(made.classes), 'different word')} in {count(len(known), 'row')}, which "
            f"are no classes to learn; name the columns to use with --tasks, or say {_again(asked)}:class"
        )
    return replace(made, note=_told(asked, made, why))


def _of_kind(kind: Kind, asked: Asked, column: str, cells: Sequence[Cell], wrong: list[str]) -> Answers:
    if kind == "yes_no":
        return Answers(asked.name, kind, YES_NO, _yes_no(asked, column, cells, wrong))
    if kind == "number":
        return Answers(asked.name, kind, (), _numbers(asked, column, cells, wrong))
    if kind == "several":
        return _several(asked, cells)
    at = [i for i, cell in enumerate(cells) if not is_unknown(cell.text)]
    words = class_words([cells[i].text for i in at])
    names = tuple(sorted(set(words), key=natural_key))
    place = {name: i for i, name in enumerate(names)}
    labels = np.full(len(cells), UNKNOWN, np.int64)
    labels[at] = [place[word] for word in words]
    return Answers(asked.name, kind, names, labels)


def _yes_no(asked: Asked, column: str, cells: Sequence[Cell], wrong: list[str]) -> NDArray[np.int64]:
    labels = np.full(len(cells), UNKNOWN, np.int64)
    other = []
    for row, cell in enumerate(cells):
        answer = yes_or_no(cell.text)
        if answer is not None:
            labels[row] = answer
        elif not is_unknown(cell.text):
            other.append(cell)
    if other:
        remedy = "" if len(asked.columns) > 1 else f", or say {_again(asked)}:class if these are classes"
        wrong.append(f"column {column!r} must say yes or no, but {_lines(other)}; leave a cell empty if unknown{remedy}")
    return labels


def _numbers(asked: Asked, column: str, cells: Sequence[Cell], wrong: list[str]) -> NDArray[np.float32]:
    labels = np.full(len(cells), np.nan, np.float32)
    text, infinite = [], []
    largest = float(np.finfo(np.float32).max)
    for row, cell in enumerate(cells):
        value = number(cell.text)
        if value is None:
            text += [] if is_unknown(cell.text) else [cell]
        elif abs(value) > largest:
            infinite.append(cell)
        else:
            labels[row] = value
    if text:
        wrong.append(
            f"column {column!r} must hold numbers, but {_lines(text)}; write numbers with a point and leave a cell empty if "
            f"unknown, or say {_again(asked)}:class if these are classes"
        )
    if infinite:
        wrong.append(
            f"column {column!r} must hold finite numbers, but {_lines(infinite)}; correct them, or leave them empty"
        )
    return labels


def _several(asked: Asked, cells: Sequence[Cell]) -> Answers:
    """A known cell says which are yes; all others are no."""
    words = {i: words_of(cell.text) for i, cell in enumerate(cells) if not is_unknown(cell.text)}
    names = tuple(sorted({word for each in words.values() for word in each}, key=natural_key))
    place = {name: i for i, name in enumerate(names)}
    labels = np.full((len(cells), len(names)), UNKNOWN, np.int64)
    for row, each in words.items():
        labels[row] = 0
        labels[row, [place[word] for word in each]] = 1
    return Answers(asked.name, "several", names, labels)


def _again(asked: Asked) -> str:
    """The word of `--tasks` for a task, without a kind."""
    column = asked.columns[0]
    return column if column == asked.name else f"{asked.name}={column}"


def _lines(cells: Sequence[Cell]) -> str:
    return some((f"line {cell.line} says {cell.text!r}" for cell in cells), _LISTED)


def _told(asked: Asked, made: Answers, why: str) -> str:
    """How a task was understood, for the user."""
    columns = " + ".join(repr(shown(column)) for column in asked.columns)
    missing = len(made.labels) - int(made.known.sum())
    what = {
        "number": lambda: f"{np.nanmin(made.labels):g} to {np.nanmax(made.labels):g}" if made.known.any() else "none",
        "yes_no": lambda: f"{int((made.labels == 1).sum())} times yes",
    }.get(made.kind, lambda: f"{len(made.classes)}: {some(made.classes, _LISTED)}")()
    gaps = f"; unknown in {count(missing, 'row')}" if missing else ""
    note = f"; {asked.note}" if asked.note else ""
    return f"task {made.name!r} from {columns}: {KIND_NAMES[made.kind]} ({why}), {what}{gaps}{note}"
