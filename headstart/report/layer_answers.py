"""What a study of layers answers: the verdict, the paper's questions and its claims one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import words
from headstart.report.folder import interval, number, rows_of, table_of
from headstart.report.layer_figures import HALVES, at, cut_names, cut_of, first_halves, halves_of
from headstart.report.tables import flatten
from headstart.report.verdict import Fact, Verdict

OUTCOMES = {True: ("holds", "holds"), False: ("fails", "does not hold"), None: ("open", "undecided")}
"""Class and words of a claim that holds, does not, or could not be decided."""

LOST = ("specificity", "steps", "total", "largest_step")
"""Numbers behind an answer that are differences of accuracy, by cut or alone."""

CUTS = ("general", "specific", "undecided", "at", "first_specific", "largest_step_at")
"""Numbers behind an answer that are cuts."""


@dataclass(frozen=True)
class Answer:
    """One of the paper's questions, the sentence that answers it here, and the numbers behind it.

    first  of the halves that the page shows first
    """

    question: str
    sentence: str
    numbers: Sequence[tuple[str, str]]
    first: bool = True


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and whether it holds here."""

    text: str
    style: str
    outcome: str
    sentence: str


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """The answers in short, and how many of the paper's claims hold here."""
    said, held = [one.sentence for one in answers(summary) if one.sentence and one.first], claims(summary)
    if not said and not held:
        text = "This study ended before there were any answers."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    tone = "undecided" if not held or any(one.style == "open" for one in held) else "decided"
    kept = sum(one.style == "holds" for one in held)
    kicker = f"{kept} of {len(held)} claims {'holds' if kept == 1 else 'hold'} here" if held else "Answered"
    short, *others = _in_short(summary) or [""]
    first = short or (said[0] if said else "What the paper claims, tested on these images.")
    after = (*said[1:], *others, *([tally(held)] if held else []))
    return Verdict(tone, kicker, first, after, _facts(summary))


def _in_short(summary: Mapping[str, Any]) -> list[str]:
    """Which layers are general and which specific, without the numbers, for each kind of halves that lists them."""
    first, several = first_halves(summary), len(halves_of(summary)) > 1
    told: dict[str, str] = {}
    for row in rows_of(summary.get("answers")):
        halves = str(row.get("halves") or first)
        listed = _listed(table_of(row.get("numbers")), cut_names(summary))
        if listed and halves not in told:
            where = f"With {HALVES[halves].name}, of" if several and halves in HALVES else "Of"
            told[halves] = f"{where} the layers, {listed}."
    return list(told.values())


def _listed(found: Mapping[str, Any], names: Mapping[int, str]) -> str:
    parts = []
    for key, word in (
        ("general", "general"),
        ("specific", "specific to the classes learned on"),
        ("undecided", "undecided"),
    ):
        ns = [n for value in (found[key] if isinstance(found.get(key), list) else ()) if (n := cut_of(value)) is not None]
        if ns:
            parts.append(f"{_run_of(ns, names)} {'is' if len(ns) == 1 else 'are'} {word}")
    return "; ".join(parts)


def _run_of(ns: Sequence[int], names: Mapping[int, str]) -> str:
    """conv1, or conv3 to fc7 where more than two follow one another."""
    called = [names.get(n) or at(n) for n in ns]
    if len(ns) > 2 and list(ns) == list(range(ns[0], ns[-1] + 1)):
        return f"{called[0]} to {called[-1]}"
    return words.listed(called)


def tally(held: Sequence[Claim]) -> str:
    """How the claims of the paper fared."""
    counts = {style: sum(one.style == style for one in held) for style, _ in OUTCOMES.values()}
    parts = [
        f"{words.count(counts['holds'])} {'holds' if counts['holds'] == 1 else 'hold'} here" if counts["holds"] else "",
        f"{words.count(counts['fails'])} {'does' if counts['fails'] == 1 else 'do'} not" if counts["fails"] else "",
        f"{words.count(counts['open'])} {'is' if counts['open'] == 1 else 'are'} undecided" if counts["open"] else "",
    ]
    return f"Of {words.plural(len(held), 'claim')} made by Yosinski et al. (2014), {words.listed(filter(None, parts))}."


def _facts(summary: Mapping[str, Any]) -> tuple[Fact, ...]:
    base = next((row for row in rows_of(summary.get("curves")) if row.get("kind") == "base"), {})
    span = interval(base.get("interval"))
    made = number(len(rows_of(summary.get("runs")))) or None
    lost = words.plural(len(rows_of(summary.get("failed"))), "run") + " failed" if rows_of(summary.get("failed")) else ""
    of = HALVES.get(str(base.get("halves"))) if len(halves_of(summary)) > 1 else None
    facts = [
        (
            f"accuracy of base{f', {of.name}' if of else ''}",
            words.percent(number(base.get("accuracy"))),
            words.percent_range(span) if span else "",
        ),
        *(_worst(summary, key, name) for key, name in (("coadaptation", "co-adaptation"), ("specificity", "specificity"))),
        ("runs", words.count(made), lost),
        ("the whole study", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(Fact(value, name, note) for name, value, note in facts if value != words.UNKNOWN)


def _worst(summary: Mapping[str, Any], key: str, name: str) -> tuple[str, str, str]:
    first = first_halves(summary)
    mine = (row for row in rows_of(summary.get(key)) if str(row.get("halves") or first) == first)
    rows = [(drop, row) for row in mine if (drop := number(row.get("drop"))) is not None]
    drop, row = max(rows, key=lambda one: one[0], default=(None, {}))
    n = cut_of(row.get("n"))
    return f"most lost to {name}", words.points(drop), f"at {at(n)}" if n is not None else ""


def answers(summary: Mapping[str, Any]) -> list[Answer]:
    """The paper's questions as far as they were answered."""
    first = first_halves(summary)
    return [
        Answer(
            words.grouped(str(row.get("question") or "Question")),
            _said(row.get("sentence")),
            _numbers(table_of(row.get("numbers")), cut_names(summary)),
            str(row.get("halves") or first) == first,
        )
        for row in rows_of(summary.get("answers"))
    ]


def _numbers(found: Mapping[str, Any], names: Mapping[int, str]) -> list[tuple[str, str]]:
    """Shares lost as points, cuts by the name of their last block; what is neither, as it is."""
    rows: list[tuple[str, str]] = []
    for key, value in found.items():
        name = words.human(str(key)).capitalize()
        if key in CUTS:
            several = value if isinstance(value, list) else [value]
            ns = [n for one in several if (n := cut_of(one)) is not None]
            rows.append((name, ", ".join(names.get(n) or at(n) for n in ns) or "none"))
        elif key == "step_interval":
            rows.append((name, words.points_range(interval(value))))
        elif key in LOST and isinstance(value, dict):
            for n, one in value.items():
                label = names.get(int(n)) if n.isdecimal() and len(n) < 6 else None
                rows.append((f"{name}, {label or n}", words.points(number(one), sign=True)))
        elif key in LOST:
            rows.append((name, words.points(number(value), sign=True)))
        else:
            rows += [(text[:1].upper() + text[1:], shown) for text, shown in flatten({str(key): value})]
    return rows


def claims(summary: Mapping[str, Any]) -> list[Claim]:
    """The paper's claims one by one; what is neither true nor false is undecided."""
    rows = []
    for row in rows_of(summary.get("claims")):
        holds = row.get("holds")
        style, outcome = OUTCOMES[holds if isinstance(holds, bool) else None]
        told = re.sub(r"^(Holds|Does not hold|Undecided): ", "", str(row.get("sentence") or ""))
        rows.append(Claim(_said(row.get("claim") or "unnamed"), style, outcome, _said(told)))
    return rows


def _said(value: Any) -> str:
    """The study's own sentence, with true minus signs; a block's name at its start (conv1) keeps its small letter."""
    text = re.sub(r"(?<![\w.])-(?=\d)", words.MINUS, words.grouped(str(value or "")))
    if any(letter.isdigit() for letter in text.split(" ", 1)[0]):
        return text if text[-1] in ".!?" else f"{text}."
    return words.sentence(text)
