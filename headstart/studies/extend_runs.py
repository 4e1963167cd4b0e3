"""Carrying out one method on the new tasks, one after the other, once per seed: kept as it ends, resumed where it was."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.catalog.continual import METHODS
from headstart.catalog.settings import names_of, with_values
from headstart.data.task import Task
from headstart.data.union import alone
from headstart.engine import distributed, interrupt
from headstart.engine.answering import Answered, Answering, Rows, listing_head
from headstart.engine.checkpoint import load_state, save_state
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog, read_lines
from headstart.engine.model import Card, Model
from headstart.engine.past import Learned, Past
from headstart.engine.run import Drive
from headstart.engine.trained import release
from headstart.errors import CheckpointError, ConfigError
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Evaluate, Solve, Stage
from headstart.strategies.continual import CONTINUAL
from headstart.strategies.continual.kinds import check_kinds
from headstart.studies.elapsed import Elapsed
from headstart.studies.extend_costs import Spent, inference_of, needed_of, stored_of
from headstart.studies.extend_tasks import Judged, Start, lacking

_WATCHED = "accuracy "
_LOOKS = 20
"""Looks at the watched images in the course of one training."""


@dataclass(frozen=True)
class Arm:
    """A method with its settings; `role` is `method`, or `lower` and `upper` for the bounds it should lie between."""

    name: str
    config: Any
    role: str = "method"


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.arm.name}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"


@dataclass
class Runs:
    """Carries out runs.

    start   the model as it came; every run begins with a copy
    old     tasks it knew, None where their data are not given
    new     tasks to learn
    watched some training samples per task, in the order learned, that curves are drawn of; None where there are none
    keep    the run whose model is saved
    card    makes the model's card
    """

    start: Start
    old: Sequence[Judged | None]
    new: Sequence[Judged]
    watched: Sequence[Task | None]
    machine: Machine
    folder: Path
    log: RunLog
    keep: Run
    card: Callable[[Net, Past], Card]
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def done(self, run: Run) -> bool:
        """Whether it has been carried out, now or earlier."""
        if run.key not in self._kept:
            found = distributed.first(lambda: self._read(run))
            if found is not None:
                self._kept[run.key] = found
        return run.key in self._kept

    def seen(self, run: Run) -> dict[str, Any]:
        """What was found out about a finished run: `rows`, `costs`, `curves`, `stored`, `seconds`, `warnings`."""
        assert self.done(run)
        return self._kept[run.key]

    def rehearse(self, arm: Arm) -> None:
        """Raise ConfigError for what the method cannot do with this model and one of these tasks, before any training.

        It walks through the stages of all tasks on a few samples, and none is carried out. That is exact where room runs
        out: what a memory takes and which share of weights is free follow from settings, shapes and numbers of classes.
        """
        net, past = self._begin(Run(arm, self.keep.seed))
        check_kinds(arm.name, past)
        release(net)
        one_sample = {"samples": 1} if "samples" in names_of(arm.config) else {}  # what importances are does not matter
        config = with_values(arm.config, one_sample)
        for number, one in enumerate(self.new):
            self._give_old(arm, past, number)
            past.old = tuple(_few(task) for task in past.old)
            stages = CONTINUAL[arm.name](net, _few(one.train), config, past=past)
            try:
                next(stages)
                for _ in stages if number + 1 < len(self.new) else ():
                    pass
            except ConfigError as error:
                if not number:
                    raise
                raise ConfigError(f"{error} (at task {number + 1} of {len(self.new)}, {one.name!r})") from error
            past.tasks.append(self._learned(past, one))
            past.method = arm.name

    def carry_out(self, run: Run) -> None:
        """Learn the new tasks one after the other, and look at every task after each."""
        interrupt.check_together()
        self.log.event("phase", name="trial", text=str(run))
        place = self.folder / "runs" / run.key
        net, past = self._begin(run)
        clock = Elapsed()
        clock.keep_in(place / "seconds.json")
        rows, costs, curves = [self._row(net, past)], [], []
        for number, one in enumerate(self.new):
            spent = Spent(net, past, self.machine)
            log = RunLog(self.log.path, (*self.log.listeners, clock.heard), **self.log.context)
            log = log.within(run=run.key, increment=number)
            self._give_old(run.arm, past, number)
            needed = needed_of(past)
            stages = CONTINUAL[run.arm.name](net, one.train, run.arm.config, past=past)
            drive = Drive(net, seed_for(run.seed, "task", one.name), self.machine, place / str(number), None, log)
            with clock.during("training"):
                results = drive.run(self._watching(spent.counting(stages), past, number))
            past.old = ()
            past.tasks.append(self._learned(past, one))
            past.method = run.arm.name
            costs.append({**spent.total(past.tasks[-1].head, results), "old": needed, "inference": inference_of(net, past)})
            curves += curves_of(self.log.path, run.key, number, one.name)
            rows.append(self._row(net, past))
            distributed.first(lambda: shutil.rmtree(self.machine.cache or place / "none", ignore_errors=True))
        self._keep(run, net, past, rows, costs, curves, clock.seconds["training"])
        distributed.first(lambda: shutil.rmtree(place, ignore_errors=True))
        self.log.event("run", run=run.key, seconds=round(clock.seconds["training"], 3))

    def _begin(self, run: Run) -> tuple[Net, Past]:
        past = replace(self.start.past, tasks=list(self.start.past.tasks), seed=run.seed)
        past.state, past.memory = copy.deepcopy(past.state), copy.deepcopy(past.memory)
        past.owners = dict(past.owners)
        if not METHODS[run.arm.name].memory:
            past.memory = None  # what a method does not need it does not get to see
        net = copy.deepcopy(self.start.net) if self.start.drawn is None else self.start.drawn(run.seed)
        return net.to(self.machine.device), past

    def _give_old(self, arm: Arm, past: Past, number: int) -> None:
        """Old data only to a method that says it needs them, or that lacks a state or samples which it takes from them."""
        past.old = ()
        if METHODS[arm.name].old_data or (number == 0 and lacking(arm.name, past)):
            before = [*self.old, *self.new[:number]]
            past.old = tuple(one.train for one in before if one is not None)

    def _learned(self, past: Past, one: Judged) -> Learned:
        head = past.tasks[0].head if past.scenario == "domain" and past.tasks else one.name
        return Learned(one.name, head, one.train.classes, one.data.inspection.where, one.data.fingerprint, len(one.train))

    def _row(self, net: Net, past: Past) -> dict[str, Any]:
        """Right or wrong on every learned task's test images, with the task known and not known."""
        judged = [*self.old, *self.new]
        how = Answering(net, past)
        found: list[dict[str, torch.Tensor] | None] = []
        for number, learned in enumerate(past.tasks):
            one = judged[number]
            if one is None:
                found.append(None)
                continue
            samples, targets = Rows(one.test), one.test.targets
            known = how.known(samples, learned.name)
            right = known.probabilities.argmax(1) == targets
            free = _right(how.unknown(samples), learned, targets)
            kept = {"known": right, "unknown": free[0], "said": free[1]}
            found.append({name: torch.from_numpy(value) for name, value in kept.items()})
        return {"tasks": found}

    def _watching(self, stages: Iterator[Stage | Solve], past: Past, number: int) -> Iterator[Stage | Solve]:
        """The same stages, each looked at now and then on the watched images of the tasks known and the new one."""
        tasks = [*past.tasks, self._learned(past, self.new[number])]

        def look(net: Net) -> dict[str, float]:
            earlier = Answering(net, replace(past, tasks=tasks))
            present = Answering(net, replace(past, tasks=tasks, owners={}))  # weights have no owner before they are learned
            found = {}
            for task, learned in zip(self.watched, tasks, strict=False):
                if task is not None and learned.head in net.heads:
                    how = present if learned is tasks[-1] else earlier
                    said = how.known(Rows(task), learned.name).probabilities.argmax(1)
                    found[f"{_WATCHED}{learned.name}"] = float(np.mean(said == task.targets))
            return found

        for stage in stages:
            if isinstance(stage, Stage) and stage.evaluate is None and stage.budget.epochs is not None:
                stage = replace(stage, evaluate=Evaluate(max(1, -(-stage.budget.epochs // _LOOKS)), look))
            yield stage

    def _keep(
        self,
        run: Run,
        net: Net,
        past: Past,
        rows: Sequence[Mapping[str, Any]],
        costs: Sequence[Mapping[str, Any]],
        curves: Sequence[Mapping[str, Any]],
        seconds: float,
    ) -> None:
        net.to("cpu")
        head = listing_head(net, past) if past.scenario == "class" else past.tasks[-1].head
        state = {
            "rows": list(rows),
            "costs": list(costs),
            "curves": list(curves),
            "stored": stored_of(net, past),
            "memory": {"bytes": past.bytes_of_memory(), "images": 0 if past.memory is None else len(past.memory)},
            "seconds": round(seconds, 3),
            "warnings": warnings_of(self.log.path, run.key, [one.name for one in self.new]),
        }
        if run == self.keep:
            card = replace(self.card(net, past), head=head)
            distributed.first(lambda: Model(net, card, past=past).save(self.folder / "model"))
        distributed.first(lambda: save_state(self._file(run), state))
        if not self.done(run):
            raise CheckpointError(f"{self._file(run)} was written and cannot be read again; check the disk of --out")

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}.safetensors"

    def _read(self, run: Run) -> dict[str, Any] | None:
        """None when it is not there, or damaged."""
        try:
            return load_state(self._file(run))
        except (OSError, CheckpointError):
            return None


def _right(answered: Answered, learned: Learned, targets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Right or wrong where the task is not known (both task and class must be right), and which class was said."""
    first = answered.tasks.index(learned.name) if learned.name in answered.tasks else 0
    said = answered.probabilities.argmax(1)
    return said == targets + first, said.astype(np.int64)


def curves_of(path: Path | None, key: str, number: int, task: str) -> list[dict[str, Any]]:
    """Per stage of an increment its epochs: loss, and accuracy on the watched images of every task, from the log."""
    found: list[dict[str, Any]] = []
    for line in read_lines(path):
        if line.get("event") != "epoch" or (line.get("run"), line.get("increment")) != (key, number):
            continue
        if not found or found[-1]["stage"] != line["stage"]:
            found.append({"task": task, "stage": line["stage"], "points": []})
        seen = {name.removeprefix(_WATCHED): value for name, value in line.items() if name.startswith(_WATCHED)}
        found[-1]["points"].append(
            {"epoch": line["epoch"], "loss": line["loss"], "losses": line["losses"], "accuracy": seen}
        )
    return found


def warnings_of(path: Path | None, key: str, tasks: Sequence[str]) -> list[dict[str, str]]:
    """What a run's log warns of, each once: the `task` being learned, and the `text`."""
    found = [
        {"task": tasks[line["increment"]], "text": str(line.get("text"))}
        for line in read_lines(path)
        if line.get("event") == "warning" and line.get("run") == key and "increment" in line
    ]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def _few(task: Task) -> Task:
    """Some samples, spread over all, in a store of their own."""
    return alone(task.take(np.unique(np.linspace(0, len(task) - 1, 16).astype(np.int64))))
