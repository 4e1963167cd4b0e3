"""Charts: intervals as dots with whiskers, lines, and bars. Each is a pure function from numbers to one SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.svg import TEXT, Scale, drawing, fit, label, line, nice_step, padded, path, tag, text_width

SMALL = 11.5


@dataclass(frozen=True)
class Estimate:
    """One row of an interval plot. `kind` is `best` (filled, coloured), `plain` or `faint` (hollow, dashed).

    seen  what was measured besides (afterwards, where the mean is an expectation), drawn as a diamond; with `seen_span` a
          little lower, on an interval of its own
    """

    name: str
    mean: float
    span: tuple[float, float] | None
    kind: str = "plain"
    note: str = ""
    seen: float | None = None
    seen_span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """One line of a line chart: points `(x, y)` in order of x, drawn with the style sheet's class `kind`."""

    points: Sequence[tuple[float, float]]
    kind: str


def interval_plot(rows: Sequence[Estimate], width: float, axis: str) -> Markup:
    """One row per estimate: name, a dot at the mean, a line for the interval, the mean in figures at the right.

    On a narrow drawing the name stands above its row. A thin vertical line carries the best row's mean down the picture.
    """
    narrow = width < 500
    widest = max(max(text_width(row.name, TEXT + 0.5), text_width(row.note, SMALL + 1)) for row in rows)
    gutter = 0.0 if narrow else min(0.36 * width, 14 + widest)
    scale = Scale(*_limits(rows), gutter + 8, width - 62)
    step, top = (58 if narrow else 42), 6
    bottom = top + step * len(rows)
    parts = _vertical_grid(scale, top, bottom, 4 if narrow else 7)
    best = next((row.mean for row in rows if row.kind == "best"), None)
    if best is not None:
        parts.append(line(scale(best), top, scale(best), bottom, "guide"))
    for place, row in enumerate(rows):
        parts.append(_estimate(row, scale, top + step * place, step, gutter, narrow))
    parts.append(label((scale.start + scale.end) / 2, bottom + 36, axis, class_="muted", anchor="middle", size=SMALL))
    spoken = "; ".join(f"{r.name} {words.percent(r.mean)}, interval {words.percent_range(r.span)}" for r in rows)
    return drawing(width, bottom + 44, f"Interval plot, {axis}: {spoken}", *parts)


def _limits(rows: Sequence[Estimate]) -> tuple[float, float]:
    """The range that shows every row that counts; faint ones may widen it to twice that, and are cut off beyond."""

    def span(found: Sequence[Estimate]) -> tuple[float, float]:
        ends = [end for row in found for end in (row.span or (row.mean, row.mean))]
        ends += [end for row in found if row.seen is not None for end in (row.seen, *(row.seen_span or ()))]
        return padded(ends, least=0.04)

    low, high = span(rows)
    shown = [row for row in rows if row.kind != "faint"] or rows
    least, most = span(shown)
    room = most - least
    return max(low, least - room), min(high, most + room)


def _vertical_grid(scale: Scale, top: float, bottom: float, wanted: int) -> list[Markup]:
    ticks = scale.ticks(wanted)
    places = 0 if all(abs(100 * t - round(100 * t)) < 1e-6 for t in ticks) else 1
    parts = [line(scale(t), top, scale(t), bottom, "grid") for t in ticks]
    parts += [label(scale(t), bottom + 17, words.percent(t, places), class_="tick", anchor="middle") for t in ticks]
    return parts


def _estimate(row: Estimate, scale: Scale, top: float, step: float, gutter: float, narrow: bool) -> Markup:
    y = top + (step - 16 if narrow else step / 2)
    room = scale.end + 60 if narrow else gutter - 6
    at = top + 20 if narrow else y + (4.5 if not row.note else -2)
    parts = [label(0, at, fit(row.name, room, TEXT), class_=f"name {row.kind}")]
    if row.note:
        beside = min(room, text_width(row.name) * (1.12 if row.kind == "best" else 1.0)) + 12 if narrow else 0
        note = fit(row.note, room - beside if narrow else room, SMALL)
        parts.append(label(beside, at if narrow else at + 15, note, class_=f"note {row.kind}", size=SMALL))
    if row.span and row.span[1] > scale.low and row.span[0] < scale.high:
        low, high = max(row.span[0], scale.low), min(row.span[1], scale.high)
        parts.append(line(scale(low), y, scale(high), y, f"whisker {row.kind}"))
    parts.append(_dot(row, scale, y))
    if row.seen is not None:
        parts.append(_seen(row.seen, row.seen_span, scale, y))
    parts.append(label(scale.end + 62, y + 4.5, words.percent(row.mean), class_=f"value {row.kind}", anchor="end"))
    return tag("g", *parts)


def _dot(row: Estimate, scale: Scale, y: float) -> Markup:
    """The mean as a dot, or as an arrow at the edge beyond which it lies."""
    if scale.low <= row.mean <= scale.high:
        return tag("circle", cx=scale(row.mean), cy=y, r=5.5, class_=f"dot {row.kind}")
    edge, way = (scale.start, -1) if row.mean < scale.low else (scale.end, 1)
    return path([(edge - way * 8, y - 5), (edge, y), (edge - way * 8, y + 5)], "arrow")


def _seen(value: float, span: tuple[float, float] | None, scale: Scale, y: float) -> Markup:
    """A hollow diamond; with an interval of its own it stands lower and smaller, so that nothing is covered."""

    def within(place: float) -> float:
        return scale(min(max(place, scale.low), scale.high))

    if span is None:
        return _diamond(within(value), y, 6.5)
    return tag("g", line(within(span[0]), y + 11, within(span[1]), y + 11, "reached"), _diamond(within(value), y + 11, 4.5))


def _diamond(x: float, y: float, r: float) -> Markup:
    return tag("path", d=f"M{x:.1f} {y - r:.1f}l{r} {r}l-{r} {r}l-{r} -{r}Z", class_="diamond")


def line_chart(
    series: Sequence[Series],
    width: float,
    height: float,
    spoken: str,
    *,
    x_ticks: Sequence[tuple[float, str]],
    y_range: tuple[float, float],
    y_percent: bool = True,
    marks: Sequence[float] = (),
) -> Markup:
    """Lines over a common axis; `marks` are places on the x axis with a dashed vertical line (a new stage begins).

    `y_range` is widened where a point lies outside: what is cut off cannot be seen to be missing.
    """
    xs = [x for one in series for x, _ in one.points] + [x for x, _ in x_ticks]
    x_scale = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, 46, width - 10)
    ys = [*y_range, *(y for one in series for _, y in one.points)]
    y_scale = Scale(min(ys), max(ys), height - 24, 8)
    parts = upright_grid(y_scale, 46, width - 10, y_percent)
    parts += [line(x_scale(x), 8, x_scale(x), height - 24, "guide") for x in marks]
    for place, (x, text) in enumerate(x_ticks):
        last = len(x_ticks) > 1 and place == len(x_ticks) - 1
        parts.append(label(x_scale(x), height - 6, text, class_="tick", anchor="end" if last else "middle"))
    parts += [_one_line(one, x_scale, y_scale) for one in series]
    return drawing(width, height, spoken, *parts)


def upright_grid(scale: Scale, left: float, right: float, as_percent: bool) -> list[Markup]:
    """Horizontal lines at round values of a vertical scale, their figures at the left."""
    parts = []
    tall = abs(scale.start - scale.end)
    wanted = 6 if tall > 200 else 5 if tall > 120 else 2
    for tick in scale.ticks(wanted):
        share = 100 * nice_step((scale.high - scale.low) / wanted)
        text = words.percent(tick, 0 if share >= 0.999 else 1) if as_percent else words.figures(tick)
        parts.append(line(left, scale(tick), right, scale(tick), "grid"))
        parts.append(label(left - 7, scale(tick) + 4, text, class_="tick", anchor="end"))
    return parts


def _one_line(one: Series, x_scale: Scale, y_scale: Scale) -> Markup:
    points = [(x_scale(x), y_scale(y)) for x, y in one.points]
    if len(points) == 1:
        return tag("circle", cx=points[0][0], cy=points[0][1], r=3, class_=f"spot {one.kind}")
    return path(points, f"line {one.kind}")


def depth_chart(rows: Sequence[Estimate], width: float, y_range: tuple[float, float] | None = None) -> Markup:
    """Accuracy against depth: dots with whiskers joined by a line, the names of the blocks below.

    Rows of kind `plain` are blocks in order from the input; one of kind `apart` stands by itself (all depths together).
    `y_range` makes several charts comparable.
    """
    step = (width - 66) / len(rows)
    upright = all(text_width(row.name, SMALL) < step - 4 for row in rows)
    foot = 26 if upright else 22 + min(90.0, max(text_width(row.name, SMALL) for row in rows) * 0.72)
    base = 250 if width < 500 else 300
    height = base + foot
    ends = [*(y_range or ()), *(end for row in rows for end in (row.span or (row.mean, row.mean)))]
    scale = Scale(*padded(ends, least=0.04), base, 10)
    xs = [46 + step * (place + 0.5) for place in range(len(rows))]
    parts = upright_grid(scale, 46, width - 12, True)
    joined = [(x, scale(row.mean)) for x, row in zip(xs, rows, strict=True) if row.kind != "apart"]
    if len(joined) > 1:
        parts.append(path(joined, "line thin"))
    for x, row in zip(xs, rows, strict=True):
        parts.append(_upright(row, x, scale))
        parts.append(_foot(row.name, x, base, upright))
    spoken = "; ".join(f"{row.name} {words.percent(row.mean)}" for row in rows)
    return drawing(width, height, f"Accuracy of a head at each depth: {spoken}", *parts)


def _upright(row: Estimate, x: float, scale: Scale) -> Markup:
    parts = [tag("circle", cx=x, cy=scale(row.mean), r=4, class_=f"dot {row.kind}")]
    if row.span:
        parts.insert(0, line(x, scale(row.span[0]), x, scale(row.span[1]), f"whisker {row.kind}"))
    return tag("g", *parts)


def _foot(name: str, x: float, base: float, upright: bool) -> Markup:
    if upright:
        return label(x, base + 18, name, class_="tick", anchor="middle", size=SMALL)
    text = fit(name, 124, SMALL)
    turn = f"translate({x + 4:.1f} {base + 14:.1f}) rotate(-45)"
    return tag("text", text, transform=turn, class_="tick", text_anchor="end", font_size=SMALL)


def bar(shares: Sequence[tuple[float, str]]) -> Markup:
    """A thin bar across its container: `(share of the width, class)` pieces side by side. Text says it too."""
    parts, x = [], 0.0
    for share, kind in shares:
        parts.append(tag("rect", x=100 * x, y=0, width=100 * share, height=8, class_=f"bar {kind}"))
        x += share
    return tag("svg", *parts, viewBox="0 0 100 8", class_="bar", preserveAspectRatio="none", aria_hidden="true")


def little_interval(mean: float, span: tuple[float, float]) -> Markup:
    """A dot and its whisker on 0 to 100 %, to stand in a table cell whose figures say the same."""
    scale = Scale(0, 1, 4, 136)
    parts = [
        line(4, 8, 136, 8, "grid"),
        line(scale(span[0]), 8, scale(span[1]), 8, "whisker plain"),
        tag("circle", cx=scale(mean), cy=8, r=3, class_="dot plain"),
    ]
    return tag("svg", *parts, viewBox="0 0 140 16", width=140, height=16, class_="little", aria_hidden="true")
