"""Contracts that every strategy keeps, on images and on vectors (DESIGN.md, "Tests").

A whole run of a toy case takes some tens of milliseconds, so that a strategy is run a few dozen times here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.engine.evaluate import accuracy
from headstart.engine.fit import FitResult, Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import Interrupted
from headstart.nets.net import Net
from headstart.stage import Evaluate, Solve, Stage
from headstart.strategies import STRATEGIES
from tests.conftest import random_states
from tests.engine.engine_toys import CONFIGS, KINDS, Case, differing, drive, state, stopping_at

CASES = [Case(strategy, kind) for strategy in STRATEGIES for kind in KINDS]
TRAINING = [case for case in CASES if hasattr(CONFIGS[case.strategy], "recipe")]


def named(case: Case) -> str:
    return f"{case.strategy}-{case.kind}"


every_case = pytest.mark.parametrize("case", CASES, ids=named)
every_training_case = pytest.mark.parametrize("case", TRAINING, ids=named)
_REFERENCE: dict[tuple[Case, str], Any] = {}


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


def plain_run(case: Case, **recipe: Any) -> tuple[dict[str, Tensor], list[Any]]:
    """The undisturbed run of a case, computed once."""
    key = (case, repr(recipe))
    if key not in _REFERENCE:
        _REFERENCE[key] = drive(case, **recipe)
    return _REFERENCE[key]


def test_every_strategy_is_tested() -> None:
    assert set(CONFIGS) == set(STRATEGIES)


@every_case
def test_same_seed_same_bits_and_no_global_random_numbers(case: Case) -> None:
    torch.manual_seed(5)
    before = random_states()
    first, results = plain_run(case)
    again, _ = drive(case)
    assert random_states() == before
    assert not differing(first, again)
    assert results


@every_training_case
def test_another_seed_gives_other_weights(case: Case) -> None:
    assert differing(plain_run(case)[0], drive(case, seed=1)[0])


def _may_move(net: Net, stage: Stage | Solve) -> set[str]:
    """State names that `stage` declares as moving, worked out from names alone."""
    if isinstance(stage, Solve):
        return {name for name in net.state_dict() if name.startswith(f"heads.{stage.head}.")}
    prefixes = tuple(f"{name}." for name in stage.trains)
    return {name for name in net.state_dict() if name.startswith(prefixes)}


def _must_move(net: Net, stage: Stage | Solve) -> set[str]:
    """Of these, the ones that cannot stay: parameters, and statistics of trained batch normalisation."""
    if isinstance(stage, Solve):
        return {f"heads.{stage.head}.linear.weight", f"heads.{stage.head}.linear.bias"}
    moving = _may_move(net, stage)
    norms = [name for name, module in net.named_modules() if isinstance(module, _BatchNorm)]
    statistics = {f"{name}.{key}" for name in norms for key in ("running_mean", "running_var", "num_batches_tracked")}
    return {name for name in moving if name in dict(net.named_parameters()) or name in statistics}


def _released(net: Net) -> bool:
    modes = {module.training for module in net.modules()}
    return modes == {False} and all(p.requires_grad and p.grad is None for p in net.parameters())


@every_case
def test_what_is_not_named_stays_to_the_bit_and_the_generator_finds_the_net_released(case: Case) -> None:
    def watch(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        assert _released(net)
        for stage in stages:
            before = state(net)
            yield stage
            assert _released(net), stage.name
            moved = set(differing({k: v for k, v in state(net).items() if k in before}, before))
            assert moved <= _may_move(net, stage), stage.name
            assert _must_move(net, stage) <= moved | (set(state(net)) - set(before)), stage.name

    watched, _ = drive(case, wrap=watch)
    assert not differing(watched, plain_run(case)[0])


def _cached(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
    """The same stages, caching wherever it is possible at all."""
    for stage in stages:
        yield replace(stage, cache="on") if isinstance(stage, Stage) else stage


@every_training_case
@pytest.mark.parametrize("recipe", [{"augment": False}, {"views": 2}], ids=["plain", "two-draws"])
def test_cached_equals_uncached_to_the_bit(case: Case, recipe: Mapping[str, Any], tmp_path: Path) -> None:
    events: list[Mapping[str, Any]] = []
    cached, _ = drive(case, wrap=_cached, machine=Machine(cache=tmp_path), log=RunLog(None, (events.append,)), **recipe)
    said = [line["cached"] for line in events if line["event"] == "cache"]
    assert any(said) == (case.strategy in ("partial", "retrain", "gradual"))
    assert any(tmp_path.glob("prefix-*")) == any(said)
    assert not differing(cached, plain_run(case, **recipe)[0])
    again, _ = drive(case, wrap=_cached, machine=Machine(cache=tmp_path), **recipe)
    assert not differing(again, cached)


def _killed_after(count: int) -> Any:
    """The run ends between two stages, as if the machine had been switched off."""

    def wrap(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for number, stage in enumerate(stages):
            if number == count:
                raise KeyboardInterrupt
            yield stage

    return wrap


def _events(path: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock and on interruptions."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [line for line in lines if line["event"] in ("epoch", "solved")]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in kept]


@every_case
def test_resumed_at_every_stage_boundary_equals_uninterrupted(case: Case, tmp_path: Path) -> None:
    whole, results = plain_run(case)
    for count in range(1, len(results) + 1):
        folder = tmp_path / str(count)
        if count < len(results):
            with pytest.raises(KeyboardInterrupt):
                drive(case, wrap=_killed_after(count), folder=folder)
        else:
            drive(case, folder=folder)
        resumed, repeated = drive(case, folder=folder)
        assert not differing(resumed, whole)
        assert [_without_time(result) for result in repeated] == [_without_time(result) for result in results]


def _without_time(result: Any) -> dict[str, Any]:
    """What a stage reports, without its duration and its tensors."""
    return {key: value for key, value in vars(result).items() if key not in ("seconds", "optimizer")}


@every_training_case
def test_resumed_inside_every_stage_equals_uninterrupted(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    seen: list[tuple[str, int]] = []

    def listen(line: Mapping[str, Any]) -> None:
        if line["event"] == "tick" and "stage" in line:
            seen.append((line["stage"], line["done"]))

    whole, results = drive(case, log=RunLog(tmp_path / "whole.jsonl", (listen,)))
    assert not differing(whole, plain_run(case)[0])
    last = {name: max(step for stage, step in seen if stage == name) for name, _ in seen}
    stops = [stop for name, end in last.items() for stop in ((name, 1), (name, end // 2 + 1)) if stop[1] < end]
    path = tmp_path / "log.jsonl"
    for name, step in dict.fromkeys(stops):
        with pytest.raises(Interrupted, match=f"stage '{name}' after step {step} of"):
            drive(case, folder=folder, log=stopping_at(name, step, path))
        STOP.requested = False
    resumed, repeated = drive(case, folder=folder, log=RunLog(path))
    assert not differing(resumed, whole)
    assert [_without_time(result) for result in repeated] == [_without_time(result) for result in results]
    assert _events(path) == _events(tmp_path / "whole.jsonl")
    assert [json.loads(line)["step"] for line in path.read_text().splitlines() if '"resumed"' in line]


@every_training_case
def test_looking_changes_no_weight(case: Case) -> None:
    """Removing `evaluate` changes nothing, even if it draws random numbers and sets modes (contract 15)."""
    looked: list[float] = []

    def look(net: Net) -> dict[str, float]:
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
        torch.rand(3)
        nn.Module.train(net)
        net.eval()
        looked.append(accuracy(net, case.task()))
        return {"valid_accuracy": looked[-1]}

    def looking(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for stage in stages:
            yield replace(stage, evaluate=Evaluate(1, look)) if isinstance(stage, Stage) else stage

    weights, results = drive(case, wrap=looking)
    assert not differing(weights, plain_run(case)[0])
    assert len(looked) == sum(result.epochs for result in results if isinstance(result, FitResult))


@every_case
def test_what_was_learned_is_right_on_what_was_seen(case: Case) -> None:
    """A sanity check: after a little training every strategy beats guessing among three classes."""
    reached: list[float] = []

    def watch(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        yield from stages
        reached.append(accuracy(net, case.task()))

    drive(case, wrap=watch, **({"epochs": 8} if case in TRAINING else {}))
    assert reached[0] > 0.5
