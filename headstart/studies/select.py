"""Which network to start from: measure every candidate on one pass of the data, let the best race, choose.

Every phase leaves files, so that a killed run goes on where it was. Only training images are looked at; those set aside for
the test are left to `adapt`, which splits alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import headstart
from headstart.catalog.durations import parse_seconds
from headstart.catalog.select import Candidate, SelectConfig
from headstart.data.prepare import DataSet, prepare
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.run import stored
from headstart.engine.run_folder import RunFolder, open_run
from headstart.errors import BackboneError, ConfigError, DataError, InputError, RunFolderMismatch, problems
from headstart.files import write_json
from headstart.metrics.cost import format_seconds
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies import selected
from headstart.studies.backbone import untrained
from headstart.studies.candidates import load, resolve
from headstart.studies.checks import check_apart, check_kind, check_settings, device_of
from headstart.studies.halving import Finalist, Halving, Plan, plan, slugs
from headstart.studies.opening import Opening, opened
from headstart.studies.race import Standing
from headstart.studies.records import again, data_record, plain
from headstart.studies.result import JobResult
from headstart.studies.scored import Scored, identity, score
from headstart.studies.splitting import Splits

_ERRORS = 2.0
"""How many times the best probe's errors a network may make and still race."""


@dataclass(frozen=True)
class SelectResult(JobResult):
    """What `headstart select` found. Prints as a table."""

    @property
    def chosen(self) -> str:
        """Name of the network to start from."""
        return str(self.summary["chosen"])

    def __str__(self) -> str:
        return selected.as_text(self.summary)


def select(
    config: SelectConfig,
    *,
    data: Any = None,
    candidates: Sequence[Any] | None = None,
    listeners: Sequence[Listener] = (),
) -> SelectResult:
    """Choose a network to start from; see `SelectConfig` for the settings.

    data        given from Python instead of by name: arrays, a Dataset
    candidates  the same: names, `Candidate`s, modules, `Net`s
    listeners   called with every event, for showing progress

    Raises InputError for what the user can mend, RunError about the folder, Interrupted after saving.
    """
    budget = parse_seconds(config.budget)
    check_settings(config.followed(Candidate("embedded")))
    _check(config)
    distributed.start(device_of(config.device))
    found = resolve(config, candidates)
    for one in found:
        check_apart(replace(config.followed(one), out=config.out), None if data is not None else Path(config.data))
    settings = {"command": "select", **asdict(config), "candidates": [str(one) for one in found]}
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return SelectResult(folder.path, done)
        opening = Opening(
            folder, config.followed(found[0]).network, config.images, config.folds, config.seed, tuple(listeners)
        )
        source = opened(config.data if data is None else data, config.images)
        given = tuple(name for name, value in (("data", data), ("candidates", candidates)) if value is not None)
        return _Job(config, opening, budget, found, source, given).run()


def _check(config: SelectConfig) -> None:
    rules = [
        (config.finalists >= 2, f"--finalists {config.finalists}: a race needs two at least; --no-race does without"),
        (config.at_most >= 1, f"--at-most {config.at_most} must be at least 1"),
    ]
    problems(ConfigError, "these settings cannot be:", [text for holds, text in rules if not holds])


@dataclass
class _Job:
    """One run, phase by phase.

    tasks    the training images by input size, all with the same rows
    kept     the networks and features of the best so far, which may have to race
    """

    config: SelectConfig
    opening: Opening
    budget: float
    candidates: Sequence[Candidate]
    source: Source
    given: tuple[str, ...] = ()
    scored: list[Scored] = field(default_factory=list)
    unavailable: list[dict[str, str]] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)
    kept: dict[str, tuple[Net, FeatureBank]] = field(default_factory=dict)
    data: DataSet | None = None
    splits: Splits | None = None

    @property
    def folder(self) -> RunFolder:
        return self.opening.folder

    @property
    def log(self) -> RunLog:
        return self.opening.log

    def run(self) -> SelectResult:
        began = time.monotonic()
        names = slugs([str(one) for one in self.candidates])
        for number, one in enumerate(self.candidates):
            text = f"{one} ({number + 1} of {len(self.candidates)}{self._left(number, began)})"
            with self.opening.phase("measure", text):
                self._measure(one, names[str(one)])
        if not self.scored:
            said = [f"{bad['name']}: {bad['reason']}" for bad in self.unavailable]
            problems(BackboneError, "none of the candidates can be used:", said)
        standings, planned, absent = self._race()
        return self._save(standings, planned, absent, began)

    def _left(self, number: int, began: float) -> str:
        """How long the other candidates will probably take."""
        if not number or number + 1 == len(self.candidates):
            return ""
        each = (time.monotonic() - began) / number
        return f", about {format_seconds(round(each * (len(self.candidates) - number)))} left"

    # --- measuring ------------------------------------------------------------------------------------------------------

    def _measure(self, one: Candidate, file: str) -> None:
        """Score one candidate, or note why it cannot be used. What is wrong with the data is not the candidate's fault."""
        interrupt.check_together()
        began = time.monotonic()
        try:
            net = load(one, self.config.seed)
            check_kind(self.source, net.input)
        except (InputError, OSError, RuntimeError, MemoryError) as error:
            self._set_aside(one, error)
            return
        if untrained(self.config.followed(one).network):
            self.log.event("warning", text=f"{one} has weights drawn at random: it knows nothing")
        who = identity(net)
        twin = next((other.name for other in self.scored if other.fingerprint == who), None)
        if twin is not None:
            self._set_aside(one, BackboneError(f"the same network with the same weights as {twin}"))
            return
        task = self._task(net)
        loading = time.monotonic() - began
        net.to(device_of(self.config.device))
        bank = FeatureBank(self.folder.work / "features" / file, log=self.log.within(arm=str(one)))
        path = self.folder.work / "candidates" / f"{file}.json"
        try:
            found = distributed.first(lambda: self._score(one, net, task, path, bank, who, loading))
        except (InputError, RuntimeError, MemoryError) as error:
            self._set_aside(one, error)
            return
        self._keep(found, net, bank)
        self.scored.append(found)
        self.log.event("scored", candidate=found.name, probe=found.probe, seconds=found.seconds)
        self.log.event("note", text=f"  probe {found.probe:.3f} at {found.peak}")

    def _set_aside(self, one: Candidate, error: BaseException) -> None:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.unavailable.append({"name": str(one), "reason": reason})
        self.log.event("warning", text=f"{one} is left out: {reason}")

    def _task(self, net: Net) -> Task:
        """The training images at the network's input size, decoded once per size; the rows are the same at all sizes."""
        size = net.input.size
        if size in self.tasks:
            return self.tasks[size]
        if self.data is None or self.splits is None:
            with self.opening.phase("data", "reading and inspecting the images"):
                self.data, self.splits = self.opening.read(self.source, net)
            self.opening.begin_with(self.data, images=self.data.fingerprint)
            self.tasks[size] = self.splits.train
            return self.splits.train
        data = self._decoded(size)
        train = self.splits.train
        if data.names != self.data.names:
            raise DataError(f"other images can be read at {size} px than before; repair those that the inspection names")
        self.tasks[size] = Task(train.name, data.store, train.labels, train.classes, train.rows, train.groups)
        return self.tasks[size]

    def _decoded(self, size: int) -> DataSet:
        def progress(done: int, total: int) -> None:
            interrupt.check()
            self.log.tick(done, total, f"reading images at {size} px")

        cache, fit = self.folder.work / "data", self.config.images.fit
        return distributed.first(lambda: prepare(self.source, size=size, fit=fit, cache=cache, progress=progress))

    def _score(
        self, one: Candidate, net: Net, task: Task, path: Path, bank: FeatureBank, who: str, loading: float
    ) -> Scored:
        """Measured, or read from `path` where it was measured before."""
        assert self.splits is not None
        done = _read(path)
        if done is not None and done.fingerprint != who:
            raise RunFolderMismatch(
                f"{one} has other weights than when {self.folder.path} was begun, so it cannot be resumed. Put them back, "
                "start again by --overwrite, or choose another folder with --out"
            )
        if done is None:
            seed = seed_for(self.config.seed, "select")
            done = score(str(one), net, task, self.splits.folds, bank, seed=seed, loading=loading)
            write_json(path, asdict(done))
        return done

    def _keep(self, one: Scored, net: Net, bank: FeatureBank) -> None:
        """Only the best so far are kept: forty networks with their features would fill memory and disk."""
        self.kept[one.name] = (net, bank)
        best = sorted([*self.scored, one], key=lambda each: -each.probe)[: self.config.finalists]
        for name in set(self.kept) - {each.name for each in best}:
            _, unused = self.kept.pop(name)
            for file in () if unused.folder is None else unused.folder.glob("*.npy"):
                file.unlink(missing_ok=True)  # of several processes each comes here

    # --- racing ---------------------------------------------------------------------------------------------------------

    def _race(self) -> tuple[list[Standing], Plan, dict[str, str]]:
        """Standings of those that raced, what was planned, and why the others did not."""
        assert self.splits is not None
        order = sorted(self.scored, key=lambda one: -one.probe)
        best, absent = self._survivors(order)
        if len(best) < 2:
            return [], Plan(0, 0, {}), absent
        machine = Machine(device=device_of(self.config.device), cache=self.folder.work / "cache")
        finalists = [self._finalist(one) for one in best]
        planned = self._plan(finalists)
        if not planned.finalists:
            why = f"the {self.budget:.0f} s of --budget do not reach for a few epochs of two networks"
            self.log.event("note", text=f"no race: {why}")
            return [], planned, absent | {one.name: why for one in best}
        self.log.event("plan", arms=[one.name for one in best[: planned.finalists]], epochs=planned.epochs)
        halving = Halving(
            finalists,
            self.splits.folds,
            self.config.strategy,
            self.budget,
            self.config.seed,
            self.config.mirror,
            machine,
            self.folder.work / "trials",
            self.log,
        )
        text = (
            f"racing {planned.finalists} networks for up to {format_seconds(self.budget)}, {planned.epochs} epochs a trial"
        )
        with self.opening.phase("race", text):
            return halving.run(planned), planned, absent

    def _plan(self, finalists: Sequence[Finalist]) -> Plan:
        """What fits into the budget. It rests on measured speeds, so it is made once and kept for a resumed run."""
        assert self.splits is not None
        folds, config = self.splits.folds, self.config

        def made() -> dict[str, Any]:
            return asdict(plan(finalists, folds, config.strategy, budget=self.budget, mirror=config.mirror))

        return Plan(**stored(self.folder.work / "plan.safetensors", made, self.log))

    def _survivors(self, order: Sequence[Scored]) -> tuple[list[Scored], dict[str, str]]:
        """The best by probe, and why the others do not race.

        Out of the race is who errs more than twice as often as the best, at the favourable end of its interval. A probe says
        little of networks closer than that where much is left to gain: on traffic signs the best network once fine-tuned was
        the fifth by probe, 16 points behind (docs/select.md).
        """
        least = 1 - _ERRORS * (1 - order[0].probe)
        near = [one for one in order if float(one.scores["probe"]["interval"][1]) >= least]
        absent = {
            one.name: f"frozen it errs more than twice as often as {order[0].name}" for one in order if one not in near
        }
        for one in near[self.config.finalists :]:
            absent[one.name] = f"{self.config.finalists} others have a better probe; --finalists lets more race"
        near = near[: self.config.finalists]
        if len(near) == 1:
            absent[near[0].name] = "no other network's probe comes near" if len(order) > 1 else "there is no other network"
        if not self.config.race:
            return [], {one.name: "there was no race (--no-race)" for one in order}
        return near, absent

    def _finalist(self, one: Scored) -> Finalist:
        net, bank = self.kept[one.name]
        net.heads.clear()  # from here on they are the race's own
        return Finalist(one.name, net, self.tasks[net.input.size], bank)

    # --- the end --------------------------------------------------------------------------------------------------------

    def _save(self, standings: Sequence[Standing], planned: Plan, absent: Mapping[str, str], began: float) -> SelectResult:
        assert self.splits is not None
        assert self.data is not None
        folds, config = self.splits.folds, self.config
        choice = selected.choose(self.scored, standings, folds, seed_for(config.seed, "verdict"))
        chosen = next(one for one in self.candidates if str(one) == choice.chosen)
        network = ("backbone",) if not isinstance(chosen.backbone, (str, Path)) else ()
        data_given = tuple(name for name in self.given if name == "data")
        summary = {
            "command": "select",
            "data": data_record(self.data, self.splits.train, self.splits.test)
            | {"images_per_class": float(sorted(self.splits.train.counts)[len(self.data.classes) // 2])},
            **selected.summarise(
                choice,
                self.scored,
                standings,
                folds,
                epochs=planned.epochs,
                unavailable=self.unavailable,
                absent=absent,
            ),
            "seconds_by_phase": {name: round(value, 2) for name, value in self.opening.seconds.items()},
            "seconds": round(time.monotonic() - began, 2),
            "next": again("adapt", config.followed(chosen), (*data_given, *network)),
            "reproduce": again("select", config, self.given),
            "version": headstart.__version__,
        }
        result = SelectResult(self.folder.path, plain(summary))
        distributed.first(lambda: self._write(result.summary))
        self.log.event("phase", name="done", text="done")
        return result

    def _write(self, summary: Mapping[str, Any]) -> None:
        self.folder.write("summary.json", summary)
        self.folder.clean()


def _read(path: Path) -> Scored | None:
    """A candidate measured before; None when there is none, or its file is not what this version writes."""
    try:
        return Scored(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
