"""The comparison: the advice and its reasons, the arms side by side, accuracy by depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, depth_chart, interval_plot
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.quadrant import CORNERS, quadrant_picture
from headstart.report.svg import both
from headstart.report.tables import flatten
from headstart.report.verdict import advised_of, judged_once, labels_of

ELSEWHERE = ("num_images", "num_classes", "probe_by_depth")
"""Measures that another section of the page shows."""


@dataclass(frozen=True)
class Advice:
    """The quadrant section."""

    lead: str
    picture: Markup
    reasons: Sequence[str]
    measures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Arm:
    """One row of the table of arms; everything is text already."""

    label: str
    tags: Sequence[str]
    description: str
    accuracy: str
    span: str
    difference: str
    difference_span: str
    seconds: str
    trained: str
    folds: str
    outcome: str
    faint: bool


@dataclass(frozen=True)
class Arms:
    """The section of arms side by side."""

    lead: str
    plot: Markup | None
    rows: Sequence[Arm]


@dataclass(frozen=True)
class Depth:
    """The section of accuracy by depth."""

    lead: str
    plot: Markup


def advice(run: RunFolder) -> Advice | None:
    """Quadrant and advice, or None when the run did not get so far."""
    quadrant, said = table_of(run.summary.get("quadrant")), table_of(run.summary.get("advice"))
    named = quadrant.get("number")
    if not quadrant and not said:
        return None
    corner = next((c for c in CORNERS if c.number == named), None)
    lead = f"Your data lie in quadrant {corner.number}: {corner.where} the source. " if corner else ""
    lead += f"The classic advice for it: {_lower(' '.join(corner.lines))}. " if corner else ""
    strategy = advised_of(run.summary)
    lead += f"Advised here: “{labels_of(run.summary).get(str(strategy), str(strategy))}”." if strategy else ""
    return Advice(
        lead=lead.strip(),
        picture=quadrant_picture(corner.number if corner else None, number(quadrant.get("x")), number(quadrant.get("y"))),
        reasons=[words.sentence(str(reason)) for reason in said.get("reasons") or ()],
        measures=flatten({key: value for key, value in table_of(said.get("measures")).items() if key not in ELSEWHERE}),
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def arms(run: RunFolder) -> Arms | None:
    """All arms, the best mean first and those that were stopped after it, or None when none was recorded."""
    found = rows_of(run.summary.get("arms"))
    if not found:
        return None
    order = {"finished": 0, "eliminated": 1, "skipped": 2}
    found.sort(key=lambda arm: (order.get(str(arm.get("status")), 1), -(number(arm.get("accuracy_mean")) or 0.0)))
    chosen, advised = run.summary.get("chosen"), advised_of(run.summary)
    tags = {
        id(arm): [word for word, name in (("chosen", chosen), ("advised", advised)) if name and arm.get("name") == name]
        for arm in found
    }
    estimates = [_estimate(arm, tags[id(arm)]) for arm in found if number(arm.get("accuracy_mean")) is not None]
    best = found[0] if found[0].get("status") == "finished" else None  # sorted by status, then by accuracy
    once = judged_once(run.summary)
    axis = f"accuracy on held-out {'images' if once else 'folds'}, with 95 % interval"
    plot = both(lambda width: interval_plot(estimates, width, axis)) if estimates else None
    return Arms(_arms_lead(found, estimates, once), plot, [_arm(arm, tags[id(arm)], arm is best) for arm in found])


def _estimate(arm: Mapping[str, Any], tags: Sequence[str]) -> Estimate:
    finished = arm.get("status") == "finished"
    kind = "best" if "chosen" in tags else "plain" if finished else "faint"
    note = " · ".join([*tags, *([] if finished else ["stopped early"])])
    mean = number(arm.get("accuracy_mean"))
    assert mean is not None  # the caller keeps arms without a mean out of the plot
    return Estimate(_label(arm), mean, interval(arm.get("accuracy_interval")), kind, note)


def _label(arm: Mapping[str, Any]) -> str:
    return str(arm.get("label") or arm.get("name") or "unnamed")


_OUT_OF_TIME = ("no longer fitted", "had used half")
"""What reasons say of arms that the clock stopped, and not their rivals."""


def _arms_lead(found: Sequence[Mapping[str, Any]], estimates: Sequence[Estimate], once: bool) -> str:
    by = {status: sum(arm.get("status") == status for arm in found) for status in ("finished", "eliminated", "skipped")}
    where = "judged on the same held-out images" if once else "tried on the same folds of the training data"
    text = f"{words.plural(len(estimates), 'way')} {where}, from the same seeds."
    late = sum(
        arm.get("status") == "eliminated" and any(sign in str(arm.get("reason")) for sign in _OUT_OF_TIME) for arm in found
    )
    beaten = by["eliminated"] - late
    text += f" {words.count(beaten)} stopped early, to spend the time on the better ones." if beaten else ""
    text += f" {words.count(late)} ran out of time before the last fold." if late else ""
    text += f" {words.count(by['skipped'])} not tried; the table says why." if by["skipped"] else ""
    if by["finished"] > 1:
        text += " Intervals that overlap settle nothing: the ways are compared on the same images, and the table tells how."
    return text


def _arm(arm: Mapping[str, Any], tags: Sequence[str], highest: bool) -> Arm:
    status = str(arm.get("status") or "")
    said = {"finished": "finished", "eliminated": "stopped early", "skipped": "not tried"}.get(status, status)
    turn = number(arm.get("round"))
    said += f" in round {words.count(turn)}" if status == "eliminated" and turn is not None else ""
    reason, span = str(arm.get("reason") or ""), interval(arm.get("accuracy_interval"))
    against = table_of(arm.get("difference_to_best"))
    return Arm(
        label=_label(arm),
        tags=tags,
        description=words.sentence(str(arm.get("description") or "")),
        accuracy=words.percent(number(arm.get("accuracy_mean"))),
        span=words.percent_range(span) if span else "",
        difference="highest mean" if highest else words.points(_minus(against.get("mean")), sign=True),
        difference_span=_difference_span(against),
        seconds=words.duration(number(arm.get("seconds"))) if status != "skipped" else words.UNKNOWN,
        trained=words.compact(number(arm.get("trained_parameters"))),
        folds=words.count(number(arm.get("folds_run"))) if status != "skipped" else words.UNKNOWN,
        outcome=words.sentence(f"{said}: {reason}" if reason else said),
        faint=status != "finished",
    )


def _minus(value: Any) -> float | None:
    """A run writes the best minus the arm; the table shows the arm against the best."""
    found = number(value)
    return None if found is None else -found


def _difference_span(against: Mapping[str, Any]) -> str:
    span, p = interval([_minus(against.get("high")), _minus(against.get("low"))]), number(against.get("p_value"))
    return ", ".join([*([words.points_range(span)] if span else []), *([words.p_value(p)] if p is not None else [])])


def depth(run: RunFolder) -> Depth | None:
    """Accuracy of a head at every depth, or None when it was not measured."""
    rows = [
        Estimate(
            str(row.get("block")), mean, interval(row.get("interval")), "apart" if row.get("block") == "all" else "plain"
        )
        for row in rows_of(run.summary.get("depth"))
        if (mean := number(row.get("accuracy"))) is not None
    ]
    if not rows:
        return None
    single = [row for row in rows if row.kind != "apart"] or rows
    best, last = max(single, key=lambda row: row.mean), single[-1]
    text = f"The same linear head reads the frozen network after every block. Best: {best.name}, {words.percent(best.mean)}"
    text += ", the last one." if best is last else f", against {words.percent(last.mean)} at the end of the network."
    together = next((row for row in rows if row.kind == "apart"), None)
    text += f" All depths together give {words.percent(together.mean)}." if together else ""
    marked = [Estimate(r.name, r.mean, r.span, "best" if r is best else r.kind) for r in rows]
    return Depth(text, both(lambda width: depth_chart(marked, width)))
