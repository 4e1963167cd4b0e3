"""The page of `headstart compare`: strategies side by side, every difference between two, cost against gain, and limits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.advice import sentences
from headstart.report.charts import Estimate, interval_plot
from headstart.report.compared_charts import Gap, Spot, difference_map, front, scatter
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.pictures import read_pictures
from headstart.report.svg import both
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "compared.html"

ENDED = {"skipped": "left out", "diverged": "diverged"}
"""Ways not to be measured to the end."""


@dataclass(frozen=True)
class Row:
    """One strategy in text: `scores` and `costs` are the cells of the two tables, each a figure and a word below it."""

    name: str
    label: str
    tags: Sequence[str]
    description: str
    scores: Sequence[tuple[str, str, str]]
    costs: Sequence[tuple[str, str, str]]
    outcome: str
    limits: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A picture with what introduces and what explains it."""

    lead: str
    plot: Markup
    key: str


@dataclass(frozen=True)
class Pair:
    """One comparison of two strategies in text."""

    names: str
    difference: str
    span: str
    p: str
    detectable: str
    said: str


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    summary = run.summary
    rows = strategies_of(summary)
    pictures = read_pictures(run.path / "report_data")  # none are promised
    return {
        "title": title(run),
        "subtitle": _subtitle(run),
        "verdict": verdict(summary),
        "accuracy": accuracy(summary),
        "rows": [row_of(row, summary) for row in rows],
        "metric": str(summary.get("metric") or "accuracy").capitalize(),
        "differences": differences(summary),
        "pairs": pairs_of(summary),
        "gain": gain(summary),
        "kept": _kept(summary),
        "following": closing.pieces(str(summary.get("next") or "")),
        "found": found.found(run, pictures),
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "notes": [text for text in run.remarks if not text.startswith("  ")],  # those say how far it had come
        "gaps": run.gaps,
    }


def strategies_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those with a name, the highest mean first and those not measured to the end last."""
    rows = [row for row in rows_of(summary.get("strategies")) if row.get("name")]
    return sorted(rows, key=lambda row: -(number(row.get("accuracy")) or 0.0) if _measured(row) else 1.0)


def _measured(row: Mapping[str, Any]) -> bool:
    return number(row.get("accuracy")) is not None


def _subtitle(run: RunFolder) -> str:
    summary = run.summary
    folds, seeds, epochs = (number(summary.get(key)) for key in ("folds", "seeds", "epochs"))
    parts = [subtitle(run)]
    if folds:
        parts.append(words.plural(folds, "fold") + (f" x {words.plural(seeds, 'seed')}" if seeds and seeds > 1 else ""))
    if epochs:
        parts.append(words.plural(epochs, "epoch"))
    return " · ".join(filter(None, parts))


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """Which is best, in the run's own sentence; undecided is said to be undecided."""
    rows = [row for row in strategies_of(summary) if _measured(row)]
    sentence = _told(str(summary.get("sentence") or ""))
    if not rows or not sentence:
        text = "This run ended before the strategies could be compared."
        more = "The same command with --resume goes on from there."
        return Verdict("unfinished", "Not finished", text, (more,), ())
    decided = bool(summary.get("decided"))
    kicker = "Decided" if decided else "Not decided" if len(rows) > 1 else "Nothing to compare with"
    alike = "Every strategy ran on the same images, folds and seeds"
    epochs = number(summary.get("epochs"))
    alike += f", and those that train did so for {words.plural(epochs, 'epoch')}." if epochs else "."
    late = [str(row.get("label") or row["name"]) for row in strategies_of(summary) if not _measured(row)]
    missing = f"Not compared: {words.listed(late)}; the table says why." if late else ""
    after = tuple(filter(None, (alike, missing, "Nothing was chosen or saved.")))
    return Verdict("decided" if decided else "undecided", kicker, sentence, after, _facts(summary, rows))


def _told(text: str) -> str:
    """A sentence of the run with its numbers as on the rest of the page."""
    return re.sub(r"(?<![\w-])-(?=\d)", words.MINUS, words.grouped(text))


def _facts(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[Fact, ...]:
    best = rows[0]
    quick = min(rows, key=lambda row: number(row.get("seconds")) or 0.0)
    facts = [
        ("highest mean", words.percent(number(best.get("accuracy"))), str(best["name"])),
        ("compared to the end", words.count(len(rows)), f"of {words.count(len(strategies_of(summary)))} strategies"),
        ("quickest", words.duration(number(quick.get("seconds"))), f"a fold, {quick['name']}"),
        ("the comparison took", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(Fact(value, name, note) for name, value, note in facts if value != words.UNKNOWN)


def accuracy(summary: Mapping[str, Any]) -> Section | None:
    """The means with their intervals."""
    rows = [row for row in strategies_of(summary) if _measured(row)]
    if not rows:
        return None
    some = [_estimate(row, summary) for row in rows]
    metric = str(summary.get("metric") or "accuracy")
    seeds = number(summary.get("seeds")) or 1
    several = f", each {words.count(seeds)} times" if seeds > 1 else ""
    folds = number(summary.get("folds"))
    where = "the given validation split" if folds == 1 else f"{words.plural(folds, 'fold')} of the training images"
    return Section(
        f"All were learned and judged on {where}{several}. Intervals that overlap settle nothing: the differences below are "
        "of the very same images.",
        both(lambda width: interval_plot(some, width, f"{metric} on held-out images, with 95 % interval")),
        "Dots are means, lines their 95 % intervals. The dotted line marks the highest mean.",
    )


def _estimate(row: Mapping[str, Any], summary: Mapping[str, Any]) -> Estimate:
    mean = number(row.get("accuracy"))
    assert mean is not None  # only measured rows are drawn
    kind = "best" if row["name"] == summary.get("best") else "plain"
    return Estimate(_label(row), mean, interval(row.get("interval")), kind, str(row["name"]))


def _label(row: Mapping[str, Any]) -> str:
    return str(row.get("label") or row["name"])


def row_of(row: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    """One strategy in text."""
    told = summary.get("equals")
    equals: list[Any] = told if isinstance(told, list) else []
    tags = ["highest mean"] if row["name"] == summary.get("best") else ["not told from it"] if row["name"] in equals else []
    ended = ENDED.get(str(row.get("status")), str(row.get("status") or "not measured"))
    reason = str(row.get("reason") or "")
    return Row(
        name=str(row["name"]),
        label=_label(row),
        tags=tags if _measured(row) else [],
        description=words.sentence(str(row.get("description") or "")),
        scores=_scores(row),
        costs=_costs(row),
        outcome="" if _measured(row) else words.sentence(f"{ended}: {reason}" if reason else ended),
        limits=[_told(text) for text in sentences(row.get("limits"))],
    )


def _scores(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    each = [value for one in row.get("accuracies") or () if (value := number(one)) is not None] if _measured(row) else []
    between = words.percent_range((min(each), max(each))) if each else words.UNKNOWN
    source = table_of(row.get("source_accuracy"))
    before, after = number(source.get("before")), number(source.get("after"))
    lost = words.points(after - before, sign=True) if before is not None and after is not None else ""
    span = interval(row.get("interval"))
    return [
        ("Held-out images", words.percent(number(row.get("accuracy"))), words.percent_range(span) if span else ""),
        ("Learned from", words.percent(number(row.get("training_accuracy"))), ""),
        ("Fold by fold", between, ""),
        ("On the source", words.percent(after), lost),
    ]


def _costs(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    size = number(row.get("bytes"))
    return [
        ("Trained", words.compact(number(row.get("trained_parameters"))), ""),
        ("To store", words.compact(number(row.get("stored_parameters"))), words.size(size) if size is not None else ""),
        ("Learning", words.flop(number(row.get("training_flops"))), ""),
        ("One answer", words.flop(number(row.get("inference_flops"))), ""),
        ("Time", words.duration(number(row.get("seconds"))), ""),
        ("Old images", words.count(number(row.get("old_images_needed"))), ""),
    ]


def differences(summary: Mapping[str, Any]) -> Section | None:
    """Every strategy against every other, as a matrix."""
    order = [str(row["name"]) for row in strategies_of(summary) if _measured(row)]
    gaps = {(gap.a, gap.b): gap for gap in _gaps(summary) if gap.a in order and gap.b in order}
    if not gaps:
        return None
    told = sum(gap.decided for gap in gaps.values())
    lead = f"{words.count(told)} of {words.plural(len(gaps), 'comparison')} {'is' if told == 1 else 'are'} decided."
    detectable = sorted(gap.detectable for gap in gaps.values() if gap.detectable is not None)
    if detectable:
        middle = detectable[len(detectable) // 2]
        lead += f" The smallest difference that one of them reliably detects is typically {words.points(middle)}."
    return Section(
        lead,
        both(lambda width: difference_map(gaps, order, width)),
        "Points by which the strategy of the row is ahead of that of the column. Filled: decided (p below 0.05 after "
        "correction for all comparisons, Holm), blue for ahead, orange for behind; pale: not decided.",
    )


def _gaps(summary: Mapping[str, Any]) -> Iterator[Gap]:
    for row in rows_of(summary.get("pairs")):
        ahead = number(row.get("difference"))
        if ahead is not None and row.get("a") and row.get("b"):
            yield Gap(str(row["a"]), str(row["b"]), ahead, bool(row.get("decided")), number(row.get("detectable")))


def pairs_of(summary: Mapping[str, Any]) -> list[Pair]:
    """Every comparison in figures, the largest difference first."""
    rows = [row for row in rows_of(summary.get("pairs")) if number(row.get("difference")) is not None]
    rows.sort(key=lambda row: -abs(number(row["difference"]) or 0.0))
    return [
        Pair(
            f"{row.get('a')} against {row.get('b')}",
            words.points(number(row["difference"]), sign=True),
            words.points_range(interval(row.get("interval"))),
            words.p_value(number(row.get("p_value"))),
            words.points(number(row.get("detectable"))),
            "decided" if row.get("decided") else "not decided",
        )
        for row in rows
    ]


def gain(summary: Mapping[str, Any]) -> Section | None:
    """Cost against accuracy, with those that nothing cheaper beats."""
    spots = [
        Spot(str(row["name"]), seconds, mean, interval(row.get("interval")))
        for row in strategies_of(summary)
        if (mean := number(row.get("accuracy"))) is not None and (seconds := number(row.get("seconds")))
    ]
    if len(spots) < 2:
        return None
    ahead = front(spots)
    names = words.listed(spot.name for spot in ahead)
    lead = f"Nothing that is quicker has a higher mean than {names}." if len(ahead) > 1 else f"{names} is quickest and best."
    steps = [
        f"from {a.name} to {b.name} {words.points(b.accuracy - a.accuracy, sign=True)} for "
        f"{words.duration(b.cost - a.cost)} more a fold"
        for a, b in itertools.pairwise(ahead)
    ]
    lead += f" Along them, {'; '.join(steps)}." if steps else ""
    return Section(
        lead,
        both(lambda width: scatter(spots, width)),
        "Mean seconds that learning and judging took on a fold, on a logarithmic scale, against the mean accuracy with its "
        "95 % interval. Blue and joined: the Pareto front, where nothing is both quicker and better.",
    )


def _kept(summary: Mapping[str, Any]) -> str:
    """What was asked of the source, or why nothing was."""
    source = table_of(summary.get("source"))
    before, images = number(source.get("before")), number(source.get("images"))
    if before is None:
        reason = str(source.get("reason") or "")
        return f"What is kept of the source task was not measured: {reason}." if reason else ""
    split = {"test": "test ", "val": "validation ", "train": "training "}.get(str(source.get("split")), "")
    text = (
        f"On the source: accuracy after adapting, under the head that came with the network, on {words.count(images)} "
        f"{split}images; {words.percent(before)} before."
    )
    return text + (" It may have learned from these very images." if split == "training " else "")


def _limits(run: RunFolder) -> Iterator[str]:
    summary = run.summary
    if any(not _measured(row) for row in strategies_of(summary)):
        yield "Strategies that were left out may be better than any shown here; a longer --budget lets them take part."
    if number(summary.get("epochs")):
        yield (
            "All that train did so for the same number of epochs. One that learns slowly, such as weights drawn anew, can "
            "overtake the others when trained for longer."
        )
    if rows_of(summary.get("strategies")):
        yield (
            "The highest of several means flatters itself a little. The images set aside for the test took no part; adapt "
            "looks at them once, at the end."
        )
        yield (
            "Operations count matrix products, convolutions and attention, a multiply-add as two; a frozen part whose "
            "output is kept counts once. Of a head that is solved for they count the solver's products and decompositions, "
            "its cross-validation included."
        )
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
