"""Past experiments: which family of strategies won where, as marks in the quadrant picture and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.folder import number, rows_of
from headstart.report.svg import tag

FAMILIES = {"frozen": "frozen backbone", "tuned": "fine-tuning", "retrained": "re-training"}
"""Families of strategies, in the order of how much they change, and what won is called."""

OTHER = "other"
"""Family of a winner that this page does not know; its mark is a cross."""

CLOSE = 0.005
"""Points below which the best of two families are called level."""


@dataclass(frozen=True)
class Past:
    """One past experiment: its place in the picture, what it was, who won and by how much tuning beat freezing."""

    x: float
    y: float
    what: str
    winner: str
    family: str
    gap: float | None

    @property
    def said(self) -> str:
        """One line for a hover title."""
        return f"{self.what}: best was {self.winner} ({FAMILIES.get(self.family, 'another family')}){self._by}"

    @property
    def _by(self) -> str:
        return f"; {self.margin}" if self.margin else ""

    @property
    def margin(self) -> str:
        """How far apart the best tuned and the best frozen strategy were, empty when not known."""
        if self.gap is None:
            return ""
        if abs(self.gap) < CLOSE:
            return "frozen and tuned level"
        return f"{'tuned' if self.gap > 0 else 'frozen'} ahead by {words.points(abs(self.gap))}"

    def mark(self, px: float, py: float) -> Markup:
        """Shape and colour tell the family; the hover title tells the rest."""
        return tag("g", tag("title", self.said), shape(self.family, px, py), class_=f"past {self.family}")


@dataclass(frozen=True)
class Calibration:
    """The past experiments, the key to their marks (with how many there are of each), and a sentence about them."""

    past: Sequence[Past]
    key: Sequence[tuple[Markup, str]]
    said: str


def shape(family: str, x: float, y: float, r: float = 4.2) -> Markup:
    """Circle, triangle, square, or a cross for what is not known: never told apart by colour alone."""
    if family == "frozen":
        return tag("circle", cx=x, cy=y, r=r)
    corners = {
        "tuned": ((0, -1.2), (1.12, 0.85), (-1.12, 0.85)),
        "retrained": ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
    }.get(family)
    if corners:
        d = "L".join(f"{x + r * across:.1f} {y + r * down:.1f}" for across, down in corners)
        return tag("path", d=f"M{d}Z")
    return tag("path", d=f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}")


def calibration(summary: Mapping[str, Any], labels: Mapping[str, str]) -> Calibration:
    """The past experiments a run wrote; empty for runs that wrote none. Entries without a place are left out."""
    past = [one for row in rows_of(summary.get("calibration")) if (one := _past(row, labels))]
    families = [*FAMILIES, OTHER]
    counts = {family: sum(one.family == family for one in past) for family in families}
    key = [
        (_sample(family), f"{FAMILIES.get(family, 'another family')} won: {words.count(n)}")
        for family, n in counts.items()
        if n
    ]
    return Calibration(past, key, _said(past))


def _past(row: Mapping[str, Any], labels: Mapping[str, str]) -> Past | None:
    x, y = number(row.get("x")), number(row.get("y"))
    if x is None or y is None:
        return None
    family, winner = str(row.get("family") or OTHER), str(row.get("winner") or "not known")
    return Past(
        x,
        y,
        what=words.grouped(str(row.get("label") or "unnamed experiment")),
        winner=labels.get(winner, winner),
        family=family if family in FAMILIES else OTHER,
        gap=number(row.get("gap")),
    )


def _sample(family: str) -> Markup:
    mark = tag("g", shape(family, 7, 7), class_=f"past {family}")
    return tag("svg", mark, viewBox="0 0 14 14", width=14, height=14, aria_hidden="true")


def _said(past: Sequence[Past]) -> str:
    if not past:
        return ""
    return (
        f"Small marks: {words.plural(len(past), 'past experiment')}, each where its own data lay; the shape tells which "
        "family of strategies won."
    )


def around(past: Sequence[Past], x: float, y: float) -> str:
    """What won in the same quadrant as (x, y), as a sentence; empty when nothing is there."""
    here = [one for one in past if (one.x >= 0.5) == (x >= 0.5) and (one.y >= 0.5) == (y >= 0.5)]
    if not here:
        return "No past experiment lies in your quadrant." if past else ""
    counts = {family: sum(one.family == family for one in here) for family in FAMILIES}
    won = [f"{FAMILIES[family]} {words.count(n)}" for family, n in counts.items() if n]
    return f"Won in your quadrant, of {words.plural(len(here), 'past experiment')}: {words.listed(won)}." if won else ""
