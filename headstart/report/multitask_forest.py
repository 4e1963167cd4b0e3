"""Forest plots: differences with their intervals around nought, one panel per unit, what is undecided marked as such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL
from headstart.report.multitask_read import Gap, Measure
from headstart.report.svg import TEXT, Scale, both, drawing, fit, label, line, path, tag, text_width

REACH = 3.0
"""How many times the spread of the dots an axis may show; intervals that reach further are cut off with an arrow."""


@dataclass(frozen=True)
class Line:
    """One row: a difference that is better when it is positive, its interval, and what would probably be found.

    kind  `better`, `worse` or `undecided`: colour and shape, and the words beside the figure
    """

    name: str
    note: str
    mean: float
    span: tuple[float, float] | None
    kind: str
    detectable: float | None = None


@dataclass(frozen=True)
class Forest:
    """One panel with its title."""

    title: str
    plot: Markup


def forests(gaps: Sequence[Gap], named: Callable[[Gap], tuple[str, str]]) -> list[Forest]:
    """A panel for all shares together, and one for each other measure; `named` gives a row's name and note."""
    found = []
    for title, measure, mine in _grouped(gaps):
        lines = [Line(*named(gap), gap.mean, gap.span, gap.said, _missed(gap)) for gap in mine]
        draw = partial(forest, lines, axis_of(measure), _figure(measure), 100.0 if measure.share else 1.0)
        found.append(Forest(title, both(draw)))
    return found


def _grouped(gaps: Sequence[Gap]) -> Iterator[tuple[str, Measure, list[Gap]]]:
    """Shares have one axis whatever they measure; of the other measures every task has its own, in its own unit."""
    shares = [gap for gap in gaps if gap.measure.share]
    if shares:
        names = dict.fromkeys(gap.measure.text for gap in shares)
        yield f"{words.listed(names).capitalize()}, in points", shares[0].measure, shares
    for task in dict.fromkeys(gap.task for gap in gaps if not gap.measure.share):
        mine = [gap for gap in gaps if gap.task == task and not gap.measure.share]
        text = mine[0].measure.text
        yield f"{text[:1].upper()}{text[1:]} of {task}, in its own unit", mine[0].measure, mine


def _missed(gap: Gap) -> float | None:
    """How far the band reaches: shares differ by one at most."""
    return gap.detectable if gap.detectable is None or not gap.measure.share else min(gap.detectable, 1.0)


def axis_of(measure: Measure) -> tuple[str, str]:
    """What left and right mean."""
    return ("worse", "better") if measure.higher else ("more error", "less error")


def _figure(measure: Measure) -> Callable[[float], str]:
    return lambda value: measure.gap(value, unit=False)


def _tick(value: float, factor: float) -> str:
    """A place on the axis, without the zeros that figures beside dots have."""
    return ("+" if value > 0 else "") + words.figures(round(factor * value, 9))


def percent_changes(lines: Sequence[Line]) -> Markup:
    """The same picture of changes in percent (3.2 for 3.2 %)."""
    return both(partial(forest, lines, ("worse", "better"), signed, 1.0))


def signed(percent: float) -> str:
    """3.21 -> +3.2; figures of a change in percent."""
    return words.points(percent / 100, sign=True).partition(" ")[0]


def forest(
    lines: Sequence[Line], axis: tuple[str, str], figure: Callable[[float], str], factor: float, width: float
) -> Markup:
    """One row per difference: a dot (hollow where undecided), its interval, a pale band of what would be missed anyway.

    axis    what left and right mean
    figure  the text of a difference; `factor` times it stands on the axis
    """
    narrow = width < 500
    widest = max(max(text_width(row.name, TEXT + 0.5), text_width(row.note, SMALL + 0.5)) for row in lines)
    gutter = 0.0 if narrow else min(0.34 * width, 14 + widest)
    room = 78.0 if not narrow else 70.0
    low, high = _limits(lines)
    scale = Scale(low, high, gutter + 8, width - room)
    step, top = (60.0 if narrow else 44.0), 6.0
    bottom = top + step * len(lines)
    parts = []
    for tick in scale.ticks(4 if narrow else 6):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(label(scale(tick), bottom + 17, _tick(tick, factor), class_="tick", anchor="middle"))
    parts.append(line(scale(0), top, scale(0), bottom, "nought"))
    parts += [_row(row, scale, top + step * place, step, gutter, narrow, figure) for place, row in enumerate(lines)]
    parts.append(label(scale.start, bottom + 36, f"← {axis[0]}", class_="muted", size=SMALL))
    parts.append(label(scale.end, bottom + 36, f"{axis[1]} →", class_="muted", anchor="end", size=SMALL))
    spoken = "; ".join(f"{row.name} {figure(row.mean)}{_between(row, figure)}, {row.kind}" for row in lines)
    return drawing(
        width, bottom + 44, f"Forest plot, left {axis[0]}, right {axis[1]}: {spoken}", *parts, class_="chart forest"
    )


def _between(row: Line, figure: Callable[[float], str]) -> str:
    return f", interval {figure(row.span[0])} to {figure(row.span[1])}" if row.span else ""


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """All dots and nought, and intervals and bands as far as they do not squeeze these together."""
    means = [0.0, *(row.mean for row in lines)]
    ends = [end for row in lines for end in (row.span or (row.mean,))]
    ends += [end for row in lines if row.detectable for end in (-row.detectable, row.detectable)]
    core = max(means) - min(means)
    wide = max(core, sorted(abs(end) for end in ends)[(len(ends) - 1) // 2]) or 1.0
    low = max(min(*means, *ends), min(means) - REACH * wide)
    high = min(max(*means, *ends), max(means) + REACH * wide)
    air = 0.05 * (high - low) or 0.5
    return low - air, high + air


def _row(
    row: Line, scale: Scale, top: float, step: float, gutter: float, narrow: bool, figure: Callable[[float], str]
) -> Markup:
    y = top + (step - 17 if narrow else step / 2)
    room = scale.end + 68 if narrow else gutter - 6
    at = top + 20 if narrow else y + (4.5 if not row.note else -2)
    parts = [label(0, at, fit(row.name, room, TEXT), class_="name")]
    if row.note:
        beside = min(room * 0.6, text_width(row.name)) + 12 if narrow else 0.0
        parts[0] = label(0, at, fit(row.name, room * 0.6 if narrow else room, TEXT), class_="name")
        note = fit(row.note, max(room - beside, 20), SMALL)
        parts.append(label(beside, at if narrow else at + 15, note, class_="note", size=SMALL))
    if row.detectable:
        left, right = (min(max(end, scale.low), scale.high) for end in (-row.detectable, row.detectable))
        x, wide = scale(left), scale(right) - scale(left)
        parts.append(tag("rect", x=x, y=y - 9, width=wide, height=18, rx=3, class_="unseen"))
    parts += _interval(row, scale, y)
    if scale.low <= row.mean <= scale.high:
        parts.append(tag("circle", cx=scale(row.mean), cy=y, r=5.5, class_=f"dot {row.kind}"))
    parts.append(
        label(scale.end + 76 if not narrow else scale.end + 68, y + 1, figure(row.mean), class_="value", anchor="end")
    )
    parts.append(
        label(scale.end + 76 if not narrow else scale.end + 68, y + 15, row.kind, class_="note", anchor="end", size=11)
    )
    return tag("g", *parts)


def _interval(row: Line, scale: Scale, y: float) -> list[Markup]:
    """The whisker, with an arrow at the edge beyond which it goes on."""
    if row.span is None:
        return []
    low, high = (min(max(end, scale.low), scale.high) for end in row.span)
    parts = [line(scale(low), y, scale(high), y, f"whisker {row.kind}")]
    if row.span[0] < scale.low:
        parts.append(path([(scale.start + 7, y - 5), (scale.start, y), (scale.start + 7, y + 5)], "arrow"))
    if row.span[1] > scale.high:
        parts.append(path([(scale.end - 7, y - 5), (scale.end, y), (scale.end - 7, y + 5)], "arrow"))
    return parts
