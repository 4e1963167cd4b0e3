"""Iterative stratification against the published algorithm written out plainly, and what it promises."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headstart.data.stratify import stratified, units_of
from headstart.errors import DataError

FAST = settings(max_examples=60, deadline=None)
SEED = st.integers(0, 2**32)
THIRDS = (0.6, 0.2, 0.2)


def carried(codes: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """`[N, number]` which labels each sample carries."""
    out = np.zeros((len(codes), number), np.int64)
    for row, own in enumerate(codes):
        out[row, own[own >= 0]] = 1
    return out


@st.composite
def labelled(draw: st.DrawFn) -> NDArray[np.int64]:
    number, columns = draw(st.integers(1, 80)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEED))
    sizes = rng.integers(1, 6, columns)
    firsts = np.cumsum([0, *sizes[:-1]])
    codes = rng.integers(-1, sizes, (number, columns))
    return np.where(codes < 0, -1, codes + firsts).astype(np.int64)


@FAST
@given(labelled(), SEED)
def test_as_published_as_far_as_chance_does_not_decide(codes: NDArray[np.int64], seed: int) -> None:
    """Every choice made is one that algorithm 1 allows: replay the deal in an order that it allows, choice by choice."""
    units = units_of(codes, None)
    part = stratified(units, THIRDS, seed)
    number = int(codes.max(initial=-1)) + 1
    has = carried(codes, number).astype(bool)
    wants, wants_samples = np.outer(THIRDS, has.sum(axis=0)), np.array(THIRDS) * len(codes)
    left = np.ones(len(codes), bool)
    while left.any():
        remaining = (has & left[:, None]).sum(axis=0)
        label = int(np.argmin(np.where(remaining > 0, remaining, 10**9))) if remaining.any() else None
        mine = set(np.flatnonzero(left & has[:, label] if label is not None else left).tolist())
        while mine:
            wanted = wants[:, label] if label is not None else np.zeros(3)
            best = [j for j in range(3) if wanted[j] >= wanted.max() - 1e-9]
            most = max(wants_samples[j] for j in best)
            allowed = {j for j in best if wants_samples[j] >= most - 1e-9}
            # samples of equal labels are alike, so any that went to an allowed part may be the next
            nexts = [i for i in mine if int(part[i]) in allowed]
            assert nexts, "no sample left went where the algorithm would have put the next one"
            i = nexts[0]
            wants[int(part[i])] -= has[i]
            wants_samples[int(part[i])] -= 1
            left[i] = False
            mine.discard(i)


@FAST
@given(labelled(), st.integers(1, 30), SEED)
def test_a_deal_is_a_partition_that_keeps_groups_whole(codes: NDArray[np.int64], groups: int, seed: int) -> None:
    of = np.random.default_rng(seed).integers(0, groups, len(codes)) * 7 - 3
    units = units_of(codes, of)
    assert units.sizes.sum() == len(codes)
    part = stratified(units, THIRDS, seed)
    assert set(part.tolist()) <= {0, 1, 2}
    here = part[units.of]
    for group in set(of.tolist()):
        assert len(set(here[of == group].tolist())) == 1
    np.testing.assert_array_equal(part, stratified(units, THIRDS, seed))
    table = carried(codes, units.number)
    for unit in range(len(units.sizes)):
        span = slice(units.starts[unit], units.starts[unit + 1])
        counts = np.zeros(units.number, np.int64)
        counts[units.labels[span]] = units.counts[span]
        np.testing.assert_array_equal(counts, table[units.of == unit].sum(axis=0))


@pytest.mark.parametrize("fractions", [THIRDS, (0.8, 0.0, 0.2), (0.5, 0.25, 0.25)])
def test_labels_are_spread_evenly(fractions: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    number = 2000
    codes = np.stack(
        [rng.integers(0, 10, number), 10 + rng.integers(0, 2, number), 12 + (rng.random(number) < 0.05)], axis=1
    )
    part = stratified(units_of(codes, None), fractions, 3)
    table = carried(codes, 14)
    for place, fraction in enumerate(fractions):
        here = table[part == place].sum(axis=0)
        assert (np.abs(here - fraction * table.sum(axis=0)) <= 3).all(), "within three samples of every label"
        assert abs((part == place).sum() - fraction * number) <= 2


def test_seeds_deal_differently_and_no_global_generator_is_touched() -> None:
    codes = np.zeros((40, 1), np.int64)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    units = units_of(codes, None)
    deals = {tuple(stratified(units, THIRDS, *names).tolist()) for names in ((0,), (1,), (0, "again"))}
    assert len(deals) == 3
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]


def test_as_many_labels_as_cifar100_are_dealt_in_seconds() -> None:
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, 100, 60_000), 100 + rng.integers(0, 20, 60_000)], axis=1)
    began = time.monotonic()
    stratified(units_of(codes, None), THIRDS, 0)
    assert time.monotonic() - began < 15


def test_groups_of_another_number() -> None:
    with pytest.raises(DataError, match="3 groups for 4 samples"):
        units_of(np.zeros((4, 1), np.int64), np.zeros(3, np.int64))
