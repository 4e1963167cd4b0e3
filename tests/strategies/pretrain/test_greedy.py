"""Greedy pretraining: what learns when, what is computed how often, and that keeping it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from headstart.catalog.greedy import GreedyConfig, SupervisedConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.task import UNKNOWN, Task
from headstart.data.views import Flip, View
from headstart.engine import prefix_cache
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError, Interrupted
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import weighted_blocks
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.greedy import greedy, settings_of
from headstart.strategies.pretrain.supervised import supervised
from headstart.studies.costs import course_of
from headstart.terms.base import StepLike, Term
from tests.conftest import make_image_task
from tests.engine.engine_toys import differing, resnet, state
from tests.strategies.pretrain.pretrain_toys import TOYS, images

IMAGES, BATCH, RENDERINGS = 24, 8, 2
CONFIG = GreedyConfig(Schooling(epochs=3, batch_size=BATCH, lr=0.05), renderings=RENDERINGS, together=1)


def task() -> Task:
    return make_image_task(IMAGES, size=12)


@dataclass
class Passes:
    """Samples that went through each block, by (stage, block): while it was frozen, and while it learned."""

    frozen: Counter[tuple[str, str]]
    learning: Counter[tuple[str, str]]


def passes(net: Net, log: RunLog, cache: Path | None, config: GreedyConfig = CONFIG, **how: Any) -> Passes:
    """Those of a run of greedy pretraining."""
    seen = Passes(Counter(), Counter())
    stage = ""

    def hook(name: str) -> Any:
        def count(block: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            if not isinstance(given[0], FakeTensor):  # which only asks for shapes
                (seen.learning if block.training else seen.frozen)[stage, name] += len(given[0])

        return count

    def named() -> Iterator[Any]:
        nonlocal stage
        for one in greedy(net, task(), config, **how):
            stage = one.name
            yield one

    hooks = [block.register_forward_hook(hook(name)) for name, block in net.blocks.items()]
    Drive(net, 0, Machine(cache=cache), None, None, log).run(named())
    for one in hooks:
        one.remove()
    return seen


def test_a_block_learns_at_a_time_and_only_it(tmp_path: Path):
    net, names = resnet(), weighted_blocks(resnet())
    stages = []
    for stage in greedy(net, task(), CONFIG):
        assert isinstance(stage, Stage)
        stages.append(stage)
        learning = [name.removeprefix("blocks.") for name in stage.trains if name.startswith("blocks.")]
        if len(stages) <= len(names):
            assert learning == [net.last] == [names[len(stages) - 1]]
            assert stage.views["main"].fixed_draws == RENDERINGS
            assert stage.budget.epochs == 3
        else:
            assert learning == names
            assert stage.budget.epochs == 1
            assert stage.trains[f"blocks.{names[0]}"] == pytest.approx(0.1)
    assert len(stages) == len(names) + 1
    assert net.block_names == resnet().block_names
    assert not net.heads


@pytest.mark.parametrize(("objective", "shown"), [("supervised", 1), ("rotation", 4), ("simclr", 2)])
def test_a_block_that_has_learned_runs_once_over_what_is_kept_and_never_again(objective: str, shown: int, tmp_path: Path):
    """A block runs over every image, rendering, view and piece when the next one begins, and over nothing afterwards."""
    net, config, levels, said = resnet(), replace(CONFIG, objective=objective), list[int](), list[dict[str, Any]]()

    def listen(line: Any) -> None:
        levels.append(len(list(tmp_path.glob("cache/*.npy"))))
        said.append(line)

    seen = passes(net, RunLog(None, (listen,)), tmp_path / "cache", config)
    names = weighted_blocks(net)
    for number, newest in enumerate(names):
        stage = f"{number + 1}-{newest}-{objective}"
        for place, name in enumerate(names):
            once = IMAGES * RENDERINGS * shown if place == number - 1 else 0
            assert seen.frozen[stage, name] == once, (stage, name)
            trained = IMAGES * config.school.epochs * shown if place == number else 0
            assert seen.learning[stage, name] == trained, (stage, name)
    views = 2 if objective == "simclr" else 1
    assert max(levels) == views + 1, "of one view at a time the level below is still there"
    note = next(line["text"] for line in said if line.get("key") == "kept")
    assert note.startswith(f"{RENDERINGS} renderings of every image")
    assert "GB of disk at most" in note


def test_operations_are_counted_as_they_are_done(tmp_path: Path):
    """By hand: three passes of every block that learns, one over what is kept of every block below; 1 % for the heads."""
    for objective, shown in (("supervised", 1), ("rotation", 4), ("simclr", 2)):
        net, data, config = resnet(), task(), replace(CONFIG, objective=objective)
        each, names, epochs = block_flops(net), weighted_blocks(net), config.school.epochs
        learning = sum(each[name] for name in names) * 3 * IMAGES * (epochs + config.together) * shown
        frozen = sum(each[name] for name in names[:-1]) * IMAGES * RENDERINGS * shown
        machine = Machine(cache=tmp_path / objective)
        counted = course_of(net, greedy(net, data, config), data, machine, each).flops
        assert counted == pytest.approx(2 * (learning + frozen), rel=0.01)


@pytest.mark.parametrize("renderings", [2, -1])
def test_where_nothing_is_kept_frozen_blocks_run_at_every_step(renderings: int, tmp_path: Path):
    net = resnet()
    cache = tmp_path if renderings < 0 else None
    seen = passes(net, RunLog(None), cache, replace(CONFIG, renderings=renderings))
    names = weighted_blocks(net)
    for number, newest in enumerate(names):
        for below in names[:number]:
            assert seen.frozen[f"{number + 1}-{newest}-supervised", below] == IMAGES * CONFIG.school.epochs
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize("when", ["inside a level", "between two levels"])
def test_stopped_while_it_computes_what_is_kept_it_goes_on_to_the_same_bits(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In the second level: after four of its six batches; or when it is full, and the first, which it is made of, there."""
    heard = Counter[str]()

    def listen(line: Any) -> None:
        if line["event"] == "tick" and line["what"] == "computing the frozen part once":
            heard["batches"] += 1
            STOP.requested |= when == "inside a level" and heard["batches"] == 6 + 4

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    def drive(*listeners: Any) -> Net:
        net, machine = resnet(), Machine(cache=tmp_path / "cache")
        Drive(net, 0, machine, tmp_path / "run", None, RunLog(None, listeners)).run(greedy(net, task(), CONFIG))
        return net

    with monkeypatch.context() as patched:
        if when == "between two levels":
            patched.setattr(prefix_cache, "_remove", killed)
        with pytest.raises((Interrupted, KeyboardInterrupt)):
            drive(listen)
    STOP.requested = False
    assert len(list(tmp_path.glob("cache/*.npy"))) == 2
    again, whole = drive(), resnet()
    passes(whole, RunLog(None), None)
    assert not differing(state(again), state(whole))


def test_what_has_no_room_is_drawn_less_often_or_refused_in_words():
    said = list[dict[str, Any]]()
    bytes_each = IMAGES * 4 * 12 * 12 * 4  # the stem's and the first block's outputs are the largest

    def stages(room: int) -> list[Stage]:
        net = resnet()
        drive = Drive(net, 0, None, None, None, RunLog(None, (said.append,)))
        config = replace(CONFIG, renderings=5, room=room / 1e9, together=0, school=replace(CONFIG.school, epochs=5))
        found = list[Stage]()

        def seen() -> Iterator[Any]:
            for stage in greedy(net, task(), config):
                found.append(stage)  # type: ignore[arg-type]
                yield stage

        drive.run(seen())
        return found

    found = stages(2 * 3 * bytes_each + 2 * 4096)
    assert {stage.views["main"].draws for stage in found} == {3}
    warning = next(line["text"] for line in said if line["event"] == "warning")
    assert warning.startswith("renderings=5 would take")
    assert "3 renderings of every image" in warning
    with pytest.raises(ConfigError, match=r"one rendering of 24 images takes .* GB of disk, and room=.*renderings=-1"):
        stages(bytes_each)


def test_kept_or_not_the_weights_are_the_same_to_the_bit(tmp_path: Path):
    nets = [resnet(), resnet()]
    passes(nets[0], RunLog(None), tmp_path / "cache")
    passes(nets[1], RunLog(None), None)
    assert not differing(state(nets[0]), state(nets[1]))


class Steady(Term):
    """A pair of renderings should be told alike: enough of an objective to be greedy about."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.block, self.reads = net.last, (net.last,)
        self.pool = net.pooled
        self.project = nn.Linear(net.info[net.last].channels, 4)

    def forward(self, step: StepLike) -> torch.Tensor:
        both = self.project(self.pool(self.block, step.together("one", "two")[self.block]))
        one, two = both.chunk(2)
        return step.mean_all((one - two).square().sum(1) - 0.1 * one.square().sum(1).clamp(max=1))


def steady(net: Net, data: Task, cfg: SupervisedConfig | None = None) -> Iterator[Stage]:
    assert (data.labels == UNKNOWN).all()
    cfg = cfg or SupervisedConfig()
    views = {"one": View((Flip(),)), "two": View((Flip(0.3),))}
    yield pretrain_stage("steady", net, data, {"steady": Steady(net)}, views, cfg.school)


def test_any_objective_can_be_learned_block_by_block(tmp_path: Path):
    data = task()
    unknown = Task(data.name, data.store, data.labels * 0 + UNKNOWN, (), data.rows)
    net, cached = resnet(), resnet()
    for one, cache in ((net, None), (cached, tmp_path / "cache")):
        torch.manual_seed(0)
        stages = greedy(one, unknown, CONFIG, objective=steady)
        Drive(one, 0, Machine(cache=cache)).run(stages)
    assert not differing(state(net), state(cached))
    assert differing(state(net), state(resnet()))


BY_NAME = ["byol", "rotation", "simclr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("moco", "jigsaw", "cpc"))]


@pytest.mark.parametrize("name", BY_NAME)
def test_objectives_by_name_learn_the_same_bits_kept_or_not(name: str, tmp_path: Path):
    toy = TOYS[name]
    config = GreedyConfig(Schooling(epochs=2, batch_size=BATCH, lr=0.02), objective=name, renderings=1, together=0)
    nets, said = [toy.net(), toy.net()], list[dict[str, Any]]()
    for net, cache in zip(nets, (None, tmp_path / "cache"), strict=True):
        log = RunLog(None, (said.append,))
        Drive(net, 0, Machine(cache=cache), None, None, log).run(greedy(net, images(toy), config, settings=toy.config))
    assert not differing(state(nets[0]), state(nets[1]))
    assert any(line["cached"] for line in said if line["event"] == "cache")
    assert list(nets[0].blocks) == list(toy.net().blocks)


def test_unknown_objectives_and_missing_labels_are_said():
    with pytest.raises(ConfigError, match="objective=nonsense is no way to pretrain; there are"):
        next(greedy(resnet(), task(), GreedyConfig(objective="nonsense")))
    data = task()
    unknown = Task(data.name, data.store, data.labels * 0 + UNKNOWN, (), data.rows)
    for method in (greedy, supervised):
        with pytest.raises(ConfigError, match="learns from labels, and these images have none"):
            next(method(resnet(), unknown))


def test_settings_that_cannot_be_are_listed():
    wrong = GreedyConfig(Schooling(epochs=0), objective="greedy", renderings=-2, room=0, together=-1, together_scale=0.0)
    assert len(wrong.faults()) == 6
    assert not GreedyConfig().faults()
    assert not SupervisedConfig().faults()
    assert SupervisedConfig(smoothing=1.0).faults()


def test_the_settings_of_a_method_follow_from_its_signature():
    assert settings_of(greedy) is GreedyConfig
    assert settings_of(supervised) is SupervisedConfig
