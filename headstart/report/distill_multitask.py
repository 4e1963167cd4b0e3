"""The page of `headstart distill` with a teacher for several questions: what it was worth, question by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from headstart.catalog.distill import ALONE, DISTILLED
from headstart.report import closing, words
from headstart.report.adapt import title
from headstart.report.distill_curves import Curves, curves
from headstart.report.distill_tables import epoch_costs, sizes, taught, texts
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.multitask import MEASURES
from headstart.report.multitask_data import data_shown
from headstart.report.multitask_forest import signed
from headstart.report.multitask_read import Arm, Found, read
from headstart.report.multitask_tables import Side, side_by_side
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "distill_multitask.html"

CHANGE = (
    "The mean over questions of how much better the student is that learned from its teacher, in percent of the value of "
    "the student alone; where less of a measure is better, less counts as better."
)


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None or empty."""
    summary = run.summary
    found = read(compared(summary))
    shown = data_shown(run, found)
    said = [words.sentence(words.grouped(text)) for text in texts(summary.get("warnings"))]
    return {
        "command": "distill",
        "title": title(run),
        "subtitle": _subtitle(summary, found),
        "verdict": verdict(found),
        "warnings": [text for text in said if shown is None or text not in shown.warnings],
        "side": side(found),
        "lesson": [*_lesson(summary), *taught(summary)],
        "curves": _curves(summary),
        "sizes": sizes(summary),
        "following": _following(summary),
        "data": shown,
        "defined": list(_defined(found)),
        "cost": _cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run, found)),
        "notes": [text for text in run.remarks if text.removeprefix("Warning: ") not in texts(summary.get("warnings"))],
        "gaps": run.gaps,
    }


def compared(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary as `multitask_read.read` takes it: the two students and the teacher are ways to answer all questions."""
    tasks = rows_of(summary.get("tasks"))
    teachers = rows_of(summary.get("teachers"))
    named = str(teachers[0].get("name") or "teacher") if teachers else "teacher"
    ways = (("distilled", DISTILLED, "asked"), ("alone", ALONE, "sum"), ("teacher", named, "asked"))
    arms = []
    for key, name, role in ways:
        there = {str(one.get("name")): {str(one.get("measure")): one.get(key)} for one in tasks if table_of(one.get(key))}
        delta = summary.get("gain") if key == "distilled" else None
        arms += [{"name": name, "role": role, "tasks": list(there), "measures": there, "delta_m": delta}] if there else []
    return {**summary, "arms": arms, "chosen": DISTILLED, "baseline": ALONE}


def _subtitle(summary: Mapping[str, Any], found: Found) -> str:
    student, teachers = table_of(summary.get("student")), rows_of(summary.get("teachers"))
    weights, images = number(student.get("parameters")), number(table_of(summary.get("data")).get("num_images"))
    epochs = number(summary.get("epochs"))
    parts = [
        words.listed(task.name for task in found.tasks),
        words.plural(images, "sample") if images else "",
        f"student {student['name']}{f', {words.compact(weights)} weights' if weights else ''}"
        if student.get("name")
        else "",
        f"teacher {teachers[0].get('name')}" if teachers else "",
        words.plural(epochs, "epoch") if epochs else "",
    ]
    return " · ".join(filter(None, parts))


def verdict(found: Found) -> Verdict:
    """What the teacher was worth over all questions; undecided is said to be undecided."""
    arm = found.best
    if arm is None:
        text = "This run ended before the distilled student could be compared with the same student trained alone."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    one, on = arm.delta, words.plural(len(found.tasks), "question")
    after = [*_by_task(found), "Both students began with the same weights and saw the same images in the same order."]
    if one is None or one.span is None:
        text = "The mean change is not defined on these test images; see each question below."
        return Verdict("undecided", "No mean over the questions", text, tuple(after), tuple(_facts(found)))
    low, high = (signed(end) for end in one.span)
    between = f"on average over {on} {signed(one.mean)}{words.NARROW}%, 95{words.NARROW}% interval {low} to {high}"
    if not one.decided:
        text = f"Whether learning from its teacher helped the student is undecided: {between}."
        return Verdict("undecided", "Not decided", text, tuple(after), tuple(_facts(found)))
    how, kicker = ("better", "Decided: it gained") if one.mean > 0 else ("worse", "Decided: it lost")
    text = f"Learning from its teacher made the student {how}: {between}."
    return Verdict("decided", kicker, text, tuple(after), tuple(_facts(found)))


def _by_task(found: Found) -> Iterator[str]:
    gaps = found.against(DISTILLED, plain=True)
    decided = [f"{gap.task} {gap.measure.told(gap.mean)}" for gap in gaps if gap.decided]
    left = [gap.task for gap in gaps if not gap.decided]
    if gaps:
        told = [
            f"decided on {words.listed(decided)}" if decided else "",
            f"undecided on {words.listed(left)}" if left else "",
        ]
        yield words.sentence(f"Question by question: {'; '.join(filter(None, told))}")
    untold = texts(found.summary.get("taught_alone"))
    if untold:
        yield f"By the teacher alone, without any label: {words.listed(untold)}."


def _facts(found: Found) -> Iterator[Fact]:
    arms = {arm.name: arm for arm in found.arms}
    for task in found.tasks[:2]:
        values = {name: one for name, arm in arms.items() if (one := arm.on(task)) is not None}
        mine = values.get(DISTILLED)
        if mine is not None:
            beside = [f"{name.removeprefix('student, ')} {task.measure.value(one.mean)}" for name, one in values.items()]
            yield Fact(task.measure.value(mine.mean), f"{task.name}, {task.measure.text}", "; ".join(beside[1:]))
    student, teachers = table_of(found.summary.get("student")), rows_of(found.summary.get("teachers"))
    ours, theirs = (number(row.get("parameters")) for row in (student, teachers[0] if teachers else {}))
    if ours:
        yield Fact(
            words.compact(ours), "weights of the student", f"its teacher has {words.compact(theirs)}" if theirs else ""
        )


def side(found: Found) -> Side | None:
    """The two students and the teacher side by side, and the paired differences against the student alone."""
    made = side_by_side(found)
    if made is None:
        return None
    text = "Each column is a question in its own measure, on "
    aside = table_of(found.summary.get("data")).get("held_out_by_teacher") is True
    text += (
        "the test images that the teacher's own run had set aside" if aside else "test images that the students never saw"
    )
    text += f"; below each figure its 95{words.NARROW}% interval, over images"
    text += f" and {words.plural(found.seeds, 'seed')} of the student." if found.seeds > 1 else "."
    return replace(made, lead=text + " The teacher saw the images at its own size, the students at theirs.")


def _lesson(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    heat = number(summary.get("temperature"))
    return [("temperature", words.figures(heat))] if heat is not None else []


def _curves(summary: Mapping[str, Any]) -> Curves | None:
    found = curves(summary)
    if found is None:
        return None
    lead = "The loss of every question, epoch by epoch. Those of the two students are sums of unlike things, and not to be "
    lead += "compared: taught, a loss holds how far the student is from its teacher; alone, how far it is from the labels."
    return replace(found, lead=lead)


def _following(summary: Mapping[str, Any]) -> list[str]:
    model = summary.get("model")
    return ["headstart export", str(model), "--to onnx", "--quantize int8"] if isinstance(model, str) and model else []


def _defined(found: Found) -> Iterator[tuple[str, str]]:
    if found.tasks:
        yield "Mean relative change", CHANGE
    for task in {one.measure.name: one for one in found.tasks}.values():
        if task.measure.name in MEASURES:
            text = task.measure.text
            yield text[:1].upper() + text[1:], words.sentence(MEASURES[task.measure.name])


def _cost(run: RunFolder) -> closing.Cost | None:
    spent, more = closing.cost(run), epoch_costs(run.summary)
    return replace(spent, others=[*more, *spent.others]) if spent is not None else None


def _limits(run: RunFolder, found: Found) -> Iterator[str]:
    if found.arms and found.seeds == 1:
        yield (
            "One seed only: how much the result changes from one start to the next is not in the intervals. More --seeds "
            "tell."
        )
    if found.arms and table_of(run.summary.get("data")).get("held_out_by_teacher") is not True:
        yield (
            "How the teacher's own images were divided is not known. Where they are among these, it may have learned from "
            "test images; its own figures, and perhaps the gain, are then too high."
        )
    if found.best is not None and _beaten(found, found.best):
        yield "A student of a teacher that knows less than itself can gain by softer labels, and can be held back by them."
    yield "The gain holds for this budget. A student that trains much longer can catch up alone, or use its teacher better."
    yield closing.GATHERED
    yield from closing.data_limits({key: value for key, value in run.inspection.items() if isinstance(value, list)})
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE


def _beaten(found: Found, best: Arm) -> bool:
    """Whether the teacher is worse than its student at a question, decided."""
    return any(gap.a == best.name and gap.b != ALONE and gap.decided and gap.mean > 0 for gap in found.gaps)
