"""Networks of towers through the loop: what trains, what is cached, resuming, two processes, and heads found by solvers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.task import Task
from headstart.engine.checkpoint import load_state
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank, bank_answers
from headstart.engine.fit import Machine, fit
from headstart.engine.importance import fisher
from headstart.engine.inputs import decide
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.prefix_cache import Prefix
from headstart.engine.run import Drive
from headstart.engine.sampler import plan_for
from headstart.engine.solve import solve
from headstart.engine.trained import resolve
from headstart.errors import ConfigError, Interrupted
from headstart.nets.cost import activation_bytes
from headstart.nets.grow import add_column
from headstart.nets.net import Net
from headstart.nets.parallel import tower_blocks, tower_parameters, units_of
from headstart.nets.towers import towers
from headstart.stage import Adapt, Budget, Optimizer, Solve, Stage, Train
from headstart.strategies.common import stitched
from headstart.terms.distill import Distill
from headstart.terms.features import FeatureTerm
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live
from tests.engine import towered
from tests.engine.engine_toys import KINDS, differing, perceptron, resnet, state, stopping_at
from tests.engine.importance_naive import naive
from tests.engine.towered import TASKS, both_tasks, tower_net, tower_stage

every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without = pytest.mark.parametrize("stitch", [False, True], ids=["apart", "stitched"])


def heard(net: Net, stage: Any, **more: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    fit(net, stage, log=RunLog(None, (lines.append,)), **more)
    return lines


@every_kind
@with_and_without
def test_two_tasks_are_learned_and_every_tower_and_unit_moves(kind: str, stitch: bool) -> None:
    net, data = tower_net(kind, stitch), both_tasks(kind)
    before = state(net)
    lines = heard(net, tower_stage(net, data, budget=Budget(epochs=10)))
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert losses[-1] < 0.6 * losses[0]
    after = state(net)
    for name, _ in net.named_parameters():
        assert not torch.equal(before[name], after[name]), name
    for name in units_of(net):
        moved = after[f"blocks.{name}.alpha"] != before[f"blocks.{name}.alpha"]
        assert moved.float().mean() > 0.5, name  # a channel that is always 0 behind a ReLU teaches nothing
    which = answers(net, data.tasks["which"]).argmax(1)
    assert (which == data.tasks["which"].targets).mean() > 0.6


@every_kind
@with_and_without
def test_resumed_inside_the_stage_it_ends_the_same_to_the_bit(kind: str, stitch: bool, tmp_path: Path) -> None:
    whole = tower_net(kind, stitch)
    Drive(whole, seed=3).run([tower_stage(whole, both_tasks(kind))])
    halted = tower_net(kind, stitch)
    try:
        with pytest.raises(Interrupted):
            Drive(halted, seed=3, folder=tmp_path, log=stopping_at("towers", 4)).run([tower_stage(halted, both_tasks(kind))])
    finally:
        STOP.requested = False
    again = tower_net(kind, stitch)
    lines: list[dict[str, Any]] = []
    Drive(again, seed=3, folder=tmp_path, log=RunLog(None, (lines.append,))).run([tower_stage(again, both_tasks(kind))])
    assert any(line["event"] == "resumed" for line in lines)
    assert not differing(state(whole), state(again))


@every_kind
@with_and_without
def test_frozen_shared_blocks_stay_to_the_bit_and_cached_equals_uncached(kind: str, stitch: bool, tmp_path: Path) -> None:
    made = tower_net(kind, stitch)
    shared = made.block_names[0]
    trains = {f"blocks.{name}": 1.0 for name in made.block_names[1:]} | stitched(made) | {"heads": 1.0}
    found = []
    for cache in ("off", "on"):
        net = tower_net(kind, stitch)
        lines = heard(net, tower_stage(net, both_tasks(kind), trains=trains, cache=cache), machine=Machine(cache=tmp_path))
        assert [line["cached"] for line in lines if line["event"] == "cache"] == [cache == "on"]
        found.append(state(net))
        assert not differing(state(made.blocks[shared]), state(net.blocks[shared]))
    assert not differing(*found)
    assert differing(state(made), found[0])


def test_a_prefix_ends_before_the_first_tower_however_much_is_frozen(tmp_path: Path) -> None:
    found = []
    for cache in ("off", "on"):
        net = tower_net("images", stitch=True, shared=2)
        stage = tower_stage(net, both_tasks("images"), trains={"heads": 1.0}, cache=cache)
        trained = resolve(net, stage)
        prefix = Prefix(net, trained.first, 16)
        assert prefix.names == ["stem", "layer1_0"]
        assert Prefix(net, None, 16).names == ["stem", "layer1_0"]
        assert Prefix(net, "layer1_0", 16).names == ["stem"]
        machine = Machine(cache=tmp_path)
        worth = decide(net, stage, stage.views["main"], prefix, plan_for(stage, 0), machine)
        assert worth.bytes in (0, 35 * activation_bytes(net, "layer1_0"))
        before = state(net.blocks)
        fit(net, stage, machine=machine)
        assert not differing(before, state(net.blocks))
        found.append(state(net))
    assert not differing(*found)
    nothing_shared = towers(resnet(), TASKS)
    assert Prefix(nothing_shared, None, 16).end is None


def test_names_mean_all_copies_of_a_block_or_one() -> None:
    trains: dict[str, Any] = {"blocks.layer2_0": 1.0, "blocks.layer3_0.1": 1.0, "heads.first": 1.0}
    net = tower_net("images")
    before = state(net)
    fit(net, tower_stage(net, both_tasks("images"), trains=trains))
    moved = differing(before, state(net))
    starts = ("blocks.layer2_0.0.", "blocks.layer2_0.1.", "blocks.layer3_0.1.", "heads.first.")
    assert all(any(name.startswith(start) for name in moved) for start in starts)
    assert all(name.startswith(starts) for name in moved)


def test_statistics_of_one_tower_follow_the_data_alone() -> None:
    net = tower_net("images")
    before = state(net)
    fit(net, tower_stage(net, both_tasks("images"), trains={"blocks.layer2_0.0": Adapt()}, terms={}))
    moved = differing(before, state(net))
    assert moved
    assert all((name.startswith("blocks.layer2_0.0.bn") and "running" in name) or "tracked" in name for name in moved)


def test_units_have_their_own_rate_and_no_decay() -> None:
    """A step of plain SGD moves alpha by `rate x scale` times its gradient and nothing else."""
    net, data = tower_net("vectors", stitch=True), both_tasks("vectors")
    plain = Optimizer(lr=0.01, momentum=0.0, weight_decay=0.5, warmup=0.0, schedule="constant")
    moved = {}
    for scale in (1.0, 100.0):
        one = copy.deepcopy(net)
        trains = {"blocks": 1.0, "heads": 1.0, **stitched(one, scale)}
        fit(one, tower_stage(one, data, trains=trains, optimizer=plain, budget=Budget(steps=1)))
        name = units_of(one)[0]
        moved[scale] = one.blocks[name].alpha.detach() - net.blocks[name].alpha.detach()  # type: ignore[operator]
    assert bool(moved[1.0].any())
    torch.testing.assert_close(moved[100.0], 100 * moved[1.0], rtol=1e-3, atol=1e-6)
    decayed = copy.deepcopy(net)
    fit(
        decayed,
        tower_stage(decayed, data, trains={"blocks": Train(1.0), "heads": 1.0}, optimizer=plain, budget=Budget(steps=1)),
    )
    name = units_of(net)[0]
    decay = decayed.blocks[name].alpha.detach() - net.blocks[name].alpha.detach() - moved[1.0]  # type: ignore[operator]
    torch.testing.assert_close(decay, -0.005 * net.blocks[name].alpha.detach(), rtol=1e-2, atol=1e-6)  # type: ignore[operator]


@every_kind
def test_solved_heads_read_the_features_of_their_tower(kind: str, tmp_path: Path) -> None:
    net, data = tower_net(kind, stitch=True), both_tasks(kind)
    task: Task = data.tasks["which"]
    net.add_head("which", 3, tower=1)
    for folder in (None, tmp_path):
        bank = FeatureBank(folder)
        with torch.no_grad():
            x = torch.from_numpy(task.store.array[task.rows]) if kind == "vectors" else None
            for number in (0, 1):
                kept = bank.get(net, task.store, task.rows, [net.block_names[0], net.last], number)
                assert kept[net.last].shape == (35, net.info[net.last].channels)
                if x is not None:
                    taken = net.run(x, taps=net.block_names)
                    np.testing.assert_allclose(kept[net.last], net.pooled(net.last, taken[net.last], number), rtol=1e-5)
        solve(net, Solve("s", task, "which", penalty=(1e-2,)), bank=bank)
        assert net.head("which").tower == 1
        np.testing.assert_allclose(bank_answers(net, task, bank), answers(net, task), rtol=1e-3, atol=1e-3)
        assert (answers(net, task).argmax(1) == task.targets).mean() > 0.6
        with pytest.raises(ConfigError, match="gives 2 towers, and tower None is none of them"):
            bank.get(net, task.store, task.rows, [net.last])
    top, below = (net.last,), (net.block_names[1], net.last)
    solve(net, Solve("s", task, "which", reads=(top, below), penalty=(1e-2,), folds=2))
    assert net.head("which").tower == 1


def test_losses_on_activations_name_what_they_cannot_compare() -> None:
    teacher = resnet()
    teacher.add_head("which", 3)
    with pytest.raises(ConfigError, match=r"blocks \['layer3_0'\] of the student give several towers"):
        FeatureTerm(tower_net("images"), Live(teacher, "which"), [("layer3_0", "layer3_0")], "main")
    FeatureTerm(tower_net("images"), Live(teacher, "which"), [("stem", "stem")], "main")


@with_and_without
def test_a_task_of_towers_teaches_an_ordinary_network(stitch: bool) -> None:
    net, task = tower_net("vectors", stitch), both_tasks("vectors").tasks["which"]
    fit(net, tower_stage(net, both_tasks("vectors"), budget=Budget(epochs=10)))
    teacher = Live(net, "which")
    np.testing.assert_allclose(teacher.of(task.store.gather(task.rows)).numpy(), answers(net, task), rtol=1e-5, atol=1e-6)
    student = perceptron()
    student.add_head("which", 3)
    plain = {"trains": {"blocks": 1.0, "heads": 1.0}, "budget": Budget(epochs=20), "optimizer": Optimizer(lr=0.1)}
    fit(
        student, Stage("taught", task, terms={"teacher": Distill("which", teacher, temperature=1.0)}, batch_size=16, **plain)
    )  # type: ignore[arg-type]
    agree = (answers(student, task).argmax(1) == answers(net, task).argmax(1)).mean()
    assert agree > 0.8


def test_a_grown_network_trains_as_towers() -> None:
    plain = resnet()
    add_column(plain, "layer3_0", start="fresh")
    net, data = towers(plain, TASKS, shared=2), both_tasks("images")
    for number, task in enumerate(TASKS):
        net.add_head(task, 3 - number)
    lines = heard(net, tower_stage(net, data, budget=Budget(epochs=4)))
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert losses[-1] < losses[0]
    assert list(tower_blocks(net)) == ["layer2_0", "columns"]


def test_a_task_alone_leaves_the_other_tower_as_it_was() -> None:
    net, data = tower_net("vectors"), both_tasks("vectors")
    one, other = tower_parameters(net)
    kept = [value.detach().clone() for value in other]
    moved = [value.detach().clone() for value in one]
    plain = Optimizer(lr=0.05, momentum=0.0, weight_decay=0.0)
    fit(net, tower_stage(net, data, terms={"which": Supervised("which")}, optimizer=plain))
    assert all(torch.equal(value, before) for value, before in zip(other, kept, strict=True))
    assert not any(torch.equal(value, before) for value, before in zip(one, moved, strict=True))


@with_and_without
@pytest.mark.parametrize("kind", ["exact", "empirical"])
def test_importances_are_those_of_one_sample_at_a_time(stitch: bool, kind: Any) -> None:
    net, task = tower_net("vectors", stitch), both_tasks("vectors").tasks["which"]
    for name, value in naive(net, task, ["which"], kind).items():
        torch.testing.assert_close(fisher(net, task, "which", kind=kind)[name].double(), value, rtol=1e-3, atol=1e-7)


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("towers")
    in_two(towered.process, folder)
    return load_state(folder / "0.safetensors"), load_state(folder / "1.safetensors")


def test_two_processes_train_towers_as_one_does(both: Any, tmp_path: Path) -> None:
    """Statistics of every tower are those of all processes, and the pull counts once."""
    for name, alone in towered.carry_out(tmp_path).items():
        assert not differing(both[0][name], both[1][name])
        for key, value in alone.items():
            torch.testing.assert_close(
                both[0][name][key], value, rtol=2e-4, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}"
            )


def test_perceptrons_have_towers_too() -> None:
    assert towers(perceptron(), ["a", "b"], stitch=["layer0", "layer1"]).block_names == [
        "layer0",
        "layer0_stitch",
        "layer1",
        "layer1_stitch",
    ]


def test_a_solved_head_of_a_tower_is_found_again(tmp_path: Path) -> None:
    task = both_tasks("images").tasks["which"]

    def strategy(net: Net) -> list[Solve]:
        net.add_head("which", 3, "stem", tower=1)
        choices = (("stem",), (net.block_names[-1],))
        return [Solve("choose", task, "which", choices, "ridge", (1e-3, 1e-1), 3)]

    found = []
    for _ in range(2):
        net = towers(resnet(), TASKS)
        Drive(net, folder=tmp_path).run(strategy(net))
        found.append((net.head("which").reads, net.head("which").tower, state(net)))
    assert found[0][:2] == found[1][:2]
    assert not differing(found[0][2], found[1][2])
