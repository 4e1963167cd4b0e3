"""The course of a stage: looking, stopping, keeping the best, saving, going on, and losses that are not numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.task import Task
from headstart.engine import course, distributed
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.evaluate import looking
from headstart.engine.fit import Machine, fit
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import Interrupted, NonFiniteLoss, RunFolderMismatch
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked
from headstart.stage import Budget, Evaluate, Optimizer
from headstart.terms.base import StepLike, Term
from headstart.terms.supervised import Supervised
from tests.conftest import make_vector_task
from tests.engine.engine_toys import differing, images, stage, state, stopping_at, vectors


class Noise(Term):
    """Draws from the global generator in the forward pass, as dropout does."""

    def forward(self, step: StepLike) -> Tensor:
        return (step.logits("toy") * torch.rand(3)).mean()


def dropping() -> tuple[Net, Task]:
    with forked(0):
        blocks = {
            "low": nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5)),
            "high": nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5)),
        }
    net = Net(blocks, InputSpec(6, (0.0,), (1.0,), "vector"), {n: BlockInfo("nc", 8) for n in blocks}, None)
    net.add_head("toy", 3)
    return net, make_vector_task(35)


@pytest.mark.parametrize("cache", ["on", "off"])
def test_dropout_and_noise_resume_to_the_bit(tmp_path: Path, cache: str) -> None:
    """Random numbers of a step follow from its number, whatever was drawn before it."""
    terms = {"supervised": Supervised("toy"), "noise": Noise()}

    def run(log: RunLog, folder: Path | None) -> Mapping[str, Tensor]:
        net, task = dropping()
        plan = stage(task, terms=terms, trains={"blocks.high": 1.0, "heads": 1.0}, cache=cache)
        machine = Machine(cache=tmp_path / "cache")
        fit(net, plan, machine=machine, log=log, checkpoints=Checkpoints(folder) if folder else None)
        return state(net)

    whole = run(RunLog(), None)
    with pytest.raises(Interrupted):
        run(stopping_at("s", 3), tmp_path / "work")
    STOP.requested = False
    assert not differing(run(RunLog(), tmp_path / "work"), whole)


def test_a_huge_rate_stops_the_run_by_name_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    net, task = vectors()
    kept = Checkpoints(tmp_path)
    plan = stage(task, optimizer=Optimizer(lr=1e6, warmup=0, schedule="constant"), budget=Budget(steps=200))
    with pytest.raises(NonFiniteLoss, match=r"stage 's', step \d+: loss 'supervised' is (nan|inf).*learning rate 1000000"):
        fit(net, plan, machine=Machine(checkpoint_every=0.0), checkpoints=kept)
    saved = kept.load()
    assert saved is not None
    assert saved["done"] >= 1
    assert np.isfinite(saved["sums"].get("supervised", [0.0])).all()
    assert not any(module.training for module in net.modules())


class Keeping(Term):
    """Remembers the loss it returned, as a term that looks at its own history does."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: list[tuple[Tensor, float]] = []

    def forward(self, step: StepLike) -> Tensor:
        loss = (step.logits("toy") - 1).square().mean()
        self.returned.append((loss, float(loss.detach())))
        return loss


def test_adding_up_over_processes_leaves_a_terms_own_loss_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(tensors: Iterable[Tensor], asked: Sequence[bool] = ()) -> list[bool]:
        for tensor in tensors:
            tensor.mul_(2)
        return list(asked)

    monkeypatch.setattr(distributed, "sum_over_processes", doubled)
    monkeypatch.setattr(course, "_waits", lambda net: True)
    net, task = vectors()
    keeping, heard = Keeping(), []
    fit(net, stage(task, terms={"keeping": keeping}, budget=Budget(epochs=1)), log=RunLog(None, (heard.append,)))
    assert [float(loss.detach()) for loss, _ in keeping.returned] == [value for _, value in keeping.returned]
    mean = sum(value for _, value in keeping.returned) / len(keeping.returned)
    assert next(line["loss"] for line in heard if line["event"] == "epoch") == pytest.approx(2 * mean)


def test_looking_keeps_the_streams_of_the_nets_own_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other accelerators may be at work for others, and asking them starts them."""
    asked: list[list[Any]] = []

    @contextmanager
    def fork_rng(devices: Iterable[Any]) -> Iterator[None]:
        asked.append(list(devices))
        yield

    monkeypatch.setattr(torch.random, "fork_rng", fork_rng)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with looking(vectors()[0]):
        pass
    assert asked == [[]]


class Infinite(Term):
    def forward(self, step: StepLike) -> Tensor:
        return torch.tensor(float("inf"))


def test_an_infinite_loss_names_its_term_and_step() -> None:
    net, task = vectors()
    with pytest.raises(NonFiniteLoss, match="step 1: loss 'endless' is inf"):
        fit(net, stage(task, terms={"supervised": Supervised("toy"), "endless": Infinite()}))


def watched(values: list[float], seen: list[Mapping[str, Tensor]], **how: Any) -> Evaluate:
    """An evaluation that reports the given numbers in turn and keeps the weights it was shown."""
    left = iter(values)

    def look(net: Net) -> dict[str, float]:
        seen.append(state(net))
        return {"value": next(left)}

    return Evaluate(fn=look, monitor="value", **how)


def test_stops_when_nothing_improves_and_restores_the_best() -> None:
    net, task = vectors()
    seen: list[Mapping[str, Tensor]] = []
    how = watched([0.1, 0.5, 0.5, 0.4, 0.9], seen, every=1, patience=2)
    result = fit(net, stage(task, budget=Budget(epochs=9), evaluate=how))
    assert (result.epochs, result.stopped_early, len(seen)) == (4, True, 4)
    assert not differing(state(net), seen[1])


def test_looks_every_so_many_epochs_and_at_the_end() -> None:
    net, task = vectors()
    seen: list[Mapping[str, Tensor]] = []
    result = fit(net, stage(task, budget=Budget(epochs=5), evaluate=watched([1, 2, 3], seen, every=2, patience=2)))
    assert (result.epochs, result.stopped_early, len(seen)) == (5, False, 3)
    assert not differing(state(net), seen[-1])


def test_with_an_average_it_is_the_average_that_is_looked_at_and_kept() -> None:
    net, task = images()
    seen: list[Mapping[str, Tensor]] = []
    fit(net, stage(task, budget=Budget(epochs=3), average=0.9, evaluate=watched([1, 3, 2], seen, every=1, patience=5)))
    assert not differing(state(net), seen[1])


def test_a_best_found_before_an_interruption_is_not_forgotten(tmp_path: Path) -> None:
    def run(log: RunLog, values: list[float], kept: Checkpoints | None) -> Mapping[str, Tensor]:
        net, task = vectors()
        how = watched(values, [], every=1, patience=5)
        fit(net, stage(task, budget=Budget(epochs=4), evaluate=how), log=log, checkpoints=kept)
        return state(net)

    whole = run(RunLog(), [9, 3, 2, 1], None)
    with pytest.raises(Interrupted):
        run(stopping_at("s", 4), [9, 3, 2, 1], Checkpoints(tmp_path))
    STOP.requested = False
    assert not differing(run(RunLog(), [3, 2, 1], Checkpoints(tmp_path)), whole)


@pytest.mark.parametrize(("what", "value"), [("processes", 2), ("threads", 7)])
def test_other_surroundings_cannot_resume_exactly_and_say_so(tmp_path: Path, what: str, value: int) -> None:
    net, task = vectors()
    kept = Checkpoints(tmp_path)
    with pytest.raises(Interrupted, match="after step 2 of 6"):
        fit(net, stage(task), checkpoints=kept, log=stopping_at("s", 2))
    STOP.requested = False
    saved = kept.load()
    assert saved is not None
    kept.save(saved | {what: value})
    with pytest.raises(RunFolderMismatch, match=rf"begun with {value} {what} and is resumed with 1.*--out"):
        fit(net, stage(task), checkpoints=kept)


def test_a_damaged_checkpoint_costs_a_step_and_no_bit(tmp_path: Path) -> None:
    net, task = vectors()
    fit(net, stage(task))
    whole, heard = state(net), []
    net, task = vectors()
    kept = Checkpoints(tmp_path)
    with pytest.raises(Interrupted):
        fit(net, stage(task), machine=Machine(checkpoint_every=0), checkpoints=kept, log=stopping_at("s", 4))
    STOP.requested = False
    content = bytearray((tmp_path / "latest.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "latest.safetensors").write_bytes(content)
    net, task = vectors()
    fit(net, stage(task), checkpoints=kept, log=RunLog(None, (heard.append,)))
    assert not differing(state(net), whole)
    assert [line["event"] for line in heard if line["event"] in ("warning", "resumed")] == ["warning", "resumed"]
    assert next(line["step"] for line in heard if line["event"] == "resumed") == 3


def test_an_attempt_killed_before_its_first_checkpoint_is_not_told_twice(tmp_path: Path) -> None:
    """Nothing was saved, so the stage begins again; the log must not hold the lost epochs beside the new ones."""
    path, kept = tmp_path / "log.jsonl", Checkpoints(tmp_path / "stage")
    RunLog(path).event("before")

    def killed(line: Mapping[str, Any]) -> None:
        if line["event"] == "tick" and line["done"] == 5:
            raise KeyboardInterrupt

    net, task = vectors()
    with pytest.raises(KeyboardInterrupt):
        fit(net, stage(task), log=RunLog(path, (killed,)), checkpoints=kept)
    assert path.read_text().count('"epoch"') == 2  # the kind of event and its number
    net, task = vectors()
    fit(net, stage(task), log=RunLog(path), checkpoints=kept)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["before", "cache", "epoch", "epoch"]
    kept.clear()
    assert not list((tmp_path / "stage").iterdir())
