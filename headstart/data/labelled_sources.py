"""Where samples with labels for several tasks come from: a table, arrays, or one data set per task. Nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.asked import Asked, plain_name
from headstart.data.answers import KIND_NAMES, Answers, split_problems, value_problems
from headstart.data.arrays import index_labels, parts_of
from headstart.data.decode import UnreadableError
from headstart.data.label_table import LabelTable, read_label_table
from headstart.data.names import SPLITS, count, natural_key, shown, some, split_named
from headstart.data.samples import FileSamples, plain_label
from headstart.data.sources import Source, open_source
from headstart.data.task import UNKNOWN, YES_NO
from headstart.errors import DataError, problems


@dataclass(frozen=True, eq=False)
class LabelledSource:
    """Data with several tasks, before it is decoded.

    parts    the data sets by name. One, called `data`, whose samples all `answers` are about; or one per task, which knows
             its labels itself
    answers  per task, one row per sample of the only part; empty where there is a part per task
    lines    lines of the label table that speak of each sample; empty elsewhere
    """

    parts: dict[str, Source]
    answers: tuple[Answers, ...] = ()
    lines: tuple[tuple[int, ...], ...] = ()

    @property
    def first(self) -> Source:
        """One of the data sets, to choose a network by."""
        return next(iter(self.parts.values()))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(made.name for made in self.answers) or tuple(self.parts)


def open_labelled(
    data: Any,
    asked: Sequence[Asked] = (),
    *,
    path_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
) -> LabelledSource:
    """Understand `data` without decoding it.

    data   a CSV or TSV file with a path column and a column per task (`read_label_table`); `(images, {task: labels})` or a
           dict of those by split (`labelled_arrays`); `{task: data}`, each anything that `open_source` reads; or a
           `LabelledSource`, which is returned as it is
    asked  the tasks of a table or of arrays; none: all there are

    Raises `DataError` naming everything that stands in the way.
    """
    if isinstance(data, LabelledSource):
        return data
    columns = {"path_column": path_column, "group_column": group_column, "split_column": split_column}
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
            return _of_table(path, read_label_table(path, asked, **columns))
        if path.exists():
            raise DataError(
                f"{shown(path)} is not a table of labels; give a .csv or .tsv file with a path column and a column per task"
            )
        raise DataError(f"{shown(path)} does not exist; give a .csv or .tsv file with a column per task")
    if isinstance(data, Mapping) and data and not _is_by_split(data):
        if asked:
            raise DataError("tasks are chosen from a table or from arrays; of one data set per task, give those you want")
        return labelled_parts(data, **columns)
    given = [f"{name}={value!r}" for name, value in columns.items() if value is not None]
    problems(DataError, "columns can be chosen for a CSV file only:", given)
    if _is_pair(data):
        return _asked_only(labelled_arrays(data[0], data[1]), asked)
    if isinstance(data, Mapping) and data:
        return _asked_only(_by_split(data), asked)
    raise DataError(
        f"data={type(data).__name__} cannot be read; give a table of labels (.csv), (images, {{task: labels}}) or "
        "{task: data}, one data set per task"
    )


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Mapping)


def _is_by_split(data: Mapping[str, Any]) -> bool:
    return all(split_named(str(key)) and _is_pair(value) for key, value in data.items())


def _is_table(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike)) and Path(data).suffix.lower() in (".csv", ".tsv")


def labelled_parts(data: Mapping[str, Any], **columns: str | None) -> LabelledSource:
    """One data set per task, each anything that `open_source` reads; the name of a task is a plain word.

    columns  of those that are CSV files, as for `open_source`
    """
    wrong, parts = [], {}
    chosen = {name: value for name, value in columns.items() if value is not None}
    if chosen and not any(_is_table(one) for one in data.values()):
        wrong.append(f"{some(chosen)}: columns can be chosen for CSV files only, and none of the data sets is one")
    for name, one in data.items():
        if plain_name(str(name)) != name:
            remedy = f"; {plain_name(str(name))!r} would do" if plain_name(str(name)) else ""
            wrong.append(
                f"task name {name!r} cannot be used: letters, digits and underscores, and no word of PyTorch{remedy}"
            )
        try:
            parts[str(name)] = open_source(one, **(chosen if _is_table(one) else {}))
        except DataError as error:
            wrong.append(f"task {name!r}: {error}")
    problems(DataError, "the data sets cannot be used:", wrong)
    if not parts:
        raise DataError("there is no data set; give one per task")
    return LabelledSource(parts)


# ------------------------------------------------------------------------------------------------------- table


def _of_table(path: Path, table: LabelTable) -> LabelledSource:
    every = np.arange(len(table), dtype=np.int64)
    source = Source(
        "manifest",
        shown(path),
        FileSamples(table.files),
        [file.name for file in table.files],
        np.zeros(len(table), np.int64),
        ("image",),
        table.splits or {"train": every},
        table.groups,
        table.group_names,
        notes=table.notes,
    )
    return LabelledSource({"data": source}, table.answers, table.lines)


# ------------------------------------------------------------------------------------------------------ arrays


def labelled_arrays(
    images: Any,
    labels: Mapping[str, Any],
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    splits: Any = None,
    groups: Any = None,
) -> LabelledSource:
    """Arrays with one array of labels per task.

    images   `[N, H, W]` or `[N, H, W, C]` (see `eight_bit` for the values), or vectors `[N, D]`
    labels   per task `[N]` whole numbers or names (classes; negative or None: unknown), bool (yes or no), float (a number;
             NaN: unknown), or `[N, L]` of 0, 1, -1 (unknown) or bool: several yes/no questions
    classes  names of classes or questions, by task; whole numbers are positions in them
    splits   `[N]` words, train, val or test; None: not chosen
    groups   `[N]` numbers or words; samples of one group belong together

    Raises `DataError` with everything that is wrong with them.
    """
    wrong: list[str] = []
    parts = parts_of((_array(images), np.zeros(len(images), np.int64)))
    number = len(parts.samples)
    answers = []
    for name, values in labels.items():
        made = _answers(str(name), _array(values), number, (classes or {}).get(name), wrong)
        answers += [made] if made is not None else []
    extra = [repr(name) for name in classes or {} if name not in labels]
    if extra:
        wrong.append(f"classes name {some(extra)}, of which there are no labels")
    if not labels:
        wrong.append("there is no task; give one array of labels at least")
    chosen = _array_splits(splits, number, wrong)
    for made in answers:
        wrong += value_problems(made) or (split_problems(made, chosen) if splits is not None else [])
    belong, group_names = _array_groups(groups, number, wrong)
    problems(DataError, "the arrays cannot be used:", wrong)
    source = Source(
        "arrays",
        "arrays",
        parts.samples,
        _names(chosen if splits is not None else {"": np.arange(number)}, number),
        np.zeros(number, np.int64),
        ("sample",),
        chosen,
        belong,
        group_names,
        notes=tuple(made.note for made in answers),
    )
    return LabelledSource({"data": source}, tuple(answers))


def _names(splits: Mapping[str, NDArray[np.int64]], number: int) -> list[str]:
    """`train[17]`, or `[17]` where there are no splits."""
    names = [""] * number
    for split, rows in splits.items():
        for place, row in enumerate(rows.tolist()):
            names[row] = f"{split}[{place}]"
    return names


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _answers(
    name: str, values: NDArray[Any], number: int, classes: Sequence[str] | None, wrong: list[str]
) -> Answers | None:
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    found = []
    if plain_name(name) != name:
        found.append(f"task name {name!r} cannot be used: letters, digits and underscores, and no word of PyTorch")
    if values.ndim not in (1, 2):
        found.append(f"task {name!r}: labels have shape {list(values.shape)}, but [N] or [N, L] is needed")
    elif len(values) != number:
        found.append(f"task {name!r}: {count(len(values), 'label')} for {count(number, 'sample')}; give one per sample")
    wrong += found
    if found:
        return None
    made = _several(name, values, classes, wrong) if values.ndim == 2 else _one(name, values, classes, wrong)
    if made is None:
        return None
    missing = number - int(made.known.sum())
    gaps = f"; unknown for {count(missing, 'sample')}" if missing else ""
    asks = f", {len(made.classes)}: {some(made.classes, 5)}" if made.classes and made.kind != "yes_no" else ""
    return replace(made, note=f"task {name!r}: {KIND_NAMES[made.kind]} ({values.dtype} values){asks}{gaps}")


def _one(name: str, values: NDArray[Any], classes: Sequence[str] | None, wrong: list[str]) -> Answers | None:
    if values.dtype.kind == "b":
        return Answers(name, "yes_no", YES_NO, values.astype(np.int64))
    if values.dtype.kind == "f":
        largest = np.abs(values[~np.isnan(values)]).max(initial=0)
        if largest > np.finfo(np.float32).max:
            wrong.append(f"task {name!r}: its numbers must be finite, but sample {int(np.nanargmax(np.abs(values)))} is not")
        with np.errstate(over="ignore"):
            return Answers(name, "number", (), values.astype(np.float32))
    try:
        raw = [plain_label(value) for value in values.tolist()]
        given = [None if isinstance(one, int) and one < 0 else one for one in raw]
        labels, names, _ = index_labels(given, None if classes is None else tuple(classes))
    except (UnreadableError, DataError) as problem:
        wrong.append(f"task {name!r}: {problem}")
        return None
    return Answers(name, "classes", names, labels)


def _several(name: str, values: NDArray[Any], classes: Sequence[str] | None, wrong: list[str]) -> Answers | None:
    names = tuple(classes) if classes is not None else tuple(f"{name}_{i}" for i in range(values.shape[1]))
    found = []
    if len(names) != values.shape[1]:
        found.append(f"task {name!r}: {count(len(names), 'name')} for {count(values.shape[1], 'question')}")
    if values.dtype.kind not in "biu" or not np.isin(values, (0, 1, UNKNOWN)).all():
        odd = (
            ""
            if values.dtype.kind not in "iu"
            else f", not {some(str(v) for v in np.unique(values) if v not in (0, 1, UNKNOWN))}"
        )
        found.append(f"task {name!r}: labels [N, L] are yes/no questions: bool, or whole numbers 0, 1, -1 (unknown){odd}")
    wrong += found
    return None if found else Answers(name, "several", names, values.astype(np.int64))


def _array_splits(splits: Any, number: int, wrong: list[str]) -> dict[str, NDArray[np.int64]]:
    if splits is None:
        return {"train": np.arange(number, dtype=np.int64)}
    words = [str(word) for word in _array(splits).tolist()]
    if len(words) != number:
        wrong.append(f"splits: {count(len(words), 'word')} for {count(number, 'sample')}; give one per sample")
        return {"train": np.arange(number, dtype=np.int64)}
    other = sorted({word for word in words if split_named(word) is None}, key=natural_key)
    if other:
        wrong.append(f"splits must be train, val or test, but also say {some(map(repr, other), 8)}")
    named = np.array([split_named(word) or "" for word in words])
    chosen = {split: np.flatnonzero(named == split).astype(np.int64) for split in SPLITS if (named == split).any()}
    if "train" not in chosen:
        wrong.append("splits: there are no training samples")
    return chosen


def _array_groups(groups: Any, number: int, wrong: list[str]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if groups is None:
        return None, ()
    values = _array(groups)
    if len(values) != number:
        wrong.append(f"groups: {count(len(values), 'group')} for {count(number, 'sample')}; give one per sample")
        return None, ()
    names, of = np.unique(values, return_inverse=True)
    return of.reshape(-1).astype(np.int64), tuple(map(str, names.tolist()))


def _by_split(data: Mapping[str, Any]) -> LabelledSource:
    """`{split: (images, {task: labels})}`, every split with labels of every task."""
    chosen = {str(split_named(str(key))): value for key, value in data.items()}
    names = list(dict.fromkeys(name for _, labels in chosen.values() for name in labels))
    lacking = [
        f"{split} has no labels of {name!r}" for split, (_, labels) in chosen.items() for name in names if name not in labels
    ]
    problems(DataError, "every split needs labels of every task (-1, None or NaN where unknown):", lacking)
    images = [_array(x) for x, _ in chosen.values()]
    labels = {name: [_array(given[name]) for _, given in chosen.values()] for name in names}
    shapes = [
        f"{what}: {some((f'{split} {a.dtype}{list(a.shape)}' for split, a in zip(chosen, arrays, strict=True)), 5)}"
        for what, arrays in {"images": images, **labels}.items()
        if len({(a.shape[1:], a.dtype.kind) for a in arrays}) > 1
    ]
    problems(DataError, "the splits have different shapes or types:", shapes)
    words = np.repeat(list(chosen), [len(x) for x in images])
    joined = {name: np.concatenate(arrays) for name, arrays in labels.items()}
    return labelled_arrays(np.concatenate(images), joined, splits=words)


def _asked_only(source: LabelledSource, asked: Sequence[Asked]) -> LabelledSource:
    """The tasks asked for, under the names asked for."""
    if not asked:
        return source
    there = {made.name: made for made in source.answers}
    wrong, chosen = [], []
    for one in asked:
        made = there.get(one.columns[0]) if len(one.columns) == 1 else None
        if made is None:
            wrong.append(
                f"task {one.name!r}: there are no labels called {' + '.join(one.columns)!r}; there are {some(there, 20)}"
            )
        elif one.kind not in (None, made.kind):
            wrong.append(
                f"task {one.name!r} holds {KIND_NAMES[made.kind]}; give labels of another type to make it otherwise"
            )
        else:
            chosen.append(replace(made, name=one.name))
    problems(DataError, "the tasks cannot be chosen:", wrong)
    return replace(source, answers=tuple(chosen))
