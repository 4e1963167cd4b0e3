"""Deterministic, stratified, group-aware splits.

A *unit* is what must not be torn apart: a group, or a single sample that has none. Units of several samples are placed
first, largest first, where they disturb the class proportions least; single samples then level out what is left, so that
without groups every class is spread to within one sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.names import count, some
from headstart.errors import DataError, problems
from headstart.seeding import generator

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Units:
    """Samples gathered into units. `table` `[U, C]` counts the samples of each class in each unit."""

    of: Positions
    table: NDArray[np.int64]

    @property
    def spread(self) -> NDArray[np.int64]:
        """`[C]` in how many units each class occurs."""
        return np.asarray((self.table > 0).sum(axis=0), np.int64)


def folds(
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None,
    k: int,
    seed: int,
    repeat: int = 0,
    *,
    classes: Sequence[str] | None = None,
) -> list[tuple[Positions, Positions]]:
    """`k` pairs (train positions, validation positions), each sorted; the validation parts partition the samples.

    labels   `[N]`; negative means not known: such samples are spread like one more class
    groups   `[N]` or None: samples of one group are in one fold
    repeat   number of the repetition: another deal of the same samples
    classes  names for messages

    Every known class is in every train part. Raises `DataError` where that cannot be: a class of one image or within one
    group, fewer images or groups than folds.
    """
    units, known = _units(labels, groups), _num_known(labels)
    problems(DataError, f"{k} folds cannot be made:", _obstacles(np.asarray(labels), groups, units, k, classes))
    place = _placed(units, k, seed, repeat)
    problems(
        DataError,
        f"{k} folds cannot be made:",
        [
            f"{_called(c, classes)} falls into one fold whole, because its groups hang together; use more folds"
            for c in _torn(units, place, known)
        ],
    )
    return _pairs(place[units.of], k)


def folds_within(
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None,
    k: int,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
) -> list[tuple[Positions, Positions]]:
    """The pairs of `folds`, as many as the rarest class has groups (without groups: samples), but 2 to `k` of them.

    There are more only where a class would otherwise fall into one fold whole, because its groups hang together. Raises
    `DataError` for a class of one image or within one group.
    """
    units, known = _units(labels, groups), _num_known(labels)
    spread = units.spread[:known]
    fewest = max(int(spread[spread > 0].min(initial=k)), 2)
    problems(DataError, f"{fewest} folds cannot be made:", _obstacles(np.asarray(labels), groups, units, fewest, classes))
    for number in range(fewest, len(units.table) + 1):
        place = _placed(units, number, seed)
        if not _torn(units, place, known):
            return _pairs(place[units.of], number)
    raise AssertionError("a unit to each fold leaves every class in two of them")


def _placed(units: _Units, k: int, seed: int, repeat: int = 0) -> Positions:
    """`[U]` the fold of each unit."""
    place = _deal(units, k, generator(seed, "folds", k, repeat))
    _mend(units, place, k)
    return place


def _torn(units: _Units, place: Positions, known: int) -> list[int]:
    """The classes, of `known` ones, that lie in one fold whole."""
    table = units.table[:, :known]
    return [c for c in range(known) if table[:, c].any() and len(set(place[table[:, c] > 0].tolist())) < 2]


def _pairs(in_fold: Positions, k: int) -> list[tuple[Positions, Positions]]:
    return [(np.flatnonzero(in_fold != f).astype(np.int64), np.flatnonzero(in_fold == f).astype(np.int64)) for f in range(k)]


def split_off(
    labels: NDArray[np.integer],
    groups: NDArray[np.integer] | None,
    fraction: float,
    seed: int,
    *,
    keep: int = 1,
) -> tuple[Positions, Positions]:
    """(positions that stay, positions taken), each sorted; about `fraction` of every class is taken.

    At least one sample of each class is taken where `keep` units of it stay behind; a class too small for both stays
    whole (`keep=2` leaves enough for folds). Raises `DataError` when nothing can be taken.
    """
    if not 0 < fraction < 1:
        raise DataError(f"fraction={fraction} must lie between 0 and 1")
    units = _units(labels, groups)
    rng = generator(seed, "split_off")
    taken = _take(units, fraction, keep, rng)
    if not taken.any():
        what = "groups" if groups is not None else "samples"
        raise DataError(
            f"no part of {fraction:.0%} can be split off {count(len(units.of), 'sample')}: too few {what} in every class; "
            "add data, or give a separate test set"
        )
    out = taken[units.of]
    return np.flatnonzero(~out).astype(np.int64), np.flatnonzero(out).astype(np.int64)


def _num_known(labels: NDArray[np.integer]) -> int:
    return int(np.max(labels, initial=-1)) + 1


def _units(labels: NDArray[np.integer], groups: NDArray[np.integer] | None) -> _Units:
    values = np.asarray(labels, np.int64)
    if groups is not None and len(groups) != len(values):
        raise DataError(f"there are {len(groups)} groups for {len(values)} labels; give one group per sample")
    of = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    known = _num_known(values)
    table = np.zeros((int(of.max(initial=-1)) + 1, known + 1), np.int64)
    np.add.at(table, (of, np.where(values < 0, known, values)), 1)
    return _Units(of.astype(np.int64), table)


def _obstacles(
    labels: NDArray[np.integer], groups: NDArray[np.integer] | None, units: _Units, k: int, classes: Sequence[str] | None
) -> list[str]:
    if k < 2:
        return [f"k={k}; at least 2 folds are needed"]
    if len(labels) < k:
        return [f"there are only {count(len(labels), 'image')}; use at most {len(labels)} folds, or add images"]
    if len(units.table) < k:
        return [f"there are only {count(len(units.table), 'group')} and a group is never torn apart; use fewer folds"]
    known = slice(0, _num_known(labels))
    size, spread = units.table.sum(axis=0)[known], units.spread[known]
    single = [_called(int(c), classes) for c in np.flatnonzero(size == 1)]
    in_one = [_called(int(c), classes) for c in np.flatnonzero((size > 1) & (spread == 1))]
    found = []
    if single:
        found.append(
            f"{some(single, 8)} {'has' if len(single) == 1 else 'have'} only one image; "
            "every class needs at least 2, one to learn from and one to check; add images or remove the class"
        )
    if in_one:
        found.append(
            f"all images of {some(in_one, 8)} are in one group (or are copies of one picture); "
            "every class needs at least 2 groups; add images or remove the class"
        )
    return found


def _called(c: int, classes: Sequence[str] | None) -> str:
    return f"class {classes[c]!r}" if classes is not None else f"class number {c}"


def _order(units: _Units, rng: np.random.Generator) -> tuple[Positions, list[Positions]]:
    """Units of several samples, largest first, and single samples by class, each in random order."""
    shuffled = rng.permutation(len(units.table))
    size = units.table[shuffled].sum(axis=1)
    many = shuffled[size > 1]
    many = many[np.argsort(-units.table[many].sum(axis=1), kind="stable")]
    single = shuffled[size == 1]
    label = units.table[single].argmax(axis=1)
    return many.astype(np.int64), [single[label == c].astype(np.int64) for c in range(units.table.shape[1])]


def _deal(units: _Units, k: int, rng: np.random.Generator) -> Positions:
    """`[U]` the fold of each unit."""
    place = np.zeros(len(units.table), np.int64)
    have = np.zeros((k, units.table.shape[1]), np.int64)
    weight = 1 / np.maximum(units.table.sum(axis=0), 1)  # rare classes count as much as common ones
    turn = rng.permutation(k)  # which of equally good folds comes first
    many, single = _order(units, rng)
    for unit in many:
        row = units.table[unit]
        # adding the unit to fold f raises sum over folds of (share of the class there)^2 by 2 have.row w^2 + a constant
        cost = (have[turn] * row * weight**2).sum(axis=1)
        best = np.lexsort((have[turn].sum(axis=1), cost))[0]
        place[unit] = turn[best]
        have[turn[best]] += row
    for c, members in enumerate(single):
        total = have.sum(axis=1)
        for unit in members:
            fold = min(turn, key=lambda f: (have[f, c], total[f]))
            place[unit] = fold
            have[fold, c] += 1
            total[fold] += 1
    return place


def _mend(units: _Units, place: Positions, k: int) -> None:
    """Move units in place until no class sits in one fold whole, as far as that can be done without uprooting another."""
    for _ in range(2):
        for c in np.flatnonzero(units.spread > 1):
            holders = np.flatnonzero(units.table[:, c])
            if len(set(place[holders].tolist())) > 1:
                continue
            _move_one(units, place, holders[np.argsort(units.table[holders].sum(axis=1), kind="stable")], k)


def _move_one(units: _Units, place: Positions, holders: Positions, k: int) -> None:
    """Move the smallest of `holders` to the emptiest other fold where each of its classes still lies in two folds."""
    size = np.bincount(place, units.table.sum(axis=1), k)
    for unit in holders:
        mine = np.flatnonzero(units.table[unit])
        home = int(place[unit])
        for fold in np.argsort(size, kind="stable"):
            if fold == home:
                continue
            place[unit] = fold
            if all(len(set(place[units.table[:, d] > 0].tolist())) > 1 for d in mine if units.spread[d] > 1):
                return
        place[unit] = home


def _take(units: _Units, fraction: float, keep: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`[U]` which units are taken."""
    target = _quotas(units, fraction, keep)
    left, have = units.spread.copy(), np.zeros_like(target)
    taken = np.zeros(len(units.table), bool)
    many, single = _order(units, rng)
    for unit in many:
        row = units.table[unit]
        mine = row > 0
        better = np.abs(have + row - target)[mine].sum() < np.abs(have - target)[mine].sum()
        if better and (left[mine] > keep).all():
            taken[unit] = True
            have += row
            left -= mine
    for c, members in enumerate(single):
        number = int(min(max(target[c] - have[c], 0), max(left[c] - keep, 0), len(members)))
        taken[members[:number]] = True
        have[c] += number
        left[c] -= number
    return taken


def _quotas(units: _Units, fraction: float, keep: int) -> NDArray[np.int64]:
    """`[C]` how many samples of each class to take: the largest-remainder rule, at least 1 and never the last `keep`."""
    size = units.table.sum(axis=0)
    exact = size * fraction
    low = np.where(units.spread > keep, 1, 0)
    high = np.where(units.spread > keep, np.maximum(size - keep, 1), 0)
    quota = np.clip(np.floor(exact).astype(np.int64), low, high)
    short = int(np.floor(exact.sum() + 0.5)) - int(quota.sum())
    for c in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if short > 0 and quota[c] < high[c] and quota[c] < exact[c]:
            quota[c] += 1
            short -= 1
    return np.asarray(quota, np.int64)
