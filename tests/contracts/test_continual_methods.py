"""Contracts that every continual method keeps, in every scenario it works in, on images and on vectors."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.catalog.continual import METHODS, SCENARIOS
from headstart.data.store import Store
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.past import Past
from headstart.errors import ConfigError, Interrupted
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from headstart.strategies.continual import CONTINUAL
from tests.conftest import others_slow, random_states
from tests.engine.engine_toys import differing, state, stopping_at
from tests.strategies.continual.continual_toys import CASES, CONFIGS, KINDS, Case, all_of, increment, sequence


def _first(case: Case) -> bool:
    return case.scenario == METHODS[case.method].scenarios[0]


_usual = others_slow(CASES, lambda case: case.kind == "vectors" or _first(case))
_fewer = others_slow(CASES, lambda case: case.kind == "vectors" and _first(case))
every_case = pytest.mark.parametrize("case", _usual, ids=str)
vectors_first = pytest.mark.parametrize("case", _fewer, ids=str)
_REFERENCE: dict[Case, dict[str, Tensor]] = {}


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


def reference(case: Case) -> dict[str, Tensor]:
    """Net, state and memory after three tasks, undisturbed; computed once."""
    if case not in _REFERENCE:
        _REFERENCE[case] = all_of(*sequence(case))
    return _REFERENCE[case]


def test_every_method_is_tested_and_described() -> None:
    assert set(CONFIGS) == set(CONTINUAL) == set(METHODS)


@every_case
def test_same_seed_same_bits_and_no_global_random_numbers(case: Case) -> None:
    torch.manual_seed(5)
    before = random_states()
    first = reference(case)
    assert random_states() == before
    assert not differing(first, all_of(*sequence(case)))


@vectors_first
def test_what_is_not_named_stays_to_the_bit(case: Case) -> None:
    def watch(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for stage in stages:
            before = state(net)
            yield stage
            named = [f"heads.{stage.head}"] if isinstance(stage, Solve) else list(stage.trains)
            moved = differing({k: v for k, v in state(net).items() if k in before}, before)
            assert all(name.startswith(tuple(f"{one}." for one in named)) or name in named for name in moved), stage.name

    assert not differing(all_of(*sequence(case, wrap=watch)), reference(case))


@vectors_first
def test_saved_and_loaded_between_tasks_it_goes_on_to_the_bit(case: Case, tmp_path: Path) -> None:
    net, past = sequence(case, 2)
    past.save(tmp_path)
    found = Past.load(tmp_path)
    assert found is not None
    increment(case, net, found, 2)
    assert not differing(all_of(net, found), reference(case))


@every_case
def test_resumed_at_every_stage_boundary_and_inside_equals_uninterrupted(case: Case, tmp_path: Path) -> None:
    start, before = sequence(case, 2)
    seen: list[tuple[str, int]] = []

    def listen(line: Any) -> None:
        if line["event"] == "tick" and "stage" in line:
            seen.append((line["stage"], line["done"]))

    def go(past: Past, net: Net, **how: Any) -> list[Any]:
        return increment(case, net, past, 2, **how)

    count = len(go(copy.deepcopy(before), copy.deepcopy(start), log=RunLog(None, (listen,))))
    for stop in range(1, count):
        folder = tmp_path / f"after{stop}"
        with pytest.raises(KeyboardInterrupt):
            go(copy.deepcopy(before), copy.deepcopy(start), wrap=_killed_after(stop), folder=folder)
        net, past = copy.deepcopy(start), copy.deepcopy(before)
        go(past, net, folder=folder)
        assert not differing(all_of(net, past), reference(case))
    folder = tmp_path / "inside"
    for name in dict.fromkeys(stage for stage, _ in seen):
        middle = max(step for stage, step in seen if stage == name) // 2
        with pytest.raises(Interrupted):
            go(copy.deepcopy(before), copy.deepcopy(start), folder=folder, log=stopping_at(name, middle))
        STOP.requested = False
    net, past = copy.deepcopy(start), copy.deepcopy(before)
    go(past, net, folder=folder)
    assert not differing(all_of(net, past), reference(case))


def _killed_after(count: int) -> Any:
    def wrap(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for number, stage in enumerate(stages):
            if number == count:
                raise KeyboardInterrupt
            yield stage

    return wrap


@vectors_first
def test_a_method_without_memory_keeps_no_reference_to_old_samples(case: Case) -> None:
    """Enforced, not promised: once the task's data is dropped nothing that stays with the model still holds it."""
    if METHODS[case.method].old_data:
        pytest.skip("it says that it needs the old data")
    net, past = case.net(), case.past()
    kept: list[weakref.ref[Store]] = []
    original = Case.task

    def watched(self: Case, number: int) -> Any:
        made = original(self, number)
        kept.append(weakref.ref(made.store))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Case, "task", watched)
        for number in range(2):
            increment(case, net, past, number)
    gc.collect()
    assert kept
    assert not [one for one in kept if one() is not None]
    assert (past.memory is not None) == METHODS[case.method].memory
    sizes = [value.numel() for name, value in all_of(net, past).items() if name.startswith("state.")]
    assert max(sizes, default=0) <= max(p.numel() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", list(CONTINUAL))
def test_a_scenario_it_cannot_work_in_is_said_before_training(method: str, kind: str) -> None:
    for scenario in SCENARIOS:
        if scenario in METHODS[method].scenarios:
            continue
        case = Case(method, kind, scenario)
        net = case.net()
        before = state(net)
        with pytest.raises(ConfigError, match="incrementally"):
            increment(case, net, case.past(), 0)
        assert not differing(state(net), before)
