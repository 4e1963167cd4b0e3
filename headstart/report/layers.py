"""The page of `headstart study layers`: how transferable each layer is, beside what the paper found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import closing, found, words
from headstart.report.adapt import subtitle, title
from headstart.report.filters import filters
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.layer_figures import KINDS, accuracies, at, changes, cut_names, cut_of, drops
from headstart.report.overtaking import overtaking, scratch
from headstart.report.pictures import read_pictures
from headstart.report.tables import flatten
from headstart.report.verdict import Fact, Verdict
from headstart.transferability import yosinski2014

TEMPLATE = "layers.html"

OUTCOMES = {True: ("holds", "holds"), False: ("fails", "does not hold"), None: ("open", "undecided")}
"""Class and words of a claim that holds, does not, or could not be decided."""


@dataclass(frozen=True)
class Answer:
    """One of the paper's questions, the sentence that answers it here, and the numbers behind it."""

    question: str
    sentence: str
    numbers: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and whether it holds here."""

    text: str
    style: str
    outcome: str
    sentence: str


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; the first `names` columns are text, the others numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    promised = run.summary.get("filters")
    seen = filters(run.path, promised) if isinstance(promised, str) and promised else filters(run.path)
    return {
        "title": title(run),
        "subtitle": subtitle(run),
        "verdict": verdict(run.summary),
        "answers": answers(run.summary),
        "claims": claims(run.summary),
        "accuracies": accuracies(run.summary),
        "changes": changes(run.summary),
        "drops": drops(run.summary),
        "overtaking": overtaking(run.summary),
        "scratch": scratch(),
        "filters": seen if seen.pictures else None,
        "by_cut": by_cut(run.summary),
        "runs": runs(run.summary),
        "failed": failed(run.summary),
        "splits": splits(run.summary),
        "found": found.found(run, read_pictures(run.path / "report_data")),  # the page goes without where there are none
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": list(_limits(run)),
        "source": yosinski2014.citation(),
        "notes": run.remarks,
        "gaps": [*run.gaps, *([seen.gap] if seen.gap and promised else [])],
    }


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """The answers in short, and how many of the paper's claims hold here."""
    said, held = [one.sentence for one in answers(summary) if one.sentence], claims(summary)
    if not said and not held:
        text = "This study ended before there were any answers."
        return Verdict("unfinished", "Not finished", text, ("The same command with --resume goes on from there.",), ())
    tone = "undecided" if not held or any(one.style == "open" for one in held) else "decided"
    kicker = "Answered" if not held else f"{sum(one.style == 'holds' for one in held)} of {len(held)} claims hold here"
    sentence, after = (said[0], said[1:]) if said else ("What the paper claims, tested on these images.", [])
    return Verdict(tone, kicker, sentence, (*after, *([tally(held)] if held else [])), _facts(summary))


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
    facts = [
        ("accuracy of base", words.percent(number(base.get("accuracy"))), words.percent_range(span) if span else ""),
        *(_worst(summary, key, name) for key, name in (("coadaptation", "co-adaptation"), ("specificity", "specificity"))),
        ("runs", words.count(made), lost),
        ("the whole study", words.duration(number(summary.get("seconds"))), ""),
    ]
    return tuple(Fact(value, name, note) for name, value, note in facts if value != words.UNKNOWN)


def _worst(summary: Mapping[str, Any], key: str, name: str) -> tuple[str, str, str]:
    rows = [(drop, row) for row in rows_of(summary.get(key)) if (drop := number(row.get("drop"))) is not None]
    drop, row = max(rows, key=lambda one: one[0], default=(None, {}))
    n = cut_of(row.get("n"))
    return f"most lost to {name}", words.points(drop), f"at {at(n)}" if n is not None else ""


def answers(summary: Mapping[str, Any]) -> list[Answer]:
    """The paper's questions as far as they were answered."""
    return [
        Answer(
            words.grouped(str(row.get("question") or "Question")),
            _said(row.get("sentence")),
            flatten(table_of(row.get("numbers"))),
        )
        for row in rows_of(summary.get("answers"))
    ]


def claims(summary: Mapping[str, Any]) -> list[Claim]:
    """The paper's claims one by one; what is neither true nor false is undecided."""
    rows = []
    for row in rows_of(summary.get("claims")):
        holds = row.get("holds")
        style, outcome = OUTCOMES[holds if isinstance(holds, bool) else None]
        said = _said(row.get("sentence"))
        rows.append(Claim(_said(row.get("claim") or "unnamed"), style, outcome, said))
    return rows


def _said(value: Any) -> str:
    """The study's own sentence; a block's name at its start (conv1) keeps its small letter."""
    text = words.grouped(str(value or ""))
    if not text or text.split(" ", 1)[0].isalpha():
        return words.sentence(text)
    return text if text[-1] in ".!?" else f"{text}."


def by_cut(summary: Mapping[str, Any]) -> Table | None:
    """Every mean with its interval: the numbers behind the figures."""
    names, rows = cut_names(summary), []
    for row in rows_of(summary.get("curves")):
        n, accuracy = cut_of(row.get("n")), number(row.get("accuracy"))
        if n is None:
            continue
        kind = KINDS.get(str(row.get("kind")))
        what = kind.name if kind else str(row.get("kind") or "")
        where = f"{n}{f' {names[n]}' if names.get(n) else ''}" if n else "base"
        change = words.points(number(row.get("relative")), sign=True)
        rows.append([what, str(row.get("halves") or ""), where, _with(words.percent(accuracy), row, "interval"),
                     _with(change, row, "relative_interval"), words.count(number(row.get("runs")))])  # fmt: skip
    return Table(("Kind", "Halves", "Cut", "Accuracy", "Against base", "Runs"), rows, 3) if rows else None


def _with(text: str, row: Mapping[str, Any], key: str) -> str:
    span = interval(row.get(key))
    if span is None or text == words.UNKNOWN:
        return text
    return f"{text} ({words.percent_range(span) if key == 'interval' else words.points_range(span)})"


def runs(summary: Mapping[str, Any]) -> Table | None:
    """Every single run."""
    rows = []
    for row in rows_of(summary.get("runs")):
        kind, n = KINDS.get(str(row.get("kind"))), cut_of(row.get("n"))
        what = kind.name if kind else str(row.get("kind") or "")
        way = " > ".join(str(row[key]) for key in ("source", "target") if row.get(key))
        texts = [f"{what}{f', {at(n)}' if n else ''}", way, str(row.get("halves") or "")]
        texts += [words.figures(number(row.get(key))) for key in ("split", "seed", "images", "epochs")]
        rows.append([*texts, words.percent(number(row.get("accuracy"))), words.duration(number(row.get("seconds")))])
    heads = ("Run", "From > to", "Halves", "Split", "Seed", "Images", "Epochs", "Accuracy", "Time")
    return Table(heads, rows, 3) if rows else None


def failed(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Runs that could not be finished, and why."""
    return [
        (str(row.get("run") or "a run"), words.sentence(str(row.get("reason") or "no reason was written")))
        for row in rows_of(summary.get("failed"))
    ]


def splits(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A name for each split, with the classes of its halves."""
    found = []
    for row in rows_of(summary.get("splits")):
        halves = [", ".join(str(name) for name in row[key]) if isinstance(row.get(key), list) else "" for key in "AB"]
        parts = [f"Split {words.figures(one)}" if (one := number(row.get("split"))) is not None else "A split"]
        parts += [str(row["halves"])] if row.get("halves") else []
        parts += [f"seed {words.figures(seed)}"] if (seed := number(row.get("seed"))) is not None else []
        found.append((", ".join(parts), *halves))
    return [(name, a, b) for name, a, b in found if a or b]


def _limits(run: RunFolder) -> Iterator[str]:
    rows = rows_of(run.summary.get("runs"))
    dealt, seeds = ({str(row.get(key)) for row in rows if row.get(key) is not None} for key in ("split", "seed"))
    if rows:
        yield (
            f"The intervals rest on {words.plural(len(dealt), 'split')} of the classes and "
            f"{words.plural(len(seeds), 'seed')}; other classes can move the curves by more."
        )
    yield (
        "The paper learned AlexNet on ImageNet, half a thousand classes and 600 thousand images a half. Compare the shapes "
        "of its curves with these, not their heights."
    )
    yield (
        "In the published logs every AnB+ run has target B and every BnB+ run target A, the harder half: the distance of "
        "these two in the paper's figure is no effect of the transfer. Here all differences are paired by target and seed."
    )
    if any(row.get("kind") == "random" for row in rows):
        yield "Random weights depend on how they are drawn; other ways to draw them do better or worse."
    yield from closing.data_limits(run.inspection)
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE
