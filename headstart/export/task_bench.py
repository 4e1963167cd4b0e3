"""How well models that answer several questions do on the same images, question by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from headstart.data.task import valid
from headstart.engine import interrupt
from headstart.engine.multi_answers import Question
from headstart.errors import DataError
from headstart.export.parity import answers
from headstart.export.pictures import Pictures
from headstart.export.runners import Runner
from headstart.export.task_parity import chosen, measured
from headstart.metrics.measured import MEASURES
from headstart.metrics.multitask import interval
from headstart.seeding import seed_for


def judged_tasks(runners: Sequence[Runner], shown: Sequence[Pictures], seed: int) -> list[list[dict[str, Any]]]:
    """Per model an entry per question: its measure with an interval where labels are known, and the share of images on which
    the first model answers the same (None for numbers, and where it has no such question)."""
    said: list[dict[str, NDArray[Any]]] = []
    for runner, some in zip(runners, shown, strict=True):
        interrupt.check()
        found = answers(runner.answer, some.check, runner.facts.input)
        said.append({one.name: values for one, values in zip(runner.facts.tasks, found, strict=True)})
    first = {one.name: one for one in runners[0].facts.tasks}
    return [
        [
            {
                "task": one.name,
                "kind": one.kind,
                **_measured(one, mine[one.name], (some.answers or {}).get(one.name), seed),
                "agreement": _agreement(one, mine[one.name], first.get(one.name), said[0]) if place else None,
            }
            for one in runner.facts.tasks
        ]
        for place, (runner, some, mine) in enumerate(zip(runners, shown, said, strict=True))
    ]


def _measured(question: Question, values: NDArray[Any], truth: NDArray[Any] | None, seed: int) -> dict[str, Any]:
    name, value = measured(question, values, truth)
    if name is None or truth is None:
        return {"measure": None, "value": None, "interval": None}
    there = valid(truth)
    known = there.any(1) if there.ndim == 2 else there
    said = values if question.kind in ("several", "number") else chosen(question, values)
    try:
        found = interval(name, truth[known], [said[known]], seed_for(seed, "bench", question.name))
    except DataError:  # too few of one answer among these images to tell how far it could be off
        return {"measure": name, "value": value, "interval": None}
    return {"measure": name, "value": value, "interval": [found.low, found.high]}


def _agreement(
    question: Question, values: NDArray[Any], other: Question | None, first: Mapping[str, NDArray[Any]]
) -> float | None:
    if other is None or question.kind == "number" or (other.kind, other.classes) != (question.kind, question.classes):
        return None
    return float((chosen(question, values) == chosen(question, first[other.name])).mean())


def task_lines(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What every model knows, for a terminal: a line per question and model."""
    rows: list[tuple[str, ...]] = [("task", "model", "measure", "", "as first")]
    for name in dict.fromkeys(one["task"] for model in models for one in model["tasks"]):
        for model in models:
            rows += [_line(model["name"], one) for one in model["tasks"] if one["task"] == name]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _line(model: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    value = "-" if one["value"] is None else f"{one['value']:.3f}"
    spread = "" if one["interval"] is None else " ({:.3f} to {:.3f})".format(*one["interval"])
    same = "-" if one["agreement"] is None else f"{100 * one['agreement']:.1f} %"
    return one["task"], model, "-" if one["measure"] is None else MEASURES[one["measure"]].words, value + spread, same
