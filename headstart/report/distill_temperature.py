"""The temperature section: what T does to the teacher's answers on real images, to their entropy, and to the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from headstart.report import words
from headstart.report.charts import SMALL, Series, line_chart
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.pictures import Pictures, picture
from headstart.report.svg import NARROW, Scale, drawing, fit, label, tag, text_width

FIRST = 3
"""Examples that stand on the page at once; the others open on demand."""
MOST = 5
"""Classes of an example that have a row of their own; all others share one."""
BESIDE = 620.0
"""Width of the picture of an example where its image stands beside it."""
LARGEST = 160
"""Side in pixels to which an image of an example is reduced."""
HARD = "Here the student learned only the teacher's first choice, which is the same at every temperature."
WHOLE = 0.999
"""Below this sum of the shown probabilities there is a row for all other classes."""


@dataclass(frozen=True)
class Example:
    """One image with what the teacher answers at each temperature."""

    image: str
    small: bool
    label: str
    plot: Markup


@dataclass(frozen=True)
class Panel:
    """A small chart with its title and what its lines are: `(class, meaning)`."""

    title: str
    plot: Markup
    legend: Sequence[tuple[str, str]]
    caption: str


@dataclass(frozen=True)
class Temperature:
    """The whole section; `table` has heads and rows of text; `used` tells whether the chosen T is in the examples."""

    lead: str
    why: str
    examples: Sequence[Example]
    others: Sequence[Example]
    panels: Sequence[Panel]
    heads: Sequence[str]
    table: Sequence[Sequence[str]]
    used: bool


def temperature(run: RunFolder, pictures: Pictures) -> Temperature | None:
    """What the template shows, or None when the run wrote nothing about its temperature."""
    about = table_of(run.summary.get("temperature"))
    chosen = number(about.get("value"))
    rows = sorted((row for row in rows_of(about.get("by")) if _positive(row.get("t"))), key=lambda row: float(row["t"]))
    made = [_example(row, run.path / "report_data", pictures, chosen) for row in rows_of(run.summary.get("examples"))]
    examples = [one for one in made if one is not None]
    if chosen is None and not rows and not examples:
        return None
    hard = run.summary.get("kind") == "hard"
    panels = [_entropy(rows, about, chosen), _gradient(rows, run.summary, chosen)]
    return Temperature(
        lead=_lead(None if hard else chosen),
        why=HARD if hard else _why(about, rows, chosen),
        examples=examples[:FIRST],
        others=examples[FIRST:],
        panels=[panel for panel in panels if panel is not None],
        heads=["Temperature", "Entropy", "Gradient from the soft term"],
        table=[_figures(row) for row in rows],
        used=any('class="used"' in one.plot for one in examples),
    )


def _positive(value: Any) -> bool:
    found = number(value)
    return found is not None and found > 0


def name(t: float) -> str:
    """A temperature as it is called."""
    return f"T\u00a0=\u00a0{words.figures(t)}"


def _lead(chosen: float | None) -> str:
    text = (
        "A teacher's answer is one probability for each class. Dividing its scores by a temperature T before they become "
        "probabilities makes the answer softer, and shows which other classes an image resembles. Too hot, and all classes "
        "look alike."
    )
    return text if chosen is None else f"{text} Here {name(chosen)}."


def _why(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], chosen: float | None) -> str:
    """How the temperature was found, and where it lies."""
    if chosen is None:
        return ""
    target = number(about.get("target_entropy"))
    if about.get("automatic"):
        to = f" that brings the mean entropy to {words.percent(target, 0)} of the most there could be" if target else ""
        return f"It was found automatically: the temperature{to}."
    at = next((number(row.get("entropy_mean")) for row in rows if math.isclose(float(row["t"]), chosen)), None)
    there = f" The mean entropy there is {words.percent(at, 0)} of the most there could be." if at is not None else ""
    return f"It was given with --temperature.{there} With --temperature auto it is found from the entropy."


def _figures(row: Mapping[str, Any]) -> list[str]:
    share = number(row.get("soft_gradient_share"))
    return [name(float(row["t"])), words.percent(number(row.get("entropy_mean"))), words.percent(share)]


def _entropy(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], chosen: float | None) -> Panel | None:
    points = _points(rows, "entropy_mean")
    if len(points) < 2:
        return None
    target = number(about.get("target_entropy")) if about.get("automatic") else None
    series = [Series(points, "bold")]
    legend = [("bold", "mean entropy of the teacher's answers")]
    if target is not None:
        series.insert(0, Series([(points[0][0], target), (points[-1][0], target)], "dashed"))
        legend.append(("dashed", f"target, {words.percent(target, 0)}"))
    caption = "100 % means that all classes are equally likely, 0 % that one is certain."
    return _panel("How soft the answers are", series, points, rows, chosen, legend, caption)


def _gradient(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], chosen: float | None) -> Panel | None:
    points = _points(rows, "soft_gradient_share")
    if len(points) < 2:
        return None
    share = number(summary.get("share"))
    weighs = f" The soft term weighs {words.percent(share, 0)} in the loss, times T squared." if share is not None else ""
    caption = f"How much of the first push on the student comes from the teacher, the rest from the labels.{weighs}"
    legend = [("bold", "share of the soft term in the gradient")]
    return _panel("How much the teacher has to say", [Series(points, "bold")], points, rows, chosen, legend, caption)


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(math.log(float(row["t"])), value) for row in rows if (value := number(row.get(key))) is not None]


def _panel(
    title: str,
    series: Sequence[Series],
    points: Sequence[tuple[float, float]],
    rows: Sequence[Mapping[str, Any]],
    chosen: float | None,
    legend: list[tuple[str, str]],
    caption: str,
) -> Panel:
    """A chart over the logarithm of T, the chosen one marked."""
    low, high = points[0][0], points[-1][0]
    at = [math.log(chosen)] if chosen and low <= math.log(chosen) <= high else []
    spoken = "; ".join(f"{name(math.exp(x))} {words.percent(y)}" for x, y in points)
    ticks = _ticks([float(row["t"]) for row in rows], low, high)
    plot = line_chart(series, NARROW, 210, f"{title}: {spoken}", x_ticks=ticks, y_range=(0.0, 1.0), marks=at)
    told = [*legend, *([("guide", f"{name(chosen)}, used here")] if at and chosen else [])]
    return Panel(title, plot, told, words.grouped(caption))


def _ticks(temperatures: Sequence[float], low: float, high: float) -> list[tuple[float, str]]:
    """Temperatures named below the axis; of those that would overlap the earlier stays, and the last one always."""
    along = Scale(low, high if high > low else low + 1, 46, NARROW - 10)
    last = temperatures[-1]
    end = along(math.log(last)) - text_width(name(last), SMALL)
    free, found = -math.inf, []
    for t in temperatures[:-1]:
        x, half = along(math.log(t)), text_width(words.figures(t), SMALL) / 2
        if x - half > free and x + half < end - 6:
            found.append((math.log(t), words.figures(t)))
            free = x + half + 6
    return [*found, (math.log(last), name(last))]


def _example(row: Mapping[str, Any], folder: Path, pictures: Pictures, chosen: float | None) -> Example | None:
    """One image; without its picture when that cannot be read, and None without any answer."""
    answers = _answers(row)
    if not answers:
        return None
    image, small = _image(row.get("image"), folder, pictures)
    given = str(row["label"]) if row.get("label") is not None else ""
    wide = Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        *(soft_rows(answers, given, width, chosen) for width in (BESIDE, float(NARROW)))
    )
    return Example(image, small, given, wide)


def _answers(row: Mapping[str, Any]) -> list[tuple[float, dict[str, float]]]:
    """Probabilities by class name for each temperature, the coolest first; the same temperature only once."""
    found: dict[float, dict[str, float]] = {}
    for soft in rows_of(row.get("soft")):
        top = {
            str(one["class"]): p
            for one in rows_of(soft.get("top"))
            if one.get("class") is not None and (p := number(one.get("p"))) is not None
        }
        if top and _positive(soft.get("t")):
            found[float(soft["t"])] = top
    return sorted(found.items())


def _image(value: Any, folder: Path, pictures: Pictures) -> tuple[str, bool]:
    """An image as a data URI, by its place among the thumbnails or by the name of a file beside them; empty without one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(pictures.images):
        pixels = pictures.images[value]
        return picture(pixels), max(pixels.shape[:2]) <= 40
    if not isinstance(value, str) or not value:
        return "", False
    try:  # only the name counts: nothing outside of the run's own folder is ever read
        with Image.open(folder / Path(value).name) as opened:
            opened.thumbnail((LARGEST, LARGEST))
            pixels = np.asarray(opened.convert("RGB"))
    except (OSError, ValueError):
        return "", False
    return picture(pixels), max(pixels.shape[:2]) <= 40


def soft_rows(
    answers: Sequence[tuple[float, Mapping[str, float]]], given: str, width: float, chosen: float | None
) -> Markup:
    """Classes below each other, temperatures side by side; each cell a bar and its percentage.

    The given class is set bold, the column of the chosen temperature shaded; a last row holds all other classes together.
    """
    narrow = width < 500
    shown = _classes(answers, given)
    rest = [1.0 - sum(top.get(one, 0.0) for one in shown) for _, top in answers]
    rows = [(one, [top.get(one) for _, top in answers]) for one in shown]
    rows += [("all others", list(rest))] if max(rest) > 1 - WHOLE else []
    gutter = 0.0 if narrow else min(130.0, 16 + max(text_width(one) * (1.12 if one == given else 1) for one, _ in rows))
    cell, step, head = (width - gutter) / len(answers), 44.0 if narrow else 31.0, 24.0
    height = head + step * len(rows) + 4
    parts = [_column(t, gutter + cell * place, cell, height, chosen, narrow=narrow) for place, (t, _) in enumerate(answers)]
    for place, (one, values) in enumerate(rows):
        y, kind = head + step * place, "name best" if one == given else "name plain"
        parts.append(
            label(
                2 if narrow else 0,
                y + 14 if narrow else y + 16,
                fit(one, width - 8 if narrow else gutter - 8, 13),
                class_=kind,
            )
        )
        top = y + 19 if narrow else y + 4
        parts += [_share(p, gutter + cell * at, top, cell, one == given) for at, p in enumerate(values)]
    spoken = "; ".join(
        f"{name(t)}: {', '.join(f'{one} {words.percent(p)}' for one, p in top.items())}" for t, top in answers
    )
    return drawing(width, height, f"Soft labels. {spoken}", *parts)


def _classes(answers: Sequence[tuple[float, Mapping[str, float]]], given: str) -> list[str]:
    """The likeliest classes at the coolest temperature, the given class always among them."""
    ranked = sorted(answers[0][1], key=lambda one: -answers[0][1][one])
    ranked += [one for _, top in answers[1:] for one in top if one not in ranked]
    ranked = list(dict.fromkeys(ranked))
    shown = ranked[:MOST]
    return [*shown[: MOST - 1], given] if given in ranked and given not in shown else shown


def _column(t: float, x: float, cell: float, height: float, chosen: float | None, *, narrow: bool) -> Markup:
    """Head of a column, and its shade when it is the chosen one."""
    own = chosen is not None and math.isclose(t, chosen, rel_tol=1e-3)
    text = f"T{words.NARROW}{words.figures(t)}" if narrow else name(t)
    parts = [tag("rect", x=x + 1, y=0, width=cell - 2, height=height, rx=4, class_="used")] if own else []
    parts.append(label(x + 6, 16, text, class_="tick used" if own else "tick", size=SMALL))
    return tag("g", *parts)


def _share(p: float | None, x: float, y: float, cell: float, given: bool) -> Markup:
    """A bar as long as the probability, its percentage below; a class not written down has a dash."""
    room = cell - 12
    long = room * min(max(p or 0.0, 0.0), 1.0)
    parts = [tag("rect", x=x + 6, y=y, width=room, height=8, rx=1.5, class_="track")]
    parts += (
        [tag("rect", x=x + 6, y=y, width=max(long, 1.0), height=8, rx=1.5, class_="soft given" if given else "soft")]
        if p
        else []
    )
    parts.append(label(x + 6, y + 19, brief(p), class_="tick", size=10.5))
    return tag("g", *parts)


def brief(p: float | None) -> str:
    """A probability in few letters; what only rounds to certainty is not called certain."""
    if p is None:
        return words.UNKNOWN
    if 0.995 <= p < 1:
        return f"> 99{words.NARROW}%"
    return words.percent(p, 0 if p >= 0.0995 else 1)
