"""Optimisers and rates against updates written out by hand, and memory that is carried on by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.engine.optim import Carried, WeightAverage, factor, make_optimizer, restore, set_rate, state_of
from headstart.engine.trained import Trained
from headstart.stage import Optimizer, Train


def trained(shapes: Mapping[str, tuple[int, ...]], rules: Mapping[str, Train] | None = None) -> Trained:
    draw = torch.Generator().manual_seed(0)
    parameters = {name: nn.Parameter(torch.randn(shape, generator=draw)) for name, shape in shapes.items()}
    return Trained(parameters, {name: (rules or {}).get(name, Train()) for name in shapes}, {}, None)


def gradients(shape: tuple[int, ...], steps: int, seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for _ in range(steps)]


def take(optimizer: torch.optim.Optimizer, parts: Mapping[str, nn.Parameter], steps: Mapping[str, list[Tensor]]) -> None:
    for index in range(len(next(iter(steps.values())))):
        for name, parameter in parts.items():
            parameter.grad = steps[name][index].clone()
        optimizer.step()


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.35])
@pytest.mark.parametrize("total", [1, 7, 100])
def test_rate_rises_to_the_full_rate_then_falls(schedule: str, warmup: float, total: int) -> None:
    rule = Optimizer(schedule=schedule, warmup=warmup)  # type: ignore[arg-type]
    course = np.array([factor(rule, step, total) for step in range(total)])
    rise = math.ceil(warmup * total)
    assert (np.diff(course[:rise]) > 0).all()
    assert (np.diff(course[rise:]) <= 0).all()
    assert (course > 0).all()
    assert (course <= 1).all()
    if schedule == "constant":
        assert (course[rise:] == 1).all()


def test_schedules_have_their_closed_form() -> None:
    total = 50
    steps = np.arange(total)
    cosine = [factor(Optimizer(warmup=0), int(step), total) for step in steps]
    np.testing.assert_allclose(cosine, (1 + np.cos(np.pi * steps / total)) / 2)
    linear = [factor(Optimizer(warmup=0, schedule="linear"), int(step), total) for step in steps]
    np.testing.assert_allclose(linear, 1 - steps / total)
    rising = [factor(Optimizer(warmup=0.2), step, total) for step in range(10)]
    np.testing.assert_allclose(rising, np.arange(1, 11) / 11)
    assert factor(Optimizer(warmup=0.2), 10, total) == 1


def test_decay_acts_on_matrices_only_unless_said_and_rates_are_scaled() -> None:
    rules = {"blocks.a.weight": Train(0.1), "heads.t.bias": Train(1.0, weight_decay=0.5)}
    parts = trained({"blocks.a.weight": (3, 2), "blocks.a.bias": (3,), "heads.t.bias": (2,)}, rules)
    optimizer = make_optimizer(Optimizer(lr=0.2, weight_decay=0.01), parts)
    set_rate(optimizer, 0.2)
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, parameter in parts.parameters.items()
        if any(parameter is one for one in group["params"])
    }
    assert found == {
        "blocks.a.weight": (pytest.approx(0.02), 0.01),
        "blocks.a.bias": (0.2, 0.0),
        "heads.t.bias": (0.2, 0.5),
    }


def test_sgd_is_nesterov_momentum_with_coupled_decay() -> None:
    parts = trained({"w": (3, 2)})
    steps = gradients((3, 2), 5, 1)
    w, speed = parts.parameters["w"].detach().double().numpy().copy(), np.zeros((3, 2))
    for gradient in steps:
        g = gradient.double().numpy() + 0.01 * w
        speed = 0.9 * speed + g
        w = w - 0.1 * (g + 0.9 * speed)
    take(make_optimizer(Optimizer(lr=0.1, weight_decay=0.01), parts), parts.parameters, {"w": steps})
    np.testing.assert_allclose(parts.parameters["w"].detach().numpy(), w, rtol=1e-5)


def test_adamw_is_adam_with_decoupled_decay() -> None:
    parts = trained({"w": (3, 2)})
    steps = gradients((3, 2), 5, 1)
    w = parts.parameters["w"].detach().double().numpy().copy()
    first, second = np.zeros((3, 2)), np.zeros((3, 2))
    for number, gradient in enumerate(steps, 1):
        g = gradient.double().numpy()
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        w = w * (1 - 0.1 * 0.01)
        w = w - 0.1 * (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
    take(make_optimizer(Optimizer(lr=0.1, kind="adamw", weight_decay=0.01), parts), parts.parameters, {"w": steps})
    np.testing.assert_allclose(parts.parameters["w"].detach().numpy(), w, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_carried_memory_goes_on_and_new_parameters_start_fresh(kind: str) -> None:
    """One group that mixes both equals two optimisers, one continued and one new, to the bit."""
    rule = Optimizer(lr=0.1, kind=kind)  # type: ignore[arg-type]
    shapes = {"old": (3, 2), "new": (3, 2)}
    early, late = gradients((3, 2), 3, 1), {"old": gradients((3, 2), 3, 2), "new": gradients((3, 2), 3, 3)}

    apart = trained(shapes)
    singles = {name: Trained({name: part}, apart.rules, {}, None) for name, part in apart.parameters.items()}
    optimizers = {name: make_optimizer(rule, single) for name, single in singles.items()}
    take(optimizers["old"], singles["old"].parameters, {"old": early})
    for name in shapes:
        take(optimizers[name], singles[name].parameters, {name: late[name]})

    together = trained(shapes)
    before = make_optimizer(rule, Trained({"old": together.parameters["old"]}, together.rules, {}, None))
    take(before, {"old": together.parameters["old"]}, {"old": early})
    after = make_optimizer(rule, together)
    restore(after, together.parameters, state_of(before, together.parameters))
    take(after, together.parameters, late)
    for name in shapes:
        assert torch.equal(together.parameters[name], apart.parameters[name]), name


def test_carried_memory_is_a_copy_in_the_parameters_own_format() -> None:
    parts = trained({"w": (4, 3, 2, 2)})
    parts.parameters["w"].data = parts.parameters["w"].data.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(Optimizer(), parts)
    kept = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    restore(optimizer, parts.parameters, {"w": {"momentum_buffer": kept}})
    buffer = optimizer.state[parts.parameters["w"]]["momentum_buffer"]
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(buffer, kept)
    assert buffer.data_ptr() != kept.data_ptr()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_memory_of_another_shape_is_not_taken(kind: str) -> None:
    """The fused rules would read beyond the end of what is smaller."""
    rule = Optimizer(lr=0.1, kind=kind)  # type: ignore[arg-type]
    small, large = trained({"w": (2, 3)}), trained({"w": (200, 3)})
    before = make_optimizer(rule, small)
    take(before, small.parameters, {"w": gradients((2, 3), 3, 0)})
    after, fresh = make_optimizer(rule, large), make_optimizer(rule, same := trained({"w": (200, 3)}))
    restore(after, large.parameters, state_of(before, small.parameters))
    for optimizer, parts in ((after, large), (fresh, same)):
        take(optimizer, parts.parameters, {"w": gradients((200, 3), 2, 1)})
    assert torch.equal(large.parameters["w"], same.parameters["w"])


def test_memory_is_carried_by_the_parameter_and_not_by_its_name() -> None:
    first, second = trained({"w": (2, 3), "v": (2,)}), trained({"w": (2, 3)})
    optimizer = make_optimizer(Optimizer(), first)
    take(optimizer, first.parameters, {"w": gradients((2, 3), 1, 0), "v": gradients((2,), 1, 1)})
    carried = Carried.of(state_of(optimizer, first.parameters), first.parameters)
    assert set(carried.still(first.parameters)) == {"w", "v"}
    assert set(carried.still({**first.parameters, **second.parameters})) == {"v"}
    assert set(Carried(carried.state).still(second.parameters)) == {"w"}  # whoever hands it over says that it fits


def test_weight_average_is_the_recursion_with_its_warm_up() -> None:
    draw = np.random.default_rng(0)
    course, decay = draw.normal(size=(40, 3)).astype(np.float32), 0.7
    average = WeightAverage(decay, {"w": torch.from_numpy(course[0]), "seen": torch.tensor(0)})
    expected = course[0].astype(np.float64)
    for count, value in enumerate(course[1:]):
        now = min(decay, (1 + count) / (10 + count))
        expected = now * expected + (1 - now) * value
        average.update({"w": torch.from_numpy(value), "seen": torch.tensor(count + 1)})
    np.testing.assert_allclose(average.average["w"].numpy(), expected, rtol=1e-5)
    assert int(average.average["seen"]) == 39


def test_weight_average_of_a_constant_is_the_constant() -> None:
    still = {"w": torch.full((3,), 0.3)}
    average = WeightAverage(0.99, still)
    for _ in range(20):
        average.update(still)
    assert torch.equal(average.average["w"], still["w"])
