"""The answers in the columns of a label table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.asked import Asked
from headstart.catalog.kinds import Kind
from headstart.data.answers import KIND_NAMES, Answers
from headstart.data.label_words import class_words, infer_kind, is_unknown, number, words_of, yes_or_no
from headstart.data.names import count, natural_key, shown, some
from headstart.data.task import UNKNOWN, YES_NO

_LISTED = 5


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table: the stripped cells, and the line of each, which all columns share."""

    name: str
    texts: Sequence[str]
    lines: Sequence[int]

    def known(self) -> list[int]:
        """Rows whose cell says something."""
        return [row for row, text in enumerate(self.texts) if not is_unknown(text)]

    def said(self, rows: Sequence[int]) -> str:
        """What some rows say, for a message."""
        return some((f"line {self.lines[row]} says {self.texts[row]!r}" for row in rows), _LISTED)


def read_answers(asked: Asked, columns: Sequence[Column], wrong: list[str]) -> Answers | None:
    """The answers in the cells of one task's columns, None where nothing is known; problems go to `wrong`."""
    if len(columns) > 1:
        read = [_yes_no(asked, column, wrong) for column in columns]
        made = Answers(asked.name, "several", asked.columns, np.stack(read, axis=1))
        return replace(made, note=_told(asked, made, "several columns of yes and no"))
    column = columns[0]
    known = [column.texts[row] for row in column.known()]
    if not known:
        wrong.append(f"column {column.name!r} has no known label in any row")
        return None
    kind, why = (asked.kind, "as asked") if asked.kind else infer_kind(known)
    made = _of_kind(kind, asked, column, wrong)
    if asked.kind is None and kind == "classes" and 20 < len(known) < 2 * len(made.classes):
        words = count(len(made.classes), "different word")
        wrong.append(
            f"column {column.name!r} holds {words} in {count(len(known), 'row')}, which are no classes to "
            f"learn; name the columns to use with --tasks, or say {_again(asked)}:class"
        )
    return replace(made, note=_told(asked, made, why))


def _of_kind(kind: Kind, asked: Asked, column: Column, wrong: list[str]) -> Answers:
    if kind == "yes_no":
        return Answers(asked.name, kind, YES_NO, _yes_no(asked, column, wrong))
    if kind == "number":
        return Answers(asked.name, kind, (), _numbers(asked, column, wrong))
    if kind == "several":
        return _several(asked, column)
    at = column.known()
    words = class_words([column.texts[row] for row in at])
    names = tuple(sorted(set(words), key=natural_key))
    place = {name: i for i, name in enumerate(names)}
    labels = np.full(len(column.texts), UNKNOWN, np.int64)
    labels[at] = [place[word] for word in words]
    return Answers(asked.name, kind, names, labels)


def _yes_no(asked: Asked, column: Column, wrong: list[str]) -> NDArray[np.int64]:
    meant = {text: UNKNOWN if is_unknown(text) else yes_or_no(text) for text in set(column.texts)}
    other = [row for row, text in enumerate(column.texts) if meant[text] is None]
    if other:
        kind = "number" if all(number(column.texts[row]) is not None for row in other) else "class"
        remedy = "" if len(asked.columns) > 1 else f", or say {_again(asked)}:{kind} if it is no question of yes or no"
        said = column.said(other)
        wrong.append(f"column {column.name!r} must say yes or no, but {said}; leave a cell empty if unknown{remedy}")
    answer = {text: UNKNOWN if one is None else one for text, one in meant.items()}
    return np.array([answer[text] for text in column.texts], np.int64)


def _numbers(asked: Asked, column: Column, wrong: list[str]) -> NDArray[np.float32]:
    labels = np.full(len(column.texts), np.nan, np.float32)
    text, infinite = [], []
    largest = float(np.finfo(np.float32).max)
    for row in column.known():
        value = number(column.texts[row])
        if value is None:
            text.append(row)
        elif abs(value) > largest:
            infinite.append(row)
        else:
            labels[row] = value
    if text:
        wrong.append(
            f"column {column.name!r} must hold numbers, but {column.said(text)}; write numbers with a point, leave a cell "
            f"empty if unknown, or say {_again(asked)}:class if these are classes"
        )
    if infinite:
        wrong.append(
            f"column {column.name!r} must hold finite numbers, but {column.said(infinite)}; correct or empty these cells"
        )
    return labels


def _several(asked: Asked, column: Column) -> Answers:
    """A known cell says which are yes; all others are no."""
    words = {row: words_of(column.texts[row]) for row in column.known()}
    names = tuple(sorted({word for each in words.values() for word in each}, key=natural_key))
    place = {name: i for i, name in enumerate(names)}
    labels = np.full((len(column.texts), len(names)), UNKNOWN, np.int64)
    for row, each in words.items():
        labels[row] = 0
        labels[row, [place[word] for word in each]] = 1
    return Answers(asked.name, "several", names, labels)


def _again(asked: Asked) -> str:
    """The word of `--tasks` for a task, without a kind."""
    column = asked.columns[0]
    return column if column == asked.name else f"{asked.name}={column}"


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
