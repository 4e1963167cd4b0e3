"""Arms against each other: between the bounds, every paired difference, and what is taken for what at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, interval_plot
from headstart.report.compared_charts import Gap, difference_map
from headstart.report.extend_read import Arm, Measured, Task
from headstart.report.extend_story import WHAT
from headstart.report.folder import number, rows_of, table_of
from headstart.report.matrix import LARGEST, heat_map, spoken_share, top_confusions
from headstart.report.svg import both

LEAST = 36.0
"""Least width in pixels of a cell with a difference in it."""

KIND = {"lower": "plain", "upper": "apart"}


@dataclass(frozen=True)
class Picture:
    """A picture with what explains it."""

    title: str
    plot: Markup


@dataclass(frozen=True)
class Between:
    """The arms on one axis per question."""

    lead: str
    plots: Sequence[Picture]
    key: str


def between(arms: Sequence[Arm], agnostic: bool, compared: bool) -> Between | None:
    """The method between its bounds (or all methods), on the new task, the old ones and all; None for one arm alone."""
    rate = "the task not known" if agnostic else "the task known"
    asked = [
        (f"All tasks: average accuracy, {rate}", [_all(arm, agnostic) for arm in arms]),
        (f"New task, {rate}", [(arm.new_agnostic or arm.new) if agnostic else arm.new for arm in arms]),
        (f"Old tasks at the end, {rate}", [(arm.agnostic_after or arm.after) if agnostic else arm.after for arm in arms]),
    ]
    plots = []
    for title, values in asked:
        found = [(arm, one) for arm, one in zip(arms, values, strict=True) if one is not None]
        if len(found) > 1:
            if compared:
                found.sort(key=lambda pair: -pair[1].mean)
            plots.append(Picture(title, both(partial(_plot, found, compared))))
    if not plots:
        return None
    bounds = {arm.role: arm.label for arm in arms if arm.bound}
    if len(bounds) == 2:
        lead = f"Nothing holds the old skill in {bounds['lower']}, and {bounds['upper']} learns everything together with "
        lead += "the old images: what a method achieves should lie between the two."
    elif bounds:
        lead = (
            f"Only the {words.listed(f'{words.human(role)} bound ({name})' for role, name in bounds.items())} ran beside it."
        )
    else:
        lead = "All methods on the same test images."
    lead += " Intervals that overlap settle nothing: the paired differences below do."
    return Between(lead, plots, f"Dots are means, lines their 95{words.NARROW}% intervals.")


def _all(arm: Arm, agnostic: bool) -> Measured | None:
    return (arm.agnostic_average or arm.average) if agnostic else arm.average


def _plot(found: Sequence[tuple[Arm, Measured]], compared: bool, width: float) -> Markup:
    rows = [
        Estimate(arm.label, one.mean, one.span, KIND.get(arm.role, "plain" if compared and place else "best"), arm.bound)
        for place, (arm, one) in enumerate(found)
    ]
    return interval_plot(rows, width, "accuracy on test images")


@dataclass(frozen=True)
class Pair:
    """One comparison in text."""

    names: str
    what: str
    difference: str
    span: str
    p: str
    detectable: str
    said: str


@dataclass(frozen=True)
class Differences:
    """Matrices where there are many arms, and every comparison in figures."""

    lead: str
    maps: Sequence[Picture]
    pairs: Sequence[Pair]
    note: str


def differences(summary: Mapping[str, Any], arms: Sequence[Arm]) -> Differences | None:
    """Every paired difference that the run wrote, or None."""
    labels = {arm.name: arm.label for arm in arms}
    rows = [row for row in rows_of(summary.get("differences")) if _whole(row)]
    if not rows:
        return None
    told = sum(bool(row.get("decided")) for row in rows)
    known = "not known" if any(row.get("known") is False for row in rows) else "known"
    lead = f"On the very same test images, the task {known}; {words.count(told)} of {words.plural(len(rows), 'comparison')} "
    lead += f"{'is' if told == 1 else 'are'} decided. What is not decided is not the same as equal."
    order = [arm.name for arm in arms]
    return Differences(lead, _maps(rows, order, labels), [_pair(row, labels) for row in rows], _note(rows))


def _whole(row: Mapping[str, Any]) -> bool:
    """Whether it says who was compared, and with what outcome."""
    return number(row.get("mean")) is not None and all(isinstance(row.get(key), str) for key in ("a", "b"))


def _note(rows: Sequence[Mapping[str, Any]]) -> str:
    note = (
        "A difference above nought is in favour of the first. Detectable: the true difference that this design would find "
    )
    note += "four times in five."
    corrected = any(row.get("corrected") for row in rows)
    return note + (" p-values allow for the number of comparisons (Holm)." if corrected else "")


def _maps(rows: Sequence[Mapping[str, Any]], order: Sequence[str], labels: Mapping[str, str]) -> list[Picture]:
    """Only where several arms were compared with each other: against one alone a list says the same."""
    found = []
    for what, title in WHAT.items():
        mine = [row for row in rows if row.get("what") == what]
        shown = [name for name in order if any(name in (row.get("a"), row.get("b")) for row in mine)]
        if len(mine) < len(shown) or len(shown) < 3:
            continue
        gaps = {
            (labels[str(row["a"])], labels[str(row["b"])]): Gap(
                labels[str(row["a"])], labels[str(row["b"])], number(row.get("mean")) or 0.0, bool(row.get("decided"))
            )
            for row in mine
            if str(row.get("a")) in labels and str(row.get("b")) in labels
        }
        found.append(Picture(f"On {title}", both(partial(_map, gaps, [labels[name] for name in shown]))))
    return found


def _map(gaps: Mapping[tuple[str, str], Gap], order: Sequence[str], width: float) -> Markup:
    """Never so narrow that a cell could not hold its figure: on a phone it scrolls."""
    return difference_map(gaps, order, max(width, 140.0 + LEAST * len(order)))


def _pair(row: Mapping[str, Any], labels: Mapping[str, str]) -> Pair:
    a, b = (labels.get(str(row.get(key)), words.human(str(row.get(key)))) for key in ("a", "b"))
    low, high = number(row.get("low")), number(row.get("high"))
    return Pair(
        f"{a} against {b}",
        WHAT.get(str(row.get("what")), str(row.get("what") or words.UNKNOWN)),
        words.points(number(row.get("mean")), sign=True),
        words.points_range(None if low is None or high is None else (low, high)),
        words.p_value(number(row.get("p_value"))),
        words.points(number(row.get("detectable"))),
        "decided" if row.get("decided") else "not decided",
    )


@dataclass(frozen=True)
class Confusions:
    """What one arm takes for what, over all classes: the matrix where it can be read, else the list alone."""

    name: str
    lead: str
    plot: Markup | None
    mistakes: Sequence[tuple[str, str, str]]


def confusions(arms: Sequence[Arm], tasks: Sequence[Task]) -> list[Confusions]:
    """Confusion over the one list of all classes, for arms that have it."""
    return [found for arm in arms if (found := _confusion(arm, tasks)) is not None]


def _confusion(arm: Arm, tasks: Sequence[Task]) -> Confusions | None:
    table = table_of(arm.raw.get("confusion"))
    labels, counts = table.get("labels"), table.get("counts")
    if not isinstance(labels, list) or not isinstance(counts, list) or not labels or len(counts) != len(labels):
        return None
    if any(not isinstance(row, list) or len(row) != len(labels) for row in counts):
        return None
    whole = [[int(number(cell) or 0) for cell in row] for row in counts]
    names = [str(name) for name in labels]
    drawn = both(partial(heat_map, whole, names)) if len(names) <= LARGEST else None
    mistakes = [(one.true, one.predicted, spoken_share(one)) for one in top_confusions(whole, names)]
    return Confusions(arm.label, _across(whole, tasks), drawn, mistakes)


def _across(counts: Sequence[Sequence[int]], tasks: Sequence[Task]) -> str:
    """How many mistakes name a class of another task: the price of not being told the task."""
    owner = [place for place, task in enumerate(tasks) for _ in task.classes]
    size = range(len(counts))
    wrong = sum(counts[i][j] for i in size for j in size if i != j)
    if len(owner) != len(counts) or not wrong:
        return ""
    other = sum(counts[i][j] for i in size for j in size if owner[i] != owner[j])
    return (
        f"Of {words.plural(wrong, 'mistake')}, {words.count(other)} ({words.percent(other / wrong, 0)}) name a class of "
        "another task; with the task known these could not happen."
    )
