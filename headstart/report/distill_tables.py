"""Tables of the page of `headstart distill`: the audit of the teachers, the seeds, likeness to the teacher, sizes, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import words
from headstart.report.folder import interval, number, rows_of, table_of

KINDS = {"alone": "alone", "distilled": "distilled", "born_again": "born again"}
"""Ways in which the student learned, in the order of columns, and what they are called."""

ORDERS = {
    "same": "same order",
    "reordered": "other order, put right by name",
    "mapped": "other classes, mapped",
    "assumed": "order assumed, without names",
}
"""How the classes of a teacher lie to those of the data."""


LESSONS = {
    "soft": "the teacher's probabilities, softened by the temperature",
    "hard": "the teacher's first choice alone",
}
"""Kinds of the term that learns from the teacher."""


@dataclass(frozen=True)
class Row:
    """One row: its name, what stands beside and below that, and cells of head, figure and a smaller text below it.

    tone  class of the tag beside the name: `chosen`, `warned` or empty
    """

    name: str
    cells: Sequence[tuple[str, str, str]]
    tag: str = ""
    tone: str = ""
    below: str = ""


@dataclass(frozen=True)
class Table:
    """Rows with sentences around them."""

    lead: str
    rows: Sequence[Row]
    warnings: Sequence[str] = ()
    note: str = ""


def worse(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Teachers that are right less often than the student alone."""
    return [row for row in rows_of(summary.get("teachers")) if row.get("worse_than_student")]


def audit(summary: Mapping[str, Any]) -> Table | None:
    """What was found out about the teachers before they taught, or None when none was looked at."""
    rows = rows_of(summary.get("teachers"))
    if not rows:
        return None
    warnings = [
        f"{row.get('name') or 'a teacher'}: {words.grouped(text)}" for row in rows for text in texts(row.get("warnings"))
    ]
    modes = {str(row.get("mode")) for row in rows if row.get("mode")}
    lead = "A student can only learn what its teacher knows, so every teacher was examined first, through the student's own "
    lead += "pipeline: its image size, its labels."
    lead += " All of them answered in eval mode; nothing about them was changed." if modes == {"eval"} else ""
    note = (
        "Calibration error: by how much being sure and being right differ on average. A teacher that is far too sure gives "
        "labels that are hardly softer than the given ones."
    )
    return Table(lead, [_audited(row) for row in rows], warnings, note)


def texts(value: Any) -> list[str]:
    """The texts in a list; an empty list for anything else."""
    return [str(text) for text in value if text] if isinstance(value, list) else []


def taught(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of the lesson as pairs of a name and a text, as far as they were written."""
    recipe, share = table_of(summary.get("recipe")), number(summary.get("share"))
    views, more = number(summary.get("views")), number(table_of(summary.get("data")).get("unlabelled"))
    every = f"{words.plural(views, 'fixed view')} of every image" if views else "every image drawn anew in each epoch"
    batch, rate = number(recipe.get("batch_size")), number(recipe.get("lr"))
    steps = [
        str(recipe.get("optimizer") or ""),
        f"learning rate {words.figures(rate)}" if rate else "",
        f"batches of {words.plural(batch, 'image')}" if batch else "",
    ]
    several = len(rows_of(summary.get("teachers"))) > 1
    rows = [
        ("the student learned", LESSONS.get(str(summary.get("kind")), "")),
        (
            "weight of the teacher in the loss",
            f"{words.percent(share, 0)}, the labels have the rest" if share is not None else "",
        ),
        ("further losses", words.listed(texts(summary.get("losses")))),
        ("several teachers speak by the mean of their", str(summary.get("average") or "") if several else ""),
        ("distillation token", "yes, both heads are folded into one" if summary.get("token") is True else ""),
        ("images without a label", words.count(more) if more else ""),
        ("shown to teacher and student alike", every if views is not None else ""),
        ("steps", ", ".join(filter(None, steps))),
    ]
    return [(name, text) for name, text in rows if text]


def _audited(row: Mapping[str, Any]) -> Row:
    order = str(row.get("order") or ("mapped" if row.get("mapped") else ""))
    cells = [
        _accuracy("Test images", row.get("test_accuracy"), row.get("test_interval")),
        _accuracy("Training images", row.get("train_accuracy"), row.get("train_interval")),
        ("Classes", words.count(number(row.get("classes"))), ORDERS.get(order, order)),
        ("Calibration error", words.points(number(row.get("calibration_error"))), ""),
        ("Mode", str(row.get("mode") or words.UNKNOWN), ""),
    ]
    tag = "worse than the student" if row.get("worse_than_student") else ""
    return Row(str(row.get("name") or "unnamed"), cells, tag, "warned")


def _accuracy(head: str, value: Any, ends: Any) -> tuple[str, str, str]:
    span = interval(ends)
    return head, words.percent(number(value)), words.percent_range(span) if span else ""


def seeds(summary: Mapping[str, Any]) -> Table | None:
    """Every seed by itself, or None when no run was written."""
    runs: dict[Any, dict[str, Mapping[str, Any]]] = {}
    for row in rows_of(summary.get("runs")):
        seed = row.get("seed")
        if number(row.get("accuracy")) is not None and isinstance(seed, (int, str)):
            runs.setdefault(seed, {})[str(row.get("kind"))] = row
    kinds = [kind for kind in KINDS if any(kind in found for found in runs.values())]
    if not kinds:
        return None
    rows = []
    for seed, found in runs.items():
        cells = [
            (KINDS[kind].capitalize(), words.percent(number(found.get(kind, {}).get("accuracy"))), "") for kind in kinds
        ]
        if "distilled" in kinds and "alone" in kinds:
            cells.append(("Gain", words.points(_gap(found), sign=True), ""))
        rows.append(Row(f"Seed {seed}", cells))
    return Table("", rows, note="A seed fixes the student's first weights and the order of the images, for both alike.")


def _gap(found: Mapping[str, Mapping[str, Any]]) -> float | None:
    alone, taught = (number(found.get(kind, {}).get("accuracy")) for kind in ("alone", "distilled"))
    return None if alone is None or taught is None else taught - alone


def likeness(summary: Mapping[str, Any]) -> Table | None:
    """How like the teacher the student answers, and how honest its confidence is; None when nothing of it was written."""
    rows = []
    for kind, name in KINDS.items():
        found = table_of(summary.get(kind))
        told = [number(found.get(key)) for key in ("agreement", "kl", "calibration_error")]
        if any(value is not None for value in told):
            agreement, distance, error = told
            cells = [
                ("Agreement", words.percent(agreement), ""),
                ("KL", nats(distance), ""),
                ("Calibration error", words.points(error), ""),
            ]
            rows.append(Row(f"Student, {name}", cells))
    if not rows:
        return None
    note = (
        "Agreement: share of the test images on which student and teacher say the same class, right or wrong. KL "
        "(Kullback-Leibler divergence): how far the student's probabilities are from the teacher's, nought when they are "
        "the same. Calibration error: by how much being sure and being right differ on average."
    )
    return Table(_liker(summary), rows, note=note)


def _liker(summary: Mapping[str, Any]) -> str:
    alone, taught = (number(table_of(summary.get(key)).get("agreement")) for key in ("alone", "distilled"))
    if alone is None or taught is None:
        return "How alike student and teacher answer, and how far each student's confidence can be trusted."
    how = "more often" if taught > alone else "less often" if taught < alone else "as often"
    gap = f"{words.points(abs(taught - alone))} {how}" if taught != alone else how
    return (
        f"The distilled student says what its teacher says on {words.percent(taught)} of the test images, {gap} than alone."
    )


def nats(value: float | None) -> str:
    """A divergence with its unit."""
    if value is None:
        return words.UNKNOWN
    return f"{f'{value:.3f}' if 0.01 <= value < 100 else words.figures(value)}{words.NARROW}nats"


def sizes(summary: Mapping[str, Any]) -> Table | None:
    """Weights, bytes and operations of teachers and student, or None when there are none."""
    student = table_of(summary.get("student"))
    named = [("teacher", row) for row in rows_of(summary.get("teachers"))] + ([("student", student)] if student else [])
    keys = ("parameters", "bytes", "flops")
    if not any(number(row.get(key)) is not None for _, row in named for key in keys):
        return None
    rows = []
    for role, row in named:
        against = {} if role == "student" else student
        cells = [
            ("Weights", words.compact(number(row.get("parameters"))), _times(row, against, "parameters")),
            ("On disk", words.size(number(row.get("bytes"))), _times(row, against, "bytes")),
            ("One answer", words.flop(number(row.get("flops"))), _times(row, against, "flops")),
        ]
        if (ms := number(row.get("ms"))) is not None:
            cells.append(("Time of an answer", words.short(ms / 1000), _times(row, against, "ms")))
        rows.append(Row(str(row.get("name") or "unnamed"), cells, role, "chosen" if role == "student" else ""))
    note = "Operations of one image once through the network, a multiply-add counted as two."
    return Table(
        "What it takes to keep each network and to ask it once; below, how many times the student's.", rows, note=note
    )


def _times(row: Mapping[str, Any], student: Mapping[str, Any], key: str) -> str:
    theirs, ours = number(row.get(key)), number(student.get(key))
    return f"{words.figures(theirs / ours, 2)} times" if theirs is not None and ours else ""


def epoch_costs(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Seconds of an epoch, alone and distilled, and what the recorded answers took."""
    mean = {kind: _mean_epoch(summary, kind) for kind in KINDS}
    rows = []
    for kind, name in KINDS.items():
        seconds, alone = mean[kind], mean["alone"]
        if seconds is None:
            continue
        beside = f", {seconds / alone:.2f} times as long as alone" if kind != "alone" and alone else ""
        rows.append((f"an epoch of the student, {name}", words.duration(seconds) + beside))
    record = table_of(summary.get("record"))
    kept = number(record.get("bytes"))
    if kept is not None:
        rows.append(("the teachers' answers, kept on disk", f"{words.size(kept)}{_kept_as(record)}"))
    if number(record.get("seconds")) is not None:
        rows.append(("asking the teachers, once", words.duration(number(record.get("seconds")))))
    return rows


def _mean_epoch(summary: Mapping[str, Any], kind: str) -> float | None:
    found = [
        seconds
        for row in rows_of(summary.get("runs"))
        if row.get("kind") == kind and (seconds := number(row.get("seconds_per_epoch"))) is not None
    ]
    return sum(found) / len(found) if found else None


def _kept_as(record: Mapping[str, Any]) -> str:
    top, draws = number(record.get("top_k")), number(record.get("draws"))
    parts = [f"as {record['dtype']}"] if record.get("dtype") else []
    parts += [f"the {words.count(top)} likeliest classes of each"] if top else []
    parts += [words.plural(draws, "view") + " of every image"] if draws else []
    return f" ({', '.join(parts)})" if parts else ""
