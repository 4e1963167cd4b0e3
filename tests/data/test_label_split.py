"""Every task is in every part, every class in train, as far as that can be done."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headstart.data.answers import Answers
from headstart.data.label_split import check_fractions, divide, evidence
from headstart.errors import ConfigError, DataError

FAST = settings(max_examples=60, deadline=None)
SEED = st.integers(0, 2**32)
THIRDS = (0.6, 0.2, 0.2)


def classes(labels: list[int] | NDArray[np.int64], name: str = "c") -> Answers:
    values = np.array(labels, np.int64)
    return Answers(name, "classes", tuple(f"c{i}" for i in range(int(values.max()) + 1)), values)


def possible(answers: list[Answers], groups: NDArray[np.int64]) -> bool:
    """Whether any deal of the groups keeps what is promised, by trying all of them."""
    units = np.unique(groups, return_inverse=True)[1]
    deals = itertools.product(range(3), repeat=int(units.max()) + 1)
    return any(kept(answers, np.array(deal)[units]) for deal in deals)


def kept(answers: list[Answers], part: NDArray[np.int64]) -> bool:
    for made in answers:
        known = made.labels >= 0
        if any(not known[part == place].any() for place in range(3)):
            return False
        if set(made.labels[known].tolist()) != set(made.labels[known & (part == 0)].tolist()):
            return False
    return True


@settings(max_examples=80, deadline=None)
@given(st.integers(3, 6), st.integers(1, 3), st.integers(3, 12), SEED)
def test_a_deal_is_found_where_there_is_one(groups: int, tasks: int, number: int, seed: int) -> None:
    """Small cases, all deals of which are tried: what is dealt keeps the promise, and is refused where none could."""
    rng = np.random.default_rng(seed)
    answers = [classes(np.append(rng.integers(-1, 2, number - 1), rng.integers(0, 2)), f"t{i}") for i in range(tasks)]
    of = rng.integers(0, groups, number)
    if not possible(answers, of):
        with pytest.raises(DataError, match="cannot be divided"):
            divide(answers, of, THIRDS, seed)
        return
    part = divide(answers, of, THIRDS, seed)
    assert kept(answers, part)
    for group in set(of.tolist()):
        assert len(set(part[of == group].tolist())) == 1


@st.composite
def tasks_of_every_kind(draw: st.DrawFn) -> list[Answers]:
    number = draw(st.integers(60, 200))
    rng = np.random.default_rng(draw(SEED))
    gap = draw(st.floats(0, 0.7))

    def missing(shape: tuple[int, ...]) -> NDArray[np.bool_]:
        return np.asarray(rng.random(shape) < gap)

    c = np.where(missing((number,)), -1, rng.integers(0, 4, number))
    y = np.where(missing((number,)), -1, rng.integers(0, 2, number))
    s = np.where(missing((number, 1)), -1, rng.integers(0, 2, (number, 3)))
    n = np.where(missing((number,)), np.nan, rng.normal(size=number)).astype(np.float32)
    return [
        Answers("c", "classes", ("a", "b", "c", "d"), c),
        Answers("y", "yes_no", ("no", "yes"), y),
        Answers("s", "several", ("p", "q", "r"), s),
        Answers("n", "number", (), n),
    ]


@FAST
@given(tasks_of_every_kind(), SEED)
def test_every_kind_is_in_every_part_in_proportion(answers: list[Answers], seed: int) -> None:
    part = divide(answers, None, THIRDS, seed)
    number = len(part)
    for place, fraction in enumerate(THIRDS):
        here = part == place
        assert abs(here.sum() - fraction * number) <= 6
        for made in answers:
            known = made.known
            assert known[here].any()
            assert abs(known[here].sum() - fraction * known.sum()) <= 8
    for made in answers[:2]:
        assert set(made.labels[part == 0]) == set(made.labels) | ({-1} & set(made.labels[part == 0]))
    for question in answers[2].labels.T:
        assert {0, 1} & set(question) <= set(question[part == 0])
    train = answers[3].labels[part == 0]
    assert len(set(train[~np.isnan(train)].tolist())) > 1
    np.testing.assert_array_equal(part, divide(answers, None, THIRDS, seed))


def test_evidence_numbers_labels_over_all_columns() -> None:
    answers = [
        classes([0, 2, -1, 1]),
        Answers("s", "several", ("p", "q"), np.array([[0, 1], [1, -1], [-1, -1], [1, 1]])),
        Answers("n", "number", (), np.array([1, 2, np.nan, 9], np.float32)),
    ]
    codes = evidence(answers)
    assert codes.shape == (4, 1 + 2 + 1 + 1)
    assert codes[:, 0].tolist() == [0, 2, -1, 1]
    assert codes[:, 1].tolist() == [3, 4, -1, 4]
    assert codes[:, 2].tolist() == [6, -1, -1, 6]
    assert codes[2, 3] == -1
    assert len(set(codes[[0, 1, 3], 3].tolist())) == 3
    assert codes[2, 4] != codes[0, 4] == codes[1, 4] == codes[3, 4]
    assert not set(codes[:, 4]) & set(codes[:, :4].ravel())


def test_many_patterns_of_gaps_are_told_apart_task_by_task() -> None:
    rng = np.random.default_rng(0)
    answers = [classes(np.where(rng.random(300) < 0.5, -1, rng.integers(0, 2, 300)), f"t{i}") for i in range(6)]
    codes = evidence(answers)
    assert codes.shape == (300, 12)
    for made, column in zip(answers, codes.T[6:], strict=True):
        np.testing.assert_array_equal(column >= 0, ~made.known)


def test_a_task_known_too_rarely_is_named() -> None:
    rare = np.full(30, -1)
    rare[:2] = (0, 1)
    answers = [classes(rare, "rare"), classes(np.arange(30) % 2, "often")]
    with pytest.raises(DataError, match="task 'rare' is known in 2 images only"):
        divide(answers, None, THIRDS, 0)
    with pytest.raises(DataError, match=r"task 'rare' in test: 2 images with it, needed elsewhere"):
        divide(answers, None, (0.8, 0.0, 0.2), 0)  # both of its classes are needed in train
    rare[2] = 1
    part = divide([classes(rare, "rare"), answers[1]], None, (0.8, 0.0, 0.2), 0)
    assert set(part.tolist()) == {0, 2}
    assert sorted(part[1:3].tolist()) == [0, 2]


def test_a_class_in_one_group_goes_to_train() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10)
    groups = np.concatenate([np.arange(20), np.full(10, 99)])
    for seed in range(20):
        part = divide([classes(labels)], groups, THIRDS, seed)
        assert (part[20:] == 0).all()
        assert set(part.tolist()) == {0, 1, 2}


def test_both_answers_are_in_every_part_where_three_images_have_each() -> None:
    rare = np.zeros(60, np.int64)
    rare[:3] = 1
    tags = np.stack([rare[::-1], np.arange(60) % 2], axis=1)
    answers = [
        Answers("y", "yes_no", ("no", "yes"), rare),
        Answers("s", "several", ("p", "q"), tags),
        classes(np.arange(60) % 6),
    ]
    for seed in range(20):
        part = divide(answers, None, THIRDS, seed)
        assert set(part[:3].tolist()) == set(part[-3:].tolist()) == {0, 1, 2}
        assert (np.abs(np.bincount(part) - (36, 12, 12)) <= 2).all()


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (0.2, 1.0), (float("nan"), 0.1)])
def test_fractions_that_cannot_be(val: float, test: float) -> None:
    with pytest.raises(ConfigError, match="fraction"):
        check_fractions(val, test)
