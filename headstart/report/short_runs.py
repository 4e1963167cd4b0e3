"""The page of `study augmentations` and `study scaling`: a heat map of pairs, or a line per thing that was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from headstart.report import closing, words
from headstart.report.charts import Estimate, interval_plot
from headstart.report.folder import RunFolder
from headstart.report.svg import both, drawing, fit, label, tag, text_width

TEMPLATE = "short_runs.html"
TITLES = {
    "study augmentations": "Which augmentations teach most together",
    "study scaling": "What projection, batch, network and length bring",
}
AXES = {
    "projection": "Projection head",
    "batch": "Images per step",
    "network": "Network",
    "epochs": "Passes over the images",
}


@dataclass(frozen=True)
class Panel:
    """One axis: its title and its intervals."""

    title: str
    plot: Markup


@dataclass(frozen=True)
class Row:
    """One training in figures; `gap` is its difference from what it is compared with."""

    name: str
    accuracy: str
    span: str
    gap: str
    block: str
    loss: str
    seconds: str
    best: bool


def context(run: RunFolder) -> dict[str, Any]:
    """What the template shows."""
    summary = run.summary
    cells = [one for one in summary.get("cells", []) if isinstance(one, Mapping)]
    pairs = run.command == "study augmentations"
    best = max(cells, key=lambda one: float(one["accuracy"]["mean"]), default=None)
    return {
        "title": TITLES.get(run.command, "Short trainings"),
        "subtitle": _subtitle(summary, cells),
        "sentences": summary.get("sentences", []),
        "heat": both(partial(heat_map, cells, summary.get("steps", []))) if pairs and cells else None,
        "panels": [] if pairs else _panels(cells, best),
        "rows": _rows(summary, cells, best),
        "against": "the best" if pairs else "the one before",
        "left_out": summary.get("left_out", []),
        "repeat": closing.repeat(run),
        "limits": [*closing.data_limits(run.inspection), *_limits(summary)],
        "notes": run.remarks,
        "gaps": run.gaps,
        "pairs": pairs,
    }


def _subtitle(summary: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    name = words.listed(summary.get("networks") or [(summary.get("backbone") or {}).get("name", "a network")])
    seeds = len(summary.get("seeds", [])) or 1
    parts = [f"{words.plural(len(cells), 'training')} of {name}"]
    if summary.get("images"):
        parts.append(f"on {words.count(summary['images'])} images")
    told = " ".join(parts)
    return f"{told} · {words.plural(seeds, 'seed')}"


def _limits(summary: Mapping[str, Any]) -> list[str]:
    said = [
        "Trainings are short. Longer ones, other networks and more images can put the same things into another order; the "
        "published findings are of hundreds of passes over a million images.",
        "All are judged by a probe on shared test images; what is called undecided may differ by less than these can tell.",
    ]
    if summary.get("command") == "study augmentations":
        said.append("The best is chosen on the images it is judged on: of many alike, the one shown first was lucky too.")
    if len(summary.get("seeds", [])) < 2:
        said.append(
            "One seed: how far chance in the weights moves a training is not in the intervals; --seeds 3 puts it there."
        )
    return said


def _panels(cells: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> list[Panel]:
    found = []
    for axis in dict.fromkeys(str(one["place"][0]) for one in cells):
        mine = [one for one in cells if one["place"][0] == axis]
        rows = [Estimate(str(one["place"][1]), *_interval(one), kind="best" if one is best else "plain") for one in mine]
        found.append(
            Panel(AXES.get(axis, words.human(axis)), both(partial(interval_plot, rows, axis="accuracy of a probe")))
        )
    return found


def _interval(cell: Mapping[str, Any]) -> tuple[float, tuple[float, float]]:
    seen = cell["accuracy"]
    return float(seen["mean"]), (float(seen["low"]), float(seen["high"]))


def _rows(summary: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> list[Row]:
    pairs = summary.get("command") == "study augmentations"
    gaps = {str(one["b" if pairs else "a"]): one for one in summary.get("differences", [])}
    order = sorted(cells, key=lambda one: -float(one["accuracy"]["mean"])) if pairs else list(cells)
    return [
        Row(
            str(one["name"]),
            words.percent(_interval(one)[0]),
            words.percent_range(_interval(one)[1]),
            _gap(gaps.get(str(one["name"])), sign=-1 if pairs else 1),
            str(one.get("block") or ""),
            words.figures(one.get("loss")),
            words.duration(one.get("seconds")),
            one is best,
        )
        for one in order
    ]


def _gap(one: Mapping[str, Any] | None, sign: int) -> str:
    if one is None:
        return ""
    ends = sorted((sign * float(one["low"]), sign * float(one["high"])))
    verdict = "" if one["decided"] else ", one seed" if one.get("seeds") == 1 else ", undecided"
    return f"{words.points(sign * float(one['mean']), sign=True)} ({words.points_range((ends[0], ends[1]))}){verdict}"


def heat_map(cells: Sequence[Mapping[str, Any]], steps: Sequence[str], width: float) -> Markup:
    """Accuracy of every pair; the diagonal is each augmentation alone. The deeper the colour, the more was learned."""
    means = {tuple(sorted(map(str, one["place"]))): float(one["accuracy"]["mean"]) for one in cells}
    low, high = min(means.values()), max(means.values())
    text = 12.0
    gutter = min(0.32 * width, 12 + max(text_width(step, text) for step in steps))
    side = min(84.0, max((width - gutter - 4) / len(steps), 40.0))
    head = 28.0
    parts: list[Markup] = []
    for i, one in enumerate(steps):
        middle = side * (i + 0.5)
        parts.append(label(gutter - 6, head + middle + text / 3, fit(one, gutter - 8, text), anchor="end", size=text))
        parts.append(
            label(gutter + middle, head - 8, fit(one.partition("(")[0], side - 4, text), anchor="middle", size=text)
        )
        for j in range(len(steps)):
            parts += _cell(means.get(tuple(sorted((one, steps[j])))), (low, high), gutter + side * j, head + side * i, side)
    told = "; ".join(f"{' and '.join(dict.fromkeys(pair))} {words.percent(mean)}" for pair, mean in means.items())
    across, down = gutter + side * len(steps) + 4, head + side * len(steps) + 4
    return drawing(across, down, f"Heat map of accuracies: {told}", *parts, class_="chart matrix")


def _cell(mean: float | None, ends: tuple[float, float], x: float, y: float, side: float) -> list[Markup]:
    """One pair: its colour and its figure; empty where it was left out."""
    place: dict[str, float] = {"x": x + 0.5, "y": y + 0.5, "width": side - 1, "height": side - 1, "rx": 2}
    if mean is None:
        return [tag("rect", **place, class_="cell empty")]
    share = (mean - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 1.0
    depth = 0.12 + 0.88 * share
    tone = "on" if depth > 0.86 else "mid" if depth > 0.57 else "off"
    figure = label(x + side / 2, y + side / 2 + 4, f"{100 * mean:.1f}", anchor="middle", size=12.0, class_=tone)
    return [tag("rect", **place, class_="cell right", style=f"--d:{depth:.2f}"), figure]
