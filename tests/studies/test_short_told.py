"""What short trainings tell: differences that chance in the training could make are not called decided."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.metrics.paired import holm_differences, paired_bootstrap
from headstart.studies.short_told import Answers, against_the_best, between_neighbours, sentences

IMAGES = 200


def answers(means: dict[str, float], seeds: int) -> Answers:
    """Trainings right on so many images, each seed on two more than the seed before."""

    def right(share: float, seed: int) -> NDArray[np.bool_]:
        return np.arange(IMAGES) < round(share * IMAGES) + 2 * seed

    return {name: {seed: right(share, seed) for seed in range(seeds)} for name, share in means.items()}


def noisy(cells: int, seeds: int) -> Answers:
    draw = np.random.default_rng(3)
    return {f"t{i}": {s: draw.random(IMAGES) < 0.5 + 0.04 * i for s in range(seeds)} for i in range(cells)}


def test_one_seed_decides_nothing_however_wide_the_gap() -> None:
    given = answers({"a": 0.9, "b": 0.2, "c": 0.1}, 1)
    found = [*against_the_best(given, 0), *between_neighbours(given, [("a", "b")], 0)]
    assert [(one["a"], one["b"]) for one in found] == [("a", "b"), ("a", "c"), ("a", "b")]
    assert all(one["low"] > 0 and not one["decided"] and one["seeds"] == 1 for one in found)


def test_the_best_is_compared_after_holms_correction_over_all_pairs() -> None:
    """The best was chosen on these images, so that every pair could have been the one compared."""
    given = noisy(6, 4)
    found = against_the_best(given, 0)
    stacked = {name: np.stack(list(one.values())).astype(float) for name, one in given.items()}
    best = max(stacked, key=lambda name: stacked[name].mean())
    pairs = [(best, name) for name in stacked if name != best]
    pairs += combinations([name for name in stacked if name != best], 2)
    alone = {f"{a} {b}": paired_bootstrap(stacked[a], stacked[b], 0, draws=2000) for a, b in pairs}
    adjusted = holm_differences(alone)
    for one in found:
        name = f"{one['a']} {one['b']}"
        assert one["p_value"] == pytest.approx(adjusted[name].p_value)
        assert one["decided"] == adjusted[name].decided
    assert sum(one["decided"] for one in found) < sum(alone[f"{one['a']} {one['b']}"].decided for one in found)


def test_neighbours_are_corrected_together() -> None:
    given = noisy(6, 4)
    couples = [("t5", "t4"), ("t4", "t3"), ("t5", "t0")]
    adjusted = [one["p_value"] for one in between_neighbours(given, couples, 0)]
    alone = [between_neighbours(given, [couple], 0)[0]["p_value"] for couple in couples]
    assert max(alone) < 1
    assert all(after >= before for after, before in zip(adjusted, alone, strict=True))
    assert sum(adjusted) > sum(alone)


def test_trainings_are_paired_on_the_seeds_that_both_have() -> None:
    given = answers({"a": 0.6, "b": 0.6}, 3)
    del given["a"][1]
    (found,) = against_the_best(given, 0)
    assert found["seeds"] == 2
    assert found["mean"] == 0


def told(seeds: int, **more: Any) -> list[str]:
    given = answers({"crop jitter": 0.9, "crop": 0.3, "jitter": 0.29}, seeds)
    rows = [
        {"name": name, "place": [name, name], "accuracy": {"mean": float(np.mean(list(one.values())))}, "seeds": seeds}
        for name, one in given.items()
    ]
    return list(
        sentences({"command": "study augmentations", "cells": rows, "differences": against_the_best(given, 0), **more})
    )


def test_the_best_of_one_seed_is_named_without_a_claim() -> None:
    (text,) = told(1)
    assert "crop jitter came first of 3" in text
    assert "One seed" in text
    assert "--seeds 3" in text
    assert "better than" not in text.partition("SimCLR")[0]


def test_the_best_of_several_seeds_is_claimed_over_those_it_beats() -> None:
    (text,) = told(3)
    assert "better than crop, jitter" in text
    assert "One seed" not in text


def test_of_several_seeds_a_difference_of_one_says_so() -> None:
    """A budget may end in the second seed: what it did not reach rests on the first alone."""
    given = answers({"epochs 3": 0.5, "epochs 6": 0.52, "epochs 12": 0.8}, 2)
    del given["epochs 12"][1]
    found = between_neighbours(given, [("epochs 6", "epochs 3"), ("epochs 12", "epochs 6")], 0)
    cells = [
        {"name": name, "place": name.split(), "accuracy": {"mean": float(np.mean(list(one.values())))}}
        for name, one in given.items()
    ]
    (said,) = sentences({"command": "study scaling", "cells": cells, "differences": found})
    assert "80.0 % (+28.0 points" in said
    assert said.partition("; 12 ")[2].partition(")")[0].endswith(", of one seed")
    assert ", of one seed" not in said.partition("; 12 ")[0]
