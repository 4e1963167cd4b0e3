"""The page of `headstart select`: which network to start from, how sure that is, and what every measure said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import closing, words
from headstart.report.adapt import subtitle, title
from headstart.report.agreement import agreement
from headstart.report.candidates import candidates_of, decided_by, ended, raced, ranking, rounds_of, said, score_of
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.racing import depths, race
from headstart.report.verdict import Fact, Verdict

TEMPLATE = "select.html"

RULES = {"probe": "The best linear probe", "logme": "The best LogME", "bigger_is_better": "The most weights"}
"""Simple rules that need no race, with what they are called."""


@dataclass(frozen=True)
class Rule:
    """What a simple rule would have chosen, and how that compares with what was chosen."""

    name: str
    choice: str
    probe: str
    race: str
    same: bool


@dataclass(frozen=True)
class Expense:
    """What one candidate cost, in text."""

    name: str
    cells: Sequence[str]


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    summary = run.summary
    return {
        "title": title(run),
        "subtitle": _subtitle(run),
        "verdict": verdict(summary),
        "ranking": ranking(run),
        "said": said(run),
        "agreement": agreement(run),
        "race": race(run),
        "depths": depths(run),
        "rules": rules(summary),
        "unavailable": _unavailable(summary),
        "following": closing.pieces(str(summary.get("next") or "")),
        "cost": closing.cost(run),
        "expenses": expenses(summary),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "notes": _notes(run),
        "gaps": run.gaps,
    }


def _subtitle(run: RunFolder) -> str:
    found = candidates_of(run.summary)
    return " · ".join(filter(None, [subtitle(run), words.plural(len(found), "network") + " compared" if found else ""]))


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """Which network, in the run's own sentence; undecided is said to be undecided."""
    chosen, found = str(summary.get("chosen") or ""), candidates_of(summary)
    if not chosen:
        text = "This run ended before any network was chosen."
        more = "The same command with --resume goes on from there."
        return Verdict("unfinished", "Not finished", text, (more,), ())
    decided = bool(summary.get("decided"))
    sentence = words.grouped(str(summary.get("sentence") or f"{chosen} was taken."))  # a name at its start stays as it is
    kicker = "Decided" if decided else "Not decided" if len(found) > 1 else "Nothing to compare with"
    row = next((one for one in found if one["name"] == chosen), {})
    return Verdict("decided" if decided else "undecided", kicker, sentence, (_by(summary),), _facts(summary, row))


def _by(summary: Mapping[str, Any]) -> str:
    begun = any(rounds_of(row) for row in candidates_of(summary))
    if not begun:
        return "The networks were compared by a linear head on their frozen features; nothing was fine-tuned."
    own = "fine-tuned" if decided_by(summary) == "race" else "frozen"
    ways = "frozen under a linear head, or fine-tuned"
    return f"Each network counts by the better of two ways: {ways}. For this one that is {own}."


def _facts(summary: Mapping[str, Any], chosen: Mapping[str, Any]) -> tuple[Fact, ...]:
    (probe, span), (seen, seen_span) = score_of(chosen, "probe"), raced(chosen)
    against = table_of(summary.get("comparison"))
    margin, between = number(against.get("difference")), interval(against.get("interval"))
    reached = "after the race" if ended(chosen) == "finished" else "in the race, not to its end"
    facts = [
        ("linear probe", words.percent(probe), words.percent_range(span)),
        (reached, words.percent(seen), words.percent_range(seen_span)),
        (f"against {against.get('against')}", words.points(margin, sign=True), words.points_range(between)),
        ("the choice took", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(
        Fact(value, name, "" if note == words.UNKNOWN else note) for name, value, note in facts if value != words.UNKNOWN
    )


def rules(summary: Mapping[str, Any]) -> list[Rule]:
    """What simple rules would have chosen."""
    by_name = {str(row["name"]): row for row in candidates_of(summary)}
    found = []
    for rule, choice in table_of(summary.get("baselines")).items():
        row = by_name.get(str(choice), {})
        probe, seen = score_of(row, "probe")[0], raced(row)[0]
        same = choice == summary.get("chosen")
        name = RULES.get(rule) or words.human(rule).capitalize()
        found.append(Rule(name, str(choice or words.UNKNOWN), words.percent(probe), words.percent(seen), same))
    return found


def expenses(summary: Mapping[str, Any]) -> list[Expense]:
    """Seconds of every candidate by what they went into, and the bytes of its features."""
    rows = []
    for row in candidates_of(summary):
        spent = table_of(row.get("seconds"))
        cells = [words.duration(number(spent.get(key))) for key in ("load", "pass", "scores", "race", "all")]
        cells.append(words.size(number(row.get("feature_bytes"))))
        if any(cell != words.UNKNOWN for cell in cells):
            rows.append(Expense(str(row["name"]), cells))
    return rows


def _notes(run: RunFolder) -> list[str]:
    """What the run wrote down, less what the page tells in its own place: who was left out and why there was no race."""
    rows = [*rows_of(run.summary.get("unavailable")), *(table_of(row.get("race")) for row in candidates_of(run.summary))]
    told = [str(row["reason"]) for row in rows if row.get("reason")]
    progress = {str(one.get("text")) for one in run.events("note") if str(one.get("text")).startswith("  ")}
    return [text for text in run.remarks if text not in progress and not any(text.endswith(reason) for reason in told)]


def _unavailable(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = rows_of(summary.get("unavailable"))
    return [(str(row.get("name") or "unnamed"), words.sentence(str(row.get("reason") or "not said"))) for row in rows]


def _limits(run: RunFolder) -> Iterator[str]:
    summary, found = run.summary, candidates_of(run.summary)
    if len(found) > 1:
        yield (
            "The network was picked among several by its accuracy on these images, which flatters that accuracy a little. "
            "The images set aside for the test took no part; adapt looks at them once, at the end."
        )
    if any(rounds_of(row) for row in found):
        yield "The race is short. A network that starts slowly can overtake another when trained for long."
    elif found:
        yield "A linear head tells what frozen features hold, not what fine-tuning would make of them."
    least = number(table_of(summary.get("comparison")).get("detectable"))
    if least is not None:
        yield f"A true difference of less than about {words.points(least)} would probably have been missed here."
    if summary.get("unavailable"):
        yield "Networks that could not be used were not judged: one of them may be the best."
    yield closing.GATHERED
    yield from closing.data_limits(run.inspection)
    if number(summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
