"""`headstart distill` with a teacher for several questions: a small network for all of them, alone and taught."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.catalog.distill import DistillJobConfig
from headstart.catalog.sharing import SharingConfig
from headstart.data.labelled import LabelledSet
from headstart.data.labelled_sources import LabelledSource
from headstart.data.mix import Mix
from headstart.data.names import count, some
from headstart.data.task import Task, valid
from headstart.engine import distributed, interrupt
from headstart.engine.fit import Machine
from headstart.engine.model import Model, saved_card
from headstart.errors import ConfigError, DataError, problems
from headstart.nets.net import Net
from headstart.studies.checks import check_kind
from headstart.studies.distill_multitask_data import Shared, shared_of, source_of
from headstart.studies.distill_multitask_outcome import Found, model_of, summary_of
from headstart.studies.distill_multitask_runs import KINDS, Run, Runs
from headstart.studies.distill_student import recipe_of, student_of
from headstart.studies.opening import Opening, fingerprint_of
from headstart.studies.table_run import TableRun, is_table, labels_as, of_card, of_multitask_run

COMMAND = "distill-multitask"
"""What the run folder calls the job, which has other results than `distill` with one question."""
_UNUSED = ("losses", "token", "born_again", "unlabelled", "map_classes", "teacher_weights", "top_k")


def teaches_several(config: DistillJobConfig, given: Sequence[Any] | None) -> bool:
    """Whether a teacher answers several questions, and no one of them is asked for alone (`--task`)."""
    cards = [one.card for one in given if isinstance(one, Model)] if given is not None else map(saved_card, config.teacher)
    return config.task is None and any(card is not None and card.questions for card in cards)


def check(config: DistillJobConfig, given: Sequence[Any] | None, data: Any) -> None:
    """Raise ConfigError, all faults together, for settings that have no meaning with several questions."""
    usual = DistillJobConfig("")
    teachers = len(config.teacher if given is None else given)
    faults = []
    if teachers != 1:
        faults.append(f"{teachers} teachers: give one where it answers several questions, or --task for one of them")
    for name in _UNUSED:
        if getattr(config, name) != getattr(usual, name):
            faults.append(f"--{name.replace('_', '-')} is for one question; leave it out, or say which with --task")
    if config.kind != "soft":
        faults.append(f"--kind {config.kind}: what is said to several questions is learned softly; leave it out")
    if config.fixed_temperature is None:
        faults.append("--temperature auto: answers of several kinds have no entropy in common; give a number")
    if not is_table(config.data if data is None else data):
        faults.append(
            f"DATA {config.data or type(data).__name__}: the teacher answers several questions; give a table of labels "
            "(.csv), or --task for one of them"
        )
    problems(ConfigError, "this cannot be distilled so:", faults)


@dataclass
class Job:
    """One distillation of several questions, phase by phase."""

    config: DistillJobConfig
    opening: Opening
    data: Any
    device: str
    given: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def run(self, given_teachers: Sequence[Any] | None, given_student: Any) -> dict[str, Any]:
        """Carry it out; returns the summary, which is written."""
        began, opening, config = time.monotonic(), self.opening, self.config
        with opening.phase("network", "loading teacher and student"):
            model, name = self._teacher(given_teachers)
            known = of_multitask_run(Path(config.teacher[0])) if given_teachers is None else None
            run = known or of_card(model.card)
            source = source_of(self.data, config, model, run)
            student = student_of(config, source.first, given_student)
            for net in (student, model.net):
                check_kind(source.first, net.input)
        with opening.phase("data", "reading and inspecting the images"):
            shared = self._read(source, student, model, run)
            labelled = shared.data
            tasks = self._tasks(model, labelled)
        opening.begin_from(
            labelled.findings.to_json(),
            images=labelled.fingerprint,
            student=fingerprint_of(student),
            teacher=fingerprint_of(model.net),
        )
        runs = self._runs(model, student, tasks, shared)
        self._train(runs)
        with opening.phase("outcome", "looking at the test images"):
            found = Found(config, shared, model, name, runs, self.warnings, self.given)
            summary = distributed.first(lambda: summary_of(found, opening.seconds))
        summary["seconds"] = round(time.monotonic() - began, 2)
        distributed.first(lambda: self._save(found, summary))
        opening.log.event("phase", name="done", text="done")
        return summary

    def _teacher(self, given: Sequence[Any] | None) -> tuple[Model, str]:
        one = self.config.teacher[0] if given is None else given[0]
        if not isinstance(one, Model):
            return Model.load(one), str(one)
        return one, one.card.ancestors[-1].name if one.card.ancestors else "model"

    def _read(self, source: LabelledSource, student: Net, model: Model, run: TableRun) -> Shared:
        opening = self.opening

        def progress(done: int, total: int) -> None:
            interrupt.check()
            opening.log.tick(done, total, "reading images")

        cache = opening.folder.work / "data"
        found = shared_of(source, self.config, student, model, run, cache=cache, progress=progress)
        for text in found.warnings:
            self._warn(text)
        return found

    def _tasks(self, model: Model, data: LabelledSet) -> dict[str, Task]:
        """The questions that the data ask, with classes in the teacher's order."""
        found: dict[str, Task] = {}
        for one in model.card.questions:
            task = data.tasks.get(one.name)
            labels = labels_as(one, task)
            if task is None or labels is None:
                self._warn(f"{one.name}: no label is known, so that the teacher alone teaches it")
                continue
            odd = [name for name in task.classes if name not in one.classes]
            if odd:
                known = f"it knows {some(one.classes)}"
                raise DataError(f"task {one.name!r} has classes that the teacher does not answer: {some(odd)}; {known}")
            found[one.name] = Task(one.name, data.store, labels, one.classes, kind=one.kind, groups=data.groups)
        if not found:
            raise DataError(f"{data.findings.where} asks none of the teacher's questions, so that nothing can be measured")
        return found

    def _warn(self, text: str) -> None:
        self.opening.log.event("warning", text=text)
        self.warnings.append(text)

    def _runs(self, model: Model, student: Net, tasks: Mapping[str, Task], shared: Shared) -> Runs:
        config, folder, parts = self.config, self.opening.folder, shared.parts
        rows = np.sort(np.concatenate([parts.train, parts.val]))
        asked = {name: Task(name, t.store, t.labels, t.classes, rows, t.groups, t.kind) for name, t in tasks.items()}
        unknown = [name for name, task in asked.items() if not valid(task.targets).any()]
        problems(DataError, "these cannot be learned:", [f"task {name!r} has no label to learn from" for name in unknown])
        mix = Mix("tasks", asked, (rows,))
        temperature = config.fixed_temperature
        assert temperature is not None
        return Runs(
            student,
            model.net,
            model.card.questions,
            mix,
            {name: Task(name, t.store, t.labels, t.classes, parts.test, t.groups, t.kind) for name, t in tasks.items()},
            SharingConfig(recipe_of(config, student, len(rows)), scale=1.0, watch=False),
            temperature,
            config.share,
            Machine(device=self.device, cache=folder.work / "cache"),
            folder.work,
            self.opening.log,
            shared.shown,
        )

    def _train(self, runs: Runs) -> None:
        every = [Run(kind, self.config.seed + n) for n in range(self.config.seeds) for kind in KINDS]
        left = [run for run in every if not runs.done(run)]
        with self.opening.phase("runs", f"{count(len(every), 'training')}, {len(left)} to do"):
            for place, run in enumerate(left):
                runs.carry_out(run)
                runs.log.tick(place + 1, len(left), "trainings")

    def _save(self, found: Found, summary: dict[str, Any]) -> None:
        folder = self.opening.folder
        model_of(found, summary).save(folder.path / "model")
        folder.write("summary.json", summary)
        folder.clean()
