"""What an increment costs, against counts by hand: new images, replay, old answers, importances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headstart.catalog.continual import Learn, LwfConfig, NewHeadConfig
from headstart.catalog.regularised import EwcConfig
from headstart.catalog.rehearsal import ReplayConfig
from headstart.catalog.settings import with_values
from headstart.catalog.strategies import Recipe
from headstart.engine.fit import Machine
from headstart.engine.past import Learned, Past
from headstart.engine.run import Drive
from headstart.nets.net import Net
from headstart.strategies.continual import CONTINUAL
from headstart.studies.extend_costs import Spent, stored_of
from tests.engine.engine_toys import perceptron
from tests.strategies.continual.continual_toys import toy_task

EPOCHS, N, BATCH = 3, 35, 16
STEPS = 3  # of an epoch
BLOCKS, HEAD = 6 * 12 + 12 * 10, 10 * 3
LEARN = Learn(Recipe(epochs=EPOCHS, batch_size=BATCH, augment=False), scale=0.5)


def costs(method: str, config: Any) -> tuple[dict[str, Any], Net, Past]:
    """Of the second of two tasks of 35 vectors, by a perceptron 6-12-10 with a head of 3."""
    net, past = perceptron(), Past("task")
    total: dict[str, Any] = {}
    for number in range(2):
        task = toy_task(number, "vectors", "task")
        spent = Spent(net, past, Machine())
        Drive(net).run(spent.counting(CONTINUAL[method](net, task, config, past=past)))
        past.tasks.append(Learned(task.name, task.name, task.classes))
        total = spent.total(task.name)
    return total, net, past


close: Callable[[float], Any] = lambda value: pytest.approx(value, rel=0.01)  # noqa: E731
TRAINED = 2 * 3 * (BLOCKS + HEAD)
"""Operations of a sample of which every weight trains: forward, gradient of weights, gradient of inputs."""


def test_replay_passes_as_many_stored_samples_again() -> None:
    found, _, past = costs("replay", ReplayConfig(LEARN, capacity=20))
    assert found["parts"]["samples"] == close(EPOCHS * N * TRAINED)
    both = TRAINED + 2 * 3 * HEAD  # heads stand side by side, and each sample is judged by its own
    assert found["parts"]["replay"] == close(EPOCHS * STEPS * min(BATCH, 20) * both)
    assert past.bytes_of_memory() == 20 * (6 * 4 + 8 + 8)


@pytest.mark.parametrize("record", [True, False])
def test_old_answers_are_one_pass_recorded_or_one_per_visit_live(record: bool) -> None:
    config = LwfConfig(with_values(LEARN, {"schedule": "steps"}), record=record, warmup_epochs=0)
    found, _, _ = costs("lwf", config)
    passes = N if record else EPOCHS * N
    name = "old answers recorded" if record else "teacher"
    assert found["parts"][name] == close(passes * 2 * (BLOCKS + HEAD))
    # the old head trains with the blocks
    assert found["parts"]["samples"] == close(EPOCHS * N * (TRAINED + 2 * 3 * HEAD))
    assert found["training"] == sum(found["parts"].values())


def test_importances_cost_a_pass_and_a_backward_pass_for_all_classes_but_one() -> None:
    found, net, past = costs("ewc", EwcConfig(LEARN, strength=1.0))
    assert found["parts"]["fisher"] == close(N * (1 + 2 * 2) * 2 * (BLOCKS + HEAD))
    kept = past.state["ewc"]
    blocks = sum(parameter.numel() for parameter in net.blocks.parameters())
    assert set(kept["importance"]) == {f"blocks.{name}" for name, _ in net.blocks.named_parameters()}
    stored = stored_of(net, past)
    assert stored["state"] == 2 * 4 * blocks  # importances and where they hold
    assert stored["bytes"] == sum(stored[name] for name in ("network", "heads", "state", "memory"))


def test_a_solved_head_passes_every_image_once() -> None:
    found, _, _ = costs("new_head", NewHeadConfig(LEARN, penalties=(1e-2,), folds=2))
    assert found["parts"] == {"features": close(N * 2 * BLOCKS)}


def test_costs_do_not_depend_on_being_resumed() -> None:
    config = EwcConfig(replace(LEARN), strength=1.0)
    assert costs("ewc", config)[0] == costs("ewc", config)[0]
