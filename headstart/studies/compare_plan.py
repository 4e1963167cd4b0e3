"""How long strategies that are compared can train, the same for all, so that all of them fit into the budget."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.data.task import Task
from headstart.engine.fit import Machine
from headstart.engine.run import Drive
from headstart.metrics.cost import format_seconds
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.seeding import permutation
from headstart.studies.arms import all_arms, base_recipe, plan_race, with_epochs, work
from headstart.studies.race import Arm

LEAST_EPOCHS = 4
"""Fewer say nothing about where training leads, and gradual unfreezing has four stages."""
_BATCHES = 8
"""Steps that are timed."""
_TIMED = 3.0
"""Seconds of that, at least, unless five times take less."""
_SLACK = 1.15
"""For what training does besides steps: looks at held-out images, a first probe."""


@dataclass(frozen=True)
class Plan:
    """What fits into the time.

    arms      those that train, by name, with their epochs
    usual     epochs that all would have with time enough
    seconds   that one trial of each should take
    needed    that all trials of each would take for the fewest epochs; those left out too
    left_out  name -> why
    """

    arms: dict[str, Arm]
    epochs: int
    usual: int
    seconds: dict[str, float]
    needed: dict[str, float]
    left_out: dict[str, str]

    def with_epochs(self, arm: Arm) -> Arm:
        """The same arm (of whichever seed) with the epochs of the plan."""
        return with_epochs(arm, self.epochs) if arm.name in self.arms else arm


def train_pace(net: Net, task: Task, seed: int, machine: Machine) -> float:
    """Seconds per unit of `work` and image: the fastest of a few short trainings of every block.

    The first warms up, and on a machine with other things to do some are held up.
    """
    recipe = base_recipe(net, len(task), mirror=False, class_weights=False)
    arm = next(arm for arm in all_arms(net, recipe, seed=seed) if arm.name == "full")
    arm = with_epochs(arm, 1)
    few = task.take(permutation(len(task), seed, "pace")[: _BATCHES * recipe.batch_size])
    taken: list[float] = []
    while len(taken) < 2 or (sum(taken) < _TIMED and len(taken) < 5):
        copied = copy.deepcopy(net)
        stages = arm.stages(copied, few)
        began = time.monotonic()
        Drive(copied, seed, machine).run(stages)
        taken.append(time.monotonic() - began)
    return min(taken) / (max(work(net, arm), 1.0) * len(few))


def plan_trials(
    net: Net, arms: Sequence[Arm], *, samples: int, trials: int, budget: float, pace: float, least: int = 0
) -> Plan:
    """As many of `arms` as can train for a few epochs within `budget` seconds, then as many epochs as there is time for.

    samples  in the training part of a fold
    trials   of each arm: folds times seeds
    pace     `train_pace`
    least    arms that take part however little time there is: a comparison needs two

    Where not all fit, the dearest are left out, so that most are compared.
    """
    usual = plan_race(net, arms, advised="", samples=samples, folds=1, budget=math.inf, seconds_per_mac=0.0).epochs
    few = min(LEAST_EPOCHS, usual)
    flops = block_flops(net)

    def seconds(arm: Arm, epochs: int) -> float:
        return _SLACK * work(net, with_epochs(arm, epochs), flops) * epochs * samples * pace

    needed = {arm.name: seconds(arm, few) * trials for arm in arms}
    taken: list[Arm] = []
    for arm in sorted(arms, key=lambda arm: needed[arm.name]):
        if len(taken) < least or sum(needed[one.name] for one in taken) + needed[arm.name] <= budget:
            taken.append(arm)
    fitting = (e for e in range(few, usual + 1) if sum(seconds(arm, e) for arm in taken) * trials <= budget)
    epochs = max(fitting, default=few)
    names = {arm.name for arm in taken}
    return Plan(
        {arm.name: with_epochs(arm, epochs) for arm in arms if arm.name in names},
        epochs,
        usual,
        {name: seconds(arm, epochs) for arm in taken for name in (arm.name,)},
        needed,
        {arm.name: _late(needed[arm.name], few, trials, budget) for arm in arms if arm.name not in names},
    )


def _late(needed: float, few: int, trials: int, budget: float) -> str:
    return (
        f"{few} epochs in each of {trials} trials would take it about {format_seconds(needed)}, which no longer fitted into "
        f"the {format_seconds(budget)} there were for training; a longer --budget lets it take part"
    )
