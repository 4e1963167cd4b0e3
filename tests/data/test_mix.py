"""How samples of several data sets are drawn, and which labels count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.mix import Mix, mix_of
from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.errors import DataError

SAMPLINGS = ("proportional", "sqrt", "round_robin")


def made(sizes, sampling="proportional", per="sample") -> Mix:
    store = store_of(np.arange(sum(sizes), dtype=np.float32)[:, None])
    edges = np.cumsum([0, *sizes])
    tasks, sources = [], []
    for number in range(len(sizes)):
        labels = np.full(len(store), -1)
        rows = np.arange(edges[number], edges[number + 1])
        labels[rows] = rows % 2
        tasks.append(task_of(f"t{number}", store, labels, ("even", "odd")))
        sources.append(rows)
    return mix_of("mix", tasks, sources, sampling, per)


sizes = st.lists(st.integers(2, 60), min_size=1, max_size=4)


@given(sizes, st.integers(2, 24), st.sampled_from(("batch", "sample")))
def test_in_proportion_every_sample_comes_once_per_epoch(parts, batch_size, per):
    mix = made(parts, "proportional", per)
    for epoch in range(2):
        seen = np.concatenate(mix.batches(batch_size, 5, epoch))
        assert sorted(seen.tolist()) == list(range(len(mix)))


@given(sizes, st.integers(2, 24), st.sampled_from(SAMPLINGS), st.sampled_from(("batch", "sample")))
def test_every_epoch_has_as_many_batches_none_too_large_and_repeats_for_one_seed(parts, batch_size, sampling, per):
    mix = made(parts, sampling, per)
    first = mix.batches(batch_size, 3, 0)
    assert {len(mix.batches(batch_size, 3, epoch)) for epoch in (1, 2)} == {len(first)}
    assert max(map(len, first)) <= (3 if batch_size == 2 else batch_size)
    again = made(parts, sampling, per).batches(batch_size, 3, 0)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


@given(sizes, st.integers(2, 24), st.sampled_from(SAMPLINGS), st.sampled_from(("batch", "sample")))
def test_no_batch_has_a_single_sample(parts, batch_size, sampling, per):
    assert min(map(len, made(parts, sampling, per).batches(batch_size, 3, 0))) >= 2


@given(sizes, st.integers(2, 24), st.sampled_from(SAMPLINGS))
def test_a_batch_per_data_set_is_of_one_data_set(parts, batch_size, sampling):
    mix = made(parts, sampling, "batch")
    for batch in mix.batches(batch_size, 0, 1):
        assert len(set(mix.source[mix.rows[batch]].tolist())) == 1


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize(
    ("sampling", "shares"), [("proportional", (0.8, 0.2)), ("sqrt", (2 / 3, 1 / 3)), ("round_robin", (0.5, 0.5))]
)
def test_shares_of_the_data_sets(sampling, shares, per):
    mix = made((3200, 800), sampling, per)
    seen = mix.source[mix.rows[np.concatenate(mix.batches(20, 0, 0))]]
    assert np.bincount(seen) / len(seen) == pytest.approx(shares, abs=0.01)


def test_round_robin_takes_the_data_sets_in_turn():
    pure = made((90, 30), "round_robin", "batch").batches(10, 0, 0)
    mix = made((90, 30), "round_robin", "batch")
    assert [int(mix.source[mix.rows[batch[0]]]) for batch in pure] == [0, 1] * (len(pure) // 2)
    mixed = made((90, 30), "round_robin", "sample")
    assert all(np.bincount(mixed.source[mixed.rows[batch]]).tolist() == [5, 5] for batch in mixed.batches(10, 0, 0))


def test_a_small_data_set_goes_round_evenly_over_epochs():
    mix = made((100, 7), "round_robin", "sample")
    seen = np.concatenate([np.concatenate(mix.batches(10, 0, epoch)) for epoch in range(6)])
    counts = np.bincount(seen, minlength=len(mix))[100:]
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == 6 * 54


def test_labels_outside_a_tasks_rows_are_unknown_and_unlabelled_samples_left_out():
    store = store_of(np.zeros((5, 2), np.float32))
    parity = task_of("parity", store, np.array([0, 1, -1, 1, -1]), ("even", "odd")).take(np.array([0, 1, 2]))
    age = task_of("age", store, np.array([np.nan, 2.0, 3.0, np.nan, np.nan]), (), "number")
    mix = mix_of("both", [parity, age])
    assert mix.rows.tolist() == [0, 1, 2]
    assert mix.labels["parity"].tolist() == [0, 1, -1, -1, -1]
    assert np.array_equal(mix.labels["age"], [np.nan, 2, 3, np.nan, np.nan], equal_nan=True)


def test_what_cannot_be_mixed_is_said_together():
    one = task_of("a", store_of(np.zeros((3, 1), np.float32)), np.array([0, 1, 0]), ("x", "y"))
    other = task_of("b", store_of(np.ones((3, 1), np.float32)), np.array([-1, -1, -1]), ("x", "y"))
    with pytest.raises(DataError, match=r"(?s)different stores.*several of the data sets.*label for b"):
        Mix("mix", {"a": one, "b": other}, (np.arange(3), np.arange(2)))
    with pytest.raises(DataError, match="there are none"):
        mix_of("mix", [])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_data_set_of_one_sample_cannot_be_batches_of_its_own(sampling):
    """Batch normalisation cannot learn from one sample; mixed batches take it."""
    with pytest.raises(DataError, match=r"the data set of t1 has one sample only.*per='sample'"):
        made((6, 1), sampling, "batch")
    assert min(map(len, made((6, 1), sampling, "sample").batches(4, 0, 0))) > 1
    assert [len(batch) for batch in made((2,), sampling, "batch").batches(4, 0, 0)] == [2]


def test_some_of_the_tasks_see_the_samples_with_their_labels():
    mix = made((6, 4, 5), "sqrt", "batch")
    some = mix.only("t2", "t0")
    assert list(some.tasks) == ["t0", "t2"]
    assert [len(rows) for rows in some.sources] == [6, 5]
    assert (some.sampling, some.per) == ("sqrt", "batch")
