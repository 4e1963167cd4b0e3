"""The race of the candidates round by round, and where in each network a linear head reads best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.candidates import candidates_of, ended, rounds_of
from headstart.report.charts import Estimate, Series, line_chart
from headstart.report.depths import best_of, blocks_of
from headstart.report.folder import RunFolder, interval, number, table_of
from headstart.report.svg import padded

PANELS = 12
"""Networks whose accuracy by depth is drawn, best first."""


@dataclass(frozen=True)
class Racer:
    """One network in the race: accuracy and interval after every round, how it ended and why."""

    name: str
    chosen: bool
    cells: Sequence[tuple[str, str]]
    ended: str
    reason: str


@dataclass(frozen=True)
class Race:
    """The section of the race; `absent` are sentences on who did not take part."""

    lead: str
    rounds: Sequence[str]
    rows: Sequence[Racer]
    absent: Sequence[str]


@dataclass(frozen=True)
class Panel:
    """Accuracy by depth of one network."""

    title: str
    note: str
    picture: Markup


@dataclass(frozen=True)
class Depths:
    """The section of accuracy by depth."""

    lead: str
    panels: Sequence[Panel]


def race(run: RunFolder) -> Race | None:
    """The race, or None when the run says nothing of one."""
    found, chosen = candidates_of(run.summary), run.summary.get("chosen")
    ran = [row for row in found if rounds_of(row) or table_of(row.get("race")).get("status") == "diverged"]
    absent = _absent([row for row in found if row not in ran], len(found))
    if not ran and not absent:
        return None
    most = max((len(rounds_of(row)) for row in ran), default=0)
    rows = [_racer(row, row["name"] == chosen, most) for row in ran]
    return Race(_lead(ran, most), [f"Round {k + 1}" for k in range(most)], rows, absent)


def _lead(ran: Sequence[Mapping[str, Any]], most: int) -> str:
    if not ran:
        return "No network was fine-tuned; the ranking rests on frozen features."
    epochs = {n for row in ran for one in rounds_of(row) if (n := number(one.get("epochs")))}
    each = f" for {words.plural(next(iter(epochs)), 'epoch')} each time" if len(epochs) == 1 else ""
    text = f"{words.plural(len(ran), 'network')} fine-tuned{each} on the same folds of the training images"
    text += ", one fold a round; after each the lower half dropped out, as long as more than two were left." if most else "."
    return text + " Accuracies are means over the rounds so far." if most > 1 else text


def _racer(row: Mapping[str, Any], chosen: bool, most: int) -> Racer:
    cells = [(words.percent(number(one["accuracy"])), _span(one)) for one in rounds_of(row)]
    cells += [("", "")] * (most - len(cells))
    reason = str(table_of(row.get("race")).get("reason") or "")
    return Racer(str(row["name"]), chosen, cells, words.sentence(ended(row)), words.sentence(words.grouped(reason)))


def _span(one: Mapping[str, Any]) -> str:
    span = interval(one.get("interval"))
    return words.percent_range(span) if span else ""


def _absent(rows: Sequence[Mapping[str, Any]], of: int) -> list[str]:
    """Who did not race, by reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        why = table_of(row.get("race")).get("reason")
        if why:
            reasons.setdefault(str(why), []).append(str(row["name"]))
    said = []
    for why, names in reasons.items():
        who = "no race" if len(names) == of else f"not in the race: {words.listed(names)}"
        said.append(words.sentence(f"{who}: {words.grouped(why)}"))
    return said


def depths(run: RunFolder) -> Depths | None:
    """Accuracy by depth of the first candidates on common axes, or None when it was not measured."""
    found = [(str(row["name"]), rows) for row in candidates_of(run.summary) if (rows := blocks_of(row.get("depth")))]
    if not found:
        return None
    shown = found[:PANELS]
    y_range = padded([row.mean for _, rows in shown for row in rows], least=0.1)
    text = "The same linear head reads each frozen network after every block. A network whose accuracy peaks before its end "
    text += "knows much that is too special to its source at the top. Grey: the other networks."
    text += f" Drawn are the first {PANELS} of {words.count(len(found))}." if len(found) > PANELS else ""
    return Depths(text, [_panel(at, shown, y_range) for at in range(len(shown))])


def _panel(at: int, shown: Sequence[tuple[str, Sequence[Estimate]]], y_range: tuple[float, float]) -> Panel:
    name, rows = shown[at]
    best = best_of(rows)
    others = [Series(_points(rows), "thin") for place, (_, rows) in enumerate(shown) if place != at]
    ticks = [(0.0, "input"), (1.0, "output")]
    spoken = f"Accuracy by depth of {name}: " + "; ".join(f"{row.name} {words.percent(row.mean)}" for row in rows)
    picture = line_chart([*others, Series(_points(rows), "bold")], 340, 170, spoken, x_ticks=ticks, y_range=y_range)
    span = f" ({words.percent_range(best.span)})" if best.span else ""
    return Panel(name, f"best at {best.name}: {words.percent(best.mean)}{span}", picture)


def _points(rows: Sequence[Estimate]) -> list[tuple[float, float]]:
    """Depth 0 to 1 and accuracy of the single blocks."""
    single = [row for row in rows if row.kind != "apart"] or list(rows)
    return [(place / max(1, len(single) - 1), row.mean) for place, row in enumerate(single)]
