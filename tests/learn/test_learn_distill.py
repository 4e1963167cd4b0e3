"""The direction of the papers on small real data: what a teacher is said to bring, it brings, over several seeds.

scikit-learn's digits at 32 px; the teacher is the embedded network fine-tuned on many of them, the student a ResNet-8.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest

from headstart.catalog.strategies import DistillConfig, FullConfig, Recipe
from headstart.data.splits import split_off
from headstart.data.task import Task
from headstart.engine.evaluate import accuracy, answers
from headstart.engine.run import Drive
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.strategies import STRATEGIES
from headstart.terms.teacher import Live
from tests.learn.test_learn_transfer import digits, gains

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)
FEW = Recipe(epochs=20, batch_size=25, lr=0.05, mirror=False, views=4)


@cache
def parts(seed: int) -> tuple[Task, Task, Task]:
    """Eight images per digit to learn from, by the seed; 400 others and 500 to be judged on, the same always."""
    task = digits()
    order = np.random.default_rng(0).permutation(len(task))
    judge, others, rest = task.take(order[:500]), task.take(order[500:900]), task.take(order[900:])
    _, learn = split_off(rest.targets, None, 80 / len(rest), seed)
    return rest.take(learn), others, judge


@cache
def teacher() -> Net:
    """It knows most digits, from 400 that nobody is judged on."""
    _, learn, _ = parts(0)
    net = build("embedded")
    net.heads.clear()
    Drive(net).run(STRATEGIES["full"](net, learn, FullConfig(Recipe(epochs=8, batch_size=50, mirror=False))))
    return net


@cache
def reached(seed: int, share: float, *, unlabelled: bool = False) -> tuple[float, float]:
    """A student's test accuracy and its agreement with the teacher there."""
    learn, others, judge = parts(seed)
    net, told = build("headstart:resnet8", seed=seed), teacher()
    more: dict[str, Any] = {"teachers": [Live(copy.deepcopy(told), "digits")]} if share else {}
    config = DistillConfig(FEW, share=share)
    stages = STRATEGIES["distill"](net, learn, config, unlabelled=others if unlabelled else None, **more)
    Drive(net, seed=seed).run(stages)
    agreed = answers(net, judge).argmax(1) == answers(told, judge, "digits").argmax(1)
    return accuracy(net, judge), float(agreed.mean())


def test_the_teacher_is_right_more_often_than_its_student_alone() -> None:
    for seed in SEEDS:
        assert accuracy(teacher(), parts(seed)[2], "digits") > reached(seed, 0.0)[0] + 0.05


def test_a_student_gains_by_its_teacher_and_comes_to_agree_with_it() -> None:
    """Hinton et al. 2015."""
    taught, alone = [reached(seed, 0.9) for seed in SEEDS], [reached(seed, 0.0) for seed in SEEDS]
    assert gains([a for a, _ in taught], [a for a, _ in alone]).mean() > 0
    assert gains([a for _, a in taught], [a for _, a in alone]).mean() > 0


def test_images_without_labels_bring_more_than_the_labelled_alone() -> None:
    """The soft term needs no labels."""
    more, few = [reached(seed, 0.9, unlabelled=True)[0] for seed in SEEDS], [reached(seed, 0.9)[0] for seed in SEEDS]
    found = gains(more, few)
    assert (found > 0).all()
    assert found.mean() > 0.03
