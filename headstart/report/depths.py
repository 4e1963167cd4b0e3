"""Accuracy by depth: where in the frozen network a linear head reads best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, depth_chart
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.judged import judged_on
from headstart.report.svg import both


@dataclass(frozen=True)
class Depth:
    """The section of accuracy by depth."""

    lead: str
    plot: Markup
    key: str


def depth(run: RunFolder) -> Depth | None:
    """Accuracy of a head at every depth, or None when it was not measured."""
    found = run.summary.get("depth")
    rows = blocks_of(table_of(found).get("blocks") if isinstance(found, dict) else found)
    if not rows:
        return None
    judged = judged_on(run)
    ground = f"Accuracy on {judged.where}," if judged.kind == "split" else "Cross-validated accuracy"
    key = words.grouped(f"{ground} with 95 % intervals, from the input on the left to the output on the right.")
    best = best_of(rows)
    marked = [Estimate(r.name, r.mean, r.span, "best" if r is best else r.kind) for r in rows]
    earliest = str(table_of(found).get("earliest") or "")
    return Depth(_lead(rows, best, earliest), both(lambda width: depth_chart(marked, width)), key)


def blocks_of(value: Any) -> list[Estimate]:
    """Blocks with an accuracy, from the input; that of all depths together is of kind `apart`."""
    return [
        Estimate(str(row.get("block")), mean, interval(row.get("interval")), _kind(row))
        for row in rows_of(value)
        if (mean := number(row.get("accuracy"))) is not None
    ]


def _kind(row: Mapping[str, Any]) -> str:
    return "apart" if row.get("block") == "all" else "plain"


def best_of(rows: Sequence[Estimate]) -> Estimate:
    """The best single block."""
    return max([row for row in rows if row.kind != "apart"] or rows, key=lambda row: row.mean)


def _lead(rows: Sequence[Estimate], best: Estimate, earliest: str) -> str:
    single = [row for row in rows if row.kind != "apart"] or rows
    last = single[-1]
    text = f"The same linear head reads the frozen network after every block. Best: {best.name}, {words.percent(best.mean)}"
    text += ", the last one." if best is last else f", against {words.percent(last.mean)} at the end of the network."
    early = next((row for row in single if row.name == earliest), None)
    if early is not None and early is not best:
        text += f" The earliest block that does about as well is {early.name}, with {words.percent(early.mean)}."
    together = next((row for row in rows if row.kind == "apart"), None)
    text += f" All depths together give {words.percent(together.mean)}." if together else ""
    return text + (
        " The best of several is flattered a little: the same images pick it and judge it." if len(single) > 1 else ""
    )
