"""Which samples stay: a reservoir against its plain form and its probabilities, equal shares, and herding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headstart.data.selection import (
    allotted,
    directions,
    final,
    first_of,
    herding,
    mean_direction,
    reservoir,
    shares,
)

Ints = NDArray[np.int64]


class Plain:
    """Vitter's algorithm R, one sample after the other, with the same random numbers."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.held, self.seen = capacity, list[int](), 0

    def offer(self, samples: list[int], draw: np.random.Generator) -> None:
        late = max(len(samples) - max(self.capacity - len(self.held), 0), 0)
        numbers = draw.integers(0, self.seen + np.arange(len(samples) - late, len(samples)) + 1).tolist()
        for sample in samples:
            if len(self.held) < self.capacity:
                self.held.append(sample)
            else:
                slot = numbers.pop(0)
                if slot < self.capacity:
                    self.held[slot] = sample
            self.seen += 1


def offered(held: list[int], samples: list[int], seen: int, capacity: int, draw: np.random.Generator) -> list[int]:
    """What `reservoir` and `final` make of it."""
    slots = reservoir(seen, len(held), len(samples), capacity, draw)
    stay = final(slots)
    found = held + [-1] * (int(slots.max(initial=-1)) + 1 - len(held))
    for place in stay.tolist():
        found[slots[place]] = samples[place]
    return found


@given(capacity=st.integers(0, 12), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_reservoir_equals_one_sample_after_the_other(capacity: int, sizes: list[int], seed: int) -> None:
    plain, held, seen = Plain(capacity), list[int](), 0
    for number, size in enumerate(sizes):
        samples = list(range(seen, seen + size))
        plain.offer(samples, np.random.default_rng([seed, number]))
        held = offered(held, samples, seen, capacity, np.random.default_rng([seed, number]))
        seen += size
        assert held == plain.held
        assert len(held) == min(capacity, seen)
        assert len(set(held)) == len(held)


def test_reservoir_keeps_every_sample_with_the_same_probability() -> None:
    """Of 60 offered in uneven batches, as over a resume, 12 stay: each in a fifth of 4 000 runs, to 4.5 deviations."""
    runs, n, k = 4000, 60, 12
    counts = np.zeros(n)
    pairs = np.zeros((n, n))
    for run in range(runs):
        held: list[int] = []
        seen = 0
        for number, size in enumerate((7, 1, 20, 32)):
            held = offered(held, list(range(seen, seen + size)), seen, k, np.random.default_rng([run, number]))
            seen += size
        counts[held] += 1
        pairs[np.ix_(held, held)] += 1
    p = k / n
    assert np.abs(counts - runs * p).max() < 4.5 * np.sqrt(runs * p * (1 - p))
    together = k * (k - 1) / (n * (n - 1))
    off = pairs[~np.eye(n, dtype=bool)]
    assert np.abs(off - runs * together).max() < 5.5 * np.sqrt(runs * together * (1 - together))


def test_a_reservoir_with_more_room_than_before_fills_it_first() -> None:
    slots = reservoir(100, 3, 4, 5, np.random.default_rng(0))
    assert slots[:2].tolist() == [3, 4]
    assert ((slots[2:] >= -1) & (slots[2:] < 5)).all()


def test_final_is_the_last_of_each_slot() -> None:
    assert final(np.array([2, -1, 0, 2, 0, 1])).tolist() == [3, 4, 5]
    assert final(np.array([-1, -1])).tolist() == []
    assert final(np.empty(0, np.int64)).tolist() == []


@given(available=st.lists(st.integers(0, 30), max_size=8), capacity=st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_shares_are_as_equal_as_can_be(available: list[int], capacity: int) -> None:
    given_ = shares(np.array(available, np.int64), capacity)
    assert (given_ <= np.array(available, np.int64)).all()
    assert given_.sum() == min(capacity, sum(available))
    short = [g for g, a in zip(given_.tolist(), available, strict=True) if g < a]
    if short:  # who could have had more has at most one less than the largest share, and no less than those before it
        assert given_.max() - min(short) <= 1
        assert short == sorted(short, reverse=True)


def test_shares_by_hand() -> None:
    assert shares(np.array([9, 9, 9]), 10).tolist() == [4, 3, 3]
    assert shares(np.array([1, 9, 9]), 10).tolist() == [1, 5, 4]
    assert shares(np.array([5, 5]), 0).tolist() == [0, 0]


def test_classes_share_equally_and_then_their_tasks() -> None:
    classes = np.array([0] * 10 + [1] * 10 + [0] * 6)
    tasks = np.array([0] * 20 + [1] * 6)
    room = allotted(classes, tasks, 12)
    assert room == {(0, 0): 3, (0, 1): 3, (1, 0): 6}
    kept = first_of(classes, tasks, room)
    assert kept.tolist() == [0, 1, 2, 10, 11, 12, 13, 14, 15, 20, 21, 22]


def naive_herding(features: NDArray[np.float64], count: int) -> list[int]:
    """Algorithm 4 of Rebuffi et al. 2017, as it is written."""
    phi = np.array([x / np.linalg.norm(x) for x in features])
    mu = sum(phi) / len(phi)
    chosen: list[int] = []
    for k in range(1, min(count, len(phi)) + 1):
        before = sum((phi[j] for j in chosen), np.zeros(phi.shape[1]))
        distances = {i: np.linalg.norm(mu - (phi[i] + before) / k) for i in range(len(phi)) if i not in chosen}
        chosen.append(min(distances, key=lambda i: distances[i]))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_equals_its_definition(seed: int) -> None:
    features = np.random.default_rng(seed).normal(1, 2, (30, 7))
    found = herding(features.astype(np.float32), 30)
    assert found.tolist() == naive_herding(features.astype(np.float32).astype(np.float64), 30)
    assert herding(features.astype(np.float32), 8).tolist() == found[:8].tolist()


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_herding_knows_directions_only(seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    features = draw.normal(0, 1, (12, 4))
    stretched = features * scale * draw.uniform(0.5, 2, (12, 1))
    assert herding(features, 5).tolist() == herding(stretched, 5).tolist()


def test_herding_follows_the_mean_better_than_chance() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(1, 1, (200, 16))
    phi = directions(features)
    off = np.linalg.norm(phi[herding(features, 10)].mean(0) - phi.mean(0))
    chance = [np.linalg.norm(phi[draw.choice(200, 10, replace=False)].mean(0) - phi.mean(0)) for _ in range(50)]
    assert off < 0.3 * np.mean(chance)


def test_herding_at_the_edges() -> None:
    features = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert sorted(herding(features, 9).tolist()) == [0, 1]
    assert herding(features, 0).tolist() == []
    assert herding(features[:0], 3).tolist() == []
    assert directions(features).tolist() == [[0, 0], [0.6, 0.8]]
    assert np.linalg.norm(mean_direction(np.array([[1.0, 0.0], [0.0, 5.0]]))) == pytest.approx(1)
