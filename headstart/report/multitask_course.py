"""While it learns: weights of the tasks, their losses, and how their gradients agree, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.extend_course import Panel, colour
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.multitask_read import Found
from headstart.report.svg import NARROW, both, drawing, fit, label, tag, text_width

HEIGHT = 190.0
PAIRS = 6
"""Most pairs of tasks whose cosines are drawn as lines; more are shown as a map only."""
NOUGHT, TINY = 1e-12, 1e-3
"""Below the first a loss is nought; below the second it is shown times a power of ten."""

Line = list[tuple[float, float]]


@dataclass
class Curve:
    """What one arm logged: lines by name over epochs."""

    weights: dict[str, Line] = field(default_factory=dict)
    total: Line = field(default_factory=list)
    losses: dict[str, Line] = field(default_factory=dict)
    norms: dict[str, Line] = field(default_factory=dict)
    variances: dict[str, Line] = field(default_factory=dict)
    cosines: dict[tuple[str, str], Line] = field(default_factory=dict)
    epochs: float = 0.0


@dataclass(frozen=True)
class Group:
    """The panels of one arm. `pairs` is the legend of the cosines' lines, `map` the mean cosine of every pair."""

    name: str
    note: str
    panels: Sequence[Panel]
    pairs: Sequence[tuple[str, str]]
    map: Markup | None


@dataclass(frozen=True)
class Course:
    """The section; `legend` pairs a line's class with the task it stands for."""

    lead: str
    legend: Sequence[tuple[str, str]]
    groups: Sequence[Group]
    alone: Panel | None


def course(run: RunFolder, found: Found) -> Course | None:
    """Curves of every arm, from the summary, or from the log of a run that did not get so far; None without any."""
    made = [(arm.name, arm.role, _curve(rows_of(arm.raw.get("curves")))) for arm in _ordered(found)]
    logged = not any(one.epochs for _, _, one in made)
    if logged:
        made = _from_log(run)
    order = [task.name for task in found.tasks]
    if not order:  # a log may tell of tasks that no summary named yet
        order = list(dict.fromkeys(name for _, _, one in made for name in one.losses))
    groups = [
        _group(name, one, order, found) for name, role, one in made if role not in ("single", "without") and one.epochs
    ]
    alone = _alone([(name, one) for name, role, one in made if role == "single" and one.epochs], order)
    if not groups and alone is None:
        return None
    legend = [(f"task {colour(place)}", name) for place, name in enumerate(order)]
    return Course(_lead(found, run, logged), legend, groups, alone)


def _ordered(found: Found) -> list[Any]:
    return [*found.together, *(arm for arm in found.arms if arm.role not in ("sum", "asked"))]


def _lead(found: Found, run: RunFolder, logged: bool) -> str:
    text = "Every epoch: how much each task's loss counted, the losses, and the gradients that the tasks send into the "
    text += "weights they share, measured once per epoch. A cosine below nought: two tasks pull against each other."
    text += " Of the first seed." if found.seeds > 1 else ""
    return text + (" As far as the log of this unfinished run tells." if logged and not run.finished else "")


def _curve(rows: Sequence[Mapping[str, Any]]) -> Curve:
    found = Curve()
    placed = sorted(((x, row) for row in rows if (x := number(row.get("epoch"))) is not None), key=lambda pair: pair[0])
    for x, row in placed:
        for lines, key in ((found.weights, "weights"), (found.losses, "losses")):
            for name, value in table_of(row.get(key)).items():
                _add(lines, str(name), x, value)
        if (total := number(row.get("weight_sum"))) is not None:
            found.total.append((x, total))
        for name, value in table_of(row.get("balance")).items():
            _balance(found, str(name), x, value)
        found.epochs = x
    return found


def _balance(found: Curve, name: str, x: float, value: Any) -> None:
    """`norm/TASK`, `cosine/TASK/TASK`, `log_variance/TASK`; what else a balance may tell is not drawn."""
    kind, _, rest = name.partition("/")
    if kind == "norm":
        _add(found.norms, rest, x, value)
    elif kind == "log_variance":
        _add(found.variances, rest, x, value)
    elif kind == "cosine" and rest.count("/") == 1:
        first, _, second = rest.partition("/")
        _add(found.cosines, (first, second), x, value)


def _add(lines: dict[Any, Line], name: Any, x: float, value: Any) -> None:
    if (y := number(value)) is not None:
        lines.setdefault(name, []).append((x, y))


def _from_log(run: RunFolder) -> list[tuple[str, str, Curve]]:
    """What the log of a run without a summary tells, per run (arm and seed). A repeated epoch counts once."""
    found: dict[str, dict[float, Mapping[str, Any]]] = {}
    for row in run.events("epoch"):
        epoch = number(row.get("epoch"))
        if epoch is not None and row.get("run"):
            found.setdefault(str(row["run"]), {})[epoch] = row
    made = [(name, _curve(list(epochs.values()))) for name, epochs in found.items()]
    return [(name, "single" if len(one.losses) == 1 else "asked", one) for name, one in made]


def _group(name: str, one: Curve, order: Sequence[str], found: Found) -> Group:
    cosines = one.cosines if any(y for line in one.cosines.values() for _, y in line) else {}
    pairs = list(cosines) if len(cosines) <= PAIRS else []
    others = {key: line for key, line in one.losses.items() if key not in order}
    panels = [
        _panel("Weights of the losses", one, one.weights, order, _total(one), nought=True),
        _panel("Losses", one, one.losses, order, "without weights", nought=True),
        _panel("Gradient norms", one, one.norms, order, _on_norms(one), nought=True),
        _panel("Log variances", one, one.variances, order, "a noisier task counts less"),
    ]
    if others:
        panels.append(_others(one, others))
    if pairs:
        lines = [Series(one.cosines[pair], f"task {colour(at)}") for at, pair in enumerate(pairs)]
        spoken = "; ".join(f"{a} and {b} {words.figures(one.cosines[a, b][-1][1], 2)}" for a, b in pairs)
        plot = _lines(lines, one, f"Cosines of gradients; at the end {spoken}", (-1.0, 1.0))
        panels.append(Panel("Cosines of gradients", plot, "1 alike, −1 opposed"))
    legend = [(f"task {colour(at)}", f"{a}, {b}") for at, (a, b) in enumerate(pairs)]
    drawn = None if len(cosines) < 2 else both(partial(cosine_map, cosines, order))
    note = "saved" if name == found.chosen else ""
    return Group(name, note, [panel for panel in panels if panel is not None], legend, drawn)


def _total(one: Curve) -> str:
    """What the weights add up to: a larger sum is a larger step, whatever the task."""
    values = [y for _, y in one.total]
    if not values:
        return ""
    low, high = words.figures(min(values)), words.figures(max(values))
    return f"together {low}" if low == high else f"together {low} to {high} (thin)"


def _on_norms(one: Curve) -> str:
    """What was measured; towers that share nothing, and heads that begin at nought, are said to be so."""
    text = "on the shared weights"
    if one.cosines and not any(y for line in one.cosines.values() for _, y in line):
        text = "on towers that share no weights, so that cosines are 0"
    starts = [line[0][1] for line in one.norms.values() if line]
    return f"{text}; 0 at first: new heads pass nothing on" if starts and not any(starts) else text


def _others(one: Curve, lines: Mapping[str, Line]) -> Panel:
    """Losses that are no tasks', such as the pull between towers."""
    most = max(y for line in lines.values() for _, y in line)
    power = math.floor(math.log10(most)) if NOUGHT < most < TINY else 0
    lines = {name: [(x, y / 10.0**power) for x, y in line] for name, line in lines.items()}
    most /= 10.0**power
    spoken = "; ".join(f"{name} {words.figures(line[-1][1])}" for name, line in lines.items())
    series = [Series(line, "loss") for line in lines.values()]
    plot = _lines(series, one, f"Other losses; at the end {spoken}", (0.0, 1.05 * most if most > NOUGHT else 1.0))
    note = f"a loss besides the tasks'{f', in 1e{power}' if power else ''}".replace("-", words.MINUS)
    return Panel(words.listed(words.human(name).capitalize() for name in lines), plot, note)


def _panel(
    title: str, one: Curve, lines: Mapping[str, Line], order: Sequence[str], note: str, *, nought: bool = False
) -> Panel | None:
    lines = {name: line for name, line in lines.items() if name in order}
    if not lines:
        return None
    series = [Series(line, f"task {colour(order.index(name))}") for name, line in lines.items()]
    values = [y for line in lines.values() for _, y in line]
    if title.startswith("Weights") and len({round(y, 9) for _, y in one.total}) > 1:
        series.insert(0, Series(one.total, "thin"))
        values += [y for _, y in one.total]
    low, high = (min(0.0, *values) if nought else min(values)), max(values)
    air = 0.05 * (high - low) if high - low > NOUGHT else 0.5
    limits = (low if nought and low == 0 else low - air, high + air)
    spoken = "; ".join(f"{name} {words.figures(line[-1][1])}" for name, line in lines.items())
    return Panel(title, _lines(series, one, f"{title}; at the end {spoken}", limits), note)


def _lines(series: Sequence[Series], one: Curve, spoken: str, limits: tuple[float, float]) -> Markup:
    return line_chart(series, NARROW, HEIGHT, spoken, x_ticks=_ticks(one.epochs), y_range=limits, y_percent=False)


def _ticks(last: float) -> list[tuple[float, str]]:
    places = sorted({1.0, last, *([float(round((1 + last) / 2))] if last > 4 else [])})
    return [(x, f"epoch {words.count(x)}" if x == last else words.count(x)) for x in places]


def _alone(made: Sequence[tuple[str, Curve]], order: Sequence[str]) -> Panel | None:
    """Losses of the networks for one task, each over its own epochs: they take as many steps as the others."""
    lines = {name: line for _, one in made for name, line in one.losses.items()}
    if not lines:
        return None
    whole = Curve(losses=lines, epochs=max(one.epochs for _, one in made))
    return _panel("Losses of the networks for one task each", whole, lines, order, "in as many steps", nought=True)


# --- every pair of tasks ---------------------------------------------------------------------------------------------------


def cosine_map(cosines: Mapping[tuple[str, str], Line], order: Sequence[str], width: float) -> Markup:
    """Mean cosine over the epochs of every pair: blue for tasks that pull together, orange for against each other."""
    names = [name for name in order if any(name in pair for pair in cosines)]
    text = 12.5 if width > 500 else 11.0
    longest = max(text_width(name, text) for name in names)
    gutter, slant = min(0.3 * width, 10 + longest), 0.72 * min(longest, 110.0)
    head = slant + 18
    cell = max(min(54.0, (width - gutter - slant * 0.8) / len(names)), 32.0)
    means = {pair: sum(y for _, y in line) / len(line) for pair, line in cosines.items() if line}
    parts = []
    for i, name in enumerate(names):
        y = head + cell * i
        parts.append(label(gutter - 7, y + cell / 2 + 4, fit(name, gutter - 8, text), anchor="end", size=text))
        turn = f"translate({gutter + cell * (i + 0.5) + 4:.1f} {head - 7:.1f}) rotate(-45)"
        parts.append(tag("text", fit(name, 110.0, text), transform=turn, font_size=text))
        for j, other in enumerate(names):
            found = means.get((name, other), means.get((other, name)))
            parts.append(_cell(found, gutter + cell * j, y, cell))
    spoken = "; ".join(f"{a} and {b} {words.figures(mean, 2)}" for (a, b), mean in means.items())
    across = gutter + cell * len(names) + slant * 0.8 + 6
    return drawing(across, head + cell * len(names) + 2, f"Mean cosines: {spoken}", *parts, class_="chart matrix")


def _cell(mean: float | None, x: float, y: float, cell: float) -> Markup:
    box = {"x": x + 0.5, "y": y + 0.5, "width": cell - 1, "height": cell - 1, "rx": 2.0}
    if mean is None:
        return tag("rect", **box, class_="cell empty")
    depth = 0.06 + 0.86 * min(abs(mean), 1.0)
    tone = "on" if depth > 0.86 else "mid" if depth > 0.57 else "off"
    kind = "right" if mean >= 0 else "wrong"
    figure = label(
        x + cell / 2,
        y + cell / 2 + 4,
        f"{mean:.2f}".replace("-", words.MINUS),
        class_=tone,
        anchor="middle",
        size=min(11.5, cell / 3.1),
    )
    return tag("g", tag("rect", **box, class_=f"cell {kind}", style=f"--d:{depth:.2f}"), figure)
