"""Samples with labels for several tasks, ready to train on: decoded once, inspected, put over one store, divided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headstart.data.answers import Answers, split_problems, value_problems
from headstart.data.duplicates import Rows, merge_groups
from headstart.data.findings import sizes_of, straddling
from headstart.data.inspection import Cluster
from headstart.data.label_findings import LabelFindings, known_by_part, known_together, task_found, warnings_of
from headstart.data.label_split import check_fractions, divide
from headstart.data.labelled_join import Gathered, gather
from headstart.data.labelled_sources import LabelledSource
from headstart.data.names import SPLITS, shown
from headstart.data.prepare import Progress
from headstart.data.store import Store
from headstart.data.task import UNKNOWN, Task, valid
from headstart.errors import ConfigError, DataError, problems

Contradicting = Literal["refuse", "forget", "keep"]
"""What becomes of identical pictures with different answers: an error, unknown answers, or nothing."""

_LISTED = 5


@dataclass(frozen=True, eq=False)
class LabelParts:
    """Rows of a `LabelledSet` that are learned from, chosen by and tested on; each ascending, `val` perhaps empty."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def by_name(self) -> dict[str, NDArray[np.int64]]:
        """`train`, `val` and `test` where there are rows of them."""
        return {name: rows for name in SPLITS if len(rows := getattr(self, name))}


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Samples of one store and several tasks about them.

    store        one row per usable sample: `[N, S, S, 3]` uint8, memory-mapped, or `[N, D]` float32
    tasks        by name, each over all N rows, most of them perhaps unknown; `groups` of each are this set's
    groups       `[N]` int64: the user's groups and all copies of a picture (re-encoded ones too) joined
    names        how each row is shown: a relative path, `train[17]`, `digit: 3.png`
    sources      rows of each data set that this was put together from, no row in two; one, called `data`, for a table
    given        per data set the splits it came in: rows; only `train` where none were chosen
    findings     what was found; prints as a page
    """

    store: Store
    tasks: dict[str, Task]
    groups: NDArray[np.int64]
    names: list[str]
    sources: dict[str, NDArray[np.int64]]
    given: dict[str, dict[str, NDArray[np.int64]]]
    findings: LabelFindings

    def __len__(self) -> int:
        return len(self.store)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of samples, labels, groups and given splits; names and places on disk do not enter."""
        digest = hashlib.blake2b(self.store.fingerprint.encode(), digest_size=16)
        for task in self.tasks.values():
            digest.update(task.fingerprint.encode())
        digest.update(self.groups.tobytes())
        for given in self.given.values():
            for split, rows in sorted(given.items()):
                digest.update(split.encode())
                digest.update(rows.tobytes())
        return digest.hexdigest()

    def on(self, rows: NDArray[np.integer]) -> dict[str, Task]:
        """The tasks asked of some rows only."""
        return {name: replace(task, rows=np.asarray(rows, np.int64)) for name, task in self.tasks.items()}

    def sources_on(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
        """The rows of each data set among `rows`, in the order of `rows`; a data set without any is left out."""
        wanted = np.asarray(rows, np.int64)
        found = (wanted[np.isin(wanted, own)] for own in self.sources.values())
        return tuple(own for own in found if len(own))

    def split(self, seed: int, *, val_fraction: float = 0.2, test_fraction: float = 0.2) -> LabelParts:
        """Divide into train, val and test; a function of the data, `seed` and the fractions.

        A val or test split that the user chose is kept; what is missing is taken from the user's train split, with these
        fractions of it. Labels of all tasks together are spread by iterative stratification (see `divide`), groups and
        copies stay together, each task has a known label in every part, and every class is in train.

        Raises ConfigError for fractions that cannot be, DataError where a task is known too rarely.
        """
        fractions = check_fractions(val_fraction, test_fraction)
        place = np.full(len(self), -1, np.int64)
        open_rows: dict[tuple[bool, bool], list[NDArray[np.int64]]] = {}
        for given in self.given.values():
            for split, rows in given.items():
                place[rows] = SPLITS.index(split)
            chosen = ("val" in given, "test" in given)
            if chosen != (True, True):
                open_rows.setdefault(chosen, []).append(given["train"])
        for (has_val, has_test), parts in sorted(open_rows.items()):
            rows = np.sort(np.concatenate(parts))
            val, test = (0.0 if has_val else fractions[1]), (0.0 if has_test else fractions[2])
            if val or test:
                place[rows] = divide(self._about(rows), self.groups[rows], (1 - val - test, val, test), seed)
        return LabelParts(*(np.flatnonzero(place == part).astype(np.int64) for part in range(3)))

    def _about(self, rows: NDArray[np.int64]) -> list[Answers]:
        """The answers of the tasks of which anything is known there."""
        every = (Answers(t.name, t.kind, t.classes, t.labels[rows]) for t in self.tasks.values())
        return [made for made in every if made.known.any()]


def prepare_labelled(
    source: LabelledSource,
    *,
    size: int,
    fit: str = "squash",
    cache: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    contradicting: Contradicting = "refuse",
) -> LabelledSet:
    """Decode every picture of `source` once, inspect it, and put all tasks over one store.

    size, fit, cache, progress, workers  as in `prepare`
    contradicting  what becomes of identical pictures with different answers to one question: `refuse` raises, naming them;
                   `forget` makes these answers unknown; `keep` only tells. Identical vectors are always kept

    Data sets of several tasks are put into one store, with unknown labels for the tasks that they are not about; two of
    the same samples in the same splits share their rows. Pictures that cannot be decoded are set aside and listed. Raises
    `DataError` when a task or class loses all its samples that way or by contradictions, `DiskFull` when the cache cannot
    hold the pictures.
    """
    if contradicting not in get_args(Contradicting):
        raise ConfigError(f"contradicting={contradicting!r} is unknown; choose one of {', '.join(get_args(Contradicting))}")
    got = gather(source, size=size, fit=fit, cache=Path(cache), progress=progress, workers=workers)
    against = [found for made in got.answers for found in _contradictions(got, made)]
    told = tuple(found.told for found in against)
    if contradicting == "refuse" and got.store.is_image and against:
        remedy = "keep the right label and take the other out"
        more = [f"... and {len(told) - _LISTED * 4} more"] if len(told) > _LISTED * 4 else []
        problems(
            DataError, f"{got.where}: identical pictures have different labels; {remedy}:", [*told[: _LISTED * 4], *more]
        )
    if contradicting == "forget":
        got = replace(got, answers=tuple(_forgotten(made, against) for made in got.answers))
        wrong = [line for made in got.answers for line in _left(got, made)]
        problems(DataError, f"{got.where} cannot be used without answers that contradict each other:", wrong)
    groups = merge_groups(got.groups, len(got.store), [*got.exact, *got.near])
    every = np.arange(len(got.store), dtype=np.int64)
    tasks = {
        made.name: Task(made.name, got.store, made.labels, made.classes, every, groups, made.kind) for made in got.answers
    }
    return LabelledSet(got.store, tasks, groups, got.names, got.sources, got.given, _findings(got, told, size))


# ---------------------------------------------------------------------------------------------- contradictions


@dataclass(frozen=True, eq=False)
class _Against:
    """Identical samples `rows` with different answers to one question: `place` of several."""

    task: str
    place: int
    rows: Rows
    told: str


def _contradictions(got: Gathered, made: Answers) -> list[_Against]:
    labels = made.labels if made.kind == "several" else made.labels[:, None]
    out = []
    for rows in got.exact:
        own = labels[list(rows)]
        there = valid(own)
        for place in np.flatnonzero(there.sum(axis=0) > 1).tolist():
            known = [row for row, yes in zip(rows, there[:, place], strict=True) if yes]
            other = next((row for row in known if labels[row, place] != labels[known[0], place]), None)
            if other is not None:
                told = " and ".join(f"{_called(got, row)} says {_said(made, row, place)!r}" for row in (known[0], other))
                asks = f", {made.classes[place]!r}" if made.kind == "several" else ""
                out.append(_Against(made.name, place, rows, f"task {made.name!r}{asks}: {told}"))
    return out


def _called(got: Gathered, row: int) -> str:
    lines = f" (line {', '.join(map(str, got.lines[row]))})" if got.lines else ""
    return shown(got.names[row]) + lines


def _said(made: Answers, row: int, place: int) -> str:
    if made.kind == "several":
        return ("no", "yes")[int(made.labels[row, place])]
    return made.said(row)


def _forgotten(made: Answers, against: Sequence[_Against]) -> Answers:
    labels = made.labels.copy()
    for one in (found for found in against if found.task == made.name):
        rows = list(one.rows)
        if made.kind == "several":
            labels[rows, one.place] = UNKNOWN
        else:
            labels[rows] = np.nan if made.kind == "number" else UNKNOWN
    return replace(made, labels=labels)


def _left(got: Gathered, made: Answers) -> list[str]:
    wrong = value_problems(made)
    for given in got.given.values():
        about = {split: rows for split, rows in given.items() if len(given) > 1}
        mine = made.known[np.concatenate(list(given.values()))].any()
        wrong = wrong or (split_problems(made, about) if about and mine else [])
    return wrong


# ---------------------------------------------------------------------------------------------------- findings


def _findings(got: Gathered, conflicts: tuple[str, ...], size: int) -> LabelFindings:
    split = np.full(len(got.store), "", "U5")
    for given in got.given.values():
        for name, rows in given.items():
            split[rows] = name
    parts = {name: np.flatnonzero(split == name).astype(np.int64) for name in SPLITS if (split == name).any()}

    def cluster(kind: Literal["exact", "near", "group"], rows: Rows, what: str = "") -> Cluster:
        at = list(rows)
        names = tuple(shown(got.names[row]) for row in at)
        return Cluster(kind, what, rows, names, tuple(_label(got, row) for row in at), tuple(split[at].tolist()))

    exact = tuple(cluster("exact", rows) for rows in got.exact)
    near = tuple(cluster("near", rows) for rows in got.near)
    torn = () if got.groups is None else straddling(got.groups, split)
    groups = tuple(cluster("group", rows, shown(got.group_names[_group(got, rows)])) for rows in torn)
    tasks = tuple(task_found(made) for made in got.answers)
    divided = len(parts) > 1
    found = LabelFindings(
        got.where,
        len(got.store),
        tasks,
        known_by_part(got.answers, parts) if divided else {},
        known_together(got.answers),
        sizes_of(got.sizes),
        got.modes,
        got.set_aside,
        exact,
        near,
        tuple(one for one in (*exact, *near, *groups) if one.leaks),
        conflicts,
        got.notes,
    )
    warnings = [*warnings_of(found, divided=divided), *_enlarged(found, size)]
    return replace(found, warnings=tuple(warnings))


def _group(got: Gathered, rows: Rows) -> int:
    return -1 if got.groups is None else int(got.groups[rows[0]])


def _label(got: Gathered, row: int) -> str:
    """All that is known of one sample."""
    return "; ".join(f"{made.name} {made.said(row)}" for made in got.answers if made.known[row])


def _enlarged(found: LabelFindings, size: int) -> list[str]:
    if found.sizes is None or min(found.sizes.width[1], found.sizes.height[1]) * 2 > size:
        return []
    return [
        f"most images are far smaller than the working size of {size} px and are enlarged, which adds no detail; a smaller "
        "size is faster"
    ]
