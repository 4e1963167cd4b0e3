"""What T does: entropy and its limits, T found by itself, the share of the gradient against autograd, examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.errors import ConfigError
from headstart.studies.distill_temperature import (
    GRID,
    choose_examples,
    entropy_share,
    example_records,
    find_temperature,
    soft_gradient_share,
    temperature_record,
)

DRAW = np.random.default_rng(0)
LOGITS = DRAW.normal(0, 6, (200, 10))
LABELS = np.arange(200) % 10


def test_hot_answers_have_the_entropy_of_the_expansion() -> None:
    """H(T) is ln C - Var(z) / (2 T^2) up to higher orders, Var being the mean over images of the variance over classes."""
    t = 200.0
    expected = math.log(10) - LOGITS.var(1).mean() / (2 * t**2)
    assert entropy_share(LOGITS, t) * math.log(10) == pytest.approx(expected, abs=1e-5)
    assert [entropy_share(LOGITS, t) for t in GRID] == sorted(entropy_share(LOGITS, t) for t in GRID)


@pytest.mark.parametrize("target", [0.05, 0.3, 0.5, 0.9])
def test_a_temperature_found_by_itself_hits_its_target(target: float) -> None:
    found = find_temperature(LOGITS, target)
    assert entropy_share(LOGITS, found) == pytest.approx(target, rel=0.02)
    assert found == float(f"{found:.3g}")


def test_scaled_logits_want_a_scaled_temperature() -> None:
    assert find_temperature(3 * LOGITS, 0.5) == pytest.approx(3 * find_temperature(LOGITS, 0.5), rel=0.01)


def test_a_target_that_no_temperature_reaches() -> None:
    with pytest.raises(ConfigError, match="--temperature auto: no temperature gives the teacher's answers 50%"):
        find_temperature(np.zeros((5, 3)), 0.5)


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.5), (4.0, 0.9), (40.0, 0.1)])
def test_the_share_of_the_gradient_is_autograds(temperature: float, share: float) -> None:
    teacher, labels = torch.from_numpy(LOGITS[:20]), torch.from_numpy(LABELS[:20])

    def norms(loss: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, at)[0].norm(dim=1)

    at = torch.zeros(20, 10, dtype=torch.float64, requires_grad=True)
    soft = -(F.softmax(teacher / temperature, 1) * F.log_softmax(at / temperature, 1)).sum() * temperature**2 * share
    hard = F.cross_entropy(at, labels, reduction="sum") * (1 - share)
    first, second = norms(soft, at), norms(hard, at)
    expected = float((first / (first + second)).mean())
    assert soft_gradient_share(LOGITS[:20], LABELS[:20], temperature, share) == pytest.approx(expected, rel=1e-9)


def test_the_share_at_the_ends() -> None:
    assert soft_gradient_share(LOGITS, LABELS, 4.0, 0.0) == 0
    assert soft_gradient_share(LOGITS, LABELS, 4.0, 1.0) == 1
    assert soft_gradient_share(LOGITS, LABELS, 4.0, 0.5, kind="hard") == pytest.approx(0.5)


def test_the_record_holds_the_chosen_temperature() -> None:
    found = temperature_record(LOGITS, LABELS, 3.7, 0.9, automatic=True, target=0.5, kind="soft")
    assert [row["t"] for row in found["by"]] == sorted({*GRID, 3.7})
    assert found["target_entropy"] == 0.5
    assert temperature_record(LOGITS, LABELS, 4.0, 0.9, automatic=False, target=0.5, kind="soft")["target_entropy"] is None


def test_examples_are_of_several_classes_and_of_all_degrees_of_doubt() -> None:
    places = choose_examples(LOGITS, LABELS, 6)
    assert len(set(places.tolist())) == len({int(LABELS[place]) for place in places}) == 6
    doubt = [entropy_share(LOGITS[[place]], 1.0) for place in places]
    assert doubt[0] < doubt[2] < doubt[-1]
    assert len(choose_examples(LOGITS[:2], LABELS[:2], 6)) == 2
    task = task_of("main", store_of(np.zeros((200, 2), np.float32)), LABELS, tuple("abcdefghij"))
    rows = example_records(LOGITS, task, places, 3.7)
    assert [row["image"] for row in rows] == list(range(6))
    assert [soft["t"] for soft in rows[0]["soft"]] == [1, 2, 3.7, 4, 10, 20, 40]
    likeliest = [soft["top"][0] for soft in rows[0]["soft"]]
    assert len({one["class"] for one in likeliest}) == 1
    assert [one["p"] for one in likeliest] == sorted((one["p"] for one in likeliest), reverse=True)
    assert all(len(soft["top"]) == 5 for soft in rows[0]["soft"])
