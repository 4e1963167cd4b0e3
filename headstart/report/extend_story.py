"""The first thing a reader sees: what was learned, what was kept, how sure that is, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headstart.report import words
from headstart.report.extend_read import Arm, Measured, Task, measured
from headstart.report.folder import number, rows_of, table_of
from headstart.report.verdict import Fact, Verdict

WHAT = {"new": "the new task", "old": "the old tasks", "average": "all tasks together"}
"""What a difference was measured on."""


def verdict(summary: Mapping[str, Any], arms: Sequence[Arm], tasks: Sequence[Task]) -> Verdict:
    """Undecided is said to be undecided, and what was not measured is said not to be known."""
    if not arms:
        text = "This run ended before anything was measured on test images."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    if summary.get("command") == "compare-continual":
        return _compared(summary, arms, tasks)
    arm, agnostic = arms[0], summary.get("scenario") == "class"
    tone, kicker = _tone(arm, tasks)
    after = [text for text in (_free(arm, agnostic), *_against(summary, arm, arms)) if text]
    return Verdict(tone, kicker, f"{_learned(arm, tasks)} {_kept(arm, tasks)}", tuple(after), _facts(arm, agnostic))


def _tone(arm: Arm, tasks: Sequence[Task]) -> tuple[str, str]:
    if not _earlier(tasks):
        return "decided", "Learned"
    if arm.change is None:
        return "undecided", "Learned; what was kept is not known"
    if not arm.change.decided:
        return "undecided", "Learned; whether anything was lost is undecided"
    return "decided", "Learned, and some of the old was lost" if arm.change.mean < 0 else "Learned, and the old gained"


def _earlier(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that may be forgotten: those the model came with, else all but the last."""
    return [task for task in tasks if not task.new] or list(tasks[:-1])


def _learned(arm: Arm, tasks: Sequence[Task]) -> str:
    name = f"“{tasks[-1].name}”" if tasks else "the new task"
    new = arm.learned_new
    if new is None:
        return f"It learned {name}, but was not judged on it."
    between = f" (95{words.NARROW}% interval {new.between})" if new.span else ""
    return f"It learned {name}: {new.percent} of its test images right{between}."


def _kept(arm: Arm, tasks: Sequence[Task]) -> str:
    old = _earlier(tasks)
    if not old:
        return "There was no task before it to forget."
    one = len(old) == 1
    what = f"“{old[0].name}”" if one else "what it knew before"
    if arm.change is None or arm.after is None:
        return f"How much of {what} was kept is not known: none of {'its' if one else 'their'} test images were given."
    judged = [task for task in old if task.judged]
    some = f"{what}, as far as judged," if len(judged) < len(old) else what
    before = f" from {arm.before.percent}" if arm.before else ""
    change, span = words.points(abs(arm.change.mean)), words.points_range(arm.change.span)
    if arm.change.decided:
        went = "fell" if arm.change.mean < 0 else "rose"
        return f"On {some} it {went}{before} to {arm.after.percent}, by {change} (change {span})."
    signed = words.points(arm.change.mean, sign=True)
    least = min(0.0, arm.change.span[0]) if arm.change.span else None
    most = f"; a loss of up to {words.points(-least)} is not ruled out" if least else ""
    return f"Whether it lost any of {what} is undecided: {signed} (interval {span}){most}."


def _free(arm: Arm, agnostic: bool) -> str:
    """How it does when nobody names the task."""
    if arm.alike:
        return "Telling it the task makes no difference to its answers."
    if arm.new_agnostic is None or arm.new is None or arm.agnostic_after is None:
        return ""
    if arm.listed:
        known, after = arm.new, measured(table_of(arm.raw.get("old")).get("after"))
        old = f" and {after.percent} of those of the old tasks" if after else ""
        return (
            "That is out of one list of all classes, which is what counts in this scenario. Told which task an image is of "
            f"it is right on {known.percent} of the new task's images{old}."
        )
    text = (
        f"That is with the task known. Without being told the task it is right on {arm.new_agnostic.percent} of the new "
        f"task's images and {arm.agnostic_after.percent} of those of the old tasks."
    )
    return text + (" In this scenario that is what counts." if agnostic else "")


def _against(summary: Mapping[str, Any], arm: Arm, arms: Sequence[Arm]) -> Iterator[str]:
    """The bounds, each in one sentence: on the old tasks against the lower, on all against the upper."""
    for other in arms[1:]:
        rows = [row for row in rows_of(summary.get("differences")) if (row.get("a"), row.get("b")) == (arm.name, other.name)]
        told = [text for row in rows if str(row.get("what")) in WHAT and (text := compared(row))]
        if other.bound and told:
            yield f"Against {other.label}, the {other.bound}: {'; '.join(told)}."


def compared(row: Mapping[str, Any]) -> str:
    """One paired difference: +3.2 points on the old tasks (1.1 to 5.3)."""
    mean = number(row.get("mean"))
    if mean is None:
        return ""
    low, high = number(row.get("low")), number(row.get("high"))
    span = f" ({words.points_range((low, high))})" if low is not None and high is not None else ""
    decided = "" if row.get("decided") else ", undecided"
    return f"{words.points(mean, sign=True)} on {WHAT.get(str(row.get('what')), str(row.get('what')))}{span}{decided}"


def _facts(arm: Arm, agnostic: bool) -> tuple[Fact, ...]:
    def share(one: Measured | None, name: str) -> list[Fact]:
        return [Fact(one.percent, name, one.between)] if one else []

    need = "none" if arm.old_bytes == 0 else words.size(arm.old_bytes)
    facts = [
        *share(arm.new_agnostic if agnostic and arm.new_agnostic else arm.new, "new task"),
        *share(arm.agnostic_after if agnostic and arm.agnostic_after else arm.after, "old tasks, now"),
        Fact(need, "old data needed"),
        Fact(words.flop(arm.training), "to learn"),
        Fact(words.size(arm.stored), "to store"),
    ]
    return tuple(fact for fact in facts if fact.value != words.UNKNOWN)


# --- several methods -------------------------------------------------------------------------------------------------------


def _compared(summary: Mapping[str, Any], arms: Sequence[Arm], tasks: Sequence[Task]) -> Verdict:
    """Which method has the highest mean over all tasks, and which of the others are not told from it."""
    found = sorted(
        (arm for arm in arms if arm.overall and not arm.bound), key=lambda arm: -(arm.overall or Measured(0)).mean
    )
    if not found or found[0].overall is None:
        text = f"{words.plural(len(arms), 'method')} ran, but none was judged on test images of all tasks."
        return Verdict("undecided", "Not compared", text, (), ())
    best = found[0]
    assert best.overall is not None
    head = f"{best.label} has the highest average accuracy of {words.plural(len(found), 'method')}: {best.overall.percent}"
    head += f" (95{words.NARROW}% interval {best.overall.between})" if best.overall.span else ""
    open_ = _open(summary, best, found[1:])
    names = words.listed([*open_[:4], *([f"{len(open_) - 4} more"] if len(open_) > 4 else [])])
    if open_:
        return Verdict(
            "undecided", "Not decided", f"{head}. Whether it is truly better than {names} is undecided.", (), _podium(found)
        )
    if len(found) == 1:
        return Verdict("decided", "Only one method ran", f"{head}.", (), _podium(found))
    return Verdict("decided", "Decided", f"{head}, and all others are truly below it.", (), _podium(found))


def _open(summary: Mapping[str, Any], best: Arm, others: Sequence[Arm]) -> list[str]:
    """Methods whose difference to the best is not decided; one that was never paired with it is not decided either."""
    decided = {
        frozenset((str(row.get("a")), str(row.get("b"))))
        for row in rows_of(summary.get("differences"))
        if row.get("what") == "average" and row.get("decided")
    }
    return [arm.label for arm in others if frozenset((arm.name, best.name)) not in decided]


def _podium(found: Sequence[Arm]) -> tuple[Fact, ...]:
    return tuple(Fact(arm.overall.percent, arm.label, arm.overall.between) for arm in found[:4] if arm.overall)
