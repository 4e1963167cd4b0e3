"""A race: several ways to adapt a network, on shared folds and seeds, under one time budget.

Arms that only read frozen features cost little and run on every fold, for at most half of the time. Arms that train run by
successive halving: all on the first fold, the better half on the second, and so on, until the finalists share every fold:
two of them, or one where time is short and frozen arms are there to be compared with.
The advised arm is never dropped, because its regret is to be measured. Every finished trial is a file, so a killed race
goes on.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.evaluate import accuracy, answers
from headstart.engine.features import FeatureBank, bank_answers
from headstart.engine.fit import Machine
from headstart.engine.log import SILENT, RunLog
from headstart.engine.run import Drive
from headstart.errors import NonFiniteLoss
from headstart.files import write_json
from headstart.nets.net import Net
from headstart.stage import Evaluate, Solve, Stage
from headstart.strategies import STRATEGIES
from headstart.studies.elapsed import Elapsed
from headstart.terms.teacher import Live

_TRIAL = "trial"
"""What a trial's clock counts, over all processes that worked on it."""

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Arm:
    """One way to adapt.

    name         short and unique; `strategy` with `config` is what it does
    label        for people; `description` says it in a sentence
    frozen       only reads features, so that it costs next to nothing
    cost         for choosing the cheaper of equals: multiply-adds of training per image, 0 when frozen
    teachers     whose answers it learns from
    """

    name: str
    strategy: str
    config: Any
    label: str
    description: str
    frozen: bool = False
    cost: float = 0.0
    teachers: tuple[Live, ...] = field(default=(), repr=False)

    def stages(self, net: Net, task: Task) -> Iterator[Stage | Solve]:
        """What it does with a network on a task, see `headstart.strategies`."""
        more = {"teachers": self.teachers} if self.teachers else {}
        return STRATEGIES[self.strategy](net, task, self.config, **more)


@dataclass(frozen=True)
class Trial:
    """One arm learned on one fold's training part and judged on its validation part.

    correct  `[n]` right or wrong per validation image, in the fold's order
    weights  `[n]` of mean one that make every class count the same, or None: every image counts the same
    trained  parameters that were trained (the most in any of its stages)
    """

    arm: str
    fold: int
    correct: NDArray[np.bool_]
    seconds: float
    trained: int
    weights: NDArray[np.float64] | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """`[n]` what each image contributes; their mean is `accuracy`."""
        return np.asarray(self.correct * (1.0 if self.weights is None else self.weights), np.float64)

    @property
    def accuracy(self) -> float:
        """Accuracy, or with `weights` balanced accuracy."""
        return float(self.values.mean())


def weights_of(trials: Sequence[Trial]) -> NDArray[np.float64] | None:
    """`[N]` the weights of all images of `trials`, one after the other; None where every image counts the same."""
    every = [np.ones(len(trial.correct)) if trial.weights is None else trial.weights for trial in trials]
    return None if all(trial.weights is None for trial in trials) else np.concatenate(every)


@dataclass(frozen=True)
class Divergence:
    """A trial that ended in a loss that is no number: what it said, and the seconds it took."""

    why: str
    seconds: float


@dataclass
class Standing:
    """Where an arm ended: its trials by fold, and why it stopped if it did.

    status  `finished`, `eliminated` (by the others or the clock), `diverged`, or `skipped` (never tried)
    """

    arm: Arm
    trials: dict[int, Trial] = field(default_factory=dict)
    status: str = "skipped"
    reason: str = ""
    round: int = 0

    @property
    def mean(self) -> float:
        """Mean validation accuracy over its folds."""
        return float(np.mean([trial.accuracy for trial in self.trials.values()])) if self.trials else float("nan")

    @property
    def seconds(self) -> float:
        """Mean seconds per trial."""
        return float(np.mean([trial.seconds for trial in self.trials.values()])) if self.trials else 0.0

    def scores(self, folds: Sequence[int]) -> NDArray[np.float64]:
        """Accuracies on the given folds."""
        return np.array([self.trials[fold].accuracy for fold in folds])


class Observer(Protocol):
    """Looks at adapted networks while they are there; the clock stands still meanwhile."""

    def look(self, race: Race, net: Net, arm: Arm, fold: int) -> None:
        """A trial has ended, with this network."""

    def knows(self, race: Race, arm: Arm, fold: int) -> bool:
        """Whether what a look at an earlier trial gave is still at hand. If not, the trial is done again."""


@dataclass
class Race:
    """The arms, the folds and the clock.

    budget    seconds for all trials together; the first frozen arm and a first trial of the advised one always run
    estimate  seconds that one trial of each arm should take, before any was measured
    balanced  judge by balanced accuracy
    left_out  what was asked for besides the arms, and the time would not do for
    """

    net: Net
    task: Task
    arms: Sequence[Arm]
    folds: Sequence[Fold]
    advised: str
    budget: float
    estimate: dict[str, float]
    seed: int = 0
    machine: Machine | None = None
    bank: FeatureBank = field(default_factory=FeatureBank)
    folder: Path | None = None
    log: RunLog = SILENT
    balanced: bool = False
    left_out: Sequence[str] = ()
    observer: Observer | None = None
    spent: float = 0.0
    _measured: dict[str, float] = field(default_factory=dict)
    _diverged: list[str] = field(default_factory=list)

    def run(self) -> list[Standing]:
        """Race; returns a standing per arm, in the order given. Raises NonFiniteLoss when every arm's training diverged."""
        standings = {arm.name: Standing(arm) for arm in self.arms}
        self._run_frozen([standings[arm.name] for arm in self.arms if arm.frozen])
        contenders = [standings[arm.name] for arm in self.arms if not arm.frozen]
        for number in range(len(self.folds)):
            contenders = self._round(contenders, number)
        for standing in standings.values():
            if len(standing.trials) == len(self.folds):
                standing.status, standing.reason = "finished", ""
        if self._diverged and not any(standing.trials for standing in standings.values()):
            raise NonFiniteLoss(
                "every arm diverged: " + "; ".join(self._diverged) + ". Name others with --strategies, e.g. probe or svm"
            )
        return list(standings.values())

    def _run_frozen(self, standings: list[Standing]) -> None:
        """Every frozen arm on every fold, as long as that takes at most half of the time (the first arm always finishes)."""
        for place, standing in enumerate(standings):
            for fold in range(len(self.folds)):
                needed = place == 0 or standing.arm.name == self.advised
                if not distributed.share(needed or self.spent + standing.seconds <= self.budget / 2):
                    standing.status = "eliminated" if standing.trials else "skipped"
                    standing.reason = f"heads on frozen features had used half of the {self.budget:.0f} s kept for comparing"
                    break
                self._try(standing, fold)

    def _round(self, contenders: list[Standing], fold: int) -> list[Standing]:
        """All contenders on one fold; the better half goes on (two while there is time for two, the advised one always)."""
        for standing in contenders:
            if fold and len(standing.trials) < fold:
                continue
            if not self._affordable(standing):
                standing.status = "eliminated" if standing.trials else "skipped"
                standing.reason = (
                    f"fold {fold + 1} no longer fitted into the {self.budget:.0f} s kept for comparing, "
                    f"of which {self.spent:.0f} s were used"
                )
                continue
            self._try(standing, fold)
            standing.round = fold + 1
        there = sorted((s for s in contenders if fold in s.trials), key=lambda s: -s.mean)
        keep = max(self._finalists(there, len(self.folds) - fold - 1), -(-len(there) // 2))
        onward = [s for place, s in enumerate(there) if place < keep or s.arm.name == self.advised]
        for standing in there:
            if standing not in onward:
                standing.status = "eliminated"
                standing.reason = f"in the lower half after fold {fold + 1}"
        self.log.event("round", fold=fold, onward=[s.arm.name for s in onward], spent=round(self.spent, 2))
        return onward

    def _finalists(self, there: Sequence[Standing], folds: int) -> int:
        """Two, so that something is left to compare; one, when time is too short for two and there are frozen arms."""
        needed = folds * sum(standing.seconds for standing in there[:2])
        alone = distributed.share(self.spent + needed > self.budget) and any(arm.frozen for arm in self.arms)
        return 1 if alone else 2

    def _affordable(self, standing: Standing) -> bool:
        expected = standing.seconds or self.estimate.get(standing.arm.name, 0.0) * self._calibration()
        first_of_advised = standing.arm.name == self.advised and not standing.trials
        return bool(distributed.share(first_of_advised or self.spent + expected <= self.budget))

    def _calibration(self) -> float:
        """How much longer trials took than estimated, so far."""
        expected = sum(self.estimate.get(name, 0.0) for name in self._measured)
        return sum(self._measured.values()) / expected if expected else 1.0

    def _try(self, standing: Standing, fold: int) -> None:
        interrupt.check_together()
        arm = standing.arm
        trial = self.trial(arm, fold)
        self.spent += trial.seconds
        if isinstance(trial, Divergence):
            self._drop(standing, trial.why)
            return
        standing.trials[fold] = trial
        if not arm.frozen:
            self._measured.setdefault(arm.name, trial.seconds)
        self.log.event("trial", arm=arm.name, fold=fold, accuracy=trial.accuracy, seconds=round(trial.seconds, 3))

    def trial(self, arm: Arm, fold: int) -> Trial | Divergence:
        """One arm on one fold, from its file where it was finished before. The clock does not matter here."""
        known = self._load(arm, fold)
        if isinstance(known, Trial) and self.observer is not None and not self.observer.knows(self, arm, fold):
            known = None
        return known or self._attempt(arm, fold)

    def _attempt(self, arm: Arm, fold: int) -> Trial | Divergence:
        """A trial. One that diverges is kept as well, for it would do so again; its weights are not."""
        clock = Elapsed()
        try:
            return self._carry_out(arm, fold, clock)
        except NonFiniteLoss as error:
            lost = Divergence(str(error).partition(". ")[0], distributed.share(clock.seconds[_TRIAL]))
        path = self._file(arm.name, fold)
        if path is not None:
            content = {"diverged": lost.why, "seconds": lost.seconds, "config": repr(arm.config)}
            distributed.first(lambda: write_json(path, content))
            distributed.first(lambda: shutil.rmtree(path.with_suffix(""), ignore_errors=True))
        return lost

    def _drop(self, standing: Standing, why: str) -> None:
        """One way to adapt that diverges is no reason to lose the others."""
        standing.status, standing.reason = "diverged", why
        self._diverged.append(f"{standing.arm.name}: {why}")
        self.log.event("warning", text=f"{standing.arm.label} diverged and was dropped: {why}")

    def _carry_out(self, arm: Arm, fold: int, clock: Elapsed) -> Trial:
        train, valid = self.folds[fold]
        part, held_out = self.task.take(train), self.task.take(valid)
        net = copy.deepcopy(self.net)
        log = RunLog(self.log.path, (*self.log.listeners, clock.heard), **self.log.context).within(arm=arm.name, fold=fold)
        log.event("phase", name="trial", text=f"{arm.label}, fold {fold + 1} of {len(self.folds)}")
        place = None if self.folder is None else self.folder / f"{arm.name}-{fold}"
        if place is not None:
            clock.keep_in(place / "seconds.json")
        with clock.during(_TRIAL):
            drive = Drive(net, self.seed, self.machine, place, self.bank, log)
            stages = arm.stages(net, part)
            results = drive.run(_watched(stages, held_out) if fold == 0 and not arm.frozen else stages)
            logits = self._answers(net, held_out, arm)
        seconds = distributed.share(clock.seconds[_TRIAL])
        correct, trained = logits.argmax(1) == held_out.targets, max(r.trained for r in results)
        trial = Trial(arm.name, fold, correct, seconds, trained, self._weights(fold))
        self._store(trial)
        if self.observer is not None:
            self.observer.look(self, net, arm, fold)
        if place is not None and distributed.is_first():
            shutil.rmtree(place, ignore_errors=True)  # the weights of dozens of trials would fill a disk
        return trial

    def _answers(self, net: Net, task: Task, arm: Arm) -> NDArray[np.float32]:
        """Logits on held-out images: of frozen arms from features the bank holds. One process answers for all."""
        return distributed.first(lambda: bank_answers(net, task, self.bank) if arm.frozen else answers(net, task))

    def _weights(self, fold: int) -> NDArray[np.float64] | None:
        """With class weights every class counts the same in judging too."""
        return balancing(self.task.targets[self.folds[fold][1]]) if self.balanced else None

    def _file(self, arm: str, fold: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{arm}-{fold}.json"

    def _load(self, arm: Arm, fold: int) -> Trial | Divergence | None:
        return distributed.first(lambda: self._read(arm, fold))

    def _read(self, arm: Arm, fold: int) -> Trial | Divergence | None:
        """A finished or a diverged trial; None when there is none, or its file is not what a race writes."""
        path = self._file(arm.name, fold)
        try:
            kept = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
            seconds = float(kept["seconds"])
            if "diverged" in kept:
                return Divergence(str(kept["diverged"]), seconds) if kept["config"] == repr(arm.config) else None
            correct = np.array(kept["correct"], bool)
            trial = Trial(arm.name, fold, correct, seconds, int(kept["trained"]), self._weights(fold))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return trial if trial.correct.shape == self.folds[fold][1].shape else None

    def _store(self, trial: Trial) -> None:
        path = self._file(trial.arm, trial.fold)
        content = {"correct": trial.correct.astype(int), "seconds": trial.seconds, "trained": trial.trained}
        if path is not None:
            distributed.first(lambda: write_json(path, content))


def balancing(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """`[n]` weights of mean one under which every class that is there counts the same."""
    counts = np.bincount(targets)
    return len(targets) / (np.count_nonzero(counts) * counts[targets])


def _watched(stages: Iterator[Stage | Solve], held_out: Task) -> Iterator[Stage | Solve]:
    """The same stages, with a look at the validation images now and then, for the curves. Nothing is chosen by it."""

    def look(net: Net) -> dict[str, float]:
        return {"valid_accuracy": accuracy(net, held_out)}

    for stage in stages:
        if isinstance(stage, Stage) and stage.evaluate is None:
            every = max((stage.budget.epochs or 1) // 8, 1)
            yield replace(stage, evaluate=Evaluate(every, look))
        else:
            yield stage
