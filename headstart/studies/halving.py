"""Successive halving over networks: the best candidates fine-tune for a while on shared folds, the worse half drops out.

A trial is what it is in `race.py`, and is kept as it is there; what differs is that here networks compete, all by one
strategy, where there strategies compete on one network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.log import SILENT, RunLog
from headstart.nets.net import Net
from headstart.studies.arms import all_arms, base_recipe, plan_race, with_epochs
from headstart.studies.measure import pace
from headstart.studies.race import Arm, Divergence, Fold, Race, Standing

LEAST_EPOCHS = 3
"""Fewer say nothing about where training leads."""


@dataclass(frozen=True)
class Finalist:
    """A network in the race, with the data at its input size and the features it gave."""

    name: str
    net: Net
    task: Task
    bank: FeatureBank


@dataclass(frozen=True)
class Plan:
    """What fits into the time: how many finalists, for how many epochs, and the seconds one trial of each should take."""

    finalists: int
    epochs: int
    seconds: dict[str, float]


@dataclass
class Halving:
    """The finalists, best first, and the clock.

    budget  seconds for all trials together
    folder  where finished trials are kept; None: nowhere
    """

    finalists: Sequence[Finalist]
    folds: Sequence[Fold]
    strategy: str
    budget: float
    seed: int = 0
    mirror: bool = True
    machine: Machine | None = None
    folder: Path | None = None
    log: RunLog = SILENT
    spent: float = 0.0
    epochs: int = 0
    _measured: dict[str, float] = field(default_factory=dict)
    _estimates: dict[str, float] = field(default_factory=dict)

    def run(self, plan: Plan) -> list[Standing]:
        """Race as planned; a standing per finalist, those that did not fit into the plan as `skipped`."""
        self.epochs, self._estimates = plan.epochs, plan.seconds
        names = slugs([one.name for one in self.finalists])
        races = {one.name: self._race(one, names[one.name], plan.epochs) for one in self.finalists}
        standings = {name: Standing(replace(race.arms[0], name=name)) for name, race in races.items()}
        for one in self.finalists[plan.finalists :]:
            standings[one.name].reason = f"no time for more than {plan.finalists} networks within {self.budget:.0f} s"
        contenders = [standings[one.name] for one in self.finalists[: plan.finalists]]
        for fold in range(len(self.folds)):
            contenders = self._round(contenders, races, fold)
        for standing in standings.values():
            if len(standing.trials) == len(self.folds):
                standing.status, standing.reason = "finished", ""
        return list(standings.values())

    def _race(self, one: Finalist, name: str, epochs: int) -> Race:
        """A race of one arm, which keeps files and speaks under the network's name."""
        arm = replace(arm_of(one, self.strategy, len(self.folds[0][0]), self.mirror, self.seed), name=name)
        return Race(
            one.net,
            one.task,
            [with_epochs(arm, epochs)],
            self.folds,
            arm.name,
            math.inf,
            {},
            seed=self.seed,
            machine=self.machine,
            bank=one.bank,
            folder=self.folder,
            log=self.log,
        )

    def _round(self, contenders: list[Standing], races: dict[str, Race], fold: int) -> list[Standing]:
        """All contenders on one fold; the better half goes on, two at least."""
        for standing in contenders:
            if self._affordable(standing):
                self._try(standing, races[standing.arm.name], fold)
            else:
                standing.status = "eliminated" if standing.trials else "skipped"
                standing.reason = f"fold {fold + 1} no longer fitted into the {self.budget:.0f} s for the race"
        there = sorted((s for s in contenders if fold in s.trials), key=lambda s: -s.mean)
        onward = there[: max(2, -(-len(there) // 2))]
        for standing in there[len(onward) :]:
            standing.status, standing.reason = "eliminated", f"in the lower half after fold {fold + 1}"
        if there:
            self.log.event("round", fold=fold, onward=[s.arm.name for s in onward], spent=round(self.spent, 2))
        return onward

    def _affordable(self, standing: Standing) -> bool:
        expected = standing.seconds or self._estimates[standing.arm.name] * self._calibration()
        return bool(distributed.share(self.spent + expected <= self.budget))

    def _calibration(self) -> float:
        """How much longer trials took than estimated, so far."""
        expected = sum(self._estimates[name] for name in self._measured)
        return sum(self._measured.values()) / expected if expected else 1.0

    def _try(self, standing: Standing, race: Race, fold: int) -> None:
        interrupt.check_together()
        name = standing.arm.name
        trial = race.trial(race.arms[0], fold)
        self.spent += trial.seconds
        if isinstance(trial, Divergence):
            standing.status, standing.reason = "diverged", trial.why
            self.log.event("warning", text=f"{name} diverged in the race and was dropped: {trial.why}")
            return
        standing.trials[fold], standing.round = replace(trial, arm=name), fold + 1
        self._measured.setdefault(name, trial.seconds)
        self.log.event("trial", arm=name, fold=fold, accuracy=trial.accuracy, seconds=round(trial.seconds, 3))


def arm_of(one: Finalist, strategy: str, samples: int, mirror: bool, seed: int) -> Arm:
    """The strategy on this network, with the rates and batches that suit it."""
    recipe = base_recipe(one.net, samples, mirror=mirror, class_weights=False)
    return next(arm for arm in all_arms(one.net, recipe, seed=seed) if arm.name == strategy)


def plan(finalists: Sequence[Finalist], folds: Sequence[Fold], strategy: str, *, budget: float, mirror: bool) -> Plan:
    """As many finalists as can train for a few epochs on every fold, then as many epochs as there is time for.

    The same number of epochs for all. Where not even two fit on all folds, two race on as many as the clock allows, if it
    allows one trial of each; else none does. `finalists` come best first.
    """
    samples = len(folds[0][0])
    enough, each = [], {}
    for one in finalists:
        arm = arm_of(one, strategy, samples, mirror, 0)
        alone = plan_race(
            one.net,
            [arm],
            advised=arm.name,
            samples=samples,
            folds=1,
            budget=math.inf,
            seconds_per_mac=pace(one.net, one.task),
        )
        enough.append(alone.epochs)
        each[one.name] = alone.seconds[arm.name] / alone.epochs
    most = min(enough, default=0)
    least = min(LEAST_EPOCHS, most)
    for count in range(len(finalists), 1, -1):
        per_epoch = [each[one.name] for one in finalists[:count]]
        longest = _longest(per_epoch, len(folds), most, budget)
        if longest >= least:
            return Plan(count, longest, {name: seconds * longest for name, seconds in each.items()})
    two = [each[one.name] for one in finalists[:2]]
    fits = len(two) == 2 and least * sum(two) <= budget
    return Plan(2 if fits else 0, least if fits else 0, {name: seconds * least for name, seconds in each.items()})


def _longest(per_epoch: Sequence[float], folds: int, most: int, budget: float) -> int:
    """Epochs for which a whole race of these fits into the budget, at most `most`."""
    cost = sum(per_epoch) / len(per_epoch) * _trials(len(per_epoch), folds)
    return most if cost * most <= budget else int(budget / cost)


def _trials(contenders: int, folds: int) -> int:
    """Trials that halving makes of so many networks on so many folds."""
    total = 0
    for _ in range(folds):
        total += contenders
        contenders = min(contenders, max(2, -(-contenders // 2)))
    return total


def slugs(names: Sequence[str]) -> dict[str, str]:
    """For each name something to call a file by, all different."""
    found: dict[str, str] = {}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-80:].strip("._") or "network"
        unique, number = base, 2
        while unique in found.values():
            unique, number = f"{base}-{number}", number + 1
        found[name] = unique
    return found
