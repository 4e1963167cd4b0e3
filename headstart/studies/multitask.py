"""`headstart multitask` as a job: one network for many questions, beside a network for each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from headstart.catalog.adapt import DataConfig
from headstart.catalog.asked import parse_tasks
from headstart.catalog.multitask import MultitaskConfig, check_settings
from headstart.catalog.weightings import Scheduled
from headstart.data.labelled import LabelledSet, LabelParts, prepare_labelled
from headstart.data.labelled_sources import LabelledSource, open_labelled
from headstart.data.mix import Mix, mix_of
from headstart.data.names import count
from headstart.data.sources import open_source
from headstart.data.task import Task
from headstart.engine import distributed, interrupt
from headstart.engine.fit import Machine
from headstart.engine.log import Listener
from headstart.engine.run_folder import open_run
from headstart.engine.sampler import plan_for
from headstart.errors import ConfigError, DataError, TrainingError, problems
from headstart.metrics.cost import format_seconds
from headstart.nets.net import Net
from headstart.stage import Budget, Stage
from headstart.studies.backbone import choose, untrained
from headstart.studies.checks import device_of
from headstart.studies.multitask_arms import BASELINE, arms_of, recipe_of
from headstart.studies.multitask_judged import Judge
from headstart.studies.multitask_records import Found, model_of, summary_of, write_pictures
from headstart.studies.multitask_runs import Arm, Run, Runs
from headstart.studies.multitask_told import as_text
from headstart.studies.opening import Opening, fingerprint_of
from headstart.studies.result import JobResult


@dataclass(frozen=True)
class MultitaskResult(JobResult):
    """What `headstart multitask` found. Prints as text."""

    def __str__(self) -> str:
        return as_text(self.summary)


def multitask(
    config: MultitaskConfig,
    *,
    data: Any = None,
    backbone: Any = None,
    listeners: Sequence[Listener] = (),
) -> MultitaskResult:
    """Train one network for several tasks, and compare it with a network for each; see `MultitaskConfig`.

    data      given from Python instead of by name: `(images, {task: labels})`, `{task: data set}`, or a `LabelledSource`
    backbone  a `Net` or an nn.Module instead of a name

    Raises InputError for what the user can mend, RunError about the folder, TrainingError, Interrupted after saving.
    """
    check_settings(config, given=data is not None)
    device = device_of(config.device)
    distributed.start(device)
    with open_run(
        config.out, {"command": "multitask", **asdict(config)}, resume=config.resume, overwrite=config.overwrite
    ) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return MultitaskResult(folder.path, done)
        given = tuple(name for name, value in {"data": data, "backbone": backbone}.items() if value is not None)
        images = DataConfig(fit=config.images.fit, test_fraction=config.images.test_fraction)
        opening = Opening(folder, config.network, images, 0, config.seed, tuple(listeners))
        source = _source(config, data)
        _check_source(config, source)
        _check_apart(config)
        return _Job(config, opening, source, device, given).run(backbone)


def _source(config: MultitaskConfig, data: Any) -> LabelledSource:
    images = config.images
    columns: dict[str, Any] = {
        "path_column": images.path_column,
        "group_column": images.group_column,
        "split_column": images.split_column,
    }
    if data is not None:
        return open_labelled(data, parse_tasks(config.tasks), **columns)
    if len(config.data) == 1:
        return open_labelled(config.data[0], parse_tasks(config.tasks), **columns)
    return _several(config, columns)


def _several(config: MultitaskConfig, columns: Mapping[str, Any]) -> LabelledSource:
    """One data set per task, in the order of the tasks; NAME=COLUMN says which column of a table holds the labels."""
    asked = parse_tasks(config.tasks) if config.tasks else [parse_tasks([Path(one).stem])[0] for one in config.data]
    names = [one.name for one in asked]
    if len(names) != len(config.data):
        raise ConfigError(f"--tasks {' '.join(names)}: {len(names)} for {len(config.data)} data sets; name one for each")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two data sets are called {', '.join(twice)}; name the tasks apart with --tasks, in their order")
    wrong, opened = [], {}
    for task, place in zip(asked, config.data, strict=True):
        table = Path(place).suffix.lower() in (".csv", ".tsv")
        column = task.columns[0] if task.columns != (task.name,) else None
        if task.kind not in (None, "classes") or len(task.columns) > 1:
            wrong.append(f"task {task.name!r}: of one data set per task every task is about classes")
        elif column is not None and not table:
            wrong.append(f"task {task.name!r}: {place} has no columns to choose {column!r} from")
        else:
            try:
                opened[task.name] = open_source(place, **(columns if table else {}), label_column=column)
            except DataError as error:
                wrong.append(f"task {task.name!r}: {error}")
    problems(DataError, "the data sets cannot be used:", wrong)
    return open_labelled(opened)


def _check_source(config: MultitaskConfig, source: LabelledSource) -> None:
    """Raise ConfigError for settings that these data, which nothing was decoded of yet, leave nothing to do."""
    wrong = []
    if len(source.tasks) < 2:
        wrong.append(f"there is one task only, {', '.join(source.tasks)}; headstart adapt learns one task")
    if len(source.parts) < 2:
        wrong += [f"{said} is a choice between data sets, and there is one only; leave it out" for said in _drawing(config)]
    problems(ConfigError, "these data cannot be learned from as asked:", wrong)


def _drawing(config: MultitaskConfig) -> list[str]:
    """How samples of several data sets are to be drawn, as far as it was said."""
    given = {"--sampling": (config.sampling, MultitaskConfig.sampling), "--per": (config.per, MultitaskConfig.per)}
    return [f"{name} {value}" for name, (value, usual) in given.items() if value != usual]


def _check_apart(config: MultitaskConfig) -> None:
    """Raise ConfigError when the run would write among images."""
    out = config.out.resolve()
    for place in config.data:
        if Path(place).is_dir() and out.is_relative_to(Path(place).resolve()):
            raise ConfigError(f"--out {config.out} lies in the folder of the images {place}; choose a folder outside of it")


@dataclass
class _Job:
    """One run, phase by phase."""

    config: MultitaskConfig
    opening: Opening
    source: LabelledSource
    device: str
    given: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, backbone: Any) -> MultitaskResult:
        began, opening, config = time.monotonic(), self.opening, self.config
        with opening.phase("network", "loading the network"):
            net = opening.load(self.source.first, backbone)
        with opening.phase("data", "reading and inspecting the images"):
            data = self._read(net)
            parts = data.split(
                config.seed,
                val_fraction=config.images.validation_fraction,
                test_fraction=config.images.test_fraction,
            )
            mix = self._mix(data, parts)
        recipe = recipe_of(config, net, len(mix))
        steps = _steps(mix, recipe.epochs, recipe.batch_size)
        arms = arms_of(config, net, mix, recipe, steps)
        _check_schedules(arms, steps, -(-steps // recipe.epochs))
        self._begin(net, data)
        judged = {"validation": data.on(parts.val), "test": data.on(parts.test)}
        machine = Machine(device=self.device, cache=opening.folder.work / "cache")
        runs = Runs(
            self._drawn(net, backbone),
            mix,
            judged if self._chooses(arms) else {"test": judged["test"]},
            machine,
            opening.folder.work,
            opening.log,
        )
        seeds = [config.seed + n for n in range(config.seeds)]
        arms = self._train(runs, arms, seeds)
        chosen = self._choose(runs, arms, seeds)
        with opening.phase("outcome", "comparing them on the test images"):
            found = Found(config, data, parts, runs, arms, seeds, chosen, self.warnings, self.given, net)
            summary = summary_of(found, opening.seconds)
        summary["seconds"] = round(time.monotonic() - began, 2)
        distributed.first(lambda: self._save(found, summary))
        opening.log.event("phase", name="done", text="done")
        return MultitaskResult(opening.folder.path, summary)

    def _drawn(self, net: Net, backbone: Any) -> Callable[[int], Net]:
        """What the runs of a seed begin with: a named network without trained weights is drawn anew for each."""
        config = self.config
        if backbone is not None or not untrained(config.network):
            return lambda seed: net

        def draw(seed: int) -> Net:
            return net if seed == config.seed else choose(self.source.first, config.network, None, seed=seed)

        return cache(draw)

    def _read(self, net: Net) -> LabelledSet:
        opening = self.opening

        def progress(done: int, total: int) -> None:
            interrupt.check()
            opening.log.tick(done, total, "reading images")

        def once() -> LabelledSet:
            return prepare_labelled(
                self.source,
                size=net.input.size,
                fit=self.config.images.fit,
                cache=opening.folder.work / "data",
                progress=progress,
            )

        data = distributed.first(once)
        for note in data.findings.notes:
            opening.log.event("note", text=note)
        for warning in data.findings.warnings:
            self._warn(warning)
        return data

    def _mix(self, data: LabelledSet, parts: LabelParts) -> Mix:
        """What is learned from: the train part, and the validation part where nothing is chosen by it."""
        rows = parts.train if len(self._asked()) > 1 else np.sort(np.concatenate([parts.train, parts.val]))
        tasks: list[Task] = list(data.on(rows).values())
        if len(self.source.parts) > 1 and len(data.sources) == 1 and _drawing(self.config):
            told = " and ".join(_drawing(self.config))
            self._warn(f"{told} had nothing to choose between: the data sets hold the same images and are learned as one")
        return mix_of("tasks", tasks, data.sources_on(rows), self.config.sampling, self.config.per)

    def _asked(self) -> list[tuple[str, str]]:
        return [(sharing, weighting) for sharing in self.config.sharing for weighting in self.config.weighting]

    def _chooses(self, arms: Sequence[Arm]) -> bool:
        return sum(arm.role == "asked" for arm in arms) > 1

    def _begin(self, net: Net, data: LabelledSet) -> None:
        opening = self.opening
        opening.begin_from(data.findings.to_json(), images=data.fingerprint, network=fingerprint_of(net))

    def _warn(self, text: str) -> None:
        self.opening.log.event("warning", text=text)
        self.warnings.append(text)

    def _train(self, runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> list[Arm]:
        """Carry out every run; returns the arms that came to their end. One that ends in no number is left out, aloud, as
        long as something that was asked for is left to save."""
        every = [Run(arm, seed) for seed in seeds for arm in arms]
        left = [run for run in every if not runs.done(run)]
        with self.opening.phase("runs", f"{count(len(every), 'run')}, {len(left)} to do"):
            runs.log = self.opening.log
            took: list[float] = []
            for place, run in enumerate(left):
                if run.arm.name in self.failed:
                    continue
                began = time.monotonic()
                try:
                    runs.carry_out(run)
                except TrainingError as error:
                    self._fail(run.arm, arms, error)
                    continue
                took.append(time.monotonic() - began)
                rest = float(np.mean(took)) * (len(left) - place - 1)
                about = f"; about {format_seconds(max(1, round(rest)))} left" if rest else ""
                runs.log.event("note", text=f"  {run}: {format_seconds(round(took[-1], 1))}{about}")
                runs.log.tick(place + 1, len(left), "runs")
        return [arm for arm in arms if arm.name not in self.failed]

    def _fail(self, arm: Arm, arms: Sequence[Arm], error: TrainingError) -> None:
        """Leave an arm out, or raise where the run makes no sense without it."""
        self.failed[arm.name] = str(error)
        asked = [one for one in arms if one.role == "asked" and one.name not in self.failed]
        if arm.role in ("single", "sum") or arm.name == BASELINE or not asked:
            raise TrainingError(f"{arm.name}: {error}") from error
        self._warn(f"{arm.name} was left out: {error}")
        if arm == next(one for one in arms if one.role == "asked"):  # which those with a task less are compared with
            self.failed |= {one.name: f"{arm.name} was left out" for one in arms if one.role == "without"}

    def _choose(self, runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> Arm:
        """The arm whose model is saved: of several asked for the best on the validation part."""
        asked = [arm for arm in arms if arm.role == "asked"]
        if len(asked) == 1:
            return asked[0]
        judge = Judge(runs, "validation", seeds, self.config.seed)
        return max(asked, key=lambda arm: judged_value(judge, arm, asked, self.config.main))

    def _save(self, found: Found, summary: Mapping[str, Any]) -> None:
        folder = self.opening.folder
        place = folder.path / "model"
        shutil.rmtree(place, ignore_errors=True)
        model_of(found, summary).save(place)
        write_pictures(found, folder.path)
        folder.write("summary.json", summary)
        folder.clean()


def judged_value(judge: Judge, arm: Arm, asked: Sequence[Arm], main: str | None) -> float:
    """What arms are chosen by: the main task's measure, else the mean over tasks of how far it is above the arms' mean,
    relative to that mean."""
    if main is not None:
        return judge.value(arm, main)
    gains = []
    for name in arm.tasks:
        values = [judge.value(one, name) for one in asked]
        scale = abs(float(np.mean(values))) or 1.0
        gains.append((judge.value(arm, name) - float(np.mean(values))) / scale)
    return float(np.mean(gains))


def _steps(mix: Mix, epochs: int, batch_size: int) -> int:
    """Optimiser steps of that many passes over the mix."""
    return plan_for(Stage("count", mix, {}, {}, Budget(epochs=epochs), batch_size=batch_size), 0).steps


def _check_schedules(arms: Sequence[Arm], steps: int, per_epoch: int) -> None:
    """Every step of every schedule, before anything is trained."""
    for arm in arms:
        settings = arm.config.weighting_settings
        if isinstance(settings, Scheduled):
            settings.schedule.check(steps, per_epoch)
