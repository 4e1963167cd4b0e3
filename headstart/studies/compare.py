"""Strategies side by side: every one on every fold and seed, for the same number of epochs; measured, not chosen."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from headstart.catalog.compare import CompareConfig
from headstart.catalog.durations import parse_seconds
from headstart.catalog.strategies import Recipe
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.run import stored as kept
from headstart.engine.run_folder import RunFolder, open_run
from headstart.errors import ConfigError
from headstart.metrics.cost import format_seconds
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.stage import Solve
from headstart.strategies.early_probe import depths_of
from headstart.studies import compare_records, compared
from headstart.studies.arms import advised_arm, all_arms, base_recipe, pick
from headstart.studies.checks import check_apart, check_settings, device_of
from headstart.studies.compare_plan import Plan, plan_trials, train_pace
from headstart.studies.costs import course_of
from headstart.studies.distill_audit import live
from headstart.studies.distill_teachers import Teacher, detached, find_teachers, orders_of
from headstart.studies.observed import Looks
from headstart.studies.opening import Opening, fingerprint_of, opened
from headstart.studies.race import Arm, Divergence, Race
from headstart.studies.result import JobResult
from headstart.studies.source_task import NOT_ASKED, OwnHead, SourceTask, check_known, check_named, own_head, read_source
from headstart.studies.splitting import Splits
from headstart.studies.taught_arms import taught_arms
from headstart.terms.teacher import Live


@dataclass(frozen=True)
class CompareResult(JobResult):
    """What `headstart compare` found. Prints as a table."""

    @property
    def best(self) -> str | None:
        """The strategy with the highest mean; whether it could be told from the others is in `summary["decided"]`."""
        found = self.summary["best"]
        return None if found is None else str(found)

    def __str__(self) -> str:
        return compare_records.as_text(self.summary)


def chosen(every: Sequence[Arm], wanted: Sequence[str]) -> list[Arm]:
    """The arms that are compared: those called so, one for each strategy that has several, or `all`.

    Raises ConfigError for names that nothing has, and for fewer than two.
    """
    if list(wanted) == ["all"]:
        return list(every)
    pick(every, wanted or ("",))
    arms = list(dict.fromkeys(advised_arm(every, name).name for name in wanted))
    if len(arms) < 2:
        raise ConfigError(
            f"--strategies {','.join(wanted)}: comparing needs at least two different ones, "
            f"e.g. --strategies {wanted[0]},{'probe' if arms[0] != 'probe' else 'lpft'}"
        )
    return [arm for arm in every if arm.name in arms]


def _roughly(seconds: float) -> str:
    """A budget that would do, as it is typed."""
    return f"{math.ceil(1.5 * seconds)}s" if seconds < 60 else f"{math.ceil(1.5 * seconds / 60)}m"


def compare(
    config: CompareConfig,
    *,
    data: Any = None,
    backbone: torch.nn.Module | Net | None = None,
    listeners: Sequence[Listener] = (),
) -> CompareResult:
    """Compare strategies on data; see `CompareConfig` for the settings. Nothing is chosen, and no model is saved.

    data, backbone  given from Python instead of by name: arrays, a Dataset; an nn.Module
    listeners       called with every event, for showing progress

    The images set aside for testing are split off as `adapt` does it with the same settings, and are not looked at.

    Raises InputError for what the user can mend, RunError about the folder, Interrupted after saving.
    """
    budget, follow = parse_seconds(config.budget), config.followed()
    check_settings(follow)
    if config.seeds < 1:
        raise ConfigError(f"--seeds {config.seeds} must be at least 1")
    check_apart(follow, None if data is not None else Path(config.data))
    check_named(config.source)
    distributed.start(device_of(config.device))
    settings = {"command": "compare", **asdict(config)}
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return CompareResult(folder.path, done)
        given = tuple(name for name, value in (("data", data), ("backbone", backbone)) if value is not None)
        opening = Opening(folder, config.network, config.images, config.folds, config.seed, tuple(listeners))
        source = opened(config.data if data is None else data, config.images)
        return _Job(config, opening, budget, given).run(source, backbone)


def _solves(net: Net, arm: Arm, task: Task) -> bool:
    """Whether a way that trains learns a head on the features of the backbone as it came before anything else."""
    return not arm.teachers and isinstance(next(iter(arm.stages(copy.deepcopy(net), task))), Solve)


@dataclass
class _Job:
    """One run, phase by phase."""

    config: CompareConfig
    opening: Opening
    budget: float
    given: tuple[str, ...] = ()
    entries: list[compared.Entry] = field(default_factory=list)
    teachers: list[tuple[str, Live]] = field(default_factory=list)
    spent: float = 0.0

    @property
    def folder(self) -> RunFolder:
        return self.opening.folder

    @property
    def log(self) -> RunLog:
        return self.opening.log

    def run(self, source: Source, backbone: torch.nn.Module | Net | None) -> CompareResult:
        with self.opening.clock.during("all"):
            found = self._found(source, backbone)
        return self._save(found)

    def _found(self, source: Source, backbone: torch.nn.Module | Net | None) -> compared.Comparison:
        opening, config = self.opening, self.config
        with opening.phase("network", "loading the network"):
            net = opening.load(source, backbone)
            found = self._found_teachers()
            chosen(self._arms(net, base_recipe(net, 1, mirror=True, class_weights=False), 0), config.wanted)
            own = NOT_ASKED if config.source is None else own_head(net, config.network, backbone, seed=config.seed)
            check_known(config.source, own)
        machine = Machine(device=device_of(config.device), cache=self.folder.work / "cache")
        net.to(machine.device)
        with opening.phase("data", "reading and inspecting the images"):
            data, splits = opening.read(source, net)
        orders = orders_of(found, data.classes, config.map_classes)
        self.teachers = [(one.name, live(one, order)) for one, order in zip(found, orders, strict=True)]
        origin = self._source(net, own)
        races = self._races(net, splits, machine, origin)
        self.entries = [compared.Entry(arm) for arm in races[0].arms]
        pace = self._pace(net, races)
        inputs = {} if origin is None else {"source": origin.task.fingerprint}
        inputs |= {f"teacher {name}": one.digest() for name, one in self.teachers}
        opening.begin_with(data, images=data.fingerprint, network=fingerprint_of(net), **inputs)
        plan = self._run_all(net, races, pace)
        self._count(net, races[0], machine)
        return compared.Comparison(config, net, data, splits, self.entries, plan, origin, own, self.given)

    def _found_teachers(self) -> list[Teacher]:
        """Those that are named, loaded. Raises ConfigError when `distill` has none, or they have no pupil."""
        config = self.config
        if "distill" in config.wanted and not config.teacher:
            raise ConfigError(
                "--strategies distill learns from another network's answers: name it by --teacher, e.g. the run folder of "
                "an earlier headstart adapt with a larger network"
            )
        if config.teacher and not {"distill", "all"} & set(config.wanted):
            raise ConfigError(f"--teacher {' '.join(config.teacher)} is for the strategy distill; add it to --strategies")
        if config.map_classes is not None and not config.teacher:
            raise ConfigError(f"--map-classes {config.map_classes} is about a --teacher's classes; leave it out")
        found = find_teachers(config.teacher, seed=config.seed)
        self.teachers = [(one.name, Live(detached(one), one.head)) for one in found]
        return found

    def _arms(self, net: Net, recipe: Recipe, seed: int) -> list[Arm]:
        return [*all_arms(net, recipe, seed=seed), *taught_arms(recipe, seed=seed, teachers=self.teachers)]

    def _run_all(self, net: Net, races: Sequence[Race], pace: float) -> Plan | None:
        """Ways on frozen features first; what time they leave decides how long the others train."""
        bank = self.opening.bank()
        for race in races:
            race.log, race.bank = self.log, bank
        self._features(net, races)
        frozen = [entry.arm.name for entry in self.entries if entry.arm.frozen]
        trained = [entry.arm.name for entry in self.entries if not entry.arm.frozen]
        if frozen:
            with self.opening.phase("frozen_ways", f"{len(frozen)} on frozen features, on every fold"):
                self._all(races, frozen)
        if not trained:
            return None
        plan = self._plan(net, races, pace)
        there = [name for name in trained if name in plan.arms]
        with self.opening.phase(
            "trained_ways", f"{len(there)} ways that train, for {plan.epochs} epochs each, on every fold"
        ):
            self._all(races, there)
        return plan

    def _features(self, net: Net, races: Sequence[Race]) -> None:
        """Features that ways on the frozen backbone, and heads learned first on it, read: computed before any clock runs.

        The way that came first would else pay for all. Each is charged what the pass over its own images took.
        """
        task, bank = races[0].task, races[0].bank
        reads = [entry.arm for entry in self.entries if entry.arm.frozen or _solves(net, entry.arm, task)]
        if not reads:
            return
        deep = any(arm.strategy == "early_probe" for arm in reads)

        def once() -> float:
            began = time.monotonic()
            bank.get(net, task.store, task.rows, depths_of(net) if deep else [net.last])
            return time.monotonic() - began

        with self.opening.phase("features", "one pass of the backbone over all images"):
            taken = float(distributed.share(distributed.first(once)))
            facts = kept(self.folder.work / "features.safetensors", lambda: {"seconds": taken}, self.log)
        self.spent += float(facts["seconds"])
        train, valid = races[0].folds[0]
        for entry in self.entries:
            images = len(train) + (len(valid) if entry.arm.frozen else 0)
            entry.shared = float(facts["seconds"]) * images / len(task) if entry.arm in reads else 0.0

    def _source(self, net: Net, own: OwnHead | str) -> SourceTask | None:
        if self.config.source is None or isinstance(own, str):
            return None

        def progress(done: int, total: int) -> None:
            interrupt.check()
            self.log.tick(done, total, "reading images of the source")

        with self.opening.phase("source_images", "asking the network what it came with"):
            cache, path = self.folder.work / "data", self.config.source
            made: SourceTask = distributed.first(
                lambda: read_source(net, own, path, self.config.images, cache=cache, progress=progress)
            )
        return made

    def _races(self, net: Net, splits: Splits, machine: Machine, source: SourceTask | None) -> list[Race]:
        """One for each seed, on the same folds."""
        config, races, flops = self.config, [], block_flops(net)
        recipe = base_recipe(net, len(splits.folds[0][0]), mirror=config.mirror, class_weights=config.class_weights)
        for number in range(config.seeds):
            arms = chosen(self._arms(net, recipe, config.seed + number), config.wanted)
            races.append(
                Race(
                    net,
                    splits.train,
                    arms,
                    splits.folds,
                    "",
                    self.budget,
                    {},
                    seed=config.seed + number,
                    machine=machine,
                    folder=self.folder.work / f"trials-{number}",
                    balanced=config.class_weights,
                    observer=Looks(flops, source),
                )
            )
        return races

    def _pace(self, net: Net, races: Sequence[Race]) -> float:
        """How fast this machine trains the network. Too little time for two ways is said before anything is replaced."""
        arms = [entry.arm for entry in self.entries if not entry.arm.frozen]
        if not arms:
            return 0.0
        race, path = races[0], self._kept_pace
        known = self.folder.resumed and path.exists()
        with self.opening.phase("timing", "timing a little training"):
            if distributed.share(known):
                return float(kept(path, dict, self.log)["pace"])
            part = race.task.take(race.folds[0][0])
            pace = float(distributed.share(train_pace(net, part, race.seed, race.machine or Machine())))
        plan = self._planned(net, races, pace, self.budget, 0)
        if len(plan.arms) + len(self.entries) - len(arms) < 2:
            missing = sum(sorted(plan.needed.values())[: 2 - len(self.entries) + len(arms)])
            raise ConfigError(
                f"--budget {self.config.budget} is too little for two of these ways on {len(race.folds)} folds: a few "
                f"epochs of training would take about {format_seconds(missing)}. Give --budget {_roughly(missing)} or "
                "more, fewer --folds, or ways on frozen features such as probe,svm"
            )
        return pace

    @property
    def _kept_pace(self) -> Path:
        return self.folder.work / "pace.safetensors"

    def _planned(self, net: Net, races: Sequence[Race], pace: float, budget: float, least: int) -> Plan:
        arms = [entry.arm for entry in self.entries if not entry.arm.frozen]
        folds = races[0].folds
        trials, samples = len(folds) * len(races), len(folds[0][0])
        return plan_trials(net, arms, samples=samples, trials=trials, budget=budget, pace=pace, least=least)

    def _plan(self, net: Net, races: Sequence[Race], pace: float) -> Plan:
        """What fits into the rest of the budget. It rests on measured times, so these are kept for a resumed run."""
        frozen = sum(entry.arm.frozen and not entry.reason for entry in self.entries)
        left = max(self.budget - self.spent, 0.0)
        facts = kept(self._kept_pace, lambda: {"pace": pace, "left": left}, self.log)
        plan = self._planned(net, races, float(facts["pace"]), float(facts["left"]), max(2 - frozen, 0))
        for entry in self.entries:
            entry.reason = plan.left_out.get(entry.arm.name, entry.reason)
            entry.arm = plan.with_epochs(entry.arm)
        for race in races:
            race.arms = [plan.with_epochs(arm) for arm in race.arms]
        names = [entry.arm.name for entry in self.entries if not entry.reason]
        self.log.event("plan", arms=names, epochs=plan.epochs, left_out=list(plan.left_out))
        return plan

    def _all(self, races: Sequence[Race], names: Sequence[str]) -> None:
        """Every arm on every fold of every seed; one that diverges is not tried again."""
        entries = [entry for entry in self.entries if entry.arm.name in names]
        total, begun, first = len(races) * len(races[0].folds), 0, time.monotonic()
        for seed, race in enumerate(races):
            if len(races) > 1:
                self.log.event("note", text=f"  seed {seed + 1} of {len(races)}")
            for fold in range(len(race.folds)):
                for entry in entries:
                    self._try(entry, race, seed, fold)
                begun += 1
                self.log.event("round", fold=fold, onward=[], spent=round(self.spent, 2))
                if begun < total:
                    left = (time.monotonic() - first) / begun * (total - begun)
                    self.log.event("note", text=f"  about {format_seconds(round(left))} left for these")

    def _try(self, entry: compared.Entry, race: Race, seed: int, fold: int) -> None:
        if entry.reason:
            return
        interrupt.check_together()
        arm = next(arm for arm in race.arms if arm.name == entry.arm.name)
        trial = race.trial(arm, fold)
        self.spent += trial.seconds
        if isinstance(trial, Divergence):
            entry.diverged, entry.reason = True, trial.why
            self.log.event("warning", text=f"{arm.label} diverged on fold {fold + 1} and is not compared: {trial.why}")
            return
        entry.trials[seed, fold] = trial
        assert isinstance(race.observer, Looks)
        entry.looks[seed, fold] = race.observer.looks[arm.name, fold]
        self.log.event("trial", arm=arm.name, fold=fold, accuracy=trial.accuracy, seconds=round(trial.seconds, 3))

    def _count(self, net: Net, race: Race, machine: Machine) -> None:
        """Operations of learning on one fold, from the stages of each arm."""
        part, flops = race.task.take(race.folds[0][0]), block_flops(net)
        for entry in self.entries:
            walked = copy.deepcopy(net)
            stages = entry.arm.stages(walked, part)
            bank = race.bank if entry.finished else None
            entry.course = course_of(walked, stages, part, machine, flops, bank, race.seed)

    def _save(self, found: compared.Comparison) -> CompareResult:
        summary = compare_records.summarise(found, self.opening.seconds)

        def write() -> None:
            self.folder.write("summary.json", summary)
            self.folder.clean()

        distributed.first(write)
        self.log.event("phase", name="done", text="done")
        return CompareResult(self.folder.path, summary)
