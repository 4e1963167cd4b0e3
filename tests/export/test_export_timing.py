"""Measurements on a clock that the models themselves move, so that every number is known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headstart.export import timing
from headstart.export.timing import FEWEST, Timed, measure

X = np.zeros((4, 8, 8, 3), np.uint8)


class Clock:
    """Time that passes only while a model answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, int]] = []

    def model(self, name: str, cost: Callable[[int], float]) -> Timed:
        def answer(samples: np.ndarray) -> None:
            self.asked.append((name, len(samples)))
            self.now += cost(len(samples))

        return Timed(answer, X)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(timing.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(timing.time, "thread_time", lambda: made.now / 4)
    return made


def run(models: list[Timed], seconds: float, seed: int = 0) -> None:
    measure(models, seconds, seed=seed, tick=lambda share: None)


def test_latency_is_the_median_and_the_95th_percentile(clock: Clock) -> None:
    calls = iter(range(10**6))
    one = clock.model("a", lambda n: 0.001 * (10 if next(calls) % 20 == 0 else 1) * n)
    run([one], 2.0)
    found = one.latency()
    assert found["median"] == pytest.approx(0.001)
    assert found["p95"] == pytest.approx(np.quantile(one.single, 0.95))
    assert found["batch"] == 1
    assert found["repeats"] == len(one.single) >= FEWEST


def test_the_best_batch_is_found(clock: Clock) -> None:
    """A cost per call and one per image: images per second are n / (a + b n), and grow by ever less."""
    one = clock.model("a", lambda n: 0.01 + 0.001 * n)
    run([one], 100.0)
    found = one.throughput()
    for by in found["by"]:
        assert by["images_per_second"] == pytest.approx(by["batch"] / (0.01 + 0.001 * by["batch"]))
    sizes = [by["batch"] for by in found["by"]]
    assert sizes == [2**k for k in range(len(sizes))]
    best = max(by["images_per_second"] for by in found["by"])
    assert found["images_per_second"] * timing.GAIN >= best
    assert found["images_per_second"] == pytest.approx(found["batch"] / (0.01 + 0.001 * found["batch"]))


def test_larger_batches_that_bring_nothing_are_not_searched_for_long(clock: Clock) -> None:
    one = clock.model("a", lambda n: 0.001 * n**1.2)
    run([one], 5.0)
    assert one.best == 1
    assert max(one.batches) == 2**timing.PATIENCE


def test_memory_bounds_the_batch(clock: Clock) -> None:
    one = clock.model("a", lambda n: 0.01)
    run([one], 20.0)
    assert max(one.batches) == timing.LARGEST
    large = Timed(one.answer, np.zeros((1, 512, 512, 3), np.uint8))
    run([large], 2.0)
    assert max(large.batches) * 512 * 512 * 3 * 4 <= timing.INPUT_BYTES < 2 * max(large.batches) * 512 * 512 * 3 * 4


def test_models_take_turns(clock: Clock) -> None:
    """A machine that is half as fast in the second half is so for both models."""
    slow = 1.0

    def cost(n: int) -> float:
        return 0.001 * n * (2 if clock.now > slow else 1)

    models = [clock.model(name, cost) for name in "ab"]
    run(models, 5.0)
    assert models[0].latency()["median"] == pytest.approx(models[1].latency()["median"], rel=0.01)
    assert abs(len(models[0].single) - len(models[1].single)) <= timing.BURST
    half = [name for name, _ in clock.asked[: len(clock.asked) // 4]]
    assert 0.4 < half.count("a") / len(half) < 0.6


def test_a_slow_model_is_measured_all_the_same(clock: Clock) -> None:
    one = clock.model("a", lambda n: 2.0 * n)
    run([one], 1.0)
    assert len(one.single) >= FEWEST
    assert one.throughput()["batch"] == 1


def test_time_asked_for_is_kept(clock: Clock) -> None:
    shares: list[float] = []
    models = [clock.model(name, lambda n: 0.002 + 0.0005 * n) for name in "abc"]
    measure(models, 10.0, seed=0, tick=shares.append)
    assert 9 <= clock.now <= 13
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_time_spent_waiting_for_others_is_known(clock: Clock) -> None:
    """The thread's own clock here runs at a quarter of the pace."""
    models = [clock.model(name, lambda n: 0.01 * n) for name in "ab"]
    run(models, 1.0)
    assert timing.waited(models) == pytest.approx(0.75)
    assert timing.waited([]) == 0
