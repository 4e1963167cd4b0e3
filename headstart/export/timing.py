"""How long answers take: models measured in turn, so that a change of the machine's speed meets them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.engine import interrupt
from headstart.seeding import generator

Answer = Callable[[NDArray[Any]], Any]

BURST = 5
"""Calls of one model before the next has its turn; one more, not counted, brings its weights back into the caches."""
FEWEST, MOST = 20, 5000
"""Calls counted per model at batch 1."""
LARGEST, INPUT_BYTES = 1024, 64_000_000
"""Largest batch that is tried, and the bytes that its images may have as float32: activations are many times as much."""
GAIN = 1.03
"""A larger batch is better only when it is so by more than what two measurements of the same differ by."""
PATIENCE = 2
"""Batches in a row that bring no gain before the search ends."""
ENOUGH = 500
"""Calls at the best batch after which nothing more is learned."""
ROUNDS, TURN = 5, 0.01
"""Turns of each model at every batch that is tried, and seconds that a turn lasts where single calls are shorter."""


@dataclass
class Timed:
    """One model's measurements, in seconds.

    single   of calls with one image
    batches  size -> of calls with so many
    worked   of all calls together that this thread worked, and `passed`: that went by
    """

    answer: Answer
    samples: NDArray[Any]
    single: list[float] = field(default_factory=list)
    batches: dict[int, list[float]] = field(default_factory=dict)
    worked: float = 0.0
    passed: float = 0.0

    def once(self, size: int) -> float:
        """Seconds of one call, from an array of samples to arrays of answers."""
        samples = self._batch(size)
        began, worked = time.perf_counter(), time.thread_time()
        self.answer(samples)
        spent = time.perf_counter() - began
        self.passed += spent
        self.worked += time.thread_time() - worked
        return spent

    def _batch(self, size: int) -> NDArray[Any]:
        repeats = -(-size // len(self.samples))
        return np.ascontiguousarray(np.concatenate([self.samples] * repeats)[:size] if repeats > 1 else self.samples[:size])

    def rate(self, size: int) -> float:
        """Images per second in batches of `size`."""
        return size / median(self.batches[size])

    @property
    def best(self) -> int:
        """The smallest batch that no other beats by more than noise."""
        top = max(map(self.rate, self.batches))
        return next(size for size in sorted(self.batches) if self.rate(size) * GAIN >= top)

    def latency(self) -> dict[str, Any]:
        """Median and 95th percentile of one image, in seconds."""
        return {
            "median": float(median(self.single)),
            "p95": float(np.quantile(self.single, 0.95)),
            "batch": 1,
            "repeats": len(self.single),
        }

    def throughput(self) -> dict[str, Any]:
        """Images per second at the best batch, and at every batch tried."""
        by = [{"batch": size, "images_per_second": self.rate(size)} for size in sorted(self.batches)]
        return {"images_per_second": self.rate(self.best), "batch": self.best, "by": by}


def waited(models: Sequence[Timed]) -> float:
    """Share of the measured time that the calling thread stood still: for other programs, or for its own helpers."""
    passed = sum(one.passed for one in models)
    return max(1 - sum(one.worked for one in models) / passed, 0.0) if passed else 0.0


def measure(models: Sequence[Timed], seconds: float, *, seed: int, tick: Callable[[float], None]) -> None:
    """Measure all models within about `seconds`: two fifths for single images, the rest for batches.

    tick  called with the share of the time that has gone

    Models that need longer than their share are still called often enough for a median and a 95th percentile.
    """
    began = time.monotonic()

    def left(share: float) -> float:
        """Seconds until so much of the time has gone."""
        interrupt.check()
        tick(min((time.monotonic() - began) / seconds, 1.0))
        return share * seconds - (time.monotonic() - began)

    order = generator(seed, "bench", "order")
    for one in models:
        one.once(1)  # the first call plans and allocates
    while True:
        fewest, most = (pick(len(one.single) for one in models) for pick in (min, max))
        if (left(0.4) <= 0 and fewest >= FEWEST) or most >= MOST:
            break
        for place in order.permutation(len(models)):
            models[place].once(1)
            models[place].single += [models[place].once(1) for _ in range(BURST)]
    _batches(models, lambda: left(0.8), order)
    while left(1.0) > 0 and min(len(one.batches[one.best]) for one in models) < ENOUGH:
        for place in order.permutation(len(models)):
            one = models[place]
            one.batches[one.best].append(one.once(one.best))


def _batches(models: Sequence[Timed], left: Callable[[], float], order: np.random.Generator) -> None:
    """Try powers of two until larger batches bring no more, or the time is up."""
    growing, size = list(range(len(models))), 1
    while growing:
        calls = {place: _calls(models[place].once(size)) for place in growing}
        for _ in range(ROUNDS):
            for place in order.permutation(growing):
                spent = models[place].batches.setdefault(size, [])
                spent += [models[place].once(size) for _ in range(calls[place])]
        growing = [place for place in growing if _grows(models[place], size)]
        # The next batch takes about twice as long as this one.
        if left() < sum(2 * ROUNDS * max(median(models[place].batches[size]), TURN) for place in growing):
            return
        size *= 2


def _calls(seconds: float) -> int:
    """How many calls fill a turn."""
    return min(max(int(TURN / max(seconds, 1e-6)), 1), 20)


def _grows(model: Timed, size: int) -> bool:
    """Whether the batch after `size` is worth trying."""
    shape = model.samples.shape[1:]
    if 2 * size > LARGEST or 2 * size * int(np.prod(shape)) * 4 > INPUT_BYTES:
        return False
    return bool(size < model.best * 2**PATIENCE)
