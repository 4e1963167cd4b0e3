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
from headstart.catalog.distill import ALONE, DISTILLED, DistillJobConfig
from headstart.data.names import count
from headstart.data.task import Task
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import MULTITASK
from headstart.errors import DataError
from headstart.metrics.cost import format_count
from headstart.metrics.delta import Judged, delta_m_interval
from headstart.metrics.measured import MEASURES
from headstart.metrics.multitask import difference, interval
from headstart.seeding import seed_for
from headstart.studies.distill_multitask_data import Shared
from headstart.studies.distill_multitask_runs import KINDS, Kind, Run, Runs
from headstart.studies.multitask_judged import as_difference, as_record, known, main_measure, said
from headstart.studies.multitask_runs import size_of
from headstart.studies.multitask_speed import inference_of
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
    data, answers = f.shared.data, _answers(f)
    summary = plain(
        {
            "command": "distill-multitask",
            "data": {
                "path": data.findings.where,
                "fingerprint": data.fingerprint,
                "num_images": len(data),
                "learned_from": len(f.runs.mix),
                "set_aside": [{"path": bad.path, "reason": bad.reason} for bad in data.findings.set_aside],
                "splits": {name: len(rows) for name, rows in f.shared.parts.by_name.items()},
                "held_out_by_teacher": f.shared.held_out,
            },
            **_networks(f),
            "temperature": f.runs.temperature,
            "share": f.runs.share,
            "views": f.runs.config.recipe.views,
            "epochs": f.runs.config.recipe.epochs,
            "recipe": {name: getattr(f.runs.config.recipe, name) for name in ("optimizer", "lr", "batch_size")},
            "seeds": f.seeds,
            "measures": {name: {"words": one.words, "higher": one.higher} for name, one in MEASURES.items()},
            "tasks": [_task(f, name, answers) for name in f.runs.test],
            "taught_alone": [one.name for one in f.runs.questions if one.name not in f.runs.test],
            "differences": list(_differences(f, answers)),
            "gain": _gain(f, answers),
            "runs": [_run(f, Run(kind, seed)) for seed in f.seeds for kind in KINDS],
            "curves": [_curve(f, Run(kind, seed)) for kind in KINDS for seed in f.seeds],
            "model": str(Path(f.config.out) / "model"),
            "warnings": list(f.warnings),
            "seconds_by_phase": {name: round(value, 2) for name, value in seconds.items()},
            "reproduce": again("distill", f.config, f.given),
            "version": headstart.__version__,
        }
    )
    return dict(summary)


def _first(f: Found, kind: Kind = "distilled") -> Run:
    return Run(kind, f.config.seed)


Said = Mapping[str, Mapping[str, list[NDArray[Any]]]]
"""By who says it (`teacher`, `alone`, `distilled`) and question: per seed what is said on the test images."""


def _answers(f: Found) -> Said:
    """Of images whose label is known; the teacher is the same for every seed."""
    by: dict[str, list[Mapping[str, Any]]] = {"teacher": [f.runs.taught_by()] * len(f.seeds)}
    for kind in KINDS:
        by[kind] = [{name: one.numpy() for name, one in f.runs.seen(Run(kind, s))["outputs"].items()} for s in f.seeds]
    return {who: {name: _known(task, name, each) for name, task in f.runs.test.items()} for who, each in by.items()}


def _known(task: Task, name: str, each: Sequence[Mapping[str, Any]]) -> list[NDArray[Any]]:
    return [said(task.kind, one[name], main_measure(task.kind))[task.known] for one in each]


def _labels(f: Found, name: str) -> NDArray[Any]:
    task = f.runs.test[name]
    return np.asarray(task.targets[task.known])


def _seed(f: Found, name: str) -> int:
    return seed_for(f.config.seed, "distill", name)


def _task(f: Found, name: str, answers: Said) -> dict[str, Any]:
    task = f.runs.test[name]
    measure = main_measure(task.kind)
    sides = {who: each[name][:1] if who == "teacher" else each[name] for who, each in answers.items()}
    found = {who: _measured(measure, _labels(f, name), each, _seed(f, name)) for who, each in sides.items()}
    return {
        "name": name,
        "kind": task.kind,
        "classes": list(task.classes),
        "measure": measure,
        "known": {"learned_from": known(f.runs.mix.tasks[name]), "test": known(task)},
        **found,
        "difference": _difference(f, name, answers, "distilled", "alone"),
    }


def _measured(measure: str, labels: NDArray[Any], answers: Sequence[NDArray[Any]], seed: int) -> dict[str, Any] | None:
    try:
        return as_record(interval(measure, labels, answers, seed))
    except DataError:
        return None


def _difference(f: Found, name: str, answers: Said, one: str, other: str) -> dict[str, Any] | None:
    """How much better `one` is; None where the measure is not defined on these images."""
    measure = main_measure(f.runs.test[name].kind)
    try:
        found = difference(measure, _labels(f, name), answers[one][name], answers[other][name], _seed(f, name))
    except DataError:
        return None
    return as_difference(found)


def _differences(f: Found, answers: Said) -> Iterator[dict[str, Any]]:
    """The distilled student against the student alone and against its teacher, question by question."""
    for other, called in (("alone", ALONE), ("teacher", f.teacher_name)):
        for name, task in f.runs.test.items():
            found = _difference(f, name, answers, "distilled", other)
            if found is not None:
                yield {"task": name, "a": DISTILLED, "b": called, "measure": main_measure(task.kind), **found}


def _gain(f: Found, answers: Said) -> dict[str, Any] | None:
    """Mean relative change over questions against the student alone, in percent; None where it is not defined."""
    judged = {}
    for name, task in f.runs.test.items():
        sides = (answers["distilled"][name], answers["alone"][name])
        judged[name] = Judged(main_measure(task.kind), task.rows[task.known], _labels(f, name), *sides)
    try:
        return as_record(delta_m_interval(judged, f.config.seed))
    except DataError:
        return None


def _networks(f: Found) -> dict[str, Any]:
    """Teacher and student with what they cost; each answers one sample at its own size, in turn."""
    nets = {"teacher": f.teacher.net, "student": f.runs.net(_first(f))}
    samples = {"teacher": f.shared.shown.array[:1], "student": f.shared.data.store.array[:1]}
    costs = inference_of(nets, samples)
    made = {who: {**size_of(net), "input_size": net.input.size, **costs[who]} for who, net in nets.items()}
    return {
        "teachers": [{"name": f.teacher_name, **made["teacher"]}],
        "student": {"name": f.config.student or "student", **made["student"]},
    }


def _run(f: Found, run: Run) -> dict[str, Any]:
    seconds = f.runs.seen(run)["seconds"]
    epoch = seconds / f.runs.config.recipe.epochs
    return {"kind": run.kind, "seed": run.seed, "seconds": seconds, "seconds_per_epoch": epoch}


def _curve(f: Found, run: Run) -> dict[str, Any]:
    points = f.runs.seen(run)["curves"]
    told = [{"epoch": p["epoch"], "loss": sum(p["losses"].values()), "losses": p["losses"]} for p in points]
    return {"kind": run.kind, "seed": run.seed, "points": told}


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
    (teacher,), student = summary["teachers"], summary["student"]
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
