"""Images divided into training, validation and test parts, so that every task can be learned and judged in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.answers import Answers
from headstart.data.names import SPLITS, count
from headstart.data.stratify import Units, stratified, units_of
from headstart.data.task import YES_NO, valid
from headstart.errors import ConfigError, DataError, problems

_BINS = 5
_PATTERNS = 16
_DEALS = 8
_DEPTH = 3
_TRIED = 24


@dataclass(frozen=True, eq=False)
class Need:
    """What a part must have: one of `units` at least. `told` says it in a message."""

    part: int
    units: NDArray[np.int64]
    told: str


def evidence(answers: Sequence[Answers]) -> NDArray[np.int64]:
    """`[N, T]` labels to be spread evenly, numbered over all columns, -1 for none.

    A column per question with classes (for yes/no questions both answers count), one per number, which is put into at most
    five bins of equal numbers of samples, and which tasks are known: each combination where there are at most 16, else each
    task's absence by itself.
    """
    columns: list[NDArray[np.int64]] = []
    for made in answers:
        if made.kind == "several":
            columns += list(made.labels.T)
        else:
            columns.append(_binned(made.labels) if made.kind == "number" else made.labels)
    known = np.stack([made.known for made in answers], axis=1)
    patterns, of = np.unique(known, axis=0, return_inverse=True)
    if 1 < len(patterns) <= _PATTERNS:
        columns.append(of.reshape(-1).astype(np.int64))
    elif len(patterns) > 1:
        columns += [np.where(there, -1, 0) for there in known.T]
    first, out = 0, []
    for column in columns:
        out.append(np.where(column < 0, -1, column + first))
        first += int(column.max(initial=-1)) + 1
    return np.stack(out, axis=1).astype(np.int64)


def _binned(values: NDArray[np.float32]) -> NDArray[np.int64]:
    there = ~np.isnan(values)
    if not there.any():
        return np.full(len(values), -1, np.int64)
    edges = np.unique(np.quantile(values[there], np.arange(1, _BINS) / _BINS))
    return np.where(there, np.searchsorted(edges, values, "right"), -1).astype(np.int64)


def divide(
    answers: Sequence[Answers], groups: NDArray[np.integer] | None, fractions: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """`[N]` the part of each sample: 0 train, 1 val, 2 test.

    answers    of all tasks, over these N samples
    groups     `[N]` or None: samples of one group are in one part
    fractions  of train, val and test; they add up to 1, and a part of 0 stays empty

    Labels are spread by iterative stratification (`stratify`). Then units are moved, as few as can be, until each task has
    a known label in every part and every class (both answers of every question) is in the training part; then, where it
    can be had without taking that away, until both answers of every yes/no question are in every part, without which
    ranking cannot be judged. Raises DataError naming the tasks for which the first cannot be done, e.g. those known in
    fewer groups than there are parts.
    """
    units = units_of(evidence(answers), groups)
    parts = [part for part, fraction in enumerate(fractions) if fraction > 0]
    needs = [need for made in answers for need in _needs(made, units, parts)]
    noun = "image" if groups is None else "group"
    scarce = [line for made in answers if (line := _scarce(made, units, len(parts), noun))]
    problems(DataError, f"the images cannot be divided into {_listed(parts)}:", scarce)
    unmet: list[Need] = []
    for deal in range(_DEALS):
        place = stratified(units, fractions, seed, deal)
        unmet = [need for need in needs if not _mend(place, units, needs, need)]
        unmet = [need for need in unmet if not _met(place, need)]
        if not unmet:
            wishes = [wish for made in answers for wish in _wishes(made, units, parts)]
            for wish in wishes:
                _mend(place, units, [*needs, *wishes], wish)
            return place[units.of]
    problems(
        DataError,
        f"the images cannot be divided into {_listed(parts)} so that every task is in each, and every class in train:",
        [
            f"{need.told}: {count(len(need.units), noun)} with it, needed elsewhere; label more images, or choose the parts "
            "in a split column"
            for need in unmet
        ],
    )
    raise AssertionError("unmet needs raise")


def _listed(parts: Sequence[int]) -> str:
    return " and ".join(SPLITS[part] for part in parts)


def _scarce(made: Answers, units: Units, parts: int, noun: str) -> str:
    number = len(_units_where(units, made.known))
    if number >= parts:
        return ""
    return (
        f"task {made.name!r} is known in {count(number, noun)} only (copies of a picture count as one group), and each of "
        f"{parts} parts needs one; label more images, or leave the task out"
    )


def _units_where(units: Units, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    there = np.zeros(len(units.sizes), bool)
    there[units.of[mask]] = True
    return np.flatnonzero(there).astype(np.int64)


def _wishes(made: Answers, units: Units, parts: Sequence[int]) -> list[Need]:
    """Both answers of every yes/no question in every part."""
    if made.kind not in ("yes_no", "several"):
        return []
    columns = made.labels.T if made.kind == "several" else made.labels[None]
    found = [
        Need(part, _units_where(units, column == answer), f"{YES_NO[answer]} in {SPLITS[part]}")
        for column in columns
        for answer in (0, 1)
        for part in parts
    ]
    return [wish for wish in found if len(wish.units) >= len(parts)]


def _needs(made: Answers, units: Units, parts: Sequence[int]) -> list[Need]:
    """A known label in every part, and every class in train."""
    out = [Need(part, _units_where(units, made.known), f"task {made.name!r} in {SPLITS[part]}") for part in parts]
    if made.kind == "several":
        for place, name in enumerate(made.classes):
            for answer in (0, 1):
                told = f"{YES_NO[answer]} to {name!r} of task {made.name!r} in train"
                out.append(Need(0, _units_where(units, made.labels[:, place] == answer), told))
    elif made.kind == "number":
        there = valid(made.labels)
        if there.any():
            # Two different values at least: one of the lower half of the samples, one of the upper.
            middle, high = np.median(made.labels[there]), made.labels[there].max()
            lower = there & ((made.labels <= middle) if middle < high else (made.labels < high))
            for mask in (lower, there & ~lower):
                out.append(Need(0, _units_where(units, mask), f"two different values of task {made.name!r} in train"))
    else:
        for place, name in enumerate(made.classes):
            told = f"{name!r} of task {made.name!r} in train"
            out.append(Need(0, _units_where(units, made.labels == place), told))
    return [need for need in out if len(need.units)]


def _met(place: NDArray[np.int64], need: Need) -> bool:
    return bool((place[need.units] == need.part).any())


def _mend(place: NDArray[np.int64], units: Units, needs: Sequence[Need], need: Need, depth: int = _DEPTH) -> bool:
    """Meet `need` by moving a unit, and others after it where that takes away what another part needs; in place.

    Needs met before stay met; where none of the small units tried will do, nothing is moved.
    """
    if _met(place, need):
        return True
    tried = need.units[np.argsort(units.sizes[need.units], kind="stable")][:_TRIED]
    for unit in tried.tolist():
        before = place.copy()
        held = [other for other in needs if other.part == place[unit] and _met(place, other)]
        place[unit] = need.part
        lost = [other for other in held if not _met(place, other)]
        if not lost:
            return True
        followed = depth > 0 and all(_mend(place, units, needs, other, depth - 1) for other in lost)
        if followed and _met(place, need) and all(_met(place, other) for other in held):
            return True
        place[:] = before
    return False


def check_fractions(val: float, test: float) -> tuple[float, float, float]:
    """The fractions of train, val and test. Raises ConfigError unless all are possible."""
    wrong = [
        f"{name}_fraction={value} must lie between 0 and 1"
        for name, value in (("val", val), ("test", test))
        if not 0 <= value < 1
    ]
    if not wrong and val + test >= 1:
        wrong.append(f"val_fraction={val} and test_fraction={test} leave nothing to learn from; make them smaller")
    problems(ConfigError, "the images cannot be divided:", wrong)
    return 1 - val - test, val, test
