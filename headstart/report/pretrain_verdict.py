"""The verdict of `headstart pretrain` on its page: a table by labels, and differences on the same test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headstart.report import words
from headstart.report.folder import interval, number, rows_of, table_of
from headstart.report.multitask_forest import Forest, Line, forest, signed
from headstart.report.svg import both

OURS, RANDOM = "pretrained", "random"
KINDS = {"probe": "Probed", "fine_tune": "Fine-tuned"}


@dataclass(frozen=True)
class Cell:
    """An accuracy with its interval; `note` says what else is to be known of it."""

    figure: str
    span: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One network with one share of the labels."""

    labels: str
    network: str
    ours: bool
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Judgement:
    """The section: rows of the table, forest plots, and what was left out."""

    lead: str
    rows: Sequence[Row]
    forests: Sequence[Forest]
    left_out: Sequence[str]


def judgement(summary: Mapping[str, Any]) -> Judgement | None:
    """Everything that was compared; None where there is no verdict."""
    found = table_of(summary.get("verdict"))
    cells = rows_of(found.get("cells"))
    if not cells:
        return None
    names = {str(one.get("name")): str(one.get("label")) for one in rows_of(found.get("networks"))}
    shares = {int(number(one.get("images")) or 0): number(one.get("share")) for one in rows_of(found.get("shares"))}
    by = {(one.get("images"), one.get("kind"), one.get("network")): one for one in cells}
    rows = [
        Row(_labels(images, share), label, name == OURS, [_cell(by.get((images, kind, name)), kind, name) for kind in KINDS])
        for images, share in shares.items()
        for name, label in names.items()
    ]
    lead = (
        f"Accuracy on the same {words.count(number(found.get('test_images')))} test images. Probed: a linear head on the "
        "block that cross-validates best, the network frozen; fine-tuned: the whole network, which of random weights is "
        f"training from scratch. {_time(found)}"
    )
    gaps = rows_of(found.get("differences"))
    forests = [one for kind in KINDS if (one := _forest(gaps, kind, names, shares)) is not None]
    return Judgement(lead, rows, forests, list(_left_out(found)))


def _time(found: Mapping[str, Any]) -> str:
    """What was spent, beside what was allowed."""
    spent, budget = number(found.get("seconds")), number(found.get("budget"))
    if spent is None or budget is None:
        return ""
    told = f"That took {words.duration(spent)} of the {words.duration(budget)} it was given"
    if spent <= budget:
        return f"{told}."
    return (
        f"That took {words.duration(spent)}, more than the {words.duration(budget)} it was given: the first comparison, and "
        "what all of them need, are done in any case."
    )


def planned(found: Mapping[str, Any]) -> int:
    """Comparisons with one other network that there would be with enough time: each share of the labels, each way."""
    return len(rows_of(found.get("shares"))) * len(KINDS)


def _labels(images: int, share: float | None) -> str:
    return f"{words.percent(share, 0)} of the labels ({words.count(images)})"


def _cell(one: Mapping[str, Any] | None, kind: str, name: str) -> Cell:
    if one is None:
        return Cell("left out", "")
    span = interval(one.get("interval"))
    draws = number(one.get("draws")) or 1
    note = ["from scratch"] if (kind, name) == ("fine_tune", RANDOM) else []
    note += [f"{words.count(draws)} draws"] if draws > 1 else []
    return Cell(words.percent(number(one.get("accuracy"))), words.percent_range(span) if span else "", ", ".join(note))


def _forest(
    gaps: Sequence[Mapping[str, Any]], kind: str, names: Mapping[str, str], shares: Mapping[int, float | None]
) -> Forest | None:
    """Differences of this backbone from the others, in points."""
    lines = [_gap(gap, names, shares) for gap in gaps if gap.get("kind") == kind]
    if not lines:
        return None
    draw = partial(forest, lines, ("worse", "better"), signed, 1.0)
    return Forest(f"{KINDS[kind]}: this backbone against the others, in points", both(draw))


def _gap(gap: Mapping[str, Any], names: Mapping[str, str], shares: Mapping[int, float | None]) -> Line:
    mean, low, high = (100 * (number(gap.get(name)) or 0.0) for name in ("mean", "low", "high"))
    kind = "undecided" if not gap.get("decided") else "better" if mean > 0 else "worse"
    images, than = int(number(gap.get("images")) or 0), str(gap.get("than"))
    other = "from scratch" if (gap.get("kind"), than) == ("fine_tune", RANDOM) else names.get(than, than)
    seen = number(gap.get("detectable"))
    share = words.percent(shares.get(images), 0)
    return Line(f"against {other}", f"{share} of the labels", mean, (low, high), kind, None if seen is None else 100 * seen)


def _left_out(found: Mapping[str, Any]) -> Iterator[str]:
    by: dict[tuple[str, str], list[str]] = {}
    for row in rows_of(found.get("left_out")):
        unit, _, draw = str(row.get("unit")).rpartition(", draw ")
        by.setdefault((unit, str(row.get("why"))), []).append(draw)
    for (unit, why), draws in by.items():
        yield words.sentence(f"{unit}, {'draws' if len(draws) > 1 else 'draw'} {words.listed(draws)}: {why}")
    for row in rows_of(found.get("absent")):
        yield words.sentence(f"not compared with {row.get('name')}: {row.get('why')}")
