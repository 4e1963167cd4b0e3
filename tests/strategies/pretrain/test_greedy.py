"""Greedy pretraining: what learns when, what is computed how often, and that keeping it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.catalog.greedy import GreedyConfig, SupervisedConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.task import UNKNOWN, Task
from headstart.data.views import Flip, View
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import weighted_blocks
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.greedy import greedy, settings_of
from headstart.strategies.pretrain.supervised import supervised
from headstart.terms.base import StepLike, Term
from tests.conftest import make_image_task
from tests.engine.engine_toys import differing, resnet, state

IMAGES, BATCH, RENDERINGS = 24, 8, 2
CONFIG = GreedyConfig(Schooling(epochs=3, batch_size=BATCH, lr=0.05), renderings=RENDERINGS, together=1)


def task() -> Task:
    return make_image_task(IMAGES, size=12)


def passes(net: Net, log: RunLog, cache: Path | None, config: GreedyConfig = CONFIG, **how: Any) -> Counter[tuple[str, str]]:
    """Images that went through each block while frozen, by (stage, block)."""
    seen: Counter[tuple[str, str]] = Counter()
    stage = ""

    def hook(name: str) -> Any:
        def count(block: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            if not block.training and len(given[0]) == BATCH:  # a single sample only asks for shapes
                seen[stage, name] += len(given[0])

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


def test_each_frozen_prefix_is_computed_once_for_every_image_and_rendering(tmp_path: Path):
    net = resnet()
    seen = passes(net, RunLog(None), tmp_path / "cache")
    names = weighted_blocks(net)
    for number, newest in enumerate(names):
        stage = f"{number + 1}-{newest}-supervised"
        for below in names[:number]:
            # One batch more makes the file: its shape is asked of it.
            assert seen[stage, below] == IMAGES * RENDERINGS + BATCH, (stage, below)
        assert not any(seen[stage, above] for above in names[number:])


def test_without_a_cache_it_is_computed_in_every_epoch(tmp_path: Path):
    net = resnet()
    seen = passes(net, RunLog(None), None)
    names = weighted_blocks(net)
    assert seen[f"2-{names[1]}-supervised", names[0]] == IMAGES * CONFIG.school.epochs


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


@pytest.mark.parametrize("name", ["simclr", "byol", "rotation"])
def test_objectives_by_name_learn_the_same_bits_kept_or_not(name: str, tmp_path: Path):
    data = task()
    unknown = Task(data.name, data.store, data.labels * 0 + UNKNOWN, (), data.rows)
    config = GreedyConfig(Schooling(epochs=2, batch_size=BATCH, lr=0.02), objective=name, renderings=1, together=0)
    nets, said = [resnet(), resnet()], list[dict[str, Any]]()
    for net, cache in zip(nets, (None, tmp_path / "cache"), strict=True):
        Drive(net, 0, Machine(cache=cache), None, None, RunLog(None, (said.append,))).run(greedy(net, unknown, config))
    assert not differing(state(nets[0]), state(nets[1]))
    assert any(line["cached"] for line in said if line["event"] == "cache")
    assert list(nets[0].blocks) == list(resnet().blocks)


def test_unknown_objectives_and_missing_labels_are_said():
    with pytest.raises(ConfigError, match="objective=nonsense is no way to pretrain; there are"):
        next(greedy(resnet(), task(), GreedyConfig(objective="nonsense")))
    data = task()
    unknown = Task(data.name, data.store, data.labels * 0 + UNKNOWN, (), data.rows)
    for method in (greedy, supervised):
        with pytest.raises(ConfigError, match="learns from labels, and these images have none"):
            next(method(resnet(), unknown))


def test_settings_that_cannot_be_are_listed():
    wrong = GreedyConfig(Schooling(epochs=0), objective="greedy", renderings=-2, together=-1, together_scale=0.0)
    assert len(wrong.faults()) == 5
    assert not GreedyConfig().faults()
    assert not SupervisedConfig().faults()
    assert SupervisedConfig(smoothing=1.0).faults()


def test_the_settings_of_a_method_follow_from_its_signature():
    assert settings_of(greedy) is GreedyConfig
    assert settings_of(supervised) is SupervisedConfig
