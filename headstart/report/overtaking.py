"""Where fine-tuning overtakes freezing as the target grows, and how far the paper's network came on fewer images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.folder import interval, number, rows_of
from headstart.report.layer_charts import Contest, Row, contest_chart, contest_sample
from headstart.report.layer_figures import HALVES, at, cut_names, cut_of, first_halves
from headstart.report.svg import both
from headstart.transferability import yosinski2014

WINNERS = {
    "tuned": "fine-tuning ahead",
    "frozen": "frozen ahead",
    "open": "undecided",
}
STARTED = 0.01
"""Accuracy on 1000 classes above which a network of the paper is said to have learned anything."""


@dataclass(frozen=True)
class Overtaking:
    """Of one kind of halves: a sentence, the chart with its key, and the numbers as a table."""

    lead: str
    plot: Markup
    key: Sequence[tuple[Markup, str]]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Scratch:
    """The paper's runs on part of the images."""

    lead: str
    plot: Markup
    caption: str


def overtaking(summary: Mapping[str, Any]) -> list[Overtaking]:
    """Fine-tuned against frozen by cut and target images, for every kind of halves; nothing where it was not asked for."""
    first, every = first_halves(summary), rows_of(summary.get("overtaking"))
    there = {str(row.get("halves") or first) for row in every}
    order = sorted(there, key=lambda name: list(HALVES).index(name) if name in HALVES else len(HALVES))
    made = (_overtaking(summary, [row for row in every if str(row.get("halves") or first) == name], name) for name in order)
    return [one for one in made if one is not None]


def _overtaking(summary: Mapping[str, Any], every: Sequence[Mapping[str, Any]], halves: str) -> Overtaking | None:
    groups: dict[int, list[Contest]] = {}
    table = []
    for row in every:
        n, images, difference = cut_of(row.get("n")), number(row.get("target_images")), number(row.get("difference"))
        if n is None or images is None or images < 1 or difference is None:
            continue
        span = interval(row.get("interval"))
        groups.setdefault(n, []).append(Contest(images, difference, span))
        frozen, tuned = (words.percent(number(row.get(key))) for key in ("frozen", "fine_tuned"))
        table.append((n, images, [str(n), words.count(images), frozen, tuned, _difference(difference, span)]))
    if not groups:
        return None
    rows = _rows(summary, groups)
    seen = {one.winner for row in rows for one in row.contests}
    return Overtaking(
        lead=_lead(groups, halves),
        plot=both(lambda width: contest_chart(rows, width)),
        key=[(contest_sample(name), text) for name, text in WINNERS.items() if name in seen],
        rows=[texts for _, _, texts in sorted(table, key=lambda one: one[:2])],
    )


def _difference(difference: float, span: tuple[float, float] | None) -> str:
    return words.points(difference, sign=True) + (f" ({words.points_range(span)})" if span else "")


def _rows(summary: Mapping[str, Any], groups: Mapping[int, Sequence[Contest]]) -> list[Row]:
    names = cut_names(summary)
    weights = {cut_of(row.get("n")): number(row.get("parameters")) for row in rows_of(summary.get("cuts"))}
    rows = []
    for n in sorted(groups):
        size = weights.get(n)
        name = f"{at(n)}{f', {names[n]}' if names.get(n) else ''}"
        parts = [f"{words.compact(size)} weights"] if size is not None else []
        rows.append(Row(name, ", ".join([*parts, _from(groups[n])]), sorted(groups[n], key=lambda one: one.images)))
    return rows


def crossing(contests: Sequence[Contest]) -> float | None:
    """Fewest images from which on fine-tuning is ahead at every larger number too, or None."""
    found = None
    for one in sorted(contests, key=lambda one: one.images, reverse=True):
        if one.winner != "tuned":
            break
        found = one.images
    return found


def _from(contests: Sequence[Contest]) -> str:
    start = crossing(contests)
    if start is not None:
        return f"ahead from {words.count(start)}"
    return f"ahead only at {ahead}" if (ahead := _ahead(contests)) else "ahead nowhere for sure"


def _ahead(contests: Sequence[Contest]) -> str:
    """The numbers of images at which fine-tuning is ahead."""
    found = sorted(one.images for one in contests if one.winner == "tuned")
    return words.listed(words.count(images) for images in found)


def _lead(groups: Mapping[int, Sequence[Contest]], halves: str) -> str:
    """Cuts from where on fine-tuning stays ahead; cuts where it is ahead only here and there; the others."""
    starts = {n: start for n, found in groups.items() if (start := crossing(found)) is not None}
    passing = {n: ahead for n, found in groups.items() if n not in starts and (ahead := _ahead(found))}
    largest = max(one.images for found in groups.values() for one in found)
    upto = f"up to {words.plural(largest, 'target image')}"
    every = words.plural(len(groups), "cut")
    where = f"With {HALVES[halves].name}, f" if halves in HALVES else "F"
    if not starts and not passing:
        return f"{where}or none of {every} fine-tuning the layers taken over beats leaving them frozen {upto} for sure."
    parts = []
    if starts:
        parts.append("from " + words.listed(f"{words.count(s)} images at {at(n)}" for n, s in sorted(starts.items())))
    if passing:
        told = words.listed(f"{ahead} images at {at(n)}" for n, ahead in sorted(passing.items()))
        parts.append(f"with {told}, but not surely with more")
    text = f"{where}ine-tuning the layers taken over beats leaving them frozen {', and '.join(parts)}"
    rest = len(groups) - len(starts) - len(passing)
    return text + (f"; for the other cuts not for sure {upto}." if rest else ".")


def scratch() -> Scratch:
    """The paper's *reduced* runs, learned from scratch on part of ImageNet, and the one on all of it (*base1000*)."""
    found, whole = yosinski2014.reduced(), yosinski2014.base1000()
    points = [(math.log(one.per_class), one.accuracy) for one in found]
    first = next(one for one in found if one.accuracy > STARTED)
    ticks = [(math.log(n), words.count(n)) for n in (1, 10, 100, found[-1].per_class)]
    spoken = "The paper's accuracy by images of a class: " + "; ".join(
        f"{one.per_class} {words.percent(one.accuracy)}" for one in found
    )
    end = (math.log(found[-1].per_class), whole.accuracy)

    def draw(width: float) -> Markup:
        series = [Series(points, "bold"), *(Series([one], "") for one in points), Series([end], "dashed")]
        return line_chart(series, width, 190, spoken, x_ticks=ticks, y_range=(0.0, 0.6))

    lead = (
        f"The paper's network, learned from scratch on fewer images of each of the 1000 classes, learned next to nothing "
        f"below {first.per_class} of a class, where it got {words.percent(first.accuracy)} right; with all "
        f"{words.count(found[-1].per_class)} it got {words.percent(found[-1].accuracy)}."
    )
    caption = (
        f"Images of a class, logarithmic; {words.count(found[0].iterations)} iterations. The dot in orange: all images and "
        f"450{words.NARROW}000 iterations, {words.percent(whole.accuracy)} (the base of its random weights)."
    )
    return Scratch(lead, both(draw), caption)
