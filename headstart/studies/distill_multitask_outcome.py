"""What a student for several questions gained by its teacher: measures, paired differences, summary, model, words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headstart
from headstart.catalog.distill import DistillJobConfig
from headstart.data.names import count
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import MULTITASK
from headstart.errors import DataError
from headstart.metrics.cost import format_count
from headstart.metrics.delta import Judged, delta_m_interval
from headstart.metrics.measured import MEASURES
from headstart.metrics.multitask import difference, interval
from headstart.nets.net import count_parameters
from headstart.seeding import seed_for
from headstart.studies.distill_multitask_data import Shared
from headstart.studies.distill_multitask_runs import KINDS, Kind, Run, Runs
from headstart.studies.multitask_judged import as_difference, as_record, known, main_measure, said
from headstart.studies.records import again, plain


@dataclass(frozen=True)
class Found:
    """Everything that the summary tells of."""

    config: DistillJobConfig
    shared: Shared
    teacher: Model
    teacher_name: str
    runs: Runs
    warnings: Sequence[str]
    given: tuple[str, ...] = ()

    @property
    def seeds(self) -> list[int]:
        return [self.config.seed + n for n in range(self.config.seeds)]


def summary_of(f: Found, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    data = f.shared.data
    tasks = {name: task.targets[task.known] for name, task in f.runs.test.items()}
    said_by: dict[str, list[dict[str, Any]]] = {"teacher": [f.runs.taught_by()]}
    for kind in KINDS:
        said_by[kind] = [
            {name: one.numpy() for name, one in f.runs.seen(Run(kind, seed))["outputs"].items()} for seed in f.seeds
        ]
    answers = {who: {name: _said(f, name, each) for name in tasks} for who, each in said_by.items()}
    summary = plain(
        {
            "command": "distill-multitask",
            "data": {
                "path": data.findings.where,
                "fingerprint": data.fingerprint,
                "num_images": len(data),
                "splits": {name: len(rows) for name, rows in f.shared.parts.by_name.items()},
                "held_out_by_teacher": f.shared.held_out,
            },
            "teacher": {"name": f.teacher_name, "parameters": count_parameters(f.teacher.net)},
            "student": {"name": f.config.student or "student", "parameters": count_parameters(f.runs.net(_first(f)))},
            "temperature": f.runs.temperature,
            "share": f.runs.share,
            "epochs": f.runs.config.recipe.epochs,
            "seeds": f.seeds,
            "tasks": [_task(f, name, labels, answers) for name, labels in tasks.items()],
            "taught_alone": [one.name for one in f.runs.questions if one.name not in tasks],
            "gain": _gain(f, tasks, answers),
            "seconds_of": {k: float(np.mean([f.runs.seen(Run(k, s))["seconds"] for s in f.seeds])) for k in KINDS},
            "warnings": list(f.warnings),
            "phases": {name: round(value, 2) for name, value in seconds.items()},
            "reproduce": again("distill", f.config, f.given),
            "version": headstart.__version__,
        }
    )
    return dict(summary)


def _first(f: Found, kind: Kind = "distilled") -> Run:
    return Run(kind, f.config.seed)


def _said(f: Found, name: str, each: Sequence[Mapping[str, Any]]) -> list[NDArray[Any]]:
    """Per seed what is answered to a question on the test images whose label is known."""
    task = f.runs.test[name]
    return [said(task.kind, one[name], main_measure(task.kind))[task.known] for one in each]


def _task(f: Found, name: str, labels: NDArray[Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    task = f.runs.test[name]
    measure, seed = main_measure(task.kind), seed_for(f.config.seed, "distill", name)
    found: dict[str, Any] = {who: _measured(measure, labels, by[name], seed) for who, by in answers.items()}
    try:
        gap: Any = as_difference(difference(measure, labels, answers["distilled"][name], answers["alone"][name], seed))
    except DataError:  # the measure is not defined on these images
        gap = None
    return {
        "name": name,
        "kind": task.kind,
        "measure": measure,
        "known": {"learned_from": known(f.runs.mix.tasks[name]), "test": known(task)},
        **found,
        "difference": gap,
    }


def _measured(measure: str, labels: NDArray[Any], answers: Sequence[NDArray[Any]], seed: int) -> dict[str, Any] | None:
    try:
        return as_record(interval(measure, labels, answers, seed))
    except DataError:
        return None


def _gain(f: Found, tasks: Mapping[str, NDArray[Any]], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Mean relative change over questions against the student alone, in percent; None where it is not defined."""
    judged = {}
    for name, labels in tasks.items():
        task = f.runs.test[name]
        sides = (answers["distilled"][name], answers["alone"][name])
        judged[name] = Judged(main_measure(task.kind), task.rows[task.known], labels, *sides)
    try:
        return as_record(delta_m_interval(judged, f.config.seed))
    except DataError:
        return None


def model_of(f: Found, summary: Mapping[str, Any]) -> Model:
    """The taught student of the first seed; it answers all that its teacher does."""
    this = Ancestor(
        Path(f.config.out).name,
        "distilled",
        str(summary["data"]["path"]),
        f.shared.data.fingerprint,
        {"student": summary["student"]["name"], "teachers": [f.teacher_name], "command": summary["reproduce"]},
    )
    tasks = tuple(
        {"name": one.name, "head": one.name, "classes": list(one.classes), "kind": one.kind} for one in f.runs.questions
    )
    first = next((one for one in f.runs.questions if one.head == f.teacher.card.head), f.runs.questions[0])
    card = Card(
        first.name,
        first.classes,
        f.config.images.fit,
        (*f.teacher.card.ancestors, this),
        headstart.__version__,
        scenario=MULTITASK,
        tasks=tasks,
    )
    return Model(f.runs.net(_first(f)), card)


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    teacher, student = summary["teacher"], summary["student"]
    lines = [
        f"{summary['data']['num_images']} images; {student['name']} ({format_count(student['parameters'])}) learns "
        f"{count(len(summary['tasks']), 'question')} from {teacher['name']} ({format_count(teacher['parameters'])})",
        f"T = {summary['temperature']:g}, lambda = {summary['share']:g}, {count(summary['epochs'], 'epoch')}, "
        f"{count(len(summary['seeds']), 'seed')}",
        "",
        f"{'question':<16} {'measure':<20} {'teacher':>8} {'alone':>8} {'taught':>8}  gain",
    ]
    for one in summary["tasks"]:
        cells = " ".join(_number(one[who]) for who in ("teacher", "alone", "distilled"))
        lines.append(f"{one['name']:<16} {MEASURES[one['measure']].words:<20} {cells}  {_gap(one['difference'])}")
    lines.append("")
    for text in _sentences(summary):
        lines += textwrap.wrap(text, 110, subsequent_indent="  ")
    for text in summary["warnings"]:
        lines += textwrap.wrap(f"warning: {text}", 110, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


def _sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    gain = summary["gain"]
    if gain is not None:
        verdict = "it pays" if gain["low"] > 0 else "it costs" if gain["high"] < 0 else "undecided"
        yield (
            f"Taught against alone: {gain['mean']:+.1f} % on average over questions ({gain['low']:+.1f} to "
            f"{gain['high']:+.1f}); {verdict}."
        )
    if summary["taught_alone"]:
        yield f"By the teacher alone, without any label: {', '.join(summary['taught_alone'])}."


def _number(one: Mapping[str, Any] | None) -> str:
    return f"{'-':>8}" if one is None else f"{one['mean']:>8.3f}"


def _gap(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    verdict = "" if one["decided"] else ", undecided"
    return f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f}{verdict})"
