"""The advice: the quadrant, the reasons, and what was measured for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.folder import RunFolder, interval, number, table_of
from headstart.report.quadrant import CORNERS, quadrant_picture
from headstart.report.tables import flatten
from headstart.report.verdict import advised_of, labels_of

ELSEWHERE = ("num_images", "num_classes", "probe_by_depth")
"""Measures that another section of the page shows."""

NOTES = {
    "logme": "higher is better; compares networks on the same data only",
    "peak_depth": "0 is the input, 100 the last block",
}
"""What measures mean whose names do not tell."""


@dataclass(frozen=True)
class Measure:
    """One measured number; `note` says what it means where its name does not."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Advice:
    """The quadrant section."""

    lead: str
    picture: Markup
    reasons: Sequence[str]
    measures: Sequence[Measure]


def advice(run: RunFolder) -> Advice | None:
    """Quadrant and advice, or None when the run did not get so far."""
    quadrant, said = table_of(run.summary.get("quadrant")), table_of(run.summary.get("advice"))
    named = quadrant.get("number")
    if not quadrant and not said:
        return None
    corner = next((c for c in CORNERS if c.number == named), None)
    lead = f"Your data lie in quadrant {corner.number}: {corner.where} the source. " if corner else ""
    lead += f"The classic advice for it: {_lower(' '.join(corner.lines))}. " if corner else ""
    strategy = advised_of(run.summary)
    lead += f"Advised here: “{labels_of(run.summary).get(str(strategy), str(strategy))}”." if strategy else ""
    return Advice(
        lead=lead.strip(),
        picture=quadrant_picture(corner.number if corner else None, number(quadrant.get("x")), number(quadrant.get("y"))),
        reasons=[words.sentence(words.grouped(str(reason))) for reason in said.get("reasons") or ()],
        measures=_measures(table_of(said.get("measures"))),
    )


def _measures(found: Mapping[str, Any]) -> list[Measure]:
    rows = []
    for key, value in found.items():
        near = table_of(value)
        if key in ELSEWHERE:
            continue
        if key == "knn" and {"accuracy", "k", "images"} <= near.keys():
            of, k = words.plural(number(near["images"]), "image"), words.count(number(near["k"]))
            span = words.percent_range(interval(near.get("interval")))
            note = f"of {of} right by their {k} nearest, {span}"
            rows.append(Measure("nearest neighbours", words.percent(number(near["accuracy"])), note))
        else:
            rows += [Measure(name, text, NOTES.get(key, "")) for name, text in flatten({key: value})]
    return rows


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
