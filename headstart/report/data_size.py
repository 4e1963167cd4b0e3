"""The page of `headstart study data-size`: where curves cross first, then the curves, where they lead, and their cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from markupsafe import Markup

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.growing import Curve, Spot, growing_chart, swatch
from headstart.report.pictures import read_pictures
from headstart.report.svg import both
from headstart.report.verdict import Fact, Verdict

Cell: TypeAlias = Callable[[Mapping[str, Any]], tuple[str, str]]
TEMPLATE = "data_size.html"
SURE = 0.95
STYLES = {
    "pipeline": ("hand", "square"),
    "pipeline_intermediate": ("steps", "diamond"),
    "scratch": ("scratch", "triangle"),
    "probe": ("frozen", "diamond"),
    "lpft": ("tuned", "circle"),
    "full": ("tuned", "square"),
}
"""Class and mark of each way; others are grey."""
FIRST = (("pipeline", "scratch"), ("scratch", "lpft"), ("pipeline", "lpft"), ("probe", "lpft"))
"""Pairs in the order in which they answer the question of the study."""
SHOWN = 3
"""Sentences below the verdict's; the others stand in the section of crossings."""


@dataclass(frozen=True)
class Chart:
    """A chart with its key: `(mark, name, what it is)`."""

    lead: str
    picture: Markup
    key: Sequence[tuple[Markup, str, str]]
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text below heads; the first cell names its row. A cell is a text and a smaller one below it."""

    heads: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True)
class Crossings:
    """Sentences on pairs of ways: of those that stand for their families, of all others; what is true of several of them."""

    chief: Sequence[str]
    others: Sequence[str]
    note: str


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    summary = run.summary
    return {
        "title": title(run),
        "subtitle": subtitle(run),
        "verdict": verdict(summary),
        "crossings": crossings(summary),
        "curves": curves(summary),
        "accuracies": accuracies(summary),
        "ahead": ahead(summary),
        "price": price(summary),
        "prices": prices(summary),
        "middle": middle(summary),
        "missing": missing(summary),
        "found": found.found(run, read_pictures(run.path / "report_data")),
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "notes": run.remarks,
        "gaps": run.gaps,
    }


def labels_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a person calls each way, by its name, in the order of the run."""
    return {str(way.get("name")): str(way.get("label") or way.get("name")) for way in rows_of(summary.get("ways"))}


def _chief(summary: Mapping[str, Any]) -> list[str]:
    """Ways that are drawn: the headlines, or all where there is none."""
    every = rows_of(summary.get("ways"))
    return [str(way.get("name")) for way in every if way.get("headline")] or [str(way.get("name")) for way in every]


def _decided(row: Mapping[str, Any]) -> bool:
    """Whether what is said of a pair is more than a guess."""
    if number(row.get("images")) is None:
        return (number(row.get("sure")) or 0.0) >= SURE
    ends = row.get("interval")
    return isinstance(ends, list) and any(number(end) is not None for end in ends)


def _rank(row: Mapping[str, Any]) -> tuple[int, bool]:
    pair = (row.get("a"), row.get("b"))
    return (FIRST.index(pair) if pair in FIRST else len(FIRST), number(row.get("images")) is None)


def _told(row: Mapping[str, Any]) -> str:
    return words.grouped(str(row.get("sentence") or ""))


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """The crossing that answers the question, and how sure it is."""
    rows = sorted((row for row in rows_of(summary.get("crossings")) if row.get("sentence")), key=_rank)
    chief = [row for row in rows if row.get("headline")] or rows
    if not rows_of(summary.get("curves")):
        return Verdict("unfinished", "Not finished", "This study has not ended, so there are no curves yet.", (), ())
    facts = _facts(summary)
    if not chief:
        text = "Only one way was measured at two sizes, so there is nothing that could cross."
        return Verdict("undecided", "Nothing to compare", text, (), facts)
    sure = _decided(chief[0]) and not _alone(chief[0])  # one draw cannot decide for others
    crossed = number(chief[0].get("images")) is not None
    kicker = "Where the curves cross" if crossed else "No crossing among the sizes measured"
    kicker = kicker if sure else "Whether and where the curves cross is not decided"
    after = tuple(_short(row) for row in chief[1 : 1 + SHOWN])
    return Verdict("decided" if sure else "undecided", kicker, _told(chief[0]), after, facts)


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    labels, rows = labels_of(summary), [row for row in rows_of(summary.get("curves")) if number(row.get("images"))]
    sizes = sorted({number(row.get("images")) or 0.0 for row in rows})
    facts = []
    for size in dict.fromkeys((sizes[0], sizes[-1]) if sizes else ()):
        here = [row for row in rows if number(row.get("images")) == size and number(row.get("accuracy")) is not None]
        if here:
            best = max(here, key=lambda row: number(row.get("accuracy")) or 0.0)
            name = labels.get(str(best.get("way")), str(best.get("way")))
            facts.append(
                Fact(words.percent(number(best.get("accuracy"))), f"most right with {words.count(size)} images", name)
            )
    tested = number(table_of(table_of(summary.get("data")).get("splits")).get("test"))
    if tested is not None:
        facts.append(Fact(words.count(tested), "test images", "the same for all"))
    if number(summary.get("draws")) is not None:
        facts.append(Fact(words.count(number(summary.get("draws"))), "draws of every part", ""))
    return tuple(facts)


def crossings(summary: Mapping[str, Any]) -> Crossings | None:
    """All sentences, or None when no two ways were measured at two sizes."""
    rows = sorted((row for row in rows_of(summary.get("crossings")) if row.get("sentence")), key=_rank)
    if not rows:
        return None
    few = [row for row in rows if _alone(row)]
    which = "All of these" if len(few) == len(rows) > 1 else f"{words.count(len(few))} of these"
    note = (
        f"{which} rest{'s' if len(few) == 1 else ''} on one draw at some sizes: others could move it by more than is said."
    )
    chief, others = ([_short(row) for row in rows if bool(row.get("headline")) == wanted] for wanted in (True, False))
    return Crossings(chief, others, note if few else "")


def _alone(row: Mapping[str, Any]) -> bool:
    """Whether other draws had no say at some sizes."""
    return number(row.get("draws")) == 1


def _short(row: Mapping[str, Any]) -> str:
    """Its sentence without the warning that a section gives once for all."""
    return re.sub(r" At some sizes this rests on one draw:[^.]*\.$", "", _told(row)) if _alone(row) else _told(row)


def _spots(summary: Mapping[str, Any], way: str, across: str) -> list[Spot]:
    """Measured points of a way in order of images, then extrapolated ones when `across` is images."""
    made = []
    for kind, led in (("curves", False), ("extrapolation", True)):
        for row in sorted(rows_of(summary.get(kind)), key=lambda row: number(row.get("images")) or 0.0):
            x, accuracy = number(row.get(across)), number(row.get("accuracy"))
            if str(row.get("way")) == way and x is not None and x > 0 and accuracy is not None:
                made.append(Spot(x, accuracy, interval(row.get("interval")) if across == "images" else None, led))
    return made


def _drawn(summary: Mapping[str, Any], across: str) -> list[Curve]:
    labels = labels_of(summary)
    return [
        Curve(labels[name], *STYLES.get(name, ("other", "circle")), spots)
        for name in _chief(summary)
        if (spots := _spots(summary, name, across))
    ]


def _key(summary: Mapping[str, Any], drawn: Sequence[Curve]) -> list[tuple[Markup, str, str]]:
    what = {
        str(way.get("label") or way.get("name")): str(way.get("description") or "") for way in rows_of(summary.get("ways"))
    }
    return [(swatch(curve), curve.name, what.get(curve.name, "")) for curve in drawn]


def curves(summary: Mapping[str, Any]) -> Chart | None:
    """Accuracy against images, or None when there is none."""
    drawn = _drawn(summary, "images")
    if not drawn:
        return None
    ticks = sorted({spot.x for curve in drawn for spot in curve.spots})
    meets = [meet for row in rows_of(summary.get("crossings")) if (meet := _meet(summary, row)) is not None]
    picture = both(lambda width: growing_chart(drawn, width, "images learned from", words.count, ticks, meets))
    led = any(spot.led for curve in drawn for spot in curve.spots)
    caption = "Marks: mean over draws; lines: 95 % intervals over draws and test images."
    caption += " Hollow and dashed: extrapolated by a power law of the error, fitted to all marks." if led else ""
    caption += " Rings: crossings." if meets else ""
    lead = "All ways learned from the same parts, each holding the one before, and answered the same test images at the end."
    return Chart(lead, picture, _key(summary, drawn), words.grouped(caption))


def _meet(summary: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where on the chart a crossing of two drawn ways lies, between the measured points around it."""
    images = number(row.get("images"))
    if images is None or not row.get("headline") or not _decided(row):
        return None
    spots = [spot for spot in _spots(summary, str(row.get("a")), "images") if not spot.led]
    for before, after in pairwise(spots):
        if before.x <= images <= after.x:
            share = math.log(images / before.x) / math.log(after.x / before.x)
            return images, before.accuracy + share * (after.accuracy - before.accuracy)
    return None


def _table(summary: Mapping[str, Any], kind: str, cell: Cell, *, described: bool = False) -> Table | None:
    """Ways by images; `cell` makes two texts of a row of `kind`."""
    rows = {(str(row.get("way")), number(row.get("images"))): row for row in rows_of(summary.get(kind))}
    sizes = sorted({size for _, size in rows if size is not None})
    told = {str(way.get("name")): str(way.get("description") or "") for way in rows_of(summary.get("ways"))}
    made = [
        (
            label,
            told[name] if described else "",
            [cell(rows[name, size]) if (name, size) in rows else (words.UNKNOWN, "") for size in sizes],
        )
        for name, label in labels_of(summary).items()
        if any((name, size) in rows for size in sizes)
    ]
    return Table(["Way", *(f"{words.count(size)} images" for size in sizes)], made) if made else None


def _accuracy(row: Mapping[str, Any]) -> tuple[str, str]:
    span = interval(row.get("interval"))
    return words.percent(number(row.get("accuracy"))), words.percent_range(span) if span else ""


def accuracies(summary: Mapping[str, Any]) -> Table | None:
    """Every way at every size."""
    return _table(summary, "curves", _accuracy, described=True)


def ahead(summary: Mapping[str, Any]) -> Table | None:
    """Where every curve leads."""
    return _table(summary, "extrapolation", _accuracy)


def price(summary: Mapping[str, Any]) -> Chart | None:
    """Accuracy against seconds of learning, or None when they were not written."""
    drawn = _drawn(summary, "seconds")
    if not drawn:
        return None
    seconds = [spot.x for curve in drawn for spot in curve.spots]
    powers = range(math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds))) + 1)
    ticks = [t for p in powers for t in (10.0**p, 3 * 10.0**p) if min(seconds) <= t <= max(seconds)]
    picture = both(lambda width: growing_chart(drawn, width, "seconds of learning", words.duration, ticks))
    lead = "The same marks against the time that learning took, features included; from left to right the images grow."
    caption = "A pipeline costs the learning of every classical model among which it chooses."
    return Chart(lead, picture, _key(summary, drawn), caption)


def _priced(row: Mapping[str, Any]) -> tuple[str, str]:
    each, kept = number(row.get("seconds_inference_per_image")), number(row.get("parameters"))
    below = [
        words.duration(each) + " an image" if each is not None else "",
        f"{words.compact(kept)} numbers" if kept else "",
    ]
    return words.duration(number(row.get("seconds"))), ", ".join(filter(None, below))


def prices(summary: Mapping[str, Any]) -> Table | None:
    """Cost of every point: learning, and below it answering and what is kept for it."""
    return _table(summary, "curves", _priced)


def middle(summary: Mapping[str, Any]) -> str | None:
    """How often the intermediate label was right, in a sentence."""
    about = table_of(summary.get("intermediate"))
    rows = [row for row in rows_of(about.get("curve")) if number(row.get("accuracy")) is not None]
    if not rows:
        return None
    told = words.listed(
        f"{words.percent(number(row.get('accuracy')))} with {words.count(number(row.get('images')))}" for row in rows
    )
    return f"The pipeline in two steps got “{about.get('column')}” right, before it said the class: {told} images."


def missing(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Runs that there are not, and why; alike reasons of a way together."""
    labels, grouped = labels_of(summary), dict[tuple[str, str], list[str]]()
    for row in rows_of(summary.get("failed")):
        way = str(row.get("way") or row.get("run"))
        run = str(row.get("run") or "").removeprefix(f"{way} on ")
        grouped.setdefault((labels.get(way, way), str(row.get("reason") or "")), []).append(run)
    return [(f"{name}: {'; '.join(runs)}", reason) for (name, reason), runs in grouped.items()]


def _limits(run: RunFolder) -> Iterator[str]:
    summary = run.summary
    sizes = [number(size) for size in summary.get("sizes") or []] if isinstance(summary.get("sizes"), list) else []
    every, share = number(summary.get("all_images")), number(table_of(summary.get("training")).get("share"))
    if every is not None and every in sizes:
        yield (
            f"With {words.count(every)} images every draw is all of them: the interval there holds seeds and test images, "
            "and not that other images could have been gathered."
        )
    alone = [row for row in rows_of(summary.get("curves")) if row.get("draws") == 1 and number(row.get("images")) != every]
    if alone:
        yield (
            f"{words.plural(len(alone), 'point')} of the curves came from one draw alone. The interval there holds test "
            "images only; another draw could lie outside of it."
        )
    if share is not None and share < 1:
        yield (
            f"Ways that train had {words.percent(share, 0)} of their usual length of training, to fit into the time. More "
            "time could lift their curves, and move crossings to fewer images."
        )
    pairs = len(rows_of(summary.get("crossings")))
    if pairs > 1:
        yield f"{words.count(pairs)} pairs of ways were looked at; one interval in twenty is expected to miss."
    if summary.get("extrapolation"):
        yield (
            "Extrapolations take it that errors go on falling by a power of the images, down to a floor. Nothing was "
            "measured there."
        )
    yield "Between two sizes a curve is taken to be straight on the logarithmic axis."
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
