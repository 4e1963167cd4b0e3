"""Joint training: which losses it minimises, from which start, and that it learns all tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart.catalog.continual import FineTuneConfig, JointConfig, Learn
from headstart.catalog.strategies import Recipe
from headstart.data.task import Task
from headstart.engine.past import Learned
from headstart.errors import ConfigError
from headstart.stage import Stage
from headstart.strategies.continual.joint import accuracy_of, joint
from headstart.terms.listed import SideBySide
from headstart.terms.supervised import Supervised
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import LEARN, Case, increment, sequence
from tests.strategies.continual.continual_toys import accuracy_of as share_right

MUCH = JointConfig(Learn(Recipe(epochs=30, batch_size=16, lr=0.1, augment=False), scale=1.0))


def second_stages(case: Case, config: JointConfig) -> tuple[Any, list[Stage]]:
    """What is yielded for a second task, nothing of it carried out."""
    net, past = sequence(case, 1)
    past.old = (case.task(0),)
    return net, [one for one in joint(net, case.task(1), config, past=past) if isinstance(one, Stage)]


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_labels_count_over_the_heads_and_the_softmax_goes_as_the_scenario_says(scenario: str) -> None:
    case = Case("joint", "vectors", scenario)
    _, (made,) = second_stages(case, JointConfig(LEARN))
    term = made.terms["all"]
    assert isinstance(term, SideBySide)
    assert (term.heads, term.sizes, term.per_head) == (("task0", "task1"), (3, 3), scenario == "task")
    assert made.data.targets.tolist() == [*case.task(0).targets, *(case.task(1).targets + 3)]
    assert made.data.classes == (*case.task(0).classes, *case.task(1).classes)
    assert set(made.trains) == {"blocks.layer0", "blocks.layer1", "heads.task0", "heads.task1"}


def test_in_the_domain_scenario_one_head_learns_one_bigger_task() -> None:
    case = Case("joint", "vectors", "domain")
    _, (made,) = second_stages(case, JointConfig(LEARN, warmup_epochs=3))
    assert isinstance(made.terms["all"], Supervised)
    assert made.terms["all"].heads == ("task0",)
    assert made.data.targets.tolist() == [*case.task(0).targets, *case.task(1).targets]


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_it_learns_all_tasks(scenario: str) -> None:
    case = Case("joint", "vectors", scenario)
    net, past = sequence(case, 3, config=MUCH)
    for number, known in enumerate(past.tasks):
        assert share_right(net, case.task(number), known.head) > 0.85
    if scenario == "class":
        every = [case.task(number) for number in range(3)]
        right = [
            accuracy_of(net, replace(one, labels=one.labels + 3 * n), past.heads, (3, 3, 3), per_head=False)
            for n, one in enumerate(every)
        ]
        assert min(right) > 0.7


def test_the_warm_up_is_that_of_fine_tuning() -> None:
    first, starts = Case("fine_tune", "vectors", "task"), []
    for method, config in (("joint", JointConfig(LEARN, warmup_epochs=2)), ("fine_tune", FineTuneConfig(LEARN, 2))):
        net, past = sequence(first, 1)
        found: dict[str, Any] = {}

        def watch(net: Any, stages: Any, found: dict[str, Any] = found) -> Any:
            for made in stages:
                yield made
                found.setdefault(made.name, state(net))

        increment(Case(method, "vectors", "task"), net, past, 1, config=config, wrap=watch)
        starts.append(found["warm_up"])
    assert not differing(*starts)


def test_early_stopping_looks_at_all_tasks_each_by_its_own_head() -> None:
    case = Case("joint", "vectors", "task")
    net, (made,) = second_stages(case, JointConfig(replace(LEARN, recipe=replace(LEARN.recipe, patience=2))))
    assert made.evaluate is not None
    assert len(made.data) < 70
    assert set(np.unique(made.data.targets)) == set(range(6))
    first, second = (accuracy_of(net, case.task(0), ("task0",), (3,), per_head=False) for _ in range(2))
    assert first == second == share_right(net, case.task(0), "task0")
    assert 0 <= made.evaluate.fn(net)["valid_accuracy"] <= 1


def test_where_no_sample_can_be_spared_it_trains_to_its_end() -> None:
    case = Case("joint", "vectors", "task")
    net, past = sequence(case, 1)

    def few(task: Task) -> Task:
        return task.take(np.concatenate([np.flatnonzero(task.targets == label)[:2] for label in range(3)]))

    past.old = (few(case.task(0)),)
    (made,) = joint(
        net, few(case.task(1)), JointConfig(replace(LEARN, recipe=replace(LEARN.recipe, patience=2)), 0), past=past
    )
    assert made.evaluate is None
    assert len(made.data) == 12


def test_per_head_accuracy_asks_the_label_s_own_head() -> None:
    case = Case("joint", "vectors", "task")
    net, _ = sequence(case, 2)
    shifted = replace(case.task(1), labels=case.task(1).labels + 3)
    assert accuracy_of(net, shifted, ("task0", "task1"), (3, 3), per_head=True) == share_right(net, case.task(1), "task1")


def test_old_data_that_are_missing_or_others_are_refused() -> None:
    case = Case("joint", "vectors", "task")
    net, past = sequence(case, 1)
    past.old = ()
    with pytest.raises(ConfigError, match="needs the images of all 1 earlier"):
        next(joint(net, case.task(1), past=past))
    past.old = (replace(case.task(0), classes=("d", "e", "f")),)
    with pytest.raises(ConfigError, match="was learned with"):
        next(joint(net, case.task(1), past=past))


@pytest.mark.parametrize(
    ("recipe", "warmup", "named"),
    [({"mixup": 0.2}, 0, "mixup=0.2"), ({"smoothing": 0.1}, 0, "smoothing=0.1"), ({}, -1, "warmup_epochs=-1")],
)
def test_settings_that_cannot_be(recipe: dict[str, Any], warmup: int, named: str) -> None:
    case = Case("joint", "vectors", "task")
    config = JointConfig(replace(LEARN, recipe=replace(LEARN.recipe, **recipe)), warmup)
    with pytest.raises(ConfigError, match=named):
        next(joint(case.net(), case.task(0), config, past=case.past()))


@pytest.mark.parametrize("recipe", [{"mixup": 0.2}, {"smoothing": 0.1}, {"class_weights": True}])
def test_in_one_list_images_may_be_mixed_and_labels_smoothed(recipe: dict[str, Any]) -> None:
    case = Case("joint", "vectors", "class")
    config = JointConfig(replace(LEARN, recipe=replace(LEARN.recipe, **recipe)))
    net, past = sequence(case, 2, config=config)
    assert past.tasks[-1] == Learned("task1", "task1", case.task(1).classes)
    assert all(bool(value.isfinite().all()) for value in net.parameters())
