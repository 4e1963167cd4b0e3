"""The candidates of a choice side by side: the ranking as a table and as a picture, and what every measure says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, interval_plot
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.svg import both

PLOTTED = 24
"""Candidates drawn, best first; the table holds all."""

LABELS = {
    "probe": "Linear probe, best depth",
    "probe_last": "Linear probe, last block",
    "knn": "Nearest neighbours",
    "logme": "LogME",
    "hscore": "H-score",
    "transrate": "TransRate",
    "leep": "LEEP",
    "nce": "NCE",
    "size": "Bigger is better",
    "race": "Race",
}
"""What measures are called where the run does not say."""

ENDED = {"finished": "finished", "eliminated": "stopped early", "diverged": "diverged", "not raced": "not raced"}
"""How a candidate's race ended, in words."""


@dataclass(frozen=True)
class Candidate:
    """One row of the ranking; everything is text already."""

    rank: str
    name: str
    chosen: bool
    peak: str
    probe: str
    span: str
    race: str
    race_span: str
    ended: str
    flops: str
    input: str
    parameters: str
    bytes: str
    seconds: str


@dataclass(frozen=True)
class Ranking:
    """The section of the ranking."""

    lead: str
    plot: Markup | None
    key: str
    rows: Sequence[Candidate]


@dataclass(frozen=True)
class Said:
    """What every measure says: columns of names, a row per candidate of `(rank, value)`, and why one is missing."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    missing: Sequence[str]


def candidates_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The candidates that have a name, in the order the run gave them: best first."""
    return [row for row in rows_of(summary.get("candidates")) if row.get("name") and isinstance(row["name"], str)]


def score_of(row: Mapping[str, Any], measure: str) -> tuple[float | None, tuple[float, float] | None]:
    """Value and interval of one measure of a candidate."""
    found = table_of(table_of(row.get("scores")).get(measure))
    return number(found.get("value")), interval(found.get("interval"))


def rounds_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rounds of the race that a candidate took part in."""
    found = rows_of(table_of(row.get("race")).get("rounds"))
    return [one for one in found if number(one.get("accuracy")) is not None]


def raced(row: Mapping[str, Any]) -> tuple[float | None, tuple[float, float] | None]:
    """Accuracy and interval at the end of the race, over the folds the candidate ran."""
    rounds = rounds_of(row)
    return (number(rounds[-1]["accuracy"]), interval(rounds[-1].get("interval"))) if rounds else (None, None)


def measures_of(summary: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Measure -> what it is called and its unit, as the run lists them, else those the candidates have."""
    listed = {str(row["name"]): row for row in rows_of(summary.get("measures")) if row.get("name")}
    names = listed or {name: {} for row in candidates_of(summary) for name in table_of(row.get("scores"))}
    return {n: (str(r.get("label") or LABELS.get(n, words.human(n))), str(r.get("unit") or "")) for n, r in names.items()}


def ranking(run: RunFolder) -> Ranking | None:
    """The ranking, or None when no candidate was measured."""
    found, chosen = candidates_of(run.summary), run.summary.get("chosen")
    if not found:
        return None
    estimates = [one for row in found[:PLOTTED] if (one := _estimate(row, row["name"] == chosen))]
    axis = "accuracy on held-out images, with 95 % interval"
    return Ranking(
        lead=_lead(found),
        plot=both(lambda width: interval_plot(estimates, width, axis)) if estimates else None,
        key=words.grouped(_key(estimates)),
        rows=[_row(row, row["name"] == chosen, place + 1) for place, row in enumerate(found)],
    )


def decided_by(summary: Mapping[str, Any]) -> str:
    """`race` or `probe`: in which way the chosen network did best."""
    said = summary.get("by")
    if said in ("race", "probe"):
        return str(said)
    chosen = next((row for row in candidates_of(summary) if row["name"] == summary.get("chosen")), {})
    return "race" if rounds_of(chosen) else "probe"


def _lead(found: Sequence[Mapping[str, Any]]) -> str:
    ran = sum(bool(rounds_of(row)) for row in found)
    text = f"{words.plural(len(found), 'network')}, each looked at with one pass of the same training images."
    if ran > 1:
        text += f" The {words.count(ran)} likeliest then raced; what counts is the better of the two, frozen or fine-tuned."
    return text + (f" Drawn are the first {PLOTTED}." if len(found) > PLOTTED else "")


def _key(estimates: Sequence[Estimate]) -> str:
    text = "Dots: a linear head on the frozen features of the best depth, with its 95 % interval."
    if any(one.seen is not None for one in estimates):
        text += " Diamonds: after the short fine-tuning of the race, on the folds the network ran."
    chosen = any(one.kind == "best" for one in estimates)
    return text + (" The dotted line marks the chosen network's probe." if chosen else "")


def _estimate(row: Mapping[str, Any], chosen: bool) -> Estimate | None:
    (value, span), (seen, seen_span) = score_of(row, "probe"), raced(row)
    if value is None:
        return None
    note = f"race {words.percent(seen)}" if seen is not None else ""
    note = " · ".join(filter(None, ["chosen" if chosen else "", note]))
    return Estimate(str(row["name"]), value, span, "best" if chosen else "plain", note, seen, seen_span)


def _row(row: Mapping[str, Any], chosen: bool, place: int) -> Candidate:
    (value, span), (seen, seen_span) = score_of(row, "probe"), raced(row)
    side = number(row.get("input_size"))
    return Candidate(
        rank=words.count(number(row.get("rank")) or place),
        name=str(row["name"]),
        chosen=chosen,
        peak=row["peak"] if isinstance(row.get("peak"), str) else "",
        probe=words.percent(value),
        span=words.percent_range(span) if span else "",
        race=words.percent(seen) if seen is not None else words.UNKNOWN,
        race_span=words.percent_range(seen_span) if seen_span else "",
        ended=ended(row),
        flops=words.compact(number(row.get("flops"))),
        input=f"at {words.count(side)}{words.NARROW}px" if side is not None else "",
        parameters=words.compact(number(row.get("parameters"))),
        bytes=words.size(number(row.get("bytes"))) if number(row.get("bytes")) is not None else "",
        seconds=words.duration(number(table_of(row.get("seconds")).get("all"))),
    )


def ended(row: Mapping[str, Any]) -> str:
    """How the candidate's race ended; empty where the run does not say."""
    status = str(table_of(row.get("race")).get("status") or "")
    return ENDED.get(status, status)


def said(run: RunFolder) -> Said | None:
    """What every measure says of every candidate, or None when there is no measure besides the probe."""
    measures, found = measures_of(run.summary), candidates_of(run.summary)
    columns = {name: about for name, about in measures.items() if any(score_of(row, name)[0] is not None for row in found)}
    if not set(columns) - {"probe"}:
        return None
    rows = [(str(row["name"]), [_cell(row, name, unit) for name, (_, unit) in columns.items()]) for row in found]
    return Said([label for label, _ in columns.values()], rows, _missing(found))


def _cell(row: Mapping[str, Any], measure: str, unit: str) -> tuple[str, str]:
    """(rank, value); the value in its own unit."""
    value, _ = score_of(row, measure)
    if value is None:
        return words.UNKNOWN, ""
    rank = number(table_of(table_of(row.get("scores")).get(measure)).get("rank"))
    if unit == "accuracy":
        return words.count(rank), words.percent(value)
    return words.count(rank), words.compact(value) if unit == "weights" else words.figures(value)


def _missing(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence per reason for which measures are missing, with the measures and the networks it holds for."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for row in found:
        for measure, why in table_of(row.get("why_missing")).items():
            reasons.setdefault(str(why), {}).setdefault(LABELS.get(measure, measure), []).append(str(row["name"]))
    sentences = []
    for why, where in reasons.items():
        names = list(dict.fromkeys(name for list_ in where.values() for name in list_))
        of = "every network" if len(names) == len(found) else words.listed(names)
        sentences.append(words.sentence(f"{words.listed(where)} could not be had of {of}: {why}"))
    return sentences
