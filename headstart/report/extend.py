"""The page of `headstart extend` and of a comparison of its methods: what was learned, what was kept, and what that took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from headstart.report import closing, words
from headstart.report.distill_tables import Row, texts
from headstart.report.extend_course import course
from headstart.report.extend_curves import curves
from headstart.report.extend_data import tasks_shown
from headstart.report.extend_matrix import matrices
from headstart.report.extend_needs import needs, parts_of, plain
from headstart.report.extend_paired import between, confusions, differences
from headstart.report.extend_read import Arm, Task, arms_of, tasks_of
from headstart.report.extend_story import verdict
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.tables import text_of

TEMPLATE = "extend.html"

SCENARIOS = {
    "task": "task-incremental: it is known which task an image belongs to",
    "domain": "domain-incremental: the same question about other images",
    "class": "class-incremental: one list of classes that grows, and nobody names the task",
}
"""How the tasks belong together, in words."""

DEFINED = {
    "average_accuracy": "Average accuracy",
    "forgetting": "Forgetting",
    "backward_transfer": "Backward transfer",
    "task_aware": "Task known",
    "task_agnostic": "Task not known",
}


@dataclass(frozen=True)
class Way:
    """One method in words."""

    name: str
    bound: str
    family: str
    summary: str
    limits: Sequence[str]


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None or empty."""
    summary = run.summary
    tasks, arms = tasks_of(summary), arms_of(summary)
    names, agnostic = [task.name for task in tasks], summary.get("scenario") == "class"
    earlier = len(tasks) > 1 or any(not task.new for task in tasks)
    several = run.command == "compare-continual"
    return {
        "title": _title(run, tasks),
        "subtitle": _subtitle(summary, tasks),
        "verdict": verdict(summary, arms, tasks),
        "warnings": [words.sentence(words.grouped(text)) for text in texts(summary.get("warnings"))],
        "needs": needs(arms, [] if several else texts(summary.get("requirements")), agnostic, earlier),
        "listed": any(arm.listed for arm in arms),
        "between": between(arms, agnostic, several),
        "differences": differences(summary, arms),
        "matrices": matrices(arms, names),
        "course": course(arms, names, agnostic),
        "curves": curves(run, arms, names),
        "parts": parts_of(arms),
        "confusions": confusions(arms, tasks),
        "ways": [_way(arm) for arm in arms],
        "defined": _defined(summary),
        "tasks": tasks_shown(run, tasks),
        "cost": closing.cost(_phased(run)),
        "repeat": _repeat(run),
        "history": _history(summary),
        "following": _following(summary),
        "limits": list(_limits(run, arms, tasks)),
        "notes": _notes(run),
        "gaps": run.gaps,
    }


def _title(run: RunFolder, tasks: Sequence[Task]) -> str:
    new = [task.name for task in tasks if task.new]
    if run.command == "compare-continual":
        return "Ways to learn without forgetting"
    if new:
        return f"Learning {words.listed(new)}" if len(new) < 4 else f"Learning {words.count(len(new))} tasks"
    data = run.config.get("data")
    first = data[0] if isinstance(data, list) and data else data
    return PurePath(str(first)).name if first else run.path.resolve().name


def _subtitle(summary: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    model, scenario = table_of(summary.get("model")), str(summary.get("scenario") or "")
    old, new = (sum(task.new is role for task in tasks) for role in (False, True))
    weights = number(model.get("parameters"))
    parts = [
        f"{words.plural(new, 'new task')} after {words.plural(old, 'old one')}"
        if old
        else words.plural(new, "task")
        if new
        else "",
        f"model {model['name']}{f', {words.compact(weights)} weights' if weights else ''}" if model.get("name") else "",
        SCENARIOS.get(scenario, scenario),
    ]
    return " · ".join(filter(None, parts))


def _way(arm: Arm) -> Way:
    return Way(arm.label, arm.bound, arm.family, words.sentence(arm.summary), [plain(text) for text in arm.limits])


def _defined(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = table_of(summary.get("definitions"))
    return [
        (DEFINED.get(str(name), words.human(str(name)).capitalize()), words.sentence(str(text)))
        for name, text in found.items()
        if text
    ]


def _phased(run: RunFolder) -> RunFolder:
    """The run with its phases where other commands write them."""
    phases = run.summary.get("phases")
    return replace(run, summary={**run.summary, "seconds_by_phase": phases}) if isinstance(phases, dict) else run


def _repeat(run: RunFolder) -> closing.Repeat:
    told, model = closing.repeat(run), table_of(run.summary.get("model"))
    more = [("model", model.get("name")), ("its network", model.get("backbone"))]
    for row in rows_of(run.summary.get("data")):
        more.append((f"fingerprint of {row.get('path') or 'the data'}", row.get("fingerprint")))
    settings = table_of(run.summary.get("settings"))
    facts = [(name, str(text)) for name, text in told.facts if name not in ("data", "data fingerprint")]
    facts += [(name, str(value)) for name, value in more if value]
    facts += [("settings of the method", _settings(settings))] if settings else []
    return replace(told, facts=facts)


def _settings(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Nested settings in one line: `learn.recipe.lr 0.05, temperature 2`."""
    parts = []
    for key, value in settings.items():
        if isinstance(value, dict):
            parts.append(_settings(value, f"{prefix}{key}."))
        elif value is not None and value != []:
            parts.append(f"{prefix}{key} {text_of(key, value)}")
    return ", ".join(filter(None, parts))


def _history(summary: Mapping[str, Any]) -> list[Row]:
    """Every step that made the model before this run, the oldest first."""
    return [_ancestor(row) for row in rows_of(table_of(summary.get("model")).get("ancestors")) if row.get("name")]


def _ancestor(row: Mapping[str, Any]) -> Row:
    span, task = interval(row.get("interval")), table_of(row.get("settings")).get("task")
    accuracy = words.percent(number(row.get("accuracy")))
    cells = [
        ("How", words.human(str(row.get("strategy") or words.UNKNOWN)), f"task {task}" if task else ""),
        ("Data", str(row.get("data") or words.UNKNOWN), ""),
        ("Accuracy", accuracy, words.percent_range(span) if span else ""),
    ]
    return Row(str(row["name"]), cells)


def _following(summary: Mapping[str, Any]) -> Sequence[str]:
    """The command that teaches it one task more, when a model was saved."""
    saved = summary.get("saved")
    method = summary.get("method")
    if not isinstance(saved, str) or not saved:
        return ()
    return ["headstart extend", saved, "NEXT_DATA", *([f"--method {method}"] if isinstance(method, str) else [])]


def _notes(run: RunFolder) -> list[str]:
    """What else the run wrote down; warnings that stand further up are left out."""
    said = set(texts(run.summary.get("warnings")))
    return [text for text in run.remarks if text.removeprefix("Warning: ") not in said]


def _limits(run: RunFolder, arms: Sequence[Arm], tasks: Sequence[Task]) -> Iterator[str]:
    unjudged = [task.name for task in tasks if not task.judged]
    if unjudged:
        yield (
            f"No test images of {words.listed(unjudged)} were given, so nothing here tells how much of "
            f"{'it' if len(unjudged) == 1 else 'them'} was kept. --old names data to judge by; nothing is learned from them "
            "unless a method says so."
        )
    if arms and all(arm.seeds == 1 for arm in arms):
        yield (
            "One seed only: how much the result changes from one start to the next is not in the intervals. More --seeds "
            "tell."
        )
    if len(arms) == 1 and arms[0].role == "method":
        yield (
            "No bound was run beside it: what plain fine-tuning would have forgotten, and what learning everything together "
            "would have reached, is not known. --bounds runs both under the same budget."
        )
    if any(arm.forgetting and len(arm.rows) > 2 for arm in arms):
        yield (
            "Forgetting takes each task's best earlier accuracy, which was the best partly by luck, and so looks a little "
            "larger than it is."
        )
    if arms:
        yield "The order in which tasks were learned is one of many. Another order can forget more, or less."
        yield (
            "Operations count matrix products, convolutions and attention, a multiply-add as two; what a frozen part puts "
            "out and is kept counts once."
        )
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
