"""`headstart extend` as a job: a saved model learns new tasks, and five things are measured on the way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args, get_type_hints

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.catalog.continual import METHODS
from headstart.catalog.extend import LOWER, UPPER, ExtendConfig, bytes_of, check_settings, unused
from headstart.catalog.settings import names_of, with_settings, with_values
from headstart.data.names import count
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.task import Task
from headstart.engine import distributed
from headstart.engine.fit import Machine
from headstart.engine.log import Listener, RunLog
from headstart.engine.past import Past
from headstart.engine.run_folder import open_run
from headstart.engine.source_statistics import evenly
from headstart.errors import ConfigError
from headstart.metrics.cost import format_seconds
from headstart.nets.net import Net
from headstart.strategies.continual import CONTINUAL
from headstart.strategies.continual.kinds import kind_faults
from headstart.studies.arms import base_recipe
from headstart.studies.checks import check_kind, device_of
from headstart.studies.elapsed import Elapsed
from headstart.studies.extend_checks import check_apart, check_out, check_out_of_images, doubtful
from headstart.studies.extend_multitask import asks_several, in_place, old_sources, unmeasured
from headstart.studies.extend_records import Found, as_text, card_of, name_of_run, summary_of
from headstart.studies.extend_runs import Arm, Run, Runs
from headstart.studies.extend_tasks import Judged, Start, lacking, names_for, network_of, new_tasks, old_tasks, start_from
from headstart.studies.extend_towers import with_towers
from headstart.studies.opening import Opening, fingerprint_of, opened
from headstart.studies.result import JobResult
from headstart.studies.splitting import Splits

_ALL = "all"
_FOLDS = 5
"""As `headstart adapt` has by default, so that the test images of old data are those that the model never saw."""
_LR_FROZEN = 0.02
_WATCHED = 256
_STEPS, _LONGEST, _USUAL = 600, 60, 20
"""Steps that few images should make up to by more epochs, the most epochs, and the usual ones."""


@dataclass(frozen=True)
class ExtendResult(JobResult):
    """What `headstart extend` found. Prints as text."""

    def __str__(self) -> str:
        return as_text(self.summary)


def extend(
    config: ExtendConfig,
    *,
    model: Any = None,
    data: Sequence[Any] | None = None,
    old: Sequence[Any] | None = None,
    builder: Any = None,
    listeners: Sequence[Listener] = (),
) -> ExtendResult:
    """Teach a saved model something new; see `ExtendConfig`.

    model, data, old  given from Python instead of by name: a `Model` or `Net`; arrays or Datasets, one per task
    builder           makes the backbone's module again, for a model of a network that was given as an nn.Module

    Raises InputError for what the user can mend, RunError about the folder, TrainingError, Interrupted after saving.
    """
    check_settings(config, given=len(data or ()))
    check_out(config)
    device = device_of(config.device)
    distributed.start(device)
    with open_run(
        config.out, {"command": "extend", **asdict(config)}, resume=config.resume, overwrite=config.overwrite
    ) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return ExtendResult(folder.path, done)
        objects = {"model": model, "data": data, "old": old}
        given = tuple(name for name, value in objects.items() if value is not None)
        opening = Opening(folder, network_of(config), config.images, _FOLDS, config.seed, tuple(listeners), chooses=False)
        new = [opened(one, config.images) for one in (config.data if data is None else data)]
        known = list(config.old if old is None else old)
        table = known.pop(0) if known and asks_several(config, model) else None
        before = [opened(one, config.images) for one in known]
        check_out_of_images(config, [*new, *before])
        return _Job(config, opening, new, before, device, given, table).run(model, builder)


@dataclass
class _Job:
    """One extension, phase by phase; `table` holds the old labels of a model for several questions."""

    config: ExtendConfig
    opening: Opening
    new: Sequence[Source]
    before: Sequence[Source]
    device: str
    given: tuple[str, ...] = ()
    table: Any = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clock: Elapsed = field(default_factory=Elapsed)

    def run(self, model: Any, builder: Any) -> ExtendResult:
        with self.clock.during(_ALL):
            return self._run(model, builder)

    def _run(self, model: Any, builder: Any) -> ExtendResult:
        opening, config = self.opening, self.config
        with self._phase("network", "loading the model"):
            start = start_from(config, model, builder=builder)
            for source in (*self.new, *self.before):
                check_kind(source, start.net.input)
        with self._phase("data", "reading and inspecting the images"):
            new, old, marks = self._tasks(start)
            net, told = with_towers(start.net, [one.train for one in new])
            start, self.notes = replace(start, net=net), [*self.notes, *told]
        arms = self._arms(start, new)
        seeds = [config.seed + n for n in range(config.seeds)]
        runs = self._runs(start, old, new, arms[0])
        arms = self._possible(runs, arms, old)
        self._say()
        opening.begin_with(new[0].data, images=" ".join(marks), network=fingerprint_of(start.net))
        self.clock.keep_in(opening.folder.work / "seconds.json")
        runs.log = RunLog(opening.log.path, (*opening.log.listeners, self.clock.heard))
        self._train(runs, arms, seeds)
        self.clock.keep()
        seconds = {name: spent for name, spent in self.clock.seconds.items() if name != _ALL}
        summary = summary_of(Found(config, runs, arms, seeds, self.warnings, self.given), seconds)
        summary["seconds"] = round(self.clock.seconds[_ALL], 2)
        distributed.first(lambda: self._save(runs, summary))
        opening.log.event("phase", name="done", text="done")
        return ExtendResult(opening.folder.path, summary)

    @contextmanager
    def _phase(self, name: str, text: str) -> Iterator[None]:
        with self.opening.phase(name, text), self.clock.during(name):
            yield

    def _tasks(self, start: Start) -> tuple[list[Judged], list[Judged | None], list[str]]:
        """New tasks, old tasks (None where their data are not given), and fingerprints of all data."""
        past, net = start.past, start.net
        names = names_for(self.config, self.new, [one.name for one in past.tasks])
        read = [self._read(source, net, start) for source in self.new]
        new = new_tasks(self.config, past, names, read, self.opening.folder.work / "data")
        again = [self._read(source, net, start) for source in self._before(start)]
        one_class = replace(past, tasks=[one for one in past.tasks if one.one_class])
        old: list[Judged | None] = in_place(past, old_tasks(one_class, again)) if again else [None] * len(past.tasks)
        check_apart(new, old)
        self.warnings += doubtful(past, new)
        normed = any(isinstance(layer, _BatchNorm) for layer in net.modules())
        if start.drawn is not None and self.config.norm == "frozen" and normed:
            self.warnings.append(
                f"{start.name} has weights drawn at random, and --norm frozen keeps the statistics of its batch "
                "normalisation as they were before it saw an image; give --norm train"
            )
        self.warnings += unmeasured(past, given=bool(again))
        return new, old, [data.fingerprint for data, _ in (*read, *again)]

    @property
    def _old_given(self) -> bool:
        return bool(self.before) or self.table is not None

    def _before(self, start: Start) -> Sequence[Source]:
        """The old tasks' data, those of a table of labels question by question."""
        if self.table is None:
            return self.before
        folder = self.opening.folder.work / "data"
        fit = start.fit or self.opening.images.fit
        return [*old_sources(start.past, self.table, self.config, start.net, fit=fit, cache=folder), *self.before]

    def _read(self, source: Source, net: Net, start: Start) -> tuple[DataSet, Splits]:
        images = self.opening.images
        if start.fit is not None and start.fit != images.fit:
            self.opening.images = with_values(images, {"fit": start.fit})  # as the model has seen all images so far
        return self.opening.read(source, net)

    def _say(self) -> None:
        """What is to be known before it begins; said when it is sure that it can."""
        for kind, texts in (("warning", self.warnings), ("note", self.notes)):
            for text in texts:
                self.opening.log.event(kind, text=text)

    def _arms(self, start: Start, new: Sequence[Judged]) -> list[Arm]:
        config = self.config
        known = self._old_given or not start.past.tasks
        names = [name for name in config.methods if name == config.method or not METHODS[name].old_data or known]
        if len(names) < len(config.methods):
            gone = ", ".join(name for name in config.methods if name not in names)
            self.warnings.append(f"{gone} was left out: it learns from all old images, give them with --old")
        asked = (config.method,) if config.all_methods else replace(config, bounds=False).methods
        for name in [name for name in names if name not in asked and kind_faults(name, start.past)]:
            self.warnings.append(f"{name} was left out: {kind_faults(name, start.past)[0]}")
            names.remove(name)
        for name in names:
            if flags := unused(config, name):
                self.warnings.append(f"{name}: {' and '.join(flags)} {'is' if len(flags) == 1 else 'are'} of no use to it")
        learn = self._learn(start.net, new)
        arms = [Arm(name, self._config(name, learn), self._role(name)) for name in names]
        return [arms[0], *(replace(arm, config=self._as_long(arm.config, arms[0].config)) for arm in arms[1:])]

    def _as_long(self, config: Any, first: Any) -> Any:
        """The same settings with the first arm's warm-up of a new head, so that all start from there and learn as long."""
        there, wanted = names_of(config), names_of(first)
        if "warmup_epochs" not in there or "warmup_epochs" not in wanted:
            return config
        epochs = wanted["epochs"] if wanted["warmup_epochs"] is None else wanted["warmup_epochs"]
        return with_values(config, {"warmup_epochs": epochs})

    def _role(self, name: str) -> str:
        roles = {LOWER: "lower", UPPER: "upper"} if self.config.bounds or self.config.beside else {}
        return "method" if name == self.config.method else roles.get(name, "method")

    def _learn(self, net: Net, new: Sequence[Judged]) -> dict[str, Any]:
        """Settings of learning that all methods share, by name: what was asked, else what suits network and data."""
        config = self.config
        fewest = min(len(one.train) for one in new)
        recipe = base_recipe(net, fewest, mirror=config.mirror, class_weights=False)
        if config.norm == "frozen" and recipe.optimizer == "sgd":
            # Nothing rescales a block whose statistics stay: rates that suit training from scratch end in no number at all.
            recipe = replace(recipe, lr=_LR_FROZEN, clip=1.0)
        if config.batch_size is not None:
            recipe = replace(recipe, batch_size=config.batch_size)
        steps = max(1, -(-fewest // recipe.batch_size))
        epochs = config.epochs or min(_LONGEST, max(_USUAL, -(-_STEPS // steps)))
        chosen = {
            "epochs": epochs,
            "batch_size": recipe.batch_size,
            "optimizer": recipe.optimizer,
            "weight_decay": recipe.weight_decay,
            "clip": recipe.clip,
            "lr": recipe.lr if config.lr is None else config.lr,
            "augment": config.augment,
            "mirror": config.mirror,
            "norm": config.norm,
            "seed": config.seed,
        }
        asked = {"scale": config.scale, "top": config.top}
        return chosen | {name: value for name, value in asked.items() if value is not None}

    def _config(self, name: str, learn: dict[str, Any]) -> Any:
        """The method's settings: its own, those shared, and those given for the method asked for."""
        made = config_class(name)()
        there = names_of(made)
        chosen = with_values(made, {key: value for key, value in learn.items() if key in there})
        memory: dict[str, Any] = {"capacity": self.config.capacity}
        memory["max_bytes"] = None if self.config.max_memory is None else bytes_of(self.config.max_memory)
        chosen = with_values(chosen, {key: value for key, value in memory.items() if key in there and value is not None})
        return with_settings(chosen, self.config.settings) if name == self.config.method else chosen

    def _runs(self, start: Start, old: list[Judged | None], new: list[Judged], first: Arm) -> Runs:
        config, folder = self.config, self.opening.folder

        def card(net: Net, past: Past) -> Any:
            return card_of(config, start, new, past, name_of_run(config))

        return Runs(
            start,
            old,
            new,
            [None if one is None else _some(one.train) for one in (*old, *new)],
            Machine(device=self.device, cache=folder.work / "cache"),
            folder.work,
            self.opening.log,
            Run(first, config.seed),
            card,
        )

    def _possible(self, runs: Runs, arms: Sequence[Arm], old: Sequence[Judged | None]) -> list[Arm]:
        """The arms that can run; raises ConfigError, before anything is trained, for one that was asked for by name."""
        found = []
        for arm in arms:
            given = [one for one, task in zip(old, runs.start.past.tasks, strict=True) if task.one_class]
            if METHODS[arm.name].old_data and None in given:
                raise ConfigError(
                    f"{arm.name} learns from the old tasks' images again, and they were not given; name them with --old, or "
                    f"choose a method that needs none: {', '.join(n for n, m in METHODS.items() if not m.old_data)}"
                )
            try:
                runs.rehearse(arm)
            except ConfigError as error:
                if arm.name == self.config.method or not self.config.all_methods:
                    raise
                self.warnings.append(f"{arm.name} was left out: {error}")
                continue
            found.append(arm)
            self._warn_of_memory(arm, runs.start.past)
        return found

    def _warn_of_memory(self, arm: Arm, past: Past) -> None:
        """Say aloud what happens to old tasks that a memory says nothing of, and to a memory that nobody keeps."""
        held, without = len(past.memory or ()), ", ".join(lacking(arm.name, past))
        if METHODS[arm.name].memory and without and self._old_given:
            self.notes.append(
                f"{arm.name}: the model brings no stored samples of {without}; its memory is filled from the old data "
                "given, with what it would have kept of them"
            )
        elif METHODS[arm.name].memory and without:
            self.warnings.append(
                f"{arm.name}: the model brings no stored samples of {without}, so nothing holds that; give the old data "
                "once with --old, or let a method with a memory learn the first task too"
            )
        if held and not METHODS[arm.name].memory:
            self.warnings.append(f"{arm.name} keeps no samples: the {held} that the model brought are not kept on")

    def _train(self, runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
        every = [Run(arm, seed) for seed in seeds for arm in arms]
        left = [run for run in every if not runs.done(run)]
        tasks = count(len(runs.new), "task")
        with self._phase("runs", f"{count(len(every), 'run')} of {tasks}, {len(left)} to do"):
            took: list[float] = []
            for place, run in enumerate(left):
                began = time.monotonic()
                runs.carry_out(run)
                took.append(time.monotonic() - began)
                rest = float(np.mean(took)) * (len(left) - place - 1)
                about = f"; about {format_seconds(max(1, round(rest)))} left" if rest else ""
                runs.log.event("note", text=f"  {run}: {format_seconds(round(took[-1], 1))}{about}")
                runs.log.tick(place + 1, len(left), "runs")

    def _save(self, runs: Runs, summary: dict[str, Any]) -> None:
        folder = self.opening.folder
        place = folder.path / "model"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder.work / "model", place)
        folder.write("summary.json", summary)
        folder.clean()


def _some(task: Task) -> Task:
    return task.take(evenly(len(task), min(len(task), _WATCHED)))


def config_class(name: str) -> type[Any]:
    """The dataclass with a method's settings."""
    kinds = get_args(get_type_hints(CONTINUAL[name])["cfg"])
    found: type[Any] = next(one for one in kinds if one is not type(None))
    return found
