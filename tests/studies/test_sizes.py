"""Parts that grow: nested, in proportion, with two of every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import ConfigError, DataError
from headstart.studies.sizes import choose_sizes, nested


@given(
    st.lists(st.integers(2, 60), min_size=2, max_size=6),
    st.integers(0, 1000),
    st.lists(st.floats(0, 1), min_size=2, max_size=4),
)
def test_nested_stratified_and_complete(counts: list[int], seed: int, shares: list[float]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    least, total = 2 * len(counts), sum(counts)
    sizes = sorted(least + round(share * (total - least)) for share in shares)
    parts = nested(labels, None, [*sizes, total], seed)
    for size, part, after in zip(sizes, parts, parts[1:], strict=False):
        assert len(np.unique(part)) == len(part) == size
        assert set(part) <= set(after)
        have = np.bincount(labels[part], minlength=len(counts))
        assert have.min() >= 2
    np.testing.assert_array_equal(parts[-1], np.arange(total))


def test_in_proportion_to_within_one() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    for size, part in zip((100, 200, 400), nested(labels, None, (100, 200, 400), 3), strict=True):
        have = np.bincount(labels[part])
        assert np.abs(have - size * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_draws_differ_and_repeat() -> None:
    labels = np.arange(90) % 3
    one, again, other = (nested(labels, None, (30,), seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert set(one) != set(other)


def test_the_first_two_of_a_class_are_no_copies() -> None:
    labels = np.repeat([0, 1], 20)
    groups = np.concatenate([np.zeros(19, np.int64), np.arange(1, 22)])
    for seed in range(20):
        part = nested(labels, groups, (4,), seed)[0]
        for one in (0, 1):
            assert len(set(groups[part[labels[part] == one]])) == 2


def test_sizes_double_up_to_all() -> None:
    assert choose_sizes(1347, 10) == [84, 168, 337, 674, 1347]
    assert choose_sizes(100, 10) == [25, 50, 100]
    assert choose_sizes(100, 10, (100, 20, 20)) == [20, 100]


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(DataError, match="there are 30 images to learn from and 10 classes"):
        choose_sizes(30, 10)
    with pytest.raises(ConfigError) as found:
        choose_sizes(100, 10, (5, 500))
    assert "500 is more than the 100 images" in str(found.value)
    assert "5 is too few: 2 images of each of 10 classes are 20" in str(found.value)
    with pytest.raises(ConfigError, match="at least two different sizes"):
        choose_sizes(100, 10, (50, 50))
