"""Every epoch visits every sample once, in an order that follows from the seed, and no sample is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.mix import mix_of
from headstart.engine.sampler import Plan, even_sizes, plan_for
from headstart.errors import ConfigError
from headstart.stage import Budget
from tests.conftest import make_vector_task
from tests.engine.engine_toys import stage


def plan(samples: int, batch: int, epochs: int = 2, seed: int = 0) -> Plan:
    return plan_for(stage(make_vector_task(samples), budget=Budget(epochs=epochs), batch_size=batch), seed)


@given(st.integers(1, 200), st.integers(1, 64))
def test_batches_of_an_epoch_are_a_partition(samples: int, batch: int) -> None:
    course = plan(samples, batch)
    for epoch in range(2):
        steps = range(epoch * course.per_epoch, (epoch + 1) * course.per_epoch)
        assert {course.epoch(step) for step in steps} == {epoch}
        seen = np.concatenate([course.batches(epoch)[step % course.per_epoch] for step in steps])
        assert sorted(seen.tolist()) == list(range(samples))
        assert [course.ends_epoch(step) for step in steps] == [False] * (course.per_epoch - 1) + [True]


@given(st.integers(2, 200), st.integers(2, 64))
def test_no_batch_has_a_single_sample_and_none_is_larger_than_asked(samples: int, batch: int) -> None:
    course = plan(samples, batch)
    sizes = [len(batch) for batch in course.batches(0)]
    assert min(sizes) >= 2
    assert max(sizes) <= (3 if batch == 2 else batch)


def test_a_sample_left_over_by_pairs_joins_the_last_one() -> None:
    assert [len(batch) for batch in plan(9, 2).batches(0)] == [2, 2, 2, 3]


def test_a_sample_left_over_takes_one_from_the_batch_before() -> None:
    sizes = [len(batch) for batch in plan(33, 16).batches(0)]
    assert sizes == [16, 15, 2]


@given(st.integers(2, 300), st.integers(2, 64))
def test_even_batches_are_a_partition_too_and_differ_by_one_sample_at_most(samples: int, batch: int) -> None:
    """Where a loss compares the samples of a batch, a small last one would have another loss, and another chance."""
    even = stage(make_vector_task(samples), budget=Budget(epochs=2), batch_size=batch, even=True)
    course, usual = plan_for(even, 0), plan_for(replace(even, even=False), 0)
    sizes = [len(batch) for batch in course.batches(0)]
    assert sizes == even_sizes(samples, batch)
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2
    assert max(sizes) == course.batch_size
    assert sorted(np.concatenate(course.batches(1)).tolist()) == list(range(samples))
    assert course.order(0).tolist() == usual.order(0).tolist()
    assert max(sizes) <= (3 if batch == 2 else batch)
    assert (course.steps, course.per_epoch) == (usual.steps, usual.per_epoch)


def test_a_mix_has_batches_of_its_own() -> None:
    mix = mix_of("mix", [make_vector_task(12)])
    with pytest.raises(ConfigError, match="stage 's': even batches are of one task"):
        plan_for(replace(stage(make_vector_task(12)), data=mix, even=True), 0)


def test_orders_differ_between_epochs_and_seeds_and_repeat_otherwise() -> None:
    orders = [plan(50, 16, seed=seed).order(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert plan(50, 7, seed=1).order(1).tolist() == orders[3]


def test_a_budget_in_steps_may_end_within_an_epoch() -> None:
    course = plan_for(stage(make_vector_task(35), budget=Budget(steps=4)), seed=0)
    assert (course.steps, course.per_epoch, course.epochs) == (4, 3, 2)
    assert [course.ends_epoch(step) for step in range(4)] == [False, False, True, True]


def test_a_task_without_samples_is_an_error() -> None:
    empty = make_vector_task(6).take(np.empty(0, np.int64))
    with pytest.raises(ConfigError, match="stage 's': its task 'toy' has no samples"):
        plan_for(stage(empty), seed=0)
