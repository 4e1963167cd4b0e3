"""Distillation as a job: audit the teachers, choose the temperature, train the student alone and distilled, compare."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.distill import DistillJobConfig, check_settings
from headstart.catalog.strategies import BornAgainConfig, DistillConfig
from headstart.data.names import count, some
from headstart.data.prepare import DataSet
from headstart.data.sources import Source
from headstart.data.task import UNKNOWN, Task
from headstart.data.unlabelled import copies_of, read_unlabelled
from headstart.engine import distributed, interrupt
from headstart.engine.fit import Machine
from headstart.engine.log import Listener
from headstart.engine.run import stored
from headstart.engine.run_folder import open_run
from headstart.engine.source_statistics import evenly
from headstart.errors import ConfigError
from headstart.metrics.cost import format_seconds
from headstart.nets.net import Net
from headstart.studies import distill_multitask
from headstart.studies.checks import check_kind, device_of
from headstart.studies.distill_audit import Audit, answers_of, audit, seen, together
from headstart.studies.distill_multitask_outcome import as_text as as_text_of_several
from headstart.studies.distill_outcome import KINDS, Tested, tested
from headstart.studies.distill_records import Found, as_text, model_of, summary_of, write_pictures
from headstart.studies.distill_runs import Kind, Run, Runs, Watched, mean_answers
from headstart.studies.distill_student import recipe_of, student_of
from headstart.studies.distill_teachers import Order, Teacher, find_teachers, learned_elsewhere, orders_of
from headstart.studies.distill_temperature import find_temperature
from headstart.studies.opening import Opening, fingerprint_of, opened
from headstart.studies.result import JobResult
from headstart.studies.splitting import Splits

_FOLDS = 5
"""As `headstart adapt` has by default, so that the test images are those that a teacher adapted there never saw."""
_WATCHED = 512
"""Training images on which the student is compared with its teacher while it learns, at most."""


@dataclass(frozen=True)
class DistillResult(JobResult):
    """What `headstart distill` found. Prints as text."""

    def __str__(self) -> str:
        several = self.summary["command"] == distill_multitask.COMMAND
        return as_text_of_several(self.summary) if several else as_text(self.summary)


def distill(
    config: DistillJobConfig,
    *,
    data: Any = None,
    teachers: Sequence[Any] | None = None,
    student: Any = None,
    listeners: Sequence[Listener] = (),
) -> DistillResult:
    """Train a student on what its teachers answer, and the same student alone; see `DistillJobConfig`.

    data, teachers, student  given from Python instead of by name: arrays, a Dataset; `Model`s, `Net`s
    listeners                called with every event, for showing progress

    A multi-task teacher teaches all its questions from a table of labels, or with `config.task` one of them.

    Raises InputError for what the user can mend, RunError about the folder, TrainingError, Interrupted after saving.
    """
    check_settings(config, len(config.teacher if teachers is None else teachers))
    _check_apart(config, named=data is None)
    several = distill_multitask.teaches_several(config, teachers)
    if several:
        distill_multitask.check(config, teachers, data)
    device = device_of(config.device)
    distributed.start(device)
    settings = {"command": distill_multitask.COMMAND if several else "distill", **asdict(config)}
    with open_run(config.out, settings, resume=config.resume, overwrite=config.overwrite) as folder:
        done = folder.finished(listeners)
        if done is not None:
            return DistillResult(folder.path, done)
        objects = {"data": data, "teacher": teachers, "student": student}
        given = tuple(name for name, value in objects.items() if value is not None)
        opening = Opening(folder, BackboneConfig(), config.images, _FOLDS, config.seed, tuple(listeners), chooses=False)
        if several:
            job = distill_multitask.Job(config, opening, config.data if data is None else data, device, given)
            return DistillResult(folder.path, job.run(teachers, student))
        source = opened(config.data if data is None else data, config.images)
        return _Job(config, opening, source, device, given).run(teachers, student)


def _check_apart(config: DistillJobConfig, *, named: bool) -> None:
    """Raise ConfigError when the run would write among the images, or over a network that it starts from."""
    out = config.out.resolve()
    folders = [("DATA", config.data)] if named else []
    folders += [("--unlabelled", config.unlabelled)] if config.unlabelled else []
    said = [
        f"--out {config.out} lies in the folder of the images, {flag} {place}; choose a folder outside of it"
        for flag, place in folders
        if Path(place).is_dir() and out.is_relative_to(Path(place).resolve())
    ]
    networks = [("--teacher", text.partition("@")[2].split(" ")[0] or text) for text in config.teacher]
    said += [
        f"{flag} {name} lies in the run folder, --out {config.out}, and would be replaced by the run; choose another --out"
        for flag, name in [*networks, ("--student", config.student)]
        if name and Path(name).exists() and Path(name).resolve().is_relative_to(out)
    ]
    if said:
        raise ConfigError("; ".join(said))


@dataclass
class _Job:
    """One distillation, phase by phase."""

    config: DistillJobConfig
    opening: Opening
    source: Source
    device: str
    given: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def run(self, given_teachers: Sequence[Any] | None, given_student: Any) -> DistillResult:
        began, opening = time.monotonic(), self.opening
        with opening.phase("network", "loading teachers and student"):
            found = find_teachers(self.config.teacher, given_teachers, seed=self.config.seed, task=self.config.task)
            student = student_of(self.config, self.source, given_student)
            for net in (student, *(teacher.net for teacher in found)):
                check_kind(self.source, net.input)
            if self.source.classes is not None:  # before images are read, which may take long
                orders_of(found, self.source.classes, self.config.map_classes)
        with opening.phase("data", "reading and inspecting the images"):
            data, splits = opening.read(self.source, student)
            orders = orders_of(found, data.classes, self.config.map_classes)
            self._seen_before(found, data)
            more = self._unlabelled(student, splits)
        opening.begin_with(
            data,
            images=data.fingerprint,
            student=fingerprint_of(student),
            teachers=" ".join(fingerprint_of(teacher.net) for teacher in found),
            **({} if more is None else {"unlabelled": more.fingerprint}),
        )
        audits = self._audit(found, orders, splits.train, student)
        combined = together([one.train.logits for one in audits], self.config.teacher_weights, self.config.average)
        temperature = self._temperature(combined)
        runs = self._runs(student, splits.train, audits, combined, temperature, more)
        runs.rehearse()
        self._train(runs)
        results, tests = self._test(runs, audits, splits.test)
        made = Found(
            self.config,
            data,
            splits,
            student,
            audits,
            tests,
            combined,
            temperature,
            runs,
            results,
            self.warnings,
            self.given,
        )
        summary = summary_of(made, opening.seconds)
        summary["seconds"] = round(time.monotonic() - began, 2)
        distributed.first(lambda: self._save(made, summary))
        opening.log.event("phase", name="done", text="done")
        return DistillResult(opening.folder.path, summary)

    def _seen_before(self, found: Sequence[Teacher], data: DataSet) -> None:
        """Say which teachers may have learned from what are test images here, where no test split of the user's tells."""
        if "test" in data.splits:
            return
        for teacher in found:
            if learned_elsewhere(teacher, data.inspection.where, self.config):
                self._warn(
                    f"teacher {teacher.name} learned from {data.inspection.where} with other settings of the split, so that "
                    "it may have seen test images; its own accuracy, and what the student gains by it, may be too high. "
                    "Give --seed and --test-fraction as it was trained with"
                )

    def _unlabelled(self, student: Net, splits: Splits) -> Task | None:
        """Images without labels, but for copies of test images."""
        if self.config.unlabelled is None:
            return None
        if not splits.train.store.is_image:
            raise ConfigError(
                f"--unlabelled {self.config.unlabelled}: the data are vectors, to which images cannot be added"
            )
        log = self.opening.log

        def progress(done: int, total: int) -> None:
            interrupt.check()
            log.tick(done, total, "reading images without labels")

        store, bad = distributed.first(
            lambda: read_unlabelled(
                Path(str(self.config.unlabelled)),
                size=student.input.size,
                fit=self.config.images.fit,
                cache=self.opening.folder.work / "data",
                progress=progress,
            )
        )
        copied = copies_of(store, splits.test.store, splits.test.rows)
        if bad:
            self._warn(f"{count(len(bad), 'image')} without label cannot be read: {some(one.path for one in bad)}")
        if copied.any():
            self._warn(f"{count(int(copied.sum()), 'image')} without label equal test images and are left out")
        rows = np.flatnonzero(~copied).astype(np.int64)
        train = splits.train
        return Task(train.name, store, np.full(len(store), UNKNOWN, np.int64), train.classes, rows)

    def _audit(self, found: Sequence[Teacher], orders: Sequence[Order], train: Task, student: Net) -> list[Audit]:
        """Look at every teacher before anything is trained, and say aloud what is wrong with it."""
        audits = []
        with self.opening.phase("audit", f"looking at {count(len(found), 'teacher')}"):
            for teacher, order in zip(found, orders, strict=True):
                one = audit(teacher, order, train, student, self.device)
                self.opening.log.event(
                    "teacher",
                    name=teacher.name,
                    accuracy=one.train.accuracy,
                    calibration_error=one.train.calibration_error,
                    order=order.kind,
                )
                low, high = one.train.interval.low, one.train.interval.high
                said = f"  {teacher.name}: right on {one.train.accuracy:.1%} of training images ({low:.1%} to {high:.1%})"
                self.opening.log.event("note", text=f"{said}, classes {_KINDS[order.kind]}")
                for text in one.warnings:
                    self._warn(f"teacher {teacher.name}: {text}", keep=False)
                audits.append(one)
        return audits

    def _warn(self, text: str, *, keep: bool = True) -> None:
        self.opening.log.event("warning", text=text)
        if keep:
            self.warnings.append(text)

    def _temperature(self, logits: np.ndarray[Any, Any]) -> float:
        fixed = self.config.fixed_temperature
        if fixed is not None:
            return fixed
        place = self.opening.folder.work / "temperature.safetensors"
        found = float(stored(place, lambda: find_temperature(logits, self.config.target_entropy), self.opening.log))
        text = (
            f"temperature {found:g}: the teacher's answers then have {self.config.target_entropy:.0%} of the largest entropy"
        )
        self.opening.log.event("note", text=text)
        return found

    # --- training and testing --------------------------------------------------------------------------------------------

    def _runs(
        self,
        student: Net,
        train: Task,
        audits: Sequence[Audit],
        combined: np.ndarray[Any, Any],
        temperature: float,
        more: Task | None,
    ) -> Runs:
        config = self.config
        recipe = recipe_of(config, student, len(train))
        looked = evenly(len(combined), min(_WATCHED, max(64, len(train) // 10)))
        places = evenly(len(train), len(combined))[looked]
        taught = DistillConfig(
            recipe,
            temperature=temperature,
            share=config.share,
            kind=config.kind,
            losses=config.losses,
            teacher_average=config.average,
            teacher_weights=config.teacher_weights,
            token=config.token,
            dtype=config.record_dtype,
            top_k=config.top_k,
        )
        again = BornAgainConfig(recipe, temperature, config.share, generations=max(config.born_again, 1))
        return Runs(
            student,
            train,
            taught,
            again,
            [one.live for one in audits],
            Watched(train.take(places), combined[looked]),
            Machine(device=self.device, cache=self.opening.folder.work / "cache"),
            self.opening.folder.work,
            self.opening.log,
            more,
        )

    def _train(self, runs: Runs) -> None:
        kinds = KINDS if self.config.born_again else KINDS[:2]
        every = [Run(kind, self.config.seed + n) for n in range(self.config.seeds) for kind in kinds]
        left = [run for run in every if not runs.done(run)]
        took: dict[Kind, float] = {}
        with self.opening.phase("runs", f"{count(len(every), 'training')}, {len(left)} to do"):
            for place, run in enumerate(left):
                began = time.monotonic()
                runs.carry_out(run)
                took[run.kind] = time.monotonic() - began
                rest = _rest(left[place + 1 :], took, self.config.born_again)
                about = f"; about {format_seconds(max(1, round(rest)))} left" if rest else ""
                self.opening.log.event("note", text=f"  {run}: {format_seconds(round(took[run.kind], 1))}{about}")
                self.opening.log.tick(place + 1, len(left), "trainings")

    def _test(self, runs: Runs, audits: Sequence[Audit], test: Task) -> tuple[list[Tested], list[Any]]:
        """Every network on the test images, for the first and only time."""
        with self.opening.phase("test", "looking at the test images"):
            return distributed.first(lambda: self._tested(runs, audits, test))

    def _tested(self, runs: Runs, audits: Sequence[Audit], test: Task) -> tuple[list[Tested], list[Any]]:
        asked = [answers_of(one.live, test, self.device) for one in audits]
        teacher = together(asked, self.config.teacher_weights, self.config.average)
        results = []
        for kind in KINDS if self.config.born_again else KINDS[:2]:
            for n in range(self.config.seeds):
                run = Run(kind, self.config.seed + n)
                logits = mean_answers(runs.net(run).to(self.device), test)
                results.append(tested(run, logits, teacher, test.targets))
        return results, [seen(one, test) for one in asked]

    def _save(self, made: Found, summary: dict[str, Any]) -> None:
        folder = self.opening.folder
        write_pictures(made, folder.path / "report_data")
        model_of(made, summary).save(folder.path / "model")
        folder.write("summary.json", summary)
        folder.clean()


def _rest(left: Sequence[Run], took: Mapping[Kind, float], generations: int) -> float:
    """Seconds that the trainings left should take; of a kind not seen yet as one that was, by its number of epochs."""
    seen = next(iter(took))
    lengths: dict[Kind, int] = {"alone": 1, "distilled": 1, "born_again": generations + 1}
    return sum(took.get(run.kind, took[seen] * lengths[run.kind] / lengths[seen]) for run in left)


_KINDS = {
    "same": "in the order of the data",
    "reordered": "put into the order of the data by name",
    "mapped": "mapped to those of the data",
    "assumed": "taken to be those of the data",
}
