"""The figure of `headstart pretrain` for a paper or a notebook: how learning went, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.report.folder import interval, number, rows_of, table_of
from headstart.report.pretrain_curves import Course, course_of, last_probes, line_of, probes_of
from headstart.report.pretrain_verdict import KINDS, RANDOM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = Callable[["Axes"], None]
"""Draws into the axes that it is given."""


def pretrained(summary: Mapping[str, Any]) -> Figure:
    """Loss, rank and spread over the epochs, the probe by depth, and accuracy by labels, probed and fine-tuned.

    What a run does not know has no panel: without labels there are the first two.
    """
    from matplotlib.figure import Figure

    panels = list(_panels(summary))
    across = min(len(panels), 3) or 1
    down = -(-len(panels) // across) or 1
    figure = Figure((3.8 * across, 3.2 * down), layout="constrained")
    places = figure.subplots(down, across, squeeze=False).flatten()
    for axes in places[max(len(panels), 1) :]:
        axes.remove()
    for axes, draw in zip(places, panels, strict=False):
        axes.grid(alpha=0.3)
        draw(axes)
    return figure


def _panels(summary: Mapping[str, Any]) -> Iterator[Panel]:
    looks, start = rows_of(summary.get("looks")), table_of(summary.get("start"))
    if looks:
        course = course_of(looks)
        if line_of(course, "loss"):
            yield partial(_loss, course)
        if line_of(course, "rank") or line_of(course, "spread"):
            yield partial(_health, course, start)
        if len(last_probes(course)) > 1:
            yield partial(_depth, probes_of(start), last_probes(course))
    verdict = table_of(summary.get("verdict"))
    cells = rows_of(verdict.get("cells"))
    names = {str(one.get("name")): str(one.get("label")) for one in rows_of(verdict.get("networks"))}
    for kind, title in KINDS.items():
        if mine := [cell for cell in cells if cell.get("kind") == kind]:
            yield partial(_worth, mine, names, kind, title)


def _loss(course: Course, axes: Axes) -> None:
    """Relative to what guessing gives, where that is known."""
    share = line_of(course, "of_chance")
    points = [(x, 100 * y) for x, y in share] or line_of(course, "loss")
    axes.plot([x for x, _ in points], [y for _, y in points], color="C0")
    if share:
        axes.axhline(100, color="black", linewidth=0.8, linestyle="--")
    for mark in course.marks[1:]:
        axes.axvline(mark, color="C7", linewidth=0.8, linestyle=":")
    axes.set(xlabel="epoch", ylabel="loss, % of guessing" if share else "loss")


def _health(course: Course, start: Mapping[str, Any], axes: Axes) -> None:
    """Effective rank at the left, spread at the right: both near their least where features have collapsed."""
    called = {"rank": ("effective rank", "C2"), "spread": ("spread per dimension", "C1")}
    lines = {name: points for name in called if (points := line_of(course, name, start))}
    for place, (name, points) in enumerate(lines.items()):
        own = axes.twinx() if place else axes
        text, color = called[name]
        own.plot([x for x, _ in points], [y for _, y in points], color=color, label=text)
        own.set_ylabel(text, color=color)
        own.set_ylim(bottom=0)
    axes.set_xlabel("epoch")


def _depth(before: Mapping[str, float], after: Mapping[str, float], axes: Axes) -> None:
    """Linear probe on held-out images, block by block."""
    names = list(after)
    for found, label, color in ((before, "before", "C7"), (after, "after", "C0")):
        known = [(place, 100 * found[name]) for place, name in enumerate(names) if name in found]
        axes.plot([x for x, _ in known], [y for _, y in known], "o-", markersize=3, color=color, label=label)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize="small")
    axes.set(ylabel="linear probe, held-out images, %")
    axes.legend(fontsize="small")


def _worth(cells: Sequence[Mapping[str, Any]], names: Mapping[str, str], kind: str, title: str, axes: Axes) -> None:
    """Test accuracy by number of labels, a line per network, with intervals."""
    for place, (name, text) in enumerate(names.items()):
        known = [
            (images, 100 * right, interval(cell.get("interval")))
            for cell in cells
            if cell.get("network") == name
            and (images := number(cell.get("images"))) is not None
            and (right := number(cell.get("accuracy"))) is not None
        ]
        if not known:
            continue
        label = "from scratch" if (kind, name) == ("fine_tune", RANDOM) else text
        axes.plot([x for x, _, _ in known], [y for _, y, _ in known], "o-", color=f"C{place}", markersize=4, label=label)
        spans = [(x, found) for x, _, found in known if found is not None]
        low, high = ([100 * found[side] for _, found in spans] for side in (0, 1))
        axes.vlines([x for x, _ in spans], low, high, color=f"C{place}")
    axes.set(xscale="log", xlabel="labels", ylabel="test images right, %", title=title)
    counts = sorted({int(number(cell.get("images")) or 0) for cell in cells})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.legend(fontsize="small")
