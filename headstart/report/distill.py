"""The page of `headstart distill`: what the student gained first, then its teachers, the temperature, and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.charts import Estimate, interval_plot
from headstart.report.distill_curves import curves
from headstart.report.distill_tables import audit, epoch_costs, likeness, seeds, sizes, taught, texts, worse
from headstart.report.distill_temperature import temperature
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.pictures import read_pictures
from headstart.report.svg import both
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "distill.html"
GAP = 0.005
"""Below this lead of the teacher over the student alone there is no gap of which a share could be closed."""


@dataclass(frozen=True)
class Section:
    """A picture with what introduces and what explains it."""

    lead: str
    plot: Markup
    key: str


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    summary, pictures = run.summary, read_pictures(run.path / "report_data")
    return {
        "title": title(run),
        "subtitle": _subtitle(run),
        "verdict": verdict(summary),
        "accuracy": accuracy(summary),
        "seeds": seeds(summary),
        "again": born_again(summary),
        "teachers": audit(summary),
        "taught": taught(summary),
        "temperature": temperature(run, pictures),
        "curves": curves(summary),
        "likeness": likeness(summary),
        "sizes": sizes(summary),
        "warnings": [words.sentence(words.grouped(text)) for text in _warnings(summary)],
        "following": _following(summary),
        "found": found.found(run, pictures),
        "cost": _cost(run),
        "repeat": _repeat(run),
        "limits": list(_limits(run)),
        "notes": _notes(run),
        "gaps": run.gaps,
    }


def _subtitle(run: RunFolder) -> str:
    summary = run.summary
    student = table_of(summary.get("student"))
    weights, epochs = number(student.get("parameters")), number(summary.get("epochs"))
    names = [str(row["name"]) for row in rows_of(summary.get("teachers")) if row.get("name")]
    parts = [subtitle(run)]
    if student.get("name"):
        parts.append(f"student {student['name']}{f', {words.compact(weights)} weights' if weights else ''}")
    parts.append(f"{'teacher' if len(names) == 1 else 'teachers'} {words.listed(names)}" if names else "")
    parts.append(words.plural(epochs, "epoch") if epochs else "")
    return " · ".join(filter(None, parts))


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """What the student gained over itself trained alone, with its interval; undecided is said to be undecided."""
    gain = table_of(summary.get("gain"))
    estimate = number(gain.get("estimate"))
    if estimate is None:
        text = "This run ended before the distilled student could be compared with the same student trained alone."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    decided = bool(gain.get("decided"))
    after = filter(None, (_closed(summary), _certainty(summary), _teacher_aloud(summary), _alike(summary)))
    kicker = f"Decided: it {'gained' if estimate > 0 else 'lost'}" if decided else "Not decided"
    return Verdict("decided" if decided else "undecided", kicker, _answer(summary), tuple(after), _facts(summary))


def _answer(summary: Mapping[str, Any]) -> str:
    """The answer in one sentence."""
    gain = table_of(summary.get("gain"))
    estimate, span = number(gain.get("estimate")) or 0.0, interval([gain.get("low"), gain.get("high")])
    whom = "teachers" if len(rows_of(summary.get("teachers"))) > 1 else "teacher"
    alone, distilled = (number(table_of(summary.get(key)).get("accuracy")) for key in ("alone", "distilled"))
    between = f"95{words.NARROW}% interval {words.points_range(span)}" if span else ""
    if not gain.get("decided"):
        told = f"{words.points(estimate, sign=True)}{f' ({between})' if between else ''}"
        return f"Whether learning from its {whom} helped the student is undecided: {told}."
    side = "better" if estimate > 0 else "worse"
    instead = (
        f": {words.percent(distilled)} right instead of {words.percent(alone)}" if None not in (alone, distilled) else ""
    )
    change = f"{words.points(abs(estimate))} {side}"
    return f"Learning from its {whom} made the student {change}{f' ({between})' if between else ''}{instead}."


def _certainty(summary: Mapping[str, Any]) -> str:
    """How sure that is, and what this design could have seen."""
    gain = table_of(summary.get("gain"))
    p, least = number(gain.get("p_value")), number(gain.get("detectable"))
    runs = _seeds(summary)
    images = number(table_of(summary.get("test")).get("num_images"))
    on = [words.plural(runs, "seed")] if runs else []
    on += [f"the same {words.plural(images, 'test image')}"] if images else []
    parts = [f"Compared on {words.listed(on)}" if on else "", words.p_value(p) if p is not None else ""]
    text = "; ".join(filter(None, parts))
    if least is not None:
        seen = f"A true difference of less than about {words.points(least)} would probably have been missed"
        text = ". ".join(filter(None, (text, seen)))
    return words.sentence(text) if text else ""


def _seeds(summary: Mapping[str, Any]) -> int:
    """How many distilled students there are."""
    return len({str(row.get("seed")) for row in rows_of(summary.get("runs")) if row.get("kind") == "distilled"})


def _teacher_aloud(summary: Mapping[str, Any]) -> str:
    """A teacher that knows less than its student is named where nobody can miss it."""
    names = [f"“{row.get('name')}”" for row in worse(summary)]
    if not names:
        return ""
    who, are = ("teacher", "is itself") if len(names) == 1 else ("teachers", "are themselves")
    return f"Take care: the {who} {words.listed(names)} {are} right less often than the student that learned alone."


def _alike(summary: Mapping[str, Any]) -> str:
    epochs = number(summary.get("epochs"))
    budget = f" for {words.plural(epochs, 'epoch')}" if epochs else ""
    same = "Both students began with the same weights and saw the same images in the same order"
    return f"{same}{budget}; the last epoch counts."


def _best_teacher(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = [row for row in rows_of(summary.get("teachers")) if number(row.get("test_accuracy")) is not None]
    return max(rows, key=lambda row: number(row.get("test_accuracy")) or 0.0, default={})


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    teacher = _best_teacher(summary)
    several = len(rows_of(summary.get("teachers"))) > 1
    made = [
        (key, name, table_of(summary.get(key)))
        for key, name in (("distilled", "student, distilled"), ("alone", "the same student alone"))
    ]
    facts = [(words.percent(number(row.get("accuracy"))), name, interval(row.get("interval"))) for _, name, row in made]
    name = "the best of its teachers" if several else "its teacher"
    facts.append((words.percent(number(teacher.get("test_accuracy"))), name, interval(teacher.get("test_interval"))))
    shown = [Fact(value, name, words.percent_range(span) if span else "") for value, name, span in facts]
    ours, theirs = (number(row.get("parameters")) for row in (table_of(summary.get("student")), teacher))
    beside = f"{name.removeprefix('the best of ')} has {words.compact(theirs)}" if theirs and not several else ""
    shown.append(Fact(words.compact(ours), "weights of the student", beside))
    return tuple(fact for fact in shown if fact.value != words.UNKNOWN)


def _closed(summary: Mapping[str, Any]) -> str:
    """Which share of the way from the student alone to its best teacher was gone, when the gain is decided."""
    gain, teacher = table_of(summary.get("gain")), _best_teacher(summary)
    alone, top = number(table_of(summary.get("alone")).get("accuracy")), number(teacher.get("test_accuracy"))
    estimate = number(gain.get("estimate")) or 0.0
    if alone is None or top is None or not gain.get("decided") or estimate <= 0 or top - alone <= GAP:
        return ""
    whom = "the best of its teachers" if len(rows_of(summary.get("teachers"))) > 1 else "its teacher"
    if estimate >= top - alone:
        return f"The student is now right as often as {whom}."
    return f"That closes {words.percent(estimate / (top - alone), 0)} of the gap to {whom}{_smaller(summary, teacher)}."


def _smaller(summary: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    ours, theirs = number(table_of(summary.get("student")).get("parameters")), number(teacher.get("parameters"))
    return (
        f", which has {words.figures(theirs / ours, 2)} times as many weights" if ours and theirs and theirs > ours else ""
    )


def accuracy(summary: Mapping[str, Any]) -> Section | None:
    """Teachers, the student alone and the student distilled, with their intervals; None when nothing was measured."""
    rows = [
        *(
            (str(row.get("name") or "unnamed"), row.get("test_accuracy"), row.get("test_interval"), "apart", "teacher")
            for row in rows_of(summary.get("teachers"))
        ),
        *(
            (name, table_of(summary.get(key)).get("accuracy"), table_of(summary.get(key)).get("interval"), kind, note)
            for key, name, kind, note in (
                ("distilled", "Student, distilled", "best", "learned from its teacher"),
                ("born_again", "Student, born again", "plain", "learned from itself"),
                ("alone", "Student, alone", "plain", "labels only"),
            )
        ),
    ]
    some = [
        Estimate(name, mean, interval(span), kind, note)
        for name, value, span, kind, note in rows
        if (mean := number(value)) is not None
    ]
    if not some:
        return None
    images = number(table_of(summary.get("test")).get("num_images"))
    on = f"the {words.plural(images, 'test image')}" if images else "the test images"
    return Section(
        f"Share of {on} answered right; they were looked at once, at the end. Intervals that overlap settle nothing: the "
        "comparison above is of the very same images.",
        both(lambda width: interval_plot(some, width, "accuracy on the test images, with 95 % interval")),
        "Dots are means over the seeds, lines their 95 % intervals. Green: teachers. The dotted line marks the distilled "
        "student.",
    )


def born_again(summary: Mapping[str, Any]) -> str | None:
    """What learning from itself gave, in a sentence, or None when it was not tried."""
    gain = table_of(table_of(summary.get("born_again")).get("gain"))
    estimate, span = number(gain.get("estimate")), interval([gain.get("low"), gain.get("high")])
    if estimate is None:
        return None
    between = f", 95{words.NARROW}% interval {words.points_range(span)}" if span else ""
    said = "decided" if gain.get("decided") else "not decided"
    return (
        "Born again, a student learns from an earlier one of the very same kind. Against the student alone that gave "
        f"{words.points(estimate, sign=True)}{between}: {said}."
    )


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    """What the run warns of, but for what it says of a teacher: that stands with the teachers."""
    told = summary.get("warnings")
    own = {
        f"teacher {row.get('name')}: {text}"
        for row in rows_of(summary.get("teachers"))
        for text in texts(row.get("warnings"))
    }
    return [text for text in texts(told) if text not in own]


def _notes(run: RunFolder) -> list[str]:
    """What else the run wrote down; warnings that stand further up, and what tells how far it had come, are left out."""
    said = set(texts(run.summary.get("warnings")))
    return [text for text in run.remarks if text.removeprefix("Warning: ") not in said and not text.startswith("  ")]


def _following(summary: Mapping[str, Any]) -> Sequence[str]:
    """The command that puts the student on a device, when one was saved."""
    model = summary.get("model")
    return ["headstart export", str(model), "--to onnx", "--quantize int8"] if isinstance(model, str) and model else ()


def _cost(run: RunFolder) -> closing.Cost | None:
    spent, more = closing.cost(run), epoch_costs(run.summary)
    if spent is None:
        return closing.Cost("What the run wrote of its cost:", (), more) if more else None
    return replace(spent, others=[*more, *spent.others])


def _repeat(run: RunFolder) -> closing.Repeat:
    student = table_of(run.summary.get("student")).get("name") or run.config.get("student")
    told = closing.repeat(run)
    return replace(told, facts=[*told.facts, ("student", str(student))]) if student else told


def _limits(run: RunFolder) -> Iterator[str]:
    summary = run.summary
    gain = table_of(summary.get("gain"))
    if _seeds(summary) == 1:
        yield (
            "One seed only: how much the result changes from one start to the next is not in the interval. More "
            "--seeds tell."
        )
    if number(gain.get("estimate")) is not None:
        yield (
            "The gain holds for this budget. A student that trains much longer can catch up alone, or use its teacher "
            "better."
        )
    if worse(summary):
        yield "A student of a teacher that knows less than itself can gain by softer labels, and can be held back by them."
    if any(number(row.get("train_accuracy")) is not None for row in rows_of(summary.get("teachers"))):
        yield (
            "A teacher may have learned from these very training images. Its accuracy there, and how sure it is of them, "
            "then say little about new ones."
        )
    if number(table_of(summary.get("data")).get("unlabelled")):
        yield "Images without a label taught through the teacher alone; the student without a teacher could not use them."
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
