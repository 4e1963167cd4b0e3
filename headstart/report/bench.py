"""The page of `headstart bench`: which model is quick, which is right, and what each of them weighs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import closing, words
from headstart.report.bench_charts import Pace, Wait, paces, waits
from headstart.report.compared_charts import Spot, front, scatter
from headstart.report.distill_tables import Row, Table, texts
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.growing import Curve, swatch
from headstart.report.multitask_read import Measure, measure_of, measures_of
from headstart.report.multitask_tables import Cell
from headstart.report.multitask_tables import Table as Sides
from headstart.report.svg import both, fit
from headstart.report.tables import flatten
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "bench.html"

KINDS = {"headstart": "PyTorch", "onnx": "ONNX", "onnx-int8": "ONNX, int8", "torch-export": "torch.export"}
"""Kinds of files, and what they are called."""

STYLES = (
    ("tuned", "circle"),
    ("hand", "square"),
    ("frozen", "triangle"),
    ("scratch", "diamond"),
    ("steps", "circle"),
    ("other", "square"),
)
"""Class and mark of each model's line, in order; they begin again where there are more."""

LONG = 170.0
"""Room in pixels for a name inside a picture."""


@dataclass(frozen=True)
class Section:
    """A picture with what introduces and what explains it; `marks` are mark, name and what it is."""

    lead: str
    plot: Markup
    key: str
    marks: Sequence[tuple[Markup, str, str]] = ()


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    summary = run.summary
    warnings, machine = texts(summary.get("warnings")), table_of(summary.get("machine"))
    return {
        "title": _title(summary),
        "subtitle": _subtitle(summary),
        "verdict": verdict(summary),
        "warnings": [words.sentence(words.grouped(text)) for text in warnings],
        "picture": picture(summary),
        "questions": questions(summary),
        "latency": latency(summary),
        "throughput": throughput(summary),
        "speeds": speeds(summary),
        "sizes": sizes(summary),
        "machine": flatten(machine),
        "repeat": closing.repeat(run),
        "limits": list(_limits(summary)),
        "notes": [text for text in run.remarks if text.removeprefix("Warning: ") not in warnings],
        "gaps": [text for text in run.gaps if not text.startswith("inspection.json is missing")],  # no data are inspected
    }


def models_of(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every model with a name of its own: where two share one, their kind and then their path tell them apart."""
    rows = rows_of(summary.get("models"))
    plain = [str(row.get("name") or row.get("path") or "unnamed") for row in rows]
    told = [name if plain.count(name) == 1 else f"{name}, {_kind(row)}" for name, row in zip(plain, rows, strict=True)]
    last = [
        name if told.count(name) == 1 else f"{name} ({row.get('path') or place + 1})"
        for place, (name, row) in enumerate(zip(told, rows, strict=True))
    ]
    final = [name if last.count(name) == 1 else f"{name} #{place + 1}" for place, name in enumerate(last)]
    return list(zip(final, rows, strict=True))


def _kind(row: Mapping[str, Any]) -> str:
    return KINDS.get(str(row.get("kind")), str(row.get("kind") or "unknown kind"))


def _median(row: Mapping[str, Any]) -> float | None:
    found = number(table_of(row.get("latency")).get("median"))
    return found if found and found > 0 else None


def _rate(row: Mapping[str, Any]) -> float | None:
    return number(table_of(row.get("throughput")).get("images_per_second"))


def _title(summary: Mapping[str, Any]) -> str:
    names = [name for name, _ in models_of(summary)]
    return "Models on this machine" if not names else names[0] if len(names) == 1 else f"{words.count(len(names))} models"


def _subtitle(summary: Mapping[str, Any]) -> str:
    machine = table_of(summary.get("machine"))
    threads, images = number(machine.get("threads")), number(summary.get("images"))
    parts = [str(machine["cpu"])] if machine.get("cpu") else []
    parts += [words.plural(threads, "thread")] if threads else []
    of = f" of {summary['data']}" if isinstance(summary.get("data"), str) and summary["data"] else ""
    parts += [f"accuracy on {words.plural(images, 'image')}{of}"] if images else []
    return " · ".join(parts)


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """The quickest model against the first one named, and what its speed costs in accuracy."""
    timed = sorted(((name, row) for name, row in models_of(summary) if _median(row)), key=lambda one: _median(one[1]) or 0.0)
    if not timed:
        text = "This run ended before any model was timed."
        return Verdict("unfinished", "Not finished", text, ("The same command measures again.",), ())
    (name, quick), facts = timed[0], _facts(timed)
    sentence = f"“{name}” answers one image in {words.short(_median(quick))}"
    if len(timed) == 1:
        rate = _rate(quick)
        more = f", and up to {_per_second(rate)} images a second in batches" if rate else ""
        return Verdict("decided", "Measured on this machine", f"{sentence}{more}.", (), facts)
    against, row = _against(summary, timed)
    ours, theirs = _median(quick), _median(row)
    assert ours is not None  # only timed models are here
    assert theirs is not None
    sentence += f", {words.figures(theirs / ours, 2)} times as quick as “{against}” ({words.short(theirs)})."
    return Verdict("decided", "Measured on this machine", sentence, tuple(_after(name, quick, against, row)), facts)


def _against(summary: Mapping[str, Any], timed: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, Mapping[str, Any]]:
    """The first model on the command line, or the next quickest when that one is the quickest itself."""
    first = models_of(summary)[0][0]
    return next((one for one in timed[1:] if one[0] == first), timed[1])


def _after(name: str, quick: Mapping[str, Any], against: str, row: Mapping[str, Any]) -> Iterator[str]:
    """What the quickest costs in accuracy, and how like the first model it answers."""
    ours, theirs = number(quick.get("accuracy")), number(row.get("accuracy"))
    if ours is None or theirs is None:
        yield "Accuracy was not measured for both; --images with labelled images does that."
        return
    gap = _gap(quick, row)
    if gap is None:
        yield f"It is right on {words.percent(ours)} of the images, “{against}” on {words.percent(theirs)}."
    else:
        yield f"It is right on {words.percent(ours)} of the images, “{against}” on {words.percent(theirs)}: {_said(*gap)}."
    agreement = number(quick.get("agreement"))
    if agreement is not None:
        yield f"“{name}” says the same class as the first model on {words.percent(agreement)} of the images."


def _gap(quick: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float, tuple[float, float] | None, bool] | None:
    """How far the quickest is ahead of the other on the same images; a run writes it against the first model only."""
    found, sign = table_of(quick.get("difference")), 1.0
    if not found:
        found, sign = table_of(row.get("difference")), -1.0
    estimate, span = number(found.get("estimate")), interval([found.get("low"), found.get("high")])
    if estimate is None:
        return None
    ends = None if span is None else (sign * span[0], sign * span[1])
    return sign * estimate, ends and (min(ends), max(ends)), bool(found.get("decided"))


def _said(gap: float, span: tuple[float, float] | None, decided: bool) -> str:
    """A difference in words; one that is not decided is said to be undecided."""
    between = f" (95{words.NARROW}% interval {words.points_range(span)})" if span else ""
    told = f"{words.points(gap, sign=True)}{between} on the same images"
    return told if decided else f"{told}, so which is right more often is undecided"


def _facts(timed: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Fact, ...]:
    found = [("one image, quickest", words.short(_median(timed[0][1])), timed[0][0])]
    for title, key, show, best in (
        ("most right", lambda row: number(row.get("accuracy")), words.percent, max),
        ("images a second, at most", _rate, _per_second, max),
        ("smallest file", lambda row: number(row.get("bytes")), words.size, min),
    ):
        known = [(value, name) for name, row in timed if (value := key(row)) is not None]
        if known:
            value, name = best(known, key=lambda one: one[0])
            found.append((title, show(value), name))
    several = len(timed) > 1
    return tuple(
        Fact(value, title if several else title.partition(",")[0], name if several else "") for title, value, name in found
    )


def _per_second(rate: float | None) -> str:
    """Images a second as a figure of its own."""
    return words.UNKNOWN if rate is None else words.count(rate) if rate >= 10 else words.figures(rate)


def picture(summary: Mapping[str, Any]) -> Section | None:
    """Accuracy against latency, or None with fewer than two models that have both."""
    spots = [
        Spot(fit(name, LONG), median, accuracy, interval(row.get("interval")))
        for name, row in models_of(summary)
        if (median := _median(row)) is not None and (accuracy := number(row.get("accuracy"))) is not None
    ]
    if len(spots) < 2 or len({spot.name for spot in spots}) < len(spots):
        return None
    ahead = front(spots)
    names = words.listed(f"“{spot.name}”" for spot in ahead)
    lead = f"{names} is quickest and most often right." if len(ahead) == 1 else f"Not outdone by a quicker one: {names}."
    images = number(summary.get("images"))
    on = f" on {words.plural(images, 'image')}" if images else ""
    return Section(
        lead,
        both(lambda width: scatter(spots, width, "time for one image (median)", words.short)),
        f"Share of right answers{on} with its 95 % interval, against the time for one image on a logarithmic scale. Further "
        "left is quicker, further up more often right. Blue and joined: the Pareto front, where nothing is both quicker and "
        "more often right.",
    )


@dataclass(frozen=True)
class Questions:
    """What every model knows of every question."""

    lead: str
    table: Sides


def questions(summary: Mapping[str, Any]) -> Questions | None:
    """Quality by question for models that answer several, or None where none was asked about images."""
    asked = {name: {str(one.get("task")): one for one in rows_of(row.get("tasks"))} for name, row in models_of(summary)}
    names = list(dict.fromkeys(task for told in asked.values() for task in told))
    if not names:
        return None
    measures = measures_of(summary)
    first = {task: next(told[task] for told in asked.values() if task in told) for task in names}
    by = {task: measure_of(one.get("measure"), measures) for task, one in first.items()}
    heads = [(task, by[task].text if first[task].get("measure") else "no label known", by[task].way) for task in names]
    rows = []
    for name, row in models_of(summary):
        kind = "" if _kind(row) in name else _kind(row)
        rows.append((name, kind, "", [_asked(asked[name].get(task), by[task]) for task in names]))
    images = number(summary.get("images"))
    on = f", on the same {words.plural(images, 'image')}" if images else ""
    lead = f"Each column is a question in its own measure{on}"
    lead += f"; below each figure its 95{words.NARROW}% interval, and on how many images the first model answers the same."
    return Questions(lead, Sides(heads, rows))


def _asked(one: Mapping[str, Any] | None, measure: Measure) -> Cell:
    if one is None:
        return Cell(words.UNKNOWN, "does not answer it")
    alike, value = number(one.get("agreement")), number(one.get("value"))
    said = f"as the first on {words.percent(alike)}" if alike is not None else ""
    figure = words.UNKNOWN if value is None else measure.value(value)
    return Cell(figure, measure.between(interval(one.get("interval"))), said)


def latency(summary: Mapping[str, Any]) -> Section | None:
    """How long one answer takes, or None when nothing was timed."""
    rows = [
        Wait(name, median, number(table_of(row.get("latency")).get("p95")))
        for name, row in models_of(summary)
        if (median := _median(row)) is not None
    ]
    if not rows:
        return None
    least = min(row.median for row in rows)
    rows = [Wait(row.name, row.median, row.late, row.median == least and len(rows) > 1) for row in rows]
    turns = " The models took turns, so that whatever else the machine did met them all." if len(rows) > 1 else ""
    return Section(
        f"One image at a time, as a device would ask.{turns}",
        both(lambda width: waits(rows, width)),
        "Bars end at the median; the thin line goes on to the time within which 95 of 100 answers came.",
    )


def throughput(summary: Mapping[str, Any]) -> Section | None:
    """Images a second by batch size, or None when it was not measured at two sizes."""
    rows = [
        Pace(name, *STYLES[place % len(STYLES)], points)
        for place, (name, row) in enumerate(models_of(summary))
        if (points := _points(row))
    ]
    if not any(len(row.points) > 1 for row in rows):
        return None
    marks = [(swatch(Curve(row.name, row.style, row.shape, ())), row.name, "") for row in rows]
    return Section(
        "Several images at once make better use of the machine, up to a point.",
        both(lambda width: paces(rows, width)),
        "Images a second, both axes logarithmic.",
        marks,
    )


def _points(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    found = [
        (batch, rate)
        for one in rows_of(table_of(row.get("throughput")).get("by"))
        if (batch := number(one.get("batch"))) and (rate := number(one.get("images_per_second"))) and batch > 0 < rate
    ]
    return sorted(found)


def speeds(summary: Mapping[str, Any]) -> Table | None:
    """Latency, throughput and accuracy of every model."""
    models = models_of(summary)
    if not models:
        return None
    repeats = [n for _, row in models if (n := number(table_of(row.get("latency")).get("repeats")))]
    note = "One image: the median, and the time within which 95 of 100 answers came. Against the first: the difference in "
    note += (
        "right answers on the same images, with its 95 % interval. Alike: share of images on which it says the same class "
    )
    note += "as the first model."
    note += f" Times of one image are of {words.count(min(repeats))} answers or more." if repeats else ""
    return Table("", [_speed(name, row) for name, row in models], note=note)


def _speed(name: str, row: Mapping[str, Any]) -> Row:
    late, batch = number(table_of(row.get("latency")).get("p95")), number(table_of(row.get("throughput")).get("batch"))
    span, gap = interval(row.get("interval")), table_of(row.get("difference"))
    between = interval([gap.get("low"), gap.get("high")])
    sure = [words.points_range(between)] if between else []
    sure += ["not decided"] if gap and not gap.get("decided") else []
    cells = [
        ("One image", words.short(_median(row)), f"95 of 100 in {words.short(late)}" if late else ""),
        ("Images a second", _per_second(_rate(row)), f"in batches of {words.count(batch)}" if batch else ""),
        ("Right", words.percent(number(row.get("accuracy"))), words.percent_range(span) if span else ""),
        ("Against the first", words.points(number(gap.get("estimate")), sign=True), ", ".join(sure)),
        ("Alike", words.percent(number(row.get("agreement"))), ""),
    ]
    return Row(name, cells, "" if _kind(row) in name else _kind(row))


def sizes(summary: Mapping[str, Any]) -> Table | None:
    """Weights, bytes and operations of every model."""
    models = models_of(summary)
    if not models:
        return None
    rows = [
        Row(
            name,
            [
                ("Weights", words.compact(number(row.get("parameters"))), ""),
                ("On disk", words.size(number(row.get("bytes"))), ""),
                ("One answer", words.flop(number(row.get("flops"))), ""),
            ],
            "" if _kind(row) in name else _kind(row),
            below=str(row.get("path") or ""),
        )
        for name, row in models
    ]
    return Table(
        "",
        rows,
        note="One answer: operations for an image, a multiply-add counted as two. A dash: not known for this kind of file.",
    )


def _limits(summary: Mapping[str, Any]) -> Iterator[str]:
    if models_of(summary):
        yield (
            "Times hold for this machine, its versions and this number of threads. On a phone or a small board another "
            "model can be the quickest."
        )
        yield "Reading, decoding and resizing a picture is not in these times; it can take longer than a small network."
    images = number(summary.get("images"))
    if images:
        yield f"Accuracies come from {words.plural(images, 'image')}. " + closing.GATHERED
    if any(_median(row) for _, row in models_of(summary)):
        yield "Whatever else the machine was doing slowed the models too; measured again, times differ by some percent."
