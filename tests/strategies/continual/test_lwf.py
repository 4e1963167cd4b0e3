"""Learning without Forgetting: the paper's order, what it records, and that it keeps more than fine-tuning does."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.continual import FineTuneConfig, Learn, LwfConfig
from headstart.catalog.strategies import Recipe
from headstart.data.views import PLAIN, standard_view
from headstart.engine.evaluate import answers
from headstart.engine.record import Recorded
from headstart.errors import ConfigError
from headstart.stage import Stage, Train
from headstart.strategies.continual.lwf import lwf
from headstart.terms.listed import OldAnswers
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live
from tests.conftest import make_image_task
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import LEARN, Case, increment, sequence

AUGMENTED = LwfConfig(replace(LEARN, recipe=replace(LEARN.recipe, augment=True)))
FREE = replace(LEARN, scale=1.0, recipe=Recipe(epochs=15, batch_size=16, lr=0.1, augment=False))


def made_for(case: Case, config: LwfConfig, learned: int = 2) -> tuple[Any, list[Stage]]:
    """The stages of one more task, nothing of them carried out, and the net as it was when they were asked for."""
    net, past = sequence(case, learned)
    return net, [one for one in lwf(net, case.task(learned), config, past=past) if isinstance(one, Stage)]


def rates(made: Stage) -> dict[str, float]:
    return {name: rule.scale if isinstance(rule, Train) else float(rule) for name, rule in made.trains.items()}  # type: ignore[arg-type]


def test_the_warm_up_trains_the_new_head_alone_and_the_joint_stage_everything_at_a_low_rate() -> None:
    _, (warm_up, joint) = made_for(Case("lwf", "vectors", "task"), LwfConfig(LEARN))
    assert (warm_up.name, joint.name) == ("warm_up", "joint")
    assert rates(warm_up) == {"heads.task2": 1.0}
    assert list(warm_up.terms) == ["new"]
    blocks = {"blocks.layer0": 0.5, "blocks.layer1": 0.5}
    assert rates(joint) == {**blocks, "heads.task0": 0.5, "heads.task1": 0.5, "heads.task2": 0.5}
    assert warm_up.budget == joint.budget, "for as long again"
    assert isinstance(joint.terms["old"], OldAnswers)
    assert joint.terms["old"].heads == ("task0", "task1")
    assert not joint.terms["old"].one_list


def test_the_paper_s_numbers_are_the_defaults() -> None:
    config = LwfConfig()
    _, (_, joint) = made_for(Case("lwf", "vectors", "task"), config)
    old = joint.terms["old"]
    assert isinstance(old, OldAnswers)
    assert (old.temperature, old.factor) == (2.0, 1.0)
    rule = joint.optimizer
    assert (rule.kind, rule.momentum, rule.weight_decay, rule.schedule, rule.warmup) == ("sgd", 0.9, 5e-4, "steps", 0.0)


def test_answers_are_those_to_the_plain_images_before_any_training() -> None:
    case = Case("lwf", "images", "task")
    net, past = sequence(case, 2)
    task = case.task(2)
    before = [answers(net, task, name) for name in past.heads]
    recorded: list[Recorded] = []

    def watch(net: Any, stages: Any) -> Any:
        for one in stages:
            if one.name == "joint":
                assert not one.views["main"].is_plain
                recorded.append(one.terms["old"].answers)
            yield one

    increment(case, net, past, 2, config=AUGMENTED, wrap=watch)
    (kept,) = recorded
    assert isinstance(kept, Recorded)
    assert (kept.view, kept.compared_with) == (PLAIN, standard_view(12))
    np.testing.assert_allclose(kept.array["values"][0, task.rows], np.concatenate(before, 1), atol=1e-5)
    assert past.spent == {"old answers recorded": (2 * len(task), 0)}, "of the second task and of the third"


def test_all_old_heads_are_recorded_in_one_pass() -> None:
    passes: list[int] = []
    case = Case("lwf", "images", "task")
    net, past = sequence(case, 2)
    net.blocks["stem"].register_forward_hook(_Count(passes))
    list(lwf(net, case.task(2), AUGMENTED, past=past))
    samples = sum(passes)
    assert samples <= 35 + 16 + 16 + 15, "three batches of 16, filled up, and one to ask for the number of classes"


class _Count:
    """Counts samples; a copied network counts into the same list."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def __call__(self, module: Any, given: Any, found: Any) -> None:
        self.seen.append(len(given[0]))

    def __deepcopy__(self, memo: Any) -> _Count:
        return self


def test_the_old_network_sees_the_pixels_that_the_net_sees_whatever_its_usual_size() -> None:
    case = Case("lwf", "images", "task")
    net, past = sequence(case, 1)
    task = replace(make_image_task(20, size=16, seed=3), name="larger")
    before = answers(net, task, "task0")
    made = list(lwf(net, task, AUGMENTED, past=past))[-1]
    assert isinstance(made, Stage)
    kept = made.terms["old"].answers
    assert isinstance(kept, Recorded)
    np.testing.assert_allclose(kept.array["values"][0], before, atol=1e-5)


def test_the_class_scenario_keeps_one_list_of_old_classes_and_learns_over_all() -> None:
    _, (_, joint) = made_for(Case("lwf", "vectors", "class"), LwfConfig(LEARN))
    old, new = joint.terms["old"], joint.terms["new"]
    assert isinstance(old, OldAnswers)
    assert isinstance(new, Supervised)
    assert old.one_list
    assert old.heads == new.heads == ("task0", "task1", "task2")
    assert old.known == 2, "of the third nothing is recorded, and its probability is zero"
    _, (_, joint) = made_for(Case("lwf", "vectors", "class"), LwfConfig(LEARN, new_as_zero=False))
    assert joint.terms["old"].heads == ("task0", "task1")
    _, (_, joint) = made_for(Case("lwf", "vectors", "task"), LwfConfig(LEARN, new_as_zero=True))
    assert joint.terms["old"].heads == ("task0", "task1"), "where heads do not compete there is nothing to hold down"


def test_in_the_domain_scenario_the_one_head_is_held_to_its_own_answers_without_a_warm_up() -> None:
    net, (joint,) = made_for(Case("lwf", "vectors", "domain"), LwfConfig(LEARN))
    old = joint.terms["old"]
    assert isinstance(old, OldAnswers)
    assert old.heads == ("task0",)
    assert rates(joint)["heads.task0"] == 0.5
    assert list(net.heads) == ["task0"]


def test_without_a_warm_up_the_new_head_learns_at_the_full_rate() -> None:
    _, (joint,) = made_for(Case("lwf", "vectors", "task"), LwfConfig(LEARN, warmup_epochs=0, joint_epochs=5))
    assert rates(joint)["heads.task2"] == 1.0
    assert not joint.carry
    assert joint.budget.epochs == 5


def test_a_live_old_network_equals_recorded_answers_where_views_are_plain() -> None:
    case = Case("lwf", "images", "task")
    found = []
    for record in (True, False):
        net, past = sequence(case, 1)
        increment(case, net, past, 1, config=LwfConfig(LEARN, record=record))
        found.append(state(net))
    assert not differing(*found)


def test_a_live_old_network_answers_about_the_augmented_images() -> None:
    _, (_, joint) = made_for(Case("lwf", "images", "task"), replace(AUGMENTED, record=False))
    old = joint.terms["old"]
    assert isinstance(old, OldAnswers)
    assert isinstance(old.answers, Live)
    assert old.answers.heads == ("task0", "task1")
    assert set(old.answers.net.heads) == {"task0", "task1"}


def test_answers_recorded_are_found_again_by_a_run_that_resumes(tmp_path: Path) -> None:
    case = Case("lwf", "images", "task")
    net, past = sequence(case, 1)
    start, before = copy.deepcopy(net), copy.deepcopy(past)
    increment(case, net, past, 1, folder=tmp_path, config=AUGMENTED)
    kept = sorted(path.name for path in (tmp_path / "answers").iterdir())
    assert len(kept) == 2
    increment(case, start, before, 1, folder=tmp_path, config=AUGMENTED)
    assert sorted(path.name for path in (tmp_path / "answers").iterdir()) == kept
    assert not differing(state(net), state(start))


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_old_answers_move_less_than_fine_tuning_moves_them(kind: str) -> None:
    case = Case("lwf", kind, "task")
    net, past = sequence(case, 1, config=LwfConfig(FREE))
    before = answers(net, case.task(1), "task0")
    moved = {}
    for method, config in (("lwf", LwfConfig(FREE, warmup_epochs=0)), ("fine_tune", FineTuneConfig(FREE))):
        other, known = copy.deepcopy(net), copy.deepcopy(past)
        increment(Case(method, kind, "task"), other, known, 1, config=config)
        after = answers(other, case.task(1), "task0")
        moved[method] = _divergence(before, after)
    assert moved["lwf"] < 0.5 * moved["fine_tune"]


def _divergence(before: np.ndarray, after: np.ndarray) -> float:
    p, q = (torch.from_numpy(logits).double().log_softmax(1) for logits in (before, after))
    return float((p.exp() * (p - q)).sum(1).mean())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (LwfConfig(replace(LEARN, scale=0.0)), "use new_head"),
        (LwfConfig(LEARN, warmup_epochs=-1), "warmup_epochs=-1"),
        (LwfConfig(LEARN, joint_epochs=0), "joint_epochs=0"),
        (LwfConfig(LEARN, temperature=0.0), "temperature=0.0"),
        (LwfConfig(LEARN, old_weight=-1.0), "old_weight=-1.0"),
        (LwfConfig(Learn(replace(LEARN.recipe, mixup=0.2))), "mixup blends images"),
    ],
)
def test_settings_that_cannot_be_are_said_and_change_nothing(config: LwfConfig, named: str) -> None:
    case = Case("lwf", "vectors", "task")
    net = case.net()
    before = state(net)
    with pytest.raises(ConfigError, match=named):
        next(lwf(net, case.task(0), config, past=case.past()))
    assert not differing(state(net), before)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_early_stopping_looks_at_the_head_that_answers_the_new_task(scenario: str) -> None:
    watched = LwfConfig(replace(LEARN, recipe=replace(LEARN.recipe, patience=2)))
    case = Case("lwf", "vectors", scenario)
    net, made = made_for(case, watched, learned=1)
    assert all(len(one.data) < len(case.task(1)) for one in made)
    rest = set(case.task(1).rows.tolist()) - set(made[0].data.rows.tolist())
    held_out = case.task(1).take(np.array(sorted(rest)))
    head = "task0" if scenario == "domain" else "task1"
    right = float((answers(net, held_out, head).argmax(1) == held_out.targets).mean())
    for one in made:
        assert one.evaluate is not None
        assert one.evaluate.fn(net) == {"valid_accuracy": right}
