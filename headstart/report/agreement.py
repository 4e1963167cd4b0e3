"""How far the measures agree on the order of the candidates: a heat map of Kendall's tau, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.advice import sentences
from headstart.report.candidates import LABELS, candidates_of, measures_of
from headstart.report.folder import RunFolder, number, rows_of
from headstart.report.svg import both, drawing, fit, label, tag, text_width

Taus = Mapping[tuple[str, str], float]

LONGEST = 175.0
"""Pixels of a name below the picture."""

FEW = 5
"""Candidates below which a rank correlation says next to nothing."""

KEY = (
    f"Kendall's tau of the orders that two measures give: 1 the same order, 0 no relation, {words.MINUS}1 the reverse. "
    "Blue: they agree; orange: they contradict each other."
)
"""What the cells of the picture mean."""


@dataclass(frozen=True)
class Agreement:
    """The section of agreement; without a picture where only sentences were written."""

    lead: str
    picture: Markup | None
    key: str
    disagreements: Sequence[str]


def agreement(run: RunFolder) -> Agreement | None:
    """How far the measures agree, or None when the run compared none."""
    taus = {
        pair: tau
        for row in rows_of(run.summary.get("agreement"))
        if (tau := number(row.get("tau"))) is not None and len(set(pair := (str(row.get("a")), str(row.get("b"))))) == 2
    }
    apart = sentences(run.summary.get("disagreements"))
    if not taus and not apart:
        return None
    compared = candidates_of(run.summary)
    names = {name: about[0] for name, about in measures_of(run.summary).items()}
    order = list(dict.fromkeys([*names, *(name for pair in taus for name in pair)]))
    order = [name for name in order if any(name in pair for pair in taus)]
    called = [names.get(name) or LABELS.get(name, words.human(name)) for name in order]
    return Agreement(
        lead=_lead(taus, dict(zip(order, called, strict=True)), len(compared)),
        picture=both(lambda width: tau_map(taus, order, called, width)) if taus and len(compared) > 2 else None,
        key=KEY,
        disagreements=apart,
    )


def _lead(taus: Taus, called: Mapping[str, str], number_of: int) -> str:
    if number_of == 2:
        return "Two networks make one comparison: the table above shows who agrees. An order to compare takes three or more."
    judge = "race" if any("race" in pair for pair in taus) else "probe"
    beside = {a if b == judge else b: tau for (a, b), tau in taus.items() if judge in (a, b)}
    text = f"Every measure puts the {words.count(number_of)} networks in an order of its own." if number_of else ""
    if len(beside) > 1:
        best, worst = max(beside, key=lambda m: beside[m]), min(beside, key=lambda m: beside[m])
        text += f" The order of “{called[best]}” is closest to that of “{called[judge]}” (tau {_figures(beside[best])})"
        text += f", that of “{called[worst]}” furthest ({_figures(beside[worst])})."
    if 2 < number_of < FEW:
        swap = 4 / (number_of * (number_of - 1))
        text += f" With so few networks that says little: one swap changes tau by {_figures(swap)}."
    return text.strip()


def _figures(tau: float) -> str:
    text = f"{abs(tau):.2f}"
    return f"{words.MINUS if tau < 0 and float(text) else ''}{text}"


def tau_map(taus: Taus, order: Sequence[str], called: Sequence[str], width: float) -> Markup:
    """The lower triangle of the matrix of taus: every pair once, its figure in the cell, depth of colour its size."""
    size = len(order)
    text = 12.5 if width > 500 else 11.0
    gutter = max(72.0, min(0.4 * width, 10 + max(text_width(name, text) for name in called[1:])))
    cell = min(52.0, (width - gutter - 4) / size)
    bottom = 4 + cell * (size - 1)
    foot = 14 + 0.74 * min(LONGEST, max(text_width(name, text) for name in called[:-1]))
    parts = []
    for i in range(1, size):
        parts.append(label(gutter - 7, 4 + cell * (i - 0.5) + 4, fit(called[i], gutter - 8, text), anchor="end", size=text))
        for j in range(i):
            tau = taus.get((order[i], order[j]), taus.get((order[j], order[i])))
            parts.append(_cell(tau, gutter + cell * j, 4 + cell * (i - 1), cell))
    for j in range(size - 1):
        turn = f"translate({gutter + cell * (j + 0.5) + 4:.1f} {bottom + 14:.1f}) rotate(-45)"
        name = fit(called[j], min(LONGEST, 1.35 * (gutter + cell * (j + 0.5))), text)
        parts.append(tag("text", name, transform=turn, text_anchor="end", font_size=text))
    said = dict(zip(order, called, strict=True))
    spoken = "; ".join(f"{said[a]} and {said[b]} {_figures(tau)}" for (a, b), tau in taus.items())
    return drawing(gutter + cell * size, bottom + foot, f"Agreement of the measures, Kendall's tau: {spoken}", *parts)


def _cell(tau: float | None, x: float, y: float, cell: float) -> Markup:
    box: dict[str, Any] = {"x": x + 0.5, "y": y + 0.5, "width": cell - 1, "height": cell - 1, "rx": 2}
    if tau is None:
        return tag("rect", **box, class_="cell empty")
    depth = 0.08 + 0.92 * min(1.0, abs(tau))
    kind = "right" if tau >= 0 else "wrong"
    tone = "on" if depth > 0.86 else "mid" if depth > 0.57 else "off"
    shown = _figures(tau) if cell > 34 else _figures(tau).replace("0.", ".").replace("1.00", "1")
    size = min(12.5, cell * 0.4)
    figure = label(x + cell / 2, y + cell / 2 + size * 0.36, shown, class_=tone, anchor="middle", size=size)
    return tag("g", tag("rect", **box, class_=f"cell {kind}", style=f"--d:{depth:.2f}"), figure)
