"""The direction of the papers on small real data: what stored samples are said to hold, they hold, over several seeds.

scikit-learn's digits, 8 x 8 numbers each, five tasks of two digits one after the other, a perceptron from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from headstart.catalog.continual import FineTuneConfig, Learn
from headstart.catalog.rehearsal import AgemConfig, DerConfig, DerppConfig, IcarlConfig, LwfMcConfig, ReplayConfig
from headstart.catalog.strategies import Recipe
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.engine.evaluate import answers
from headstart.engine.past import Learned, Past
from headstart.engine.run import Drive
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.strategies.continual import CONTINUAL

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)
RECIPE = Recipe(epochs=10, batch_size=16, lr=1e-3, optimizer="adamw", weight_decay=0.0, warmup=0.0)
LEARN = Learn(RECIPE, scale=1.0, schedule="constant")
CONFIGS: Mapping[str, Any] = {
    "fine_tune": FineTuneConfig(LEARN),
    "replay": ReplayConfig(LEARN, capacity=100),
    "der": DerConfig(LEARN, capacity=100, alpha=1.0),
    "derpp": DerppConfig(LEARN, capacity=100, alpha=1.0),
    "agem": AgemConfig(LEARN, capacity=100),
    "icarl": IcarlConfig(LEARN, capacity=100),
    "lwf_mc": LwfMcConfig(LEARN),
}


@cache
def tasks(scenario: str) -> list[tuple[Task, Task]]:
    """Two thirds to learn from and a third to be judged on, per pair of digits."""
    found = load_digits()
    store, digits = store_of((found.data / 16).astype(np.float32)), found.target.astype(np.int64)
    judged = np.random.default_rng(0).permutation(len(digits)) % 3 == 0
    pairs = []
    for number in range(5):
        mine = (digits // 2) == number
        labels = np.where(mine, digits % 2, UNKNOWN)
        names = ("even", "odd") if scenario == "domain" else (f"d{2 * number}", f"d{2 * number + 1}")
        parts = [Task(f"pair{number}", store, labels, names, np.flatnonzero(mine & part)) for part in (~judged, judged)]
        pairs.append((parts[0], parts[1]))
    return pairs


@cache
def reached(method: str, scenario: str, seed: int, **settings: Any) -> float:
    """Mean accuracy over all tasks after the last."""
    with forked(seed):
        net = mlp(64, (100, 100))
    past = Past(scenario, seed=seed)  # type: ignore[arg-type]
    for learn, _ in tasks(scenario):
        Drive(net, seed=seed).run(CONTINUAL[method](net, learn, replace(CONFIGS[method], **settings), past=past))
        head = past.tasks[0].head if scenario == "domain" and past.tasks else learn.name
        past.tasks.append(Learned(learn.name, head, learn.classes))
    right = []
    for number, (_, judge) in enumerate(tasks(scenario)):
        if scenario != "class":
            found, targets = answers(net, judge, past.tasks[number].head), judge.targets
        else:
            heads = (past.one_list,) if past.one_list else past.heads
            found = np.concatenate([answers(net, judge, head) for head in heads], 1)
            targets = judge.targets + 2 * number
        right.append(float((found.argmax(1) == targets).mean()))
    return float(np.mean(right))


def mean(method: str, scenario: str, **settings: Any) -> float:
    return float(np.mean([reached(method, scenario, seed, **settings) for seed in SEEDS]))


@pytest.mark.parametrize(("method", "gain"), [("replay", 0.4), ("der", 0.2), ("derpp", 0.4), ("icarl", 0.4), ("agem", 0.03)])
def test_class_incrementally_stored_samples_hold_what_fine_tuning_forgets(method: str, gain: float) -> None:
    assert mean("fine_tune", "class") < 0.25
    assert mean(method, "class") > mean("fine_tune", "class") + gain


@pytest.mark.parametrize("method", ["replay", "der", "derpp", "agem"])
@pytest.mark.parametrize("scenario", ["task", "domain"])
def test_where_the_answer_is_known_they_hold_it_too(method: str, scenario: str) -> None:
    assert mean(method, scenario) > mean("fine_tune", scenario)


def test_labels_help_dark_replay_and_replay_beats_projection() -> None:
    assert mean("derpp", "class") > mean("der", "class")
    for scenario in ("domain", "class"):
        assert mean("replay", scenario) > mean("agem", scenario)


def test_exemplars_help_sigmoids_and_more_of_them_help_more() -> None:
    """Rebuffi et al. 2017, figure 2: iCaRL above LwF.MC above fine-tuning."""
    assert mean("icarl", "class") > mean("lwf_mc", "class") + 0.1
    assert mean("lwf_mc", "class") > mean("fine_tune", "class") + 0.02
    assert mean("replay", "class") > mean("replay", "class", capacity=20) + 0.05
