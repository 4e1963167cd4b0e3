"""Splits are partitions that keep groups whole and classes in proportion, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headstart.data.splits import folds, folds_within, split_off
from headstart.errors import DataError

FAST = settings(max_examples=60, deadline=None)
K = st.integers(2, 6)
SEED = st.integers(0, 2**32)
CLASS_SIZES = st.lists(st.integers(2, 40), min_size=1, max_size=6)


def labels_of(sizes: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def counts(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=classes)


@FAST
@given(CLASS_SIZES, K, SEED)
def test_folds_partition_and_keep_proportions(sizes: list[int], k: int, seed: int) -> None:
    labels = labels_of(sizes, seed)
    assume(len(labels) >= k)
    made = folds(labels, None, k, seed)
    assert len(made) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([v for _, v in made])), np.arange(len(labels)))
    lengths = [len(v) for _, v in made]
    assert max(lengths) - min(lengths) <= 1
    for train, valid in made:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(labels)))
        here = counts(labels[valid], len(sizes))
        assert (np.abs(here - np.array(sizes) / k) < 1).all(), "each class is spread to within one sample"
        assert (counts(labels[train], len(sizes)) > 0).all()


@FAST
@given(CLASS_SIZES, K, SEED)
def test_folds_are_a_function_of_their_arguments(sizes: list[int], k: int, seed: int) -> None:
    labels = labels_of(sizes, seed)
    assume(len(labels) >= k)
    first, again = folds(labels, None, k, seed), folds(labels, None, k, seed)
    for (a, b), (c, d) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_seeds_and_repeats_deal_differently() -> None:
    labels = np.repeat([0, 1], 30)
    deals = [folds(labels, None, 5, seed, repeat)[0][1].tolist() for seed, repeat in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(d) for d in deals}) == 3


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups; some groups hold one sample, some many, some several classes."""
    n, classes, groups = draw(st.integers(6, 80)), draw(st.integers(1, 4)), draw(st.integers(4, 40))
    rng = np.random.default_rng(draw(SEED))
    return rng.integers(0, classes, n), rng.integers(0, groups, n) * 7 - 3


@FAST
@given(grouped(), K, SEED)
def test_groups_are_never_torn_apart(data: tuple[np.ndarray, np.ndarray], k: int, seed: int) -> None:
    labels, groups = data
    try:
        made = folds(labels, groups, k, seed)
    except DataError:
        table = {c: set(groups[labels == c].tolist()) for c in set(labels.tolist())}
        tight = min(len(g) for g in table.values()) < 2 or len(set(groups.tolist())) < k
        assert tight or k == 2 or any(len(g) <= 3 for g in table.values())
        return
    np.testing.assert_array_equal(np.sort(np.concatenate([v for _, v in made])), np.arange(len(labels)))
    for train, valid in made:
        assert not set(groups[train].tolist()) & set(groups[valid].tolist())
        assert set(labels[train].tolist()) == set(labels.tolist())
        assert len(valid)


def test_groups_of_equal_size_keep_proportions() -> None:
    """60 patients with 4 images each of one class: every fold gets 6 of each class's 30 patients."""
    labels = np.repeat([0, 1], 120)
    groups = np.repeat(np.arange(60), 4)
    for _, valid in folds(labels, groups, 5, 3):
        assert counts(labels[valid], 2).tolist() == [24, 24]


def test_single_samples_level_out_what_large_groups_disturb() -> None:
    labels = np.array([0] * 40 + [1] * 40)
    groups = np.concatenate([np.zeros(8, int), np.arange(1, 73)])
    assert [counts(labels[v], 2).tolist() for _, v in folds(labels, groups, 5, 0)] == [[8, 8]] * 5


def test_groups_equal_to_samples_change_nothing_in_the_proportions() -> None:
    labels = labels_of([17, 5, 9], 0)
    for _, valid in folds(labels, np.arange(len(labels)), 4, 0):
        assert (np.abs(counts(labels[valid], 3) - np.array([17, 5, 9]) / 4) < 1).all()


def test_a_class_concentrated_by_the_deal_is_moved_apart() -> None:
    """Two mixed groups hold all of class 2; whatever the deal, they end in different folds."""
    labels = np.array([0, 0, 2] * 2 + [0, 1] * 6 + [1, 1])
    groups = np.array([0, 0, 0, 1, 1, 1, *range(2, 16)])
    for seed in range(20):
        assert all(2 in labels[train] for train, _ in folds(labels, groups, 2, seed))


def test_classes_smaller_than_the_number_of_folds_are_spread() -> None:
    labels = np.array([0] * 50 + [1] * 2 + [2] * 3)
    made = folds(labels, None, 5, 0)
    assert sorted(counts(labels[v], 3)[1] for _, v in made) == [0, 0, 0, 1, 1]
    assert sorted(counts(labels[v], 3)[2] for _, v in made) == [0, 0, 1, 1, 1]


def test_unknown_labels_are_spread_too() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [-1] * 10)
    assert [np.sum(labels[v] == -1) for _, v in folds(labels, None, 5, 0)] == [2] * 5
    assert len(folds(np.array([0, 0, 1, 1, -1]), None, 2, 0)) == 2


@pytest.mark.parametrize(
    ("labels", "groups", "k", "words"),
    [
        ([0, 0, 0, 1], None, 2, "class 'b' has only one image"),
        ([0, 1, 2, 2], None, 2, "class 'a', class 'b' have only one image"),
        ([0, 0, 1, 1], None, 5, "only 4 images; use at most 4 folds"),
        ([0, 0, 1, 1], None, 1, "at least 2 folds"),
        ([0, 0, 1, 1], [0, 0, 1, 1], 3, "only 2 groups"),
        ([0, 0, 1, 1], [0, 1, 2, 2], 2, "all images of class 'b' are in one group"),
        ([0, 1, 0, 2, 1, 2], [0, 0, 1, 1, 2, 2], 2, "falls into one fold whole"),
        ([0, 1], [0], 2, "1 groups for 2 labels"),
    ],
)
def test_folds_that_cannot_be_made(labels: list[int], groups: list[int] | None, k: int, words: str) -> None:
    with pytest.raises(DataError) as caught:
        folds(np.array(labels), None if groups is None else np.array(groups), k, 0, classes=("a", "b", "c"))
    assert words in str(caught.value)


@FAST
@given(grouped(), K, SEED)
def test_folds_within_are_as_many_as_the_rarest_class_has_groups(
    data: tuple[np.ndarray, np.ndarray], k: int, seed: int
) -> None:
    labels, groups = data
    rarest = min(len(np.unique(groups[labels == c])) for c in np.unique(labels))
    if rarest < 2:
        with pytest.raises(DataError, match="2 folds cannot be made"):
            folds_within(labels, groups, k, seed)
        return
    made = folds_within(labels, groups, k, seed)
    assert len(made) >= min(k, rarest)
    for train, valid in made:
        assert not set(groups[train]) & set(groups[valid])
        assert set(labels[train]) == set(labels), "every class is learned from"


def test_folds_within_are_the_usual_ones_where_nothing_hangs_together() -> None:
    labels = labels_of([9, 4, 7], 0)
    for made, usual in zip(folds_within(labels, None, 5, 3), folds(labels, None, 4, 3), strict=True):
        np.testing.assert_array_equal(made[0], usual[0])
        np.testing.assert_array_equal(made[1], usual[1])


def test_what_one_class_cannot_give_is_not_taken_from_another_beyond_its_share() -> None:
    """Half of six is three, though half of seven would be four and the single image has to stay."""
    labels = np.array([0, 1, 1, 1, 1, 1, 1])
    _, taken = split_off(labels, None, 0.5, 0)
    assert (labels[taken] == 1).sum() == len(taken) == 3


@FAST
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0.05, 0.6), SEED, st.integers(1, 3))
def test_split_off_partitions_in_proportion(sizes: list[int], fraction: float, seed: int, keep: int) -> None:
    assume(max(sizes) > keep)
    labels = labels_of(sizes, seed)
    rest, taken = split_off(labels, None, fraction, seed, keep=keep)
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, taken])), np.arange(len(labels)))
    for size, here in zip(sizes, counts(labels[taken], len(sizes)), strict=True):
        assert size - here >= min(keep, size), "enough stays behind"
        assert here >= (size > keep), "something is taken where it can be"
        assert abs(here - size * fraction) < 1 or here in (1, size - keep, 0)
    again = split_off(labels, None, fraction, seed, keep=keep)
    np.testing.assert_array_equal(taken, again[1])


def test_split_off_takes_the_asked_share_in_all() -> None:
    rest, taken = split_off(labels_of([33, 33, 34], 1), None, 0.15, 0)
    assert (len(rest), len(taken)) == (85, 15)


@FAST
@given(grouped(), st.floats(0.1, 0.5), SEED)
def test_split_off_keeps_groups_whole(data: tuple[np.ndarray, np.ndarray], fraction: float, seed: int) -> None:
    labels, groups = data
    try:
        rest, taken = split_off(labels, groups, fraction, seed)
    except DataError as problem:
        assert "split off" in str(problem)  # noqa: PT017
        return
    assert not set(groups[rest].tolist()) & set(groups[taken].tolist())
    assert set(labels[rest].tolist()) == set(labels.tolist())
    largest = np.bincount(np.unique(groups, return_inverse=True)[1]).max()
    assert len(taken) <= fraction * len(labels) + largest + len(set(labels.tolist()))


def test_split_off_what_cannot_be() -> None:
    with pytest.raises(DataError, match=r"fraction=1\.5"):
        split_off(np.zeros(4, int), None, 1.5, 0)
    with pytest.raises(DataError, match="no part of 20% can be split off 3 samples"):
        split_off(np.arange(3), None, 0.2, 0)
