"""Tasks side by side: every arm on every task, the differences against a network of its own and against the plain sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.extend_read import Measured
from headstart.report.multitask_forest import Forest, Line, forests, percent_changes, signed
from headstart.report.multitask_read import EACH, Arm, Found, Gap, Measure, Task

MISSED = (
    "A dot is the difference, its line the 95\u202f% interval; right of nought is better, also where less of a measure is. "
    "Filled: decided; hollow: undecided, which is not the same as equal. The pale band: true differences so small that this "
    "many images would probably have missed them."
)


@dataclass(frozen=True)
class Cell:
    """One figure with its interval, and what was decided about it against the task's own network."""

    figure: str
    span: str = ""
    said: str = ""


@dataclass(frozen=True)
class Table:
    """Heads are (name, what is measured, direction); rows (name, tag, tone, cells)."""

    heads: Sequence[tuple[str, str, str]]
    rows: Sequence[tuple[str, str, str, Sequence[Cell]]]


@dataclass(frozen=True)
class Figures:
    """One task with all its measures: heads are (measure, direction), rows (arm, cells)."""

    title: str
    heads: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class Pair:
    """One comparison in text."""

    names: str
    task: str
    measure: str
    difference: str
    span: str
    p: str
    detectable: str
    said: str


@dataclass(frozen=True)
class Against:
    """Forests of one arm against something."""

    name: str
    tag: str
    forests: Sequence[Forest]


@dataclass(frozen=True)
class Side:
    """The section of tasks side by side.

    alone  forests against the tasks' own networks, of the saved arm first; `plain` those against the plain sum
    """

    lead: str
    table: Table
    others: Sequence[Figures]
    delta: Markup | None
    alone: Sequence[Against]
    plain: Sequence[Against]
    pairs: Sequence[Pair]
    key: str


def side_by_side(found: Found) -> Side | None:
    """None when no arm for several tasks was judged."""
    if not found.together or not found.tasks:
        return None
    return Side(
        lead=_lead(found),
        table=_table(found),
        others=[_figures(found, task) for task in found.tasks if len(_measures(found, task)) > 1],
        delta=_deltas(found),
        alone=_against(found, plain=False),
        plain=_against(found, plain=True),
        pairs=[pair_of(gap) for gap in found.gaps],
        key=MISSED,
    )


def _lead(found: Found) -> str:
    text = "Each column is a task in its own measure, on test images that took no part in training or choosing; below each "
    text += f"figure its 95{words.NARROW}% interval"
    text += f", over images and {words.plural(found.seeds, 'seed')}." if found.seeds > 1 else ", over images."
    worse = [task.measure.text for task in found.tasks if task.measure.known and not task.measure.higher]
    text += f" Of {words.listed(dict.fromkeys(worse))} less is better." if worse else ""
    return text


def _table(found: Found) -> Table:
    heads = [
        (f"{task.name} (main)" if task.main else task.name, task.measure.text, task.measure.way) for task in found.tasks
    ]
    deltas = any(arm.delta for arm in found.together)
    heads += [("All tasks", "mean relative change", "more is better")] if deltas else []
    rows = []
    for arm in found.together:
        said = {gap.task: gap.said for gap in found.against(arm.name, plain=False)}
        cells = [_cell(arm.on(task), task.measure, said.get(task.name, "")) for task in found.tasks]
        cells += [_delta(arm.delta)] if deltas else []
        rows.append((arm.name, *tag_of(found, arm), cells))
    if found.alone:
        each = [_cell(own.on(task) if (own := found.alone.get(task.name)) else None, task.measure) for task in found.tasks]
        rows.append((EACH, "compared with", "", [*each, *([Cell("0", "by definition")] if deltas else [])]))
    return Table(heads, rows)


def tag_of(found: Found, arm: Arm) -> tuple[str, str]:
    """What stands beside an arm's name, and the class of that tag."""
    if arm.name == found.chosen:
        return "saved", "chosen"
    return ("baseline", "") if arm.name == found.baseline else ("", "")


def _cell(one: Measured | None, measure: Measure, said: str = "") -> Cell:
    if one is None:
        return Cell(words.UNKNOWN, "not defined here")
    told = {"better": "better than its own", "worse": "worse than its own", "undecided": "undecided"}
    return Cell(measure.value(one.mean), measure.between(one.span), told.get(said, ""))


def _delta(one: Measured | None) -> Cell:
    if one is None:
        return Cell(words.UNKNOWN)
    span = f"{signed(one.span[0])} to {signed(one.span[1])}" if one.span else ""
    said = ("better" if one.mean > 0 else "worse") if one.decided else "undecided"
    return Cell(f"{signed(one.mean)}{words.NARROW}%", span, said)


def _measures(found: Found, task: Task) -> list[Measure]:
    """All measures of a task that any arm has, the one it is compared by first."""
    names = dict.fromkeys(name for arm in found.arms for name in arm.measures.get(task.name, {}))
    known = [found.measures.get(name) or Measure(name, words.human(name), known=False) for name in names]
    return sorted(known, key=lambda one: one.name != task.measure.name)


def _figures(found: Found, task: Task) -> Figures:
    measures = _measures(found, task)
    arms = [*found.together, *([found.alone[task.name]] if task.name in found.alone else [])]
    rows = [(arm.name, [_cell(arm.measures.get(task.name, {}).get(one.name), one) for one in measures]) for arm in arms]
    return Figures(task.name, [(one.text, one.way) for one in measures], rows)


def _deltas(found: Found) -> Markup | None:
    """All arms by their mean relative change; one alone is told in the verdict."""
    lines = []
    for arm in found.together:
        one = arm.delta
        if one is not None:
            kind = ("better" if one.mean > 0 else "worse") if one.decided else "undecided"
            lines.append(Line(arm.name, tag_of(found, arm)[0], one.mean, one.span, kind))
    return percent_changes(lines) if len(lines) > 1 else None


def _against(found: Found, *, plain: bool) -> list[Against]:
    measures = {task.name: task.measure.text for task in found.tasks}
    shown = []
    for arm in found.together:
        gaps = found.against(arm.name, plain=plain)
        if gaps:
            panels = forests(gaps, lambda gap: (gap.task, measures.get(gap.task, "")))
            shown.append(Against(arm.name, tag_of(found, arm)[0], panels))
    return shown


def _detectable(gap: Gap) -> str:
    if not gap.measure.share:
        return words.figures(gap.detectable)
    return words.points(gap.detectable) if gap.detectable is None or gap.detectable <= 1 else "none"


def pair_of(gap: Gap) -> Pair:
    """A difference as a row of a table."""
    return Pair(
        f"{gap.a} against {gap.b}",
        gap.task,
        gap.measure.text,
        gap.measure.gap(gap.mean),
        gap.measure.gaps(gap.span) or words.UNKNOWN,
        words.p_value(gap.p),
        _detectable(gap),
        gap.said,
    )
