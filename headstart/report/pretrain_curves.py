"""Curves of `headstart pretrain`: the loss against guessing, and what features were worth while they were learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.svg import NARROW, padded

HEIGHT = 180.0
PROBE = "probe "

Line = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One small chart with its title and what it means."""

    title: str
    plot: Markup
    note: str = ""


@dataclass(frozen=True)
class Curves:
    """The section: a sentence, charts over the epochs, and charts over the blocks."""

    lead: str
    panels: Sequence[Panel]
    depths: Sequence[Panel]


@dataclass(frozen=True)
class Course:
    """The looks one after the other; `places` are their epochs, counted over all stages, `marks` where stages begin."""

    looks: Sequence[Mapping[str, Any]]
    places: Sequence[float]
    marks: Sequence[float]


def curves(run: RunFolder) -> Curves | None:
    """Charts of a run, from its summary, or from the log of one that did not get so far; None without a look."""
    rows = rows_of(run.summary.get("looks")) or [_logged(line) for line in run.events("epoch") if "of" in line]
    if not rows:
        return None
    found = course_of(rows)
    start = table_of(run.summary.get("start"))
    lead = "Measured while it learned, on images that it did not learn from where there are labels."
    if not run.finished:
        lead += " As far as the log of this unfinished run tells."
    if len(found.marks) > 1:
        lead += " Upright lines: a new stage begins."
    return Curves(lead, list(_panels(found, start)), list(_depths(found, start)))


def _logged(line: Mapping[str, Any]) -> dict[str, Any]:
    loss, chance = number(line.get("loss")), number(line.get("chance"))
    share = loss / chance if loss is not None and chance else None
    return {**line, "epochs": line.get("of"), "of_chance": share}


def course_of(rows: Sequence[Mapping[str, Any]]) -> Course:
    """Looks, their epochs counted on from stage to stage."""
    places, marks, offset, stage = list[float](), list[float](), 0.0, None
    for row in rows:
        if row.get("stage") != stage:
            offset, stage = (places[-1] if places else 0.0), row.get("stage")
            marks.append(offset)
        places.append(offset + (number(row.get("epoch")) or 0.0))
    return Course(rows, places, marks)


def line_of(course: Course, name: str, start: Mapping[str, Any] | None = None) -> Line:
    """A number over the epochs, from before the first where it is known."""
    first = number((start or {}).get(name))
    found = [(0.0, first)] if first is not None else []
    return found + [
        (place, value)
        for place, row in zip(course.places, course.looks, strict=True)
        if (value := number(row.get(name))) is not None
    ]


def _panels(course: Course, start: Mapping[str, Any]) -> Iterator[Panel]:
    loss = line_of(course, "of_chance")
    if loss:
        yield _panel("Loss, as a share of guessing", course, [(loss, "loss")], _share, "at 100% nothing was learned")
    elif loss := line_of(course, "loss"):
        yield _panel("Loss", course, [(loss, "loss")], words.figures, "what guessing gives is not known of this method")
    near, best = line_of(course, "knn", start), best_of(course, start)
    if near:
        note = "bold: nearest neighbours on the last block; dashed: the best block's linear probe"
        yield _panel("Accuracy on held-out images", course, [(near, "task t0"), (best, "task t1 d1")], _share, note, True)
    if rank := line_of(course, "rank", start):
        note = "in how many directions features vary; near 1 they have collapsed"
        yield _panel("Effective rank", course, [(rank, "task t2")], words.figures, note)
    if spread := line_of(course, "spread", start):
        note = "1 where features point evenly in all directions; near 0 they have collapsed"
        yield _panel("Spread", course, [(spread, "task t3")], words.figures, note)
    if alike := line_of(course, "alignment", start):
        note = "squared distance between two renderings of one image; lower: more alike"
        yield _panel("Alignment", course, [(alike, "task t0")], words.figures, note)
    if even := line_of(course, "uniformity", start):
        note = "how evenly images fill the sphere; lower: more evenly"
        yield _panel("Uniformity", course, [(even, "task t1")], words.figures, note)


def _share(value: float) -> str:
    return words.percent(value)


def best_of(course: Course, start: Mapping[str, Any]) -> Line:
    """The best probe of every look."""
    rows = [(0.0, start), *zip(course.places, course.looks, strict=True)]
    return [(place, max(found.values())) for place, row in rows if (found := probes_of(row))]


def _panel(
    title: str,
    course: Course,
    lines: Sequence[tuple[Line, str]],
    figure: Callable[[float], str],
    note: str,
    within: bool = False,
) -> Panel:
    """A chart over the epochs. `within`: values lie between 0 and 1."""
    values = [y for line, _ in lines for _, y in line]
    limits = padded(values, least=0.1) if within else _limits(values, 0.06 if figure is _share else 0.0)
    last = course.places[-1]
    places = sorted({0.0, last, *([float(round(last / 2))] if last > 4 else [])})
    ticks = [(x, f"epoch {words.count(x)}" if x == last else words.count(x)) for x in places]
    series = [Series(line, kind) for line, kind in lines if line]
    spoken = f"{title} over {words.count(last)} epochs; at the end {figure(lines[0][0][-1][1])}"
    percent = figure is _share
    plot = line_chart(
        series, NARROW, HEIGHT, spoken, x_ticks=ticks, y_range=limits, y_percent=percent, marks=course.marks[1:]
    )
    return Panel(title, plot, note)


def _limits(values: Sequence[float], least: float) -> tuple[float, float]:
    """Lowest and highest with some air, `least` apart at least: a nearly level line is to look level."""
    low, high = min(values), max(values)
    lacking = max(0.0, least - (high - low)) / 2
    low, high = low - lacking, high + lacking
    air = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    return low - air, high + air


def _depths(course: Course, start: Mapping[str, Any]) -> Iterator[Panel]:
    """Probes by block: before, and at the end of the last look that saw every block."""
    after, before = last_probes(course), probes_of(start)
    names = list(after)
    if len(names) < 2:
        return
    lines = [([(float(n), found[name]) for n, name in enumerate(names) if name in found], kind)
             for found, kind in ((before, "thin"), (after, "task t1"))]  # fmt: skip
    ticks = [(float(n), names[n]) for n in sorted({0, len(names) // 2, len(names) - 1})]
    values = [y for line, _ in lines for _, y in line]
    spoken = "Linear probe by block: " + ", ".join(f"{name} {words.percent(value)}" for name, value in after.items())
    plot = line_chart(
        [Series(line, kind) for line, kind in lines if line],
        NARROW,
        HEIGHT,
        spoken,
        x_ticks=ticks,
        y_range=padded(values, least=0.1),
    )
    note = "thin: before it learned; bold: at the end. Many methods are worth most before their last block"
    yield Panel("Linear probe, block by block", plot, note)


def last_probes(course: Course) -> dict[str, float]:
    """Of the last look that saw every block."""
    whole = max(course.looks, key=lambda row: (len(probes_of(row)), number(row.get("epoch")) or 0.0))
    last = probes_of(course.looks[-1])
    return last if len(last) == len(probes_of(whole)) else probes_of(whole)


def probes_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Block to the accuracy of a linear probe on it."""
    found = ((str(name), number(value)) for name, value in row.items() if str(name).startswith(PROBE))
    return {name.removeprefix(PROBE): value for name, value in found if value is not None}
