"""The advice: the quadrant with past experiments round the user's data, the reasons, and what was measured for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.calibration import Calibration, around, calibration
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.forecast import advised_of, level_of
from headstart.report.measures import Distance, Measure, distances, measures
from headstart.report.quadrant import CORNERS, Place, quadrant_picture


@dataclass(frozen=True)
class Quadrant:
    """The picture with all that explains it."""

    lead: str
    picture: Markup
    key: Sequence[tuple[Markup, str]]
    caption: str
    past: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Advice:
    """The section of the quadrant and the advice; `expected` is empty for runs that made no forecast."""

    lead: str
    quadrant: Quadrant
    reasons: Sequence[str]
    expected: str
    change: Sequence[str]
    actions: Sequence[str]
    measures: Sequence[Measure]
    distances: Sequence[Distance]


def advice(run: RunFolder) -> Advice | None:
    """Quadrant and advice, or None when the run did not get so far."""
    seen, said = table_of(run.summary.get("quadrant")), table_of(run.summary.get("advice"))
    if not seen and not said:
        return None
    quadrant = quadrant_of(run)
    strategy = advised_of(run.summary)
    advised = f" Advised here: “{strategy_labels(run.summary).get(strategy, strategy)}”." if strategy else ""
    return Advice(
        lead=f"{quadrant.lead}{advised}".strip(),
        quadrant=quadrant,
        reasons=sentences(said.get("reasons")),
        expected=_expected(run.summary),
        change=sentences(said.get("change")),
        actions=sentences(said.get("actions")),
        measures=measures(run.summary),
        distances=distances(run.summary),
    )


def sentences(value: Any) -> list[str]:
    """A run's own sentences, with numbers as on the rest of the page."""
    return [words.sentence(words.grouped(str(one))) for one in value if one] if isinstance(value, list) else []


def strategy_labels(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a person calls each strategy, by its name, from wherever the run wrote it."""
    rows = [table_of(summary.get("advice")), *rows_of(summary.get("forecast")), *rows_of(summary.get("arms"))]
    named = [row for row in rows if row.get("label")]
    by_strategy = {str(row["strategy"]): str(row["label"]) for row in named if row.get("strategy")}
    return {**by_strategy, **{str(row.get("arm") or row.get("name")): str(row["label"]) for row in named}}


def quadrant_of(run: RunFolder) -> Quadrant:
    """The quadrant picture, as far as the run wrote its parts."""
    seen = table_of(run.summary.get("quadrant"))
    corner = next((c for c in CORNERS if c.number == seen.get("number")), None)
    lead = f"Your data lie in quadrant {corner.number}: {corner.where} the source. " if corner else ""
    lead += f"The classic advice for it: {_lower(' '.join(corner.lines))}." if corner else ""
    found, place = calibration(run.summary, strategy_labels(run.summary)), _place(seen)
    return Quadrant(
        lead=lead,
        picture=quadrant_picture(corner.number if corner else None, place, found.past),
        key=found.key,
        caption=_caption(found, place, run.summary),
        past=[(one.what, one.winner, one.margin or words.UNKNOWN) for one in found.past],
    )


def _place(seen: Mapping[str, Any]) -> Place | None:
    """The point; older runs write it beside the number, later ones as `position`, with its `spread`."""
    at, spread = table_of(seen.get("position")) or seen, table_of(seen.get("spread"))
    x, y = number(at.get("x")), number(at.get("y"))
    return None if x is None or y is None else Place(x, y, interval(spread.get("x")), interval(spread.get("y")))


def _caption(found: Calibration, place: Place | None, summary: Mapping[str, Any]) -> str:
    parts = []
    if place and (place.x_span or place.y_span):
        parts.append(f"Bars: {level_of(summary)} intervals of where your data lie.")
    parts.append(found.said)
    parts.append(around(found.past, place.x, place.y) if place else "")
    return " ".join(filter(None, parts))


def _expected(summary: Mapping[str, Any]) -> str:
    """The expected accuracy and how sure the choice was, as one or two sentences."""
    said = table_of(summary.get("advice"))
    expected, sure = table_of(said.get("expected")), number(said.get("sure"))
    mean, span = number(expected.get("accuracy")), interval(expected.get("interval"))
    text = ""
    if mean is not None:
        within = f" ({level_of(summary)} interval {words.percent_range(span)})" if span else ""
        text = f"Expected of it on new images: {words.percent(mean)} right{within}."
    if sure is not None:
        text += f" With {likely(sure)} probability none of the others would be more than a point better."
    return words.grouped(text.strip())


def likely(probability: float) -> str:
    """A probability in whole percent. One learned from a few experiments is never called certain."""
    if 0.005 <= probability < 0.995:
        return words.percent(probability, 0)
    return f"over {words.percent(0.99, 0)}" if probability > 0.5 else f"under {words.percent(0.01, 0)}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
