"""Driving a strategy: stages saved and loaded, carried memory, work remembered between stages, and solved stages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.views import normalise
from headstart.engine.checkpoint import load_state
from headstart.engine.features import FeatureBank
from headstart.engine.fit import FitResult, Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.run import Drive, memo, stored
from headstart.engine.solve import SolveResult, solve
from headstart.engine.solvers import fit
from headstart.errors import ConfigError, Interrupted, RunFolderMismatch
from headstart.nets.net import Net
from headstart.stage import Budget, Optimizer, Solve, Stage
from headstart.terms.base import StepLike, Term
from headstart.terms.supervised import Supervised
from tests.engine.engine_toys import Case, differing, drive, images, stage, state, stopping_at, vectors

CASE = Case("lpft", "vectors")


class Memory(Term):
    """A term with a memory: the sum of the labels it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = ("toy",)
        self.total: Tensor
        self.register_buffer("total", torch.zeros(()))

    def forward(self, step: StepLike) -> Tensor:
        return torch.zeros(())

    def after_step(self, step: StepLike) -> None:
        self.total += step.labels("toy").sum()


def test_memories_of_terms_come_back_inside_and_after_a_stage(tmp_path: Path) -> None:
    """The second stage starts its bias from what the first stage's term remembers: code between yields may use it."""

    def strategy(net: Net, log: RunLog, folder: Path | None) -> Mapping[str, Tensor]:
        def stages() -> Iterator[Stage]:
            memory = Memory()
            _, task = vectors()
            yield replace(stage(task), name="one", terms={"supervised": Supervised("toy"), "memory": memory})
            with torch.no_grad():
                net.head("toy").linear.bias.fill_(float(memory.total) / 100)
            yield replace(stage(task), name="two")

        Drive(net, folder=folder, log=log).run(stages())
        return state(net)

    whole = strategy(vectors()[0], RunLog(), None)
    for where in (("one", 3), ("two", 2)):
        with pytest.raises(Interrupted):
            strategy(vectors()[0], stopping_at(*where), tmp_path)
        STOP.requested = False
    assert not differing(strategy(vectors()[0], RunLog(), tmp_path), whole)


def test_momentum_is_carried_between_stages_and_only_when_asked() -> None:
    def run(carry: bool) -> Mapping[str, Tensor]:
        net, task = vectors()
        steps = stage(task, budget=Budget(steps=3), optimizer=Optimizer(lr=0.05, schedule="constant", warmup=0))
        Drive(net).run([replace(steps, name="one"), replace(steps, name="two", carry=carry)])
        return state(net)

    assert differing(run(True), run(False))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("classes", [3, 60])
def test_what_is_put_in_a_parameters_place_starts_fresh_under_carry(kind: Any, classes: int, tmp_path: Path) -> None:
    """A new head of the same name, as large as the one before or larger; the same when the first stage was loaded."""

    def run(carry: bool, folder: Path | None = None) -> Mapping[str, Tensor]:
        net, task = vectors()
        rule = Optimizer(lr=0.05, schedule="constant", warmup=0, kind=kind)
        whole = stage(task, trains={"blocks": 1.0, "heads.toy": 1.0}, budget=Budget(steps=3), optimizer=rule)

        def strategy() -> Iterator[Stage]:
            yield replace(whole, name="one")
            net.add_head("toy", classes)
            yield replace(whole, name="two", trains={"heads.toy": 1.0}, carry=carry)

        Drive(net, folder=folder).run(strategy())
        return state(net)

    assert not differing(run(True), run(False))
    run(True, tmp_path)
    (tmp_path / "01-two" / "finished.safetensors").unlink()
    assert not differing(run(True, tmp_path), run(False))


def test_a_stage_that_was_finished_is_not_done_again(tmp_path: Path) -> None:
    _, results = drive(CASE, folder=tmp_path)
    heard: list[Mapping[str, Any]] = []
    _, again = drive(CASE, folder=tmp_path, log=RunLog(None, (heard.append,)))
    assert not heard
    assert [type(result) for result in again] == [SolveResult, FitResult]
    assert [vars(a)["seconds"] for a in again] == [vars(b)["seconds"] for b in results]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00-probe", "01-fine_tune"]
    assert [path.name for path in (tmp_path / "01-fine_tune").iterdir()] == ["finished.safetensors"]


def test_a_damaged_finished_stage_is_done_again_aloud(tmp_path: Path) -> None:
    whole, _ = drive(CASE, folder=tmp_path)
    path = tmp_path / "01-fine_tune" / "finished.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    heard: list[Mapping[str, Any]] = []
    again, _ = drive(CASE, folder=tmp_path, log=RunLog(None, (heard.append,)))
    assert not differing(again, whole)
    assert str(path) in next(line["text"] for line in heard if line["event"] == "warning")
    assert load_state(path)["name"] == "fine_tune"


def test_the_folder_of_another_strategy_or_network_is_refused(tmp_path: Path) -> None:
    drive(Case("probe", "vectors"), folder=tmp_path)
    (tmp_path / "00-probe").rename(tmp_path / "00-fine_tune")
    with pytest.raises(RunFolderMismatch, match=r"00-fine_tune holds another network or stage.*--out"):
        drive(Case("full", "vectors"), folder=tmp_path)
    (tmp_path / "00-fine_tune").rename(tmp_path / "00-probe")
    with pytest.raises(RunFolderMismatch, match="another network"):
        drive(Case("probe", "images"), folder=tmp_path)


def test_a_chosen_depth_comes_back(tmp_path: Path) -> None:
    case = Case("early_probe", "images")
    reads: list[tuple[str, ...]] = []

    def watch(net: Net, stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        yield from stages
        reads.append(net.head("toy").reads)

    first, _ = drive(case, wrap=watch, folder=tmp_path)
    again, _ = drive(case, wrap=watch, folder=tmp_path)
    assert not differing(first, again)
    assert reads[0] == reads[1]


def test_memo_is_computed_once_and_stored_with_the_run(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"teacher": torch.arange(3.0), "count": len(calls)}

    def stages(net: Net, seen: list[Any]) -> Iterator[Stage]:
        seen.append(memo("answers", compute))
        yield stage(vectors()[1])

    found: list[Any] = []
    for folder in (tmp_path, tmp_path, None, None):
        net = vectors()[0]
        Drive(net, folder=folder).run(stages(net, found))
    assert [one["count"] for one in found] == [1, 1, 2, 3]
    assert torch.equal(found[1]["teacher"], torch.arange(3.0))
    assert memo("alone", compute)["count"] == 4


def test_what_is_remembered_is_the_same_the_first_time(tmp_path: Path) -> None:
    """JSON makes a list of a tuple: a run that goes on must not find something else than the one before."""
    first, again = (stored(tmp_path / "memo.safetensors", lambda: {"shape": (2, 3), "x": torch.ones(2)}) for _ in range(2))
    assert first["shape"] == again["shape"] == [2, 3]
    assert torch.equal(first["x"], again["x"])


def test_a_drive_ends_on_a_released_net_even_after_trouble() -> None:
    net, task = vectors()

    def stages() -> Iterator[Stage]:
        yield stage(task, trains={"heads": 1.0})
        raise ValueError("trouble between stages")

    with pytest.raises(ValueError, match="trouble"):
        Drive(net).run(stages())
    assert not any(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert memo("outside", lambda: {"a": 1}) == {"a": 1}


def test_a_damaged_memo_is_computed_again_aloud(tmp_path: Path) -> None:
    path, heard = tmp_path / "memo-answers.safetensors", []
    seen: list[Any] = []

    def stages() -> Iterator[Stage]:
        seen.append(memo("answers", lambda: {"value": torch.arange(3)}))
        yield from ()

    for _ in range(3):
        Drive(vectors()[0], folder=tmp_path, log=RunLog(None, (heard.append,))).run(stages())
        assert torch.equal(seen[-1]["value"], torch.arange(3))
        warned = [line["text"] for line in heard if line["event"] == "warning"]
        if len(seen) == 1:
            assert not warned
            path.write_bytes(path.read_bytes()[:-3])
        else:
            assert len(warned) == 1
            assert str(path) in warned[0]
            assert "computed again" in warned[0]
    assert load_state(path)["value"]["value"].tolist() == [0, 1, 2]


def test_a_request_to_stop_is_heard_in_the_next_stage_at_the_latest(tmp_path: Path) -> None:
    _, task = vectors()

    def stages(net: Net) -> Iterator[Stage]:
        yield replace(stage(task), name="one")
        yield replace(stage(task), name="two")

    net = vectors()[0]
    with pytest.raises(Interrupted, match="stage 'two' after step 1"):
        Drive(net, folder=tmp_path, log=stopping_at("one", 6)).run(stages(net))


def test_solving_does_not_depend_on_the_bank_or_its_folder(tmp_path: Path) -> None:
    states = []
    for bank in (None, FeatureBank(), FeatureBank(tmp_path)):
        net, task = images()
        chosen = solve(net, Solve("probe", task, "toy", (), "logistic", (1e-3, 1e-1), 3), bank=bank)
        states.append(state(net))
        assert chosen.penalty in (1e-3, 1e-1)
        assert set(chosen.tried) == {"@0.001", "@0.1"}
        assert chosen.trained == 16 * 3 + 3
    assert not differing(states[0], states[1])
    assert not differing(states[0], states[2])


def test_features_are_those_of_the_plain_net_and_are_kept_by_weights(tmp_path: Path) -> None:
    net, task = images()
    bank = FeatureBank(tmp_path)
    found = bank.get(net, task.store, task.rows, ("layer1_0", "pool"))
    with torch.no_grad():
        taps = net.eval().run(
            normalise(task.store.gather(task.rows), net.input.mean, net.input.std), taps=("layer1_0", "pool")
        )
    for name, values in found.items():
        torch.testing.assert_close(torch.from_numpy(values), net.pooled(name, taps[name]), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        net.blocks["stem"].conv1.weight.mul_(2)
    assert not (bank.get(net, task.store, task.rows, ("pool",))["pool"] == found["pool"]).all()


def test_a_bank_serves_no_features_of_other_layers_or_of_another_bank(tmp_path: Path) -> None:
    net, task = images()
    bank, rows = FeatureBank(tmp_path), task.rows
    found = bank.get(net, task.store, rows, ("pool",))["pool"].copy()
    bent, _ = images()
    bent.blocks["stem"].relu = torch.nn.Tanh()
    assert not np.array_equal(bank.get(bent, task.store, rows, ("pool",))["pool"], found)
    FeatureBank(tmp_path).get(net, task.store, rows[:3], ("pool",))  # in the same folder, of three images alone
    np.testing.assert_array_equal(bank.get(net, task.store, rows, ("pool",))["pool"], found)


@pytest.mark.parametrize("kept", [True, False])
def test_only_the_images_asked_for_pass_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    net, task = images()
    seen: list[int] = []
    gather = type(task.store).gather
    monkeypatch.setattr(type(task.store), "gather", lambda store, rows: (seen.extend(rows.tolist()), gather(store, rows))[1])
    bank, whole = FeatureBank(tmp_path if kept else None), FeatureBank()
    some = task.rows[::2]
    first = bank.get(net, task.store, some, ("layer1_0", "pool"))
    assert sorted(seen) == some.tolist()
    again = bank.get(net, task.store, some[::-1], ("pool",))
    assert sorted(seen) == some.tolist()
    np.testing.assert_array_equal(again["pool"], first["pool"][::-1])
    rest = bank.get(net, task.store, task.rows, ("pool",))
    assert sorted(seen) == sorted(task.rows.tolist())
    bank.get(net, task.store, some, ("layer1_0",))  # of the rest this block was not asked for
    assert len(seen) == len(task)
    wanted = whole.get(net, task.store, task.rows, ("pool",))
    np.testing.assert_allclose(rest["pool"], wanted["pool"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("solver", "penalty"), [("ridge", 0.1), ("nearest_mean", 0.0)])
def test_a_single_strength_keeps_the_solvers_own_calibration(solver: Any, penalty: float) -> None:
    net, task = images()
    bank = FeatureBank()
    solve(net, Solve("probe", task, "toy", (), solver, (penalty,)), bank=bank)
    features = torch.from_numpy(bank.get(net, task.store, task.rows, ("pool",))["pool"])
    wanted = fit(solver, features, torch.from_numpy(task.targets), 3, penalty)
    assert wanted.calibration != (1.0, 0.0)
    assert net.head("toy").calibration.tolist() == pytest.approx(wanted.calibration)
    logits = net.head("toy")({"pool": features})
    torch.testing.assert_close(net.head("toy").probabilities(logits), wanted.probabilities(features).float())


def test_a_drive_leaves_the_net_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    net, task = vectors()
    seen: list[str] = []

    def fit(net: Net, stage: Stage, *, machine: Machine | None, **more: Any) -> FitResult:
        seen.append((machine or Machine(device=str(net.device))).device)
        return FitResult(0, 0, 0.0, 0)

    monkeypatch.setattr("headstart.engine.run.fit", fit)
    Drive(net.to("meta")).run([stage(task)])
    Drive(net, machine=Machine(device="cpu")).run([stage(task)])
    assert seen == ["meta", "cpu"]


def test_results_print_as_tables(tmp_path: Path) -> None:
    _, (solved, fitted) = drive(CASE)
    lines = str(solved).splitlines()
    assert lines[0].split() == ["blocks@strength", "accuracy"]
    assert len(lines) == 2 + 2
    assert sum(line.endswith("*") for line in lines) == 1
    assert "33 weights" in lines[-1]
    assert isinstance(fitted, FitResult)
    text = str(fitted)
    assert dict(line.split(maxsplit=1) for line in text.splitlines())["epochs"] == "2"
    assert "stopped early" not in text
    assert "stopped early" in str(replace(fitted, stopped_early=True))
    assert str(replace(solved, tried={})).count("\n") == 0


def test_a_head_of_another_size_is_named() -> None:
    net, task = vectors()
    net.add_head("toy", 5)
    with pytest.raises(ConfigError, match="'toy' has 5 answers, task 'toy' has 3 classes"):
        solve(net, Solve("probe", task, "toy", (), "logistic", (1e-3,)))


def test_the_log_tells_what_happened(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    drive(CASE, log=RunLog(path, arm="lpft", fold=2))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["solved", "cache", "epoch", "epoch"]
    assert all(line["arm"] == "lpft" and line["fold"] == 2 for line in lines)
    assert [line["epoch"] for line in lines[2:]] == [1, 2]
    for line in lines[2:]:
        assert line["loss"] == pytest.approx(sum(line["losses"].values()))
