"""Costs of strategies against counts by hand, and what has to be stored against what really moved."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.catalog.strategies import (
    BornAgainConfig,
    DistillConfig,
    FullConfig,
    GradualConfig,
    LpftConfig,
    PartialConfig,
    ProbeConfig,
    Recipe,
)
from headstart.catalog.strategies import RetrainConfig as Retrain
from headstart.data.task import Task
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.run import Drive
from headstart.engine.solvers.objective import Objective
from headstart.nets.cost import block_flops
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked
from headstart.stage import Budget, Solve, Stage
from headstart.strategies import STRATEGIES
from headstart.studies.costs import Course, course_of, inference_flops, solving, stored
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron

SIZE, N, CLASSES = 12, 48, 3
FIRST = 3 * 3 * 3 * 8 * SIZE * SIZE
"""Multiply-adds of a 3x3 convolution from 3 to 8 channels on every place."""
SECOND = 3 * 3 * 8 * 16 * (SIZE // 2) ** 2
"""Of one from 8 to 16 channels on every other place in both directions."""
HEAD = 16 * CLASSES
PLAIN = Recipe(epochs=4, batch_size=16, augment=False)
DRAWN = replace(PLAIN, augment=True)


def conv_net() -> Net:
    with forked(3):
        blocks = OrderedDict(
            first=nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            second=nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
        )
    info = {"first": BlockInfo("nchw", 8), "second": BlockInfo("nchw", 16)}
    return Net(blocks, InputSpec(SIZE), info, None)


def conv_net_with(head: str) -> Net:
    net = conv_net()
    net.add_head(head, CLASSES)
    return net


def identity() -> Net:
    return Net({"same": nn.Identity()}, InputSpec(WIDTH, kind="vector"), {"same": BlockInfo("nc", WIDTH)}, None)


@pytest.fixture
def task() -> Task:
    return make_image_task(N, CLASSES, SIZE)


def counted(strategy: str, config: Any, net: Net, task: Task, machine: Machine | None = None) -> Course:
    stages = STRATEGIES[strategy](net, task, config)
    return course_of(net, stages, task, machine or Machine(), block_flops(net))


def close(value: float) -> Any:
    return pytest.approx(value, rel=0.01)


def test_everything_trained_costs_three_forward_passes(task: Task) -> None:
    by_hand = 2 * (4 * N) * 3 * (FIRST + SECOND + HEAD)
    assert counted("full", FullConfig(DRAWN), conv_net(), task).flops == close(by_hand)
    assert counted("retrain", Retrain(DRAWN), conv_net(), task).flops == close(by_hand)


def test_a_teacher_costs_one_pass_for_every_answer(task: Task) -> None:
    """Kept ones are asked for once per rendering, live ones at every step; the student costs what it does alone."""
    student, whole = 2 * (4 * N) * 3 * (FIRST + SECOND + HEAD), FIRST + SECOND + HEAD
    teachers = (Live(conv_net_with("wise"), "wise"), Live(conv_net_with("wise"), "wise"))
    for views, passes in ((2, 2), (None, 4)):
        net = conv_net()
        stages = STRATEGIES["distill"](net, task, DistillConfig(replace(DRAWN, views=views)), teachers=teachers)
        found = course_of(net, stages, task, Machine(), block_flops(net)).flops
        assert found == close(student + 2 * 2 * passes * N * whole)


def test_generations_cost_a_training_each_and_the_answers_between(task: Task) -> None:
    config = BornAgainConfig(replace(DRAWN, views=2), generations=2)
    by_hand = 3 * 2 * (4 * N) * 3 * (FIRST + SECOND + HEAD) + 2 * 2 * 2 * N * (FIRST + SECOND + HEAD)
    assert counted("born_again", config, conv_net(), task).flops == close(by_hand)


def test_a_head_on_frozen_features_costs_one_pass(task: Task) -> None:
    assert counted("probe", ProbeConfig(), conv_net(), task).flops == close(2 * N * (FIRST + SECOND))
    both = counted("lpft", LpftConfig(DRAWN), conv_net(), task).flops
    assert both == close(2 * N * (FIRST + SECOND) + 2 * (4 * N) * 3 * (FIRST + SECOND + HEAD))


WIDTH, MANY = 12, 96
"""Of the features below, and how many."""


@pytest.fixture
def many() -> Task:
    return make_vector_task(MANY, CLASSES, WIDTH)


def spectrum_by_hand(n: int) -> int:
    """Second moments, their eigenvectors, the coordinates along them, and weighted means."""
    return 2 * n * WIDTH**2 + 9 * WIDTH**3 + 2 * n * WIDTH**2 + 2 * n * WIDTH


def folded_by_hand(classes: int = CLASSES) -> int:
    """Weights on raw features from those on axes, and their bias."""
    return 2 * classes * WIDTH**2 + 2 * classes * WIDTH


def solved(net: Net, task: Task, solver: str, penalties: tuple[float, ...], folds: int = 5) -> int:
    net.add_head(task.name, task.num_classes)
    return solving(net, Solve("head", task, task.name, (), solver, penalties, folds), FeatureBank(), 0)  # type: ignore[arg-type]


def test_a_ridge_head_by_hand(many: Task) -> None:
    wide = WIDTH + 1  # and the bias
    targets = 2 * MANY * wide * CLASSES
    by_hand = spectrum_by_hand(MANY) + 2 * targets + 2 * MANY * wide + folded_by_hand()
    assert solved(identity(), many, "ridge", (0.1,)) == close(by_hand)


def test_a_logistic_head_by_hand(many: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the objective is one product with the features for the logits and one for the gradient."""
    looks = list[int]()
    real = Objective.__call__

    def counted_look(self: Objective, x: torch.Tensor, which: torch.Tensor) -> Any:
        looks.append(len(which) * self.rows * self.samples.features.numel())
        return real(self, x, which)

    monkeypatch.setattr(Objective, "__call__", counted_look)
    one = solved(identity(), many, "logistic", (0.01,))
    # the weighted loss is a product with the samples' weights for every class, the bend another
    small = sum(2 * MANY * (2 + CLASSES) for _ in looks)
    assert len(looks) > 5
    assert one == pytest.approx(spectrum_by_hand(MANY) + 4 * sum(looks) + small + folded_by_hand(), rel=0.01)


def test_a_cross_validated_head_costs_its_folds(many: Task) -> None:
    once, several = (solved(identity(), many, "logistic", penalties) for penalties in ((0.01,), (0.01, 0.1)))
    assert several > 2 * once
    assert solved(identity(), many, "svm", (0.01,)) > 0


def test_a_solved_head_costs_features_and_solver(task: Task) -> None:
    net = conv_net()
    bank = FeatureBank()
    stages = list(STRATEGIES["probe"](net, task, ProbeConfig(penalties=(0.1,))))
    whole = course_of(net, stages, task, Machine(), block_flops(net), bank).flops
    assert isinstance(stages[0], Solve)
    assert whole - 2 * N * (FIRST + SECOND) == solving(net, stages[0], bank)


def test_counting_leaves_everything_as_it_was(task: Task) -> None:
    net = conv_net()
    net.add_head("toy", CLASSES)
    before, threads = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_num_threads()
    solving(net, Solve("head", task, "toy", (), "ridge", (0.1,), 2), FeatureBank())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.get_num_threads() == threads


def test_a_kept_prefix_counts_once_and_another_in_every_epoch(task: Task, tmp_path: Path) -> None:
    learned = 3 * (SECOND + HEAD)
    kept = counted("partial", PartialConfig(PLAIN, top=1), conv_net(), task, Machine(cache=tmp_path)).flops
    assert kept == close(2 * (4 * N * learned + N * FIRST))
    again = counted("partial", PartialConfig(DRAWN, top=1), conv_net(), task, Machine(cache=tmp_path)).flops
    assert again == close(2 * (4 * N) * (learned + FIRST))


def test_gradual_unfreezing_stage_by_stage(task: Task) -> None:
    """Three stages of one, one and two epochs: the head, the second block too, then both."""
    head = 2 * N * (FIRST + SECOND + 3 * HEAD)
    second = 2 * N * (FIRST + 3 * SECOND + 3 * HEAD)
    both = 2 * (2 * N) * 3 * (FIRST + SECOND + HEAD)
    assert counted("gradual", GradualConfig(DRAWN, stages=3), conv_net(), task).flops == close(head + second + both)


def test_a_perceptron(vector_task: Task) -> None:
    macs = 6 * 12 + 12 * 10 + 10 * 3
    net = perceptron()
    assert counted("full", FullConfig(PLAIN), net, vector_task).flops == close(2 * 4 * len(vector_task) * 3 * macs)
    assert inference_flops(net, "toy") == close(2 * macs)


def test_a_frozen_block_above_a_trained_one_passes_the_gradient_on(task: Task) -> None:
    net = conv_net()
    net.add_head("toy", CLASSES)

    def stages() -> Iterator[Stage | Solve]:
        trains = {"blocks.first": 1.0, "heads.toy": 1.0}
        yield Stage("low", task, trains, {"new": Supervised("toy")}, Budget(epochs=2), batch_size=16)

    course = course_of(net, stages(), task, Machine(), block_flops(net))
    assert course.flops == close(2 * (2 * N) * (3 * FIRST + 2 * SECOND + 3 * HEAD))


def test_the_rule_of_three_is_what_a_training_step_does() -> None:
    """PyTorch's own counter over one real step: all but the gradient of the images, which nobody needs."""
    net = conv_net()
    net.add_head("toy", CLASSES)
    images, labels = torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), torch.arange(8) % CLASSES
    with FlopCounterMode(display=False) as counter:
        loss = nn.functional.cross_entropy(net(images, "toy"), labels)
        torch.autograd.grad(loss, list(net.parameters()))
    # The head starts at zero like any, which costs as much as any other.
    assert counter.get_total_flops() == close(8 * 2 * (3 * (FIRST + SECOND + HEAD) - FIRST))


def test_an_answer_costs_the_blocks_up_to_the_deepest_that_is_read(task: Task) -> None:
    net = conv_net()
    net.add_head("late", CLASSES)
    net.add_head("early", CLASSES, "first")
    assert inference_flops(net, "late") == close(2 * (FIRST + SECOND + HEAD))
    assert inference_flops(net, "early") == close(2 * (FIRST + 8 * CLASSES))


@pytest.mark.parametrize(("strategy", "config", "blocks"), [
    ("probe", ProbeConfig(folds=2), ()),
    ("partial", PartialConfig(replace(PLAIN, epochs=1), top=1), ("second",)),
    ("full", FullConfig(replace(PLAIN, epochs=1)), ("first", "second")),
])  # fmt: skip
def test_what_moved_is_what_has_to_be_stored(task: Task, strategy: str, config: Any, blocks: tuple[str, ...]) -> None:
    before, after = conv_net(), conv_net()
    Drive(after).run(STRATEGIES[strategy](after, task, config))
    weights = {"first": 3 * 9 * 8 + 8, "second": 8 * 9 * 16 + 16}
    found = stored(before, after, "toy")
    moved = sum(weights[name] for name in blocks)
    assert found.parameters == moved + HEAD + CLASSES
    assert found.blocks == moved
    assert found.bytes == 4 * (found.parameters + 2)  # a head has a calibration of two numbers


def test_statistics_of_normalisation_have_to_be_stored_but_no_counters() -> None:
    before = Net({"norm": nn.BatchNorm1d(6)}, InputSpec(6, kind="vector"), {"norm": BlockInfo("nc", 6)}, None)
    before.add_head("toy", 2)
    after = Net({"norm": nn.BatchNorm1d(6)}, InputSpec(6, kind="vector"), {"norm": BlockInfo("nc", 6)}, None)
    after.add_head("toy", 2)
    after.train()
    after(torch.rand(16, 6, generator=torch.Generator().manual_seed(0)), "toy")
    found = stored(before, after, "toy")
    assert (found.parameters, found.blocks) == (14, 12)
    assert found.bytes == 4 * (14 + 12 + 2)


def test_images_of_an_older_task_are_counted_once() -> None:
    """Other rows of the same store count, whether they come in one stage or two; the task's own do not."""
    every = make_vector_task(30)
    mine = every.take(torch.arange(20).numpy())
    net = perceptron()
    net.add_head("toy", 3)

    def stages() -> Iterator[Stage | Solve]:
        for name in ("one", "two"):
            yield Stage(name, every, {"heads.toy": 1.0}, {"new": Supervised("toy")}, Budget(epochs=1), batch_size=10)

    assert course_of(net, stages(), mine, Machine(), block_flops(net)).old_images == 10
    assert counted("full", FullConfig(PLAIN), perceptron(), mine).old_images == 0
