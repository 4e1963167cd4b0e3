"""The comparison: the arms side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, interval_plot
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.forecast import advised_of
from headstart.report.judged import ENDED, Judged, ending, judged_on, reason_of
from headstart.report.svg import both


@dataclass(frozen=True)
class Arm:
    """One row of the table of arms; everything is text already."""

    label: str
    name: str
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
    """The section of arms side by side; `folds` tells whether there were several."""

    lead: str
    plot: Markup | None
    key: str
    rows: Sequence[Arm]
    metric: str
    folds: bool
    notes: Sequence[str]


def arms(run: RunFolder) -> Arms | None:
    """All arms, the best first, then by mean, those that were stopped last, or None when none was recorded.

    The best may have been stopped by the clock: it can win by a decided lead on the folds it ran.
    """
    found = rows_of(run.summary.get("arms"))
    if not found:
        return None
    order = {"finished": 0, "skipped": 2}
    found.sort(key=lambda arm: (order.get(str(arm.get("status")), 1), -(number(arm.get("accuracy_mean")) or 0.0)))
    won = [arm for arm in found if arm.get("name") == run.summary.get("best")]
    found.sort(key=lambda arm: arm not in won)
    chosen, advised = run.summary.get("chosen"), advised_of(run.summary)
    tags = {
        id(arm): [word for word, name in (("chosen", chosen), ("advised", advised)) if name and arm.get("name") == name]
        for arm in found
    }
    estimates = [_estimate(arm, tags[id(arm)]) for arm in found if number(arm.get("accuracy_mean")) is not None]
    best = found[0] if won or found[0].get("status") == "finished" else None
    ahead = None if best is None else _ahead(best, found)
    judged = judged_on(run)
    axis = f"{judged.axis}, with 95 % interval"
    return Arms(
        lead=_arms_lead(found, judged) + _left_out(run),
        plot=both(lambda width: interval_plot(estimates, width, axis)) if estimates else None,
        key=_key(estimates),
        rows=[_arm(arm, tags[id(arm)], ahead if arm is best else None, judged) for arm in found],
        metric=judged.metric.capitalize(),
        folds=judged.kind == "folds",
        notes=_notes(found),
    )


def _estimate(arm: Mapping[str, Any], tags: Sequence[str]) -> Estimate:
    how = ending(arm)
    kind = "best" if "chosen" in tags else "plain" if how == "finished" else "faint"
    note = " · ".join([*tags, *([] if how == "finished" else [ENDED.get(how, how)])])
    mean = number(arm.get("accuracy_mean"))
    assert mean is not None  # the caller keeps arms without a mean out of the plot
    return Estimate(_label(arm), mean, interval(arm.get("accuracy_interval")), kind, note)


def _label(arm: Mapping[str, Any]) -> str:
    return str(arm.get("label") or arm.get("name") or "unnamed")


def _arms_lead(found: Sequence[Mapping[str, Any]], judged: Judged) -> str:
    ways = words.plural(sum(number(arm.get("accuracy_mean")) is not None for arm in found), "way")
    ends = [ending(arm) for arm in found]
    by = {how: ends.count(how) for how in ENDED}
    where = {
        "split": f"judged on the given validation split ({words.plural(judged.images, 'image')})",
        "part": "judged on the same held-out images",
        "folds": f"tried on the same {words.count(judged.folds)} folds of the training data",
    }[judged.kind]
    text = f"{ways} {where}, from the same seed."
    if judged.metric == "balanced accuracy":
        text += " They are compared by balanced accuracy, in which every class counts the same."
    text += f" {words.count(by['beaten'])} stopped early, to spend the time on the better ones." if by["beaten"] else ""
    text += f" {words.count(by['late'])} ran out of time before the last fold." if by["late"] else ""
    text += f" {words.count(by['diverged'])} diverged." if by["diverged"] else ""
    were = "was" if by["skipped"] == 1 else "were"
    text += f" {words.count(by['skipped'])} {were} not tried; the table says why." if by["skipped"] else ""
    if by["finished"] > 1:
        text += " Intervals that overlap settle nothing: the table tells the differences on the very same images."
    return text


def _left_out(run: RunFolder) -> str:
    """Ways that the plan left out, which the summary does not list."""
    plans = run.events("plan")
    names = [str(name) for name in (plans[-1].get("left_out") or ())] if plans else []
    if not names:
        return ""
    them, was = ("them", "were") if len(names) > 1 else ("it", "was")
    return (
        f" {words.count(len(names))} more {was} left out from the start, as the time would not do for {them}: "
        f"{words.listed(names)}."
    )


def _key(estimates: Sequence[Estimate]) -> str:
    """What the marks of the plot mean, as far as there are any."""
    kinds = {row.kind for row in estimates}
    text = "Dots are means, lines their 95 % intervals."
    text += " The dotted line marks the chosen way." if "best" in kinds else ""
    return text + (" Hollow dots were not tried on every fold." if "faint" in kinds else "")


def _notes(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table's figures and short words mean, as far as they are there."""
    notes = []
    if any(table_of(arm.get("difference_to_best")) for arm in found):
        notes.append(
            "Against the best: the difference from the highest mean on the images both were judged on, with its 95 % "
            "interval; the p-value, unlike the interval, allows for the number of ways compared (Holm)."
        )
    if any("LR/" in f"{arm.get('label')} {arm.get('description')}" for arm in found):
        notes.append("LR is the learning rate of the head, LR/10 a tenth of it.")
    return [words.grouped(note) for note in notes]


def _ahead(best: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    """What is said of the best in place of a difference to itself; others may have a higher mean, of fewer folds."""
    if ending(best) != "finished":
        return "ahead on its folds"
    own = number(best.get("accuracy_mean")) or 0.0
    higher = any((number(arm.get("accuracy_mean")) or 0.0) > own for arm in found if ending(arm) != "diverged")
    return "highest mean on all folds" if higher else "highest mean"


def _arm(arm: Mapping[str, Any], tags: Sequence[str], ahead: str | None, judged: Judged) -> Arm:
    how, reason = ending(arm), reason_of(arm, judged)
    said = ENDED.get(how, how)
    span, against = interval(arm.get("accuracy_interval")), table_of(arm.get("difference_to_best"))
    tried = how != "skipped"
    return Arm(
        label=_label(arm),
        name=str(arm.get("name") or ""),
        tags=tags,
        description=words.sentence(str(arm.get("description") or "")),
        accuracy=words.percent(number(arm.get("accuracy_mean"))),
        span=words.percent_range(span) if span else "",
        difference=ahead if ahead is not None else words.points(_minus(against.get("mean")), sign=True),
        difference_span=_difference_span(against),
        seconds=words.duration(number(arm.get("seconds"))) if tried else words.UNKNOWN,
        trained=words.compact(number(arm.get("trained_parameters"))),
        folds=words.count(number(arm.get("folds_run"))) if tried else words.UNKNOWN,
        outcome=words.sentence(f"{said}: {reason}" if reason else said),
        faint=how != "finished",
    )


def _minus(value: Any) -> float | None:
    """A run writes the best minus the arm; the table shows the arm against the best."""
    found = number(value)
    return None if found is None else -found


def _difference_span(against: Mapping[str, Any]) -> str:
    span, p = interval([_minus(against.get("high")), _minus(against.get("low"))]), number(against.get("p_value"))
    return ", ".join([*([words.points_range(span)] if span else []), *([words.p_value(p)] if p is not None else [])])
