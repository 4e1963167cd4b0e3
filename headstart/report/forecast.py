"""What every strategy was expected to reach before anything was trained, and how sure the advice was of its choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Estimate, interval_plot
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.svg import both

LEVEL = 0.8
"""Of the intervals of a forecast, where the run does not say."""

UNLIKELY = 0.01
"""Probability of being the best below which a strategy may be cut off at the edge of the picture."""


@dataclass(frozen=True)
class Forecast:
    """The forecast of every strategy as a picture, with what its marks mean."""

    lead: str
    plot: Markup
    key: str


def forecast(run: RunFolder) -> Forecast | None:
    """The forecast, or None for runs that made none. Where strategies were tried afterwards, what they reached is marked."""
    rows = [row for row in rows_of(run.summary.get("forecast")) if number(row.get("accuracy")) is not None]
    if not rows:
        return None
    advised, seen = advised_of(run.summary), _reached(run.summary)
    estimates = [_estimate(row, advised, seen) for row in rows]
    known = "accuracy" if not seen else str(run.summary.get("metric") or "accuracy")
    level = level_of(run.summary)
    axis = f"expected accuracy, with {level} interval"
    return Forecast(
        lead=_lead(rows, advised, bool(seen), str(run.summary.get("experience") or "past experiments")),
        plot=both(lambda width: interval_plot(estimates, width, axis)),
        key=_key(level, {one.kind for one in estimates}, bool(seen), known),
    )


def advised_of(summary: Mapping[str, Any]) -> str:
    """The name of the arm that was advised before anything was tried; empty when none was."""
    advice = table_of(summary.get("advice"))
    return str(advice.get("arm") or advice.get("strategy") or "")


def level_of(summary: Mapping[str, Any]) -> str:
    """Level of the intervals of the forecast, as text."""
    return words.percent(number(table_of(table_of(summary.get("advice")).get("expected")).get("level")) or LEVEL, 0)


def _reached(summary: Mapping[str, Any]) -> dict[str, float]:
    """What each arm reached when it was tried to the end."""
    done = [arm for arm in rows_of(summary.get("arms")) if arm.get("status") == "finished"]
    return {str(arm.get("name")): mean for arm in done if (mean := number(arm.get("accuracy_mean"))) is not None}


def _estimate(row: Mapping[str, Any], advised: str, seen: Mapping[str, float]) -> Estimate:
    name = str(row.get("arm"))
    chance = number(row.get("probability_best"))
    notes = [
        *(["advised"] if name == advised else []),
        *([f"best with {_chance(chance)}"] if chance is not None else []),
    ]
    mean = number(row.get("accuracy"))
    assert mean is not None  # the caller keeps rows without a number out
    kind = "best" if name == advised else "faint" if chance is not None and chance < UNLIKELY else "plain"
    return Estimate(
        str(row.get("label") or name), mean, interval(row.get("interval")), kind, " · ".join(notes), seen.get(name)
    )


def _chance(share: float) -> str:
    return words.percent(share, 0) if share >= UNLIKELY else f"< {words.percent(UNLIKELY, 0)}"


def _lead(rows: Sequence[Mapping[str, Any]], advised: str, tried: bool, experience: str) -> str:
    text = f"Learned from {words.grouped(experience)}, for what was measured here before anything was trained."
    first = rows[0]
    if len(rows) > 1 and advised and first.get("arm") != advised:
        other = str(first.get("label") or first.get("arm"))
        text += f" “{other}” is expected to come out highest; the advised way is cheaper and about as good."
    return text + (" What each way then reached is marked where it was tried to the end." if tried else "")


def _key(level: str, kinds: set[str], tried: bool, metric: str) -> str:
    text = f"Dots are expected accuracies; the lines hold the truth with {level} probability."
    text += " The dotted line marks the advised way." if "best" in kinds else ""
    text += f" Hollow dots: less than {words.percent(UNLIKELY, 0)} likely to be the best." if "faint" in kinds else ""
    text += " Percentages beside a name: how probably that way is the best of these."
    return text + (f" Diamonds: the {metric} that was then measured." if tried else "")
