"""The main picture of a run for a paper or a notebook, by matplotlib: the same numbers as the page, as a figure to save.

headstart.figure("runs/photos").savefig("ways.pdf")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.errors import ConfigError
from headstart.report.folder import interval, number, rows_of, table_of
from headstart.report.multitask_read import Gap
from headstart.report.multitask_read import read as read_multitask
from headstart.report.pretrain_figure import pretrained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bar = tuple[str, float, tuple[float, float] | None]
"""Name, share of images right, interval."""

Point = tuple[float, float, tuple[float, float] | None]
"""Place, share of images right, interval."""

_KINDS = {
    "selffer": ("BnB", "o", "C0"),
    "selffer+": ("BnB+", "^", "C2"),
    "transfer": ("AnB", "s", "C3"),
    "transfer+": ("AnB+", "D", "C1"),
    "random": ("random, frozen", "x", "C7"),
}


def figure_of(summary: Mapping[str, Any]) -> Figure:
    """The main figure of a run with this `summary.json`. No window opens and no global state of matplotlib is touched.

    Raises ConfigError for a run that has no figure, because of its command or because it is not finished.
    """
    command = str(summary.get("command"))
    draw = _FIGURES.get(command)
    if draw is None:
        raise ConfigError(f"runs of {command!r} have no figure; there is one of {', '.join(_FIGURES)}")
    figure = draw(summary)
    if not any(axes.has_data() for axes in figure.axes):
        raise ConfigError(f"this run of {command!r} has nothing to draw yet; finish it with --resume")
    return figure


def _sized(wide: float, high: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure((wide, high), layout="constrained")


# --- strategies, networks, students: one bar each --------------------------------------------------------------------------


def _arms(rows: Iterable[Mapping[str, Any]], mean: str, spread: str, name: str = "label") -> list[Bar]:
    return [
        (str(row.get(name) or row.get("name")), value, interval(row.get(spread)))
        for row in rows
        if (value := number(row.get(mean))) is not None
    ]


def _bars(bars: Sequence[Bar], what: str) -> Figure:
    """Points with their intervals, the best on top."""
    figure = _sized(6.4, 1.2 + 0.35 * max(len(bars), 2))
    axes = figure.add_subplot()
    ordered = sorted(bars, key=lambda bar: bar[1])
    for place, (_, value, found) in enumerate(ordered):
        low, high = found or (value, value)
        axes.plot([100 * low, 100 * high], [place, place], color="C0", linewidth=2)
        axes.plot(100 * value, place, "o", color="C0")
    axes.set_yticks(range(len(ordered)), [name for name, _, _ in ordered])
    axes.set_xlabel(what)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _adapted(summary: Mapping[str, Any]) -> Figure:
    return _bars(_arms(rows_of(summary.get("arms")), "accuracy_mean", "accuracy_interval"), "held-out images right, %")


def _compared(summary: Mapping[str, Any]) -> Figure:
    return _bars(_arms(rows_of(summary.get("strategies")), "accuracy", "interval"), "held-out images right, %")


def _distilled(summary: Mapping[str, Any]) -> Figure:
    named = {"alone": "student alone", "distilled": "distilled student", "born_again": "born-again student"}
    rows = [{"label": label, **table_of(summary.get(key))} for key, label in named.items() if summary.get(key)]
    teachers = _arms(rows_of(summary.get("teachers")), "test_accuracy", "test_interval", "name")
    return _bars([*_arms(rows, "accuracy", "interval"), *teachers], "test images right, %")


def _extended(summary: Mapping[str, Any]) -> Figure:
    """The new task and the old ones after learning it, for every arm."""
    rows = []
    for arm in rows_of(summary.get("arms")):
        found = {"new": table_of(arm.get("new")).get("accuracy"), "old": table_of(arm.get("old")).get("after")}
        for what, value in found.items():
            one = table_of(value)
            rows.append({"label": f"{arm.get('name')}, {what}", **one, "interval": [one.get("low"), one.get("high")]})
    return _bars(_arms(rows, "mean", "interval"), "test images right, the task known, %")


def _chosen(summary: Mapping[str, Any]) -> Figure:
    """What the race measured where there was one, else the best probe."""
    rows = rows_of(summary.get("candidates"))
    rounds = [(row.get("name"), rows_of(table_of(row.get("race")).get("rounds"))) for row in rows]
    raced = [{"label": name, **found[-1]} for name, found in rounds if found]
    probed = [{"label": row.get("name"), **table_of(table_of(row.get("scores")).get("probe"))} for row in rows]
    bars = _arms(raced, "accuracy", "interval") or _arms(probed, "value", "interval")
    return _bars(bars, "held-out images right, %")


# --- several tasks at once: a forest ---------------------------------------------------------------------------------------


def _multitasked(summary: Mapping[str, Any]) -> Figure:
    """Each task's difference against a network of its own (else against the plain sum), a panel per unit.

    Of the saved network. Right of nought is better, also where less of a measure is; hollow: undecided.
    """
    found = read_multitask(summary)
    gaps = found.against(found.chosen, plain=False) or found.against(found.chosen, plain=True)
    groups = [[gap for gap in gaps if gap.measure.share]]
    groups += [[gap] for gap in gaps if not gap.measure.share]
    groups = [group for group in groups if group]
    sizes = [len(group) for group in groups] or [1]
    figure = _sized(6.4, 0.8 + sum(0.7 + 0.35 * size for size in sizes))
    panels = figure.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": [size + 1 for size in sizes]})
    for axes, group in zip(panels[:, 0], groups, strict=False):
        _forest(axes, group)
    if groups:
        against = "a network of its own" if found.against(found.chosen, plain=False) else "the plain sum"
        figure.suptitle(f"{found.chosen} against {against}", fontsize="medium")
    return figure


def _forest(axes: Axes, gaps: Sequence[Gap]) -> None:
    """One row per task, the first on top."""
    measure = gaps[0].measure
    factor = 100 if measure.share else 1
    for place, gap in enumerate(reversed(gaps)):
        low, high = gap.span or (gap.mean, gap.mean)
        color = {"better": "C0", "worse": "C3"}.get(gap.said, "C7")
        axes.plot([factor * low, factor * high], [place, place], color=color, linewidth=2)
        axes.plot(factor * gap.mean, place, "o", color=color, markerfacecolor=color if gap.decided else "white")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(gaps)), [gap.task for gap in reversed(gaps)])
    axes.set_ylim(-0.6, len(gaps) - 0.4)
    way = "larger" if measure.higher else "smaller"
    axes.set_xlabel("better by, points" if measure.share else f"{measure.text} {way} by")
    axes.grid(axis="x", alpha=0.3)


# --- curves ------------------------------------------------------------------------------------------------------------


def _line(axes: Axes, points: Sequence[Point], **style: Any) -> None:
    """A curve with its interval as a band."""
    points = sorted(points, key=lambda point: point[0])
    (line,) = axes.plot([x for x, _, _ in points], [100 * y for _, y, _ in points], **style)
    known = [(x, found) for x, _, found in points if found is not None]
    low, high = ([100 * found[side] for _, found in known] for side in (0, 1))
    axes.fill_between([x for x, _ in known], low, high, color=line.get_color(), alpha=0.12, linewidth=0)


def _points(rows: Iterable[Mapping[str, Any]], x: str, y: str, spread: str) -> list[Point]:
    return [
        (where, value, interval(row.get(spread)))
        for row in rows
        if (where := number(row.get(x))) is not None and (value := number(row.get(y))) is not None
    ]


def _growing(summary: Mapping[str, Any]) -> Figure:
    figure = _sized(6.4, 4.4)
    axes = figure.add_subplot()
    curves, beyond = rows_of(summary.get("curves")), rows_of(summary.get("extrapolation"))
    for place, way in enumerate(rows_of(summary.get("ways"))):
        mine = [row for row in curves if row.get("way") == way.get("name")]
        points = _points(mine, "images", "accuracy", "interval")
        if points:
            _line(axes, points, marker="o", color=f"C{place}", label=str(way.get("label") or way.get("name")))
            ahead = [row for row in beyond if row.get("way") == way.get("name")]
            _line(axes, [max(points), *_points(ahead, "images", "accuracy", "interval")], linestyle=":", color=f"C{place}")
    axes.set(xscale="log", xlabel="training images", ylabel="held-out images right, %")
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(fontsize="small")
    return figure


def _layers(summary: Mapping[str, Any]) -> Figure:
    """The two figures of Yosinski et al. 2014: accuracy by cut, and the change against the base networks."""
    rows = rows_of(summary.get("curves"))
    halves = list(dict.fromkeys(str(row.get("halves")) for row in rows))
    figure = _sized(4.8 * (len(halves) + 1), 4.2)
    *each, last = figure.subplots(1, len(halves) + 1, squeeze=False)[0]
    for axes, one in zip(each, halves, strict=True):
        for kind in _KINDS:
            _cuts(axes, rows, kind, one)
        axes.set(xlabel="layers transferred", ylabel="test images right, %", title=f"{one} halves")
    for place, one in enumerate(halves):
        for kind in ("transfer", "random"):
            _cuts(last, rows, kind, one, relative=True, linestyle="--" if place else "-")
    last.set(xlabel="layers transferred", ylabel="points against the base network", title="change")
    for axes in (*each, last):
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize="small")
    return figure


def _cuts(
    axes: Axes, rows: Sequence[Mapping[str, Any]], kind: str, halves: str, *, relative: bool = False, linestyle: str = "-"
) -> None:
    name, marker, color = _KINDS[kind]
    mine = [row for row in rows if row.get("kind") == kind and row.get("halves") == halves]
    points = _points(mine, "n", "relative", "relative_interval") if relative else _points(mine, "n", "accuracy", "interval")
    label = f"{name}, {halves} halves" if relative else name
    if points:
        _line(axes, points, marker=marker, color=color, linestyle=linestyle, label=label)


def _benched(summary: Mapping[str, Any]) -> Figure:
    """Accuracy against latency, or latency alone where nothing was judged."""
    rows = [(row, number(table_of(row.get("latency")).get("median"))) for row in rows_of(summary.get("models"))]
    known = [(row, 1000 * seconds) for row, seconds in rows if seconds is not None]
    figure = _sized(6.4, 4.2)
    axes = figure.add_subplot()
    for place, (row, milliseconds) in enumerate(known):
        right, found = number(row.get("accuracy")), interval(row.get("interval"))
        y = float(place) if right is None else 100 * right
        axes.plot(milliseconds, y, "o", color=f"C{place}", label=str(row.get("name")))
        if right is not None and found is not None:
            axes.plot([milliseconds] * 2, [100 * found[0], 100 * found[1]], color=f"C{place}")
    judged = any(number(row.get("accuracy")) is not None for row, _ in known)
    axes.set(xscale="log", xlabel="median milliseconds for one image", ylabel="images right, %" if judged else "")
    axes.set_yticks(axes.get_yticks() if judged else [])
    axes.grid(alpha=0.3)
    if known:
        axes.legend(fontsize="small")
    return figure


_FIGURES: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "adapt": _adapted,
    "compare": _compared,
    "compare-continual": _extended,
    "extend": _extended,
    "multitask": _multitasked,
    "pretrain": pretrained,
    "select": _chosen,
    "study data-size": _growing,
    "study layers": _layers,
    "distill": _distilled,
    "bench": _benched,
}
