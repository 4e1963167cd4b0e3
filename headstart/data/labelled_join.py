"""The samples of a labelled source in one store, with what is known of each; several data sets are put into one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.answers import Answers, split_problems, value_problems
from headstart.data.duplicates import Rows, clusters_of, exact_clusters
from headstart.data.duplicates import union as joined_sets
from headstart.data.labelled_sources import LabelledSource
from headstart.data.names import BadFile, count, shown, some
from headstart.data.prepare import Progress, Read, Usable, read_samples
from headstart.data.sources import Source
from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task
from headstart.data.union import united
from headstart.errors import DataError, problems

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Gathered:
    """Samples of one store, and what is known of each; arrays have one row per sample of the store.

    answers      per task
    names        how each is shown
    lines        the label table's lines that speak of each; empty where there is no table
    groups       the user's groups, or None; `group_names[i]` is what group i is called
    sources      rows of each data set; no row is in two
    given        per data set the splits that it came in: rows; `train` alone where none were chosen
    """

    where: str
    store: Store
    answers: tuple[Answers, ...]
    names: list[str]
    lines: tuple[tuple[int, ...], ...]
    groups: NDArray[np.int64] | None
    group_names: tuple[str, ...]
    sources: dict[str, NDArray[np.int64]]
    given: dict[str, dict[str, NDArray[np.int64]]]
    set_aside: tuple[BadFile, ...]
    sizes: NDArray[np.int32] | None
    modes: dict[str, int]
    exact: list[Rows]
    near: list[Rows]
    notes: tuple[str, ...]


def gather(
    source: LabelledSource, *, size: int, fit: str, cache: Path, progress: Progress | None, workers: int | None
) -> Gathered:
    """Read all samples of `source`, see `prepare_labelled`. Raises `DataError` when a task loses what it needs."""
    if source.answers:
        read = read_samples(source.first, size=size, fit=fit, cache=cache, progress=progress, workers=workers)
        return _of_one(source, read)
    pieces: list[_Piece] = []
    wrong = []
    for name, part in source.parts.items():
        try:
            # a folder each: files of two Datasets of the user's cannot be told apart
            place = cache / name
            read = read_samples(part, size=size, fit=fit, cache=place, progress=progress, workers=workers)
            _add(pieces, name, part, read, Usable.of(part, read))
        except DataError as error:
            wrong.append(f"task {name!r}: {error}")
    problems(DataError, "the data sets cannot be used:", wrong)
    return _of_several(pieces, cache)


def _of_one(source: LabelledSource, read: Read) -> Gathered:
    part = source.first
    answers = tuple(made.take(read.places) for made in source.answers)
    splits = read.splits(part)
    problems(DataError, f"{part.where} cannot be used:", _emptied(source, read, answers, splits))
    groups = None if part.groups is None else part.groups[read.places]
    return Gathered(
        part.where,
        read.store,
        answers,
        [part.names[int(place)] for place in read.places],
        tuple(source.lines[int(place)] for place in read.places) if source.lines else (),
        groups,
        part.group_names,
        {"data": np.arange(len(read.places), dtype=np.int64)},
        {"data": splits},
        (*part.set_aside, *read.bad),
        read.sizes,
        dict(Counter(read.modes).most_common()),
        read.exact,
        read.near,
        part.notes,
    )


def _emptied(
    source: LabelledSource, read: Read, answers: Sequence[Answers], splits: dict[str, NDArray[np.int64]]
) -> list[str]:
    """Why the samples that could be read are not enough; empty when they are."""
    reasons = some((f"{bad.path} {bad.reason}" for bad in read.bad), 5)
    if not len(read.places):
        return [f"none of its {count(len(source.first), 'image')} can be read: {reasons}"]
    wrong = []
    for before, after in zip(source.answers, answers, strict=True):
        gone = sorted(_occurring(before) - _occurring(after))
        if gone:
            names = some((repr(after.classes[place]) for place in gone), 8)
            wrong.append(
                f"task {after.name!r}: no readable image of {names} is left ({reasons}); repair them, or leave it out"
            )
        else:
            wrong += value_problems(after) or (split_problems(after, splits) if len(splits) > 1 else [])
    return wrong + [f"{split}: none of its images can be read: {reasons}" for split, rows in splits.items() if not len(rows)]


def _occurring(made: Answers) -> set[int]:
    """Positions of classes that occur, of questions that are yes somewhere."""
    if made.kind == "number":
        return set()
    found = np.flatnonzero((made.labels == 1).any(axis=0)) if made.kind == "several" else np.unique(made.labels[made.known])
    return {int(place) for place in found}


# ------------------------------------------------------------------------------------------- several data sets


@dataclass(eq=False)
class _Piece:
    """One store with all tasks about it: two data sets of the same samples in the same splits share one."""

    part: Source
    read: Read
    groups: NDArray[np.int64] | None
    tasks: dict[str, Usable] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "+".join(self.tasks)


def _add(pieces: list[_Piece], name: str, part: Source, read: Read, usable: Usable) -> None:
    for piece in pieces:
        one = next(iter(piece.tasks.values()))
        if piece.read.store.fingerprint == read.store.fingerprint and _same_parts(one, usable):
            piece.tasks[name] = usable
            return
    pieces.append(_Piece(part, read, usable.groups, {name: usable}))


def _same_parts(one: Usable, other: Usable) -> bool:
    """Whether splits and groups are the same."""
    if one.splits.keys() != other.splits.keys():
        return False
    pairs = [(rows, other.splits[split]) for split, rows in one.splits.items()]
    if one.groups is None or other.groups is None:
        return one.groups is other.groups and all(np.array_equal(a, b) for a, b in pairs)
    return all(np.array_equal(a, b) for a, b in (*pairs, (one.groups, other.groups)))


def _of_several(pieces: Sequence[_Piece], cache: Path) -> Gathered:
    tasks = [
        Task(
            next(iter(piece.tasks)),
            piece.read.store,
            np.zeros(len(piece.read.store), np.int64),
            ("sample",),
            np.arange(len(piece.read.store), dtype=np.int64),
            piece.groups,
        )
        for piece in pieces
    ]
    whole = united(tasks, "joined", ("sample",), [0] * len(tasks), cache)
    firsts = np.cumsum([0, *(len(task) for task in tasks)])
    rows = [whole.rows[first : first + len(task)] for first, task in zip(firsts, tasks, strict=False)]
    sizes = [piece.read.sizes for piece in pieces]
    modes: Counter[str] = Counter()
    for piece in pieces:
        modes.update(piece.read.modes)
    return Gathered(
        some((piece.part.where for piece in pieces), 5),
        whole.store,
        _answers(pieces, rows, len(whole.store)),
        _names(pieces),
        (),
        whole.groups,
        _group_names(pieces, rows, whole.groups),
        {piece.label: own for piece, own in zip(pieces, rows, strict=True)},
        {piece.label: _shifted(piece, own) for piece, own in zip(pieces, rows, strict=True)},
        tuple(bad for piece in pieces for bad in (*piece.part.set_aside, *piece.read.bad)),
        None if any(size is None for size in sizes) else np.concatenate([size for size in sizes if size is not None]),
        dict(modes.most_common()),
        _exact(pieces, whole.store, rows),
        [tuple(int(own[r]) for r in c) for piece, own in zip(pieces, rows, strict=True) for c in piece.read.near],
        tuple(f"task {name!r}: {note}" for piece in pieces for name, one in piece.tasks.items() for note in one.notes),
    )


def _answers(pieces: Sequence[_Piece], rows: Sequence[NDArray[np.int64]], number: int) -> tuple[Answers, ...]:
    out = []
    for piece, own in zip(pieces, rows, strict=True):
        for name, one in piece.tasks.items():
            labels = np.full(number, UNKNOWN, np.int64)
            labels[own] = one.labels
            told = f"task {name!r}: {count(len(one.classes), 'class', 'classes')}, {some(one.classes, 5)}"
            out.append(Answers(name, "classes", one.classes, labels, told))
    return tuple(out)


def _names(pieces: Sequence[_Piece]) -> list[str]:
    several = len(pieces) > 1
    return [
        f"{piece.label}: {name}" if several else name for piece in pieces for name in next(iter(piece.tasks.values())).names
    ]


def _shifted(piece: _Piece, own: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {split: own[at] for split, at in next(iter(piece.tasks.values())).splits.items()}


def _group_names(
    pieces: Sequence[_Piece], rows: Sequence[NDArray[np.int64]], groups: NDArray[np.int64] | None
) -> tuple[str, ...]:
    """What the groups numbered anew are called."""
    if groups is None:
        return ()
    names = ["(no group)"] * (int(groups.max(initial=-1)) + 1)
    for piece, own in zip(pieces, rows, strict=True):
        if piece.groups is not None:
            for new, old in dict(zip(groups[own].tolist(), piece.groups.tolist(), strict=True)).items():
                names[new] = shown(piece.part.group_names[old])
    return tuple(names)


def _exact(pieces: Sequence[_Piece], store: Store, rows: Sequence[NDArray[np.int64]]) -> list[Rows]:
    """Identical samples, also of two data sets: there what is compared is what is stored, at the working size."""
    within = [tuple(int(own[r]) for r in c) for piece, own in zip(pieces, rows, strict=True) for c in piece.read.exact]
    if len(pieces) < 2:
        return within
    digests = [
        hashlib.blake2b(sample.tobytes(), digest_size=16).digest()
        for start in range(0, len(store), _CHUNK)
        for sample in store.array[start : start + _CHUNK]
    ]
    across = exact_clusters(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16))
    return clusters_of(joined_sets(len(store), [*within, *across]))
