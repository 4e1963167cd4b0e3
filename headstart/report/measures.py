"""What was measured before anything was trained: numbers with their meaning, and how like the source the data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import words
from headstart.report.folder import interval, number, table_of
from headstart.report.tables import flatten, name_of

ELSEWHERE = ("num_images", "num_classes", "probe_by_depth", "similarity")
"""Measures that another part of the page shows."""

NOTES = {
    "logme": "higher is better; compares networks on the same data only",
    "hscore": "higher is better; compares networks on the same data only",
    "peak_depth": "0 is the input, 100 the last block",
}
"""What measures mean whose names do not tell."""

DISTANCES = {
    "frechet": "Distance of the clouds of features (Fréchet)",
    "transport": "Distance of the classes (optimal transport)",
    "domain": "Errors of a classifier that tells the two apart",
}
"""Measures of similarity to the source, with what they are called."""

SHARES = ("domain",)
"""Those of them that are shares of images."""


@dataclass(frozen=True)
class Measure:
    """One measured number; `note` says what it means where its name does not."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Distance:
    """One measure of how like the source the data are; `null` is what the source itself would give."""

    name: str
    value: str
    null: str
    meaning: str


def measures(summary: Mapping[str, Any]) -> list[Measure]:
    """The measures one by one, wherever a run wrote them."""
    return [one for key, value in _all(summary).items() if key not in ELSEWHERE for one in _measure(key, value)]


def distances(summary: Mapping[str, Any]) -> list[Distance]:
    """How like the source the data are; empty where it was not measured."""
    rows = []
    for key, found in table_of(_all(summary).get("similarity")).items():
        one = table_of(found)
        if (value := number(one.get("value"))) is None:
            continue
        said, null = words.sentence(words.grouped(str(one.get("meaning") or ""))), number(one.get("null"))
        rows.append(Distance(DISTANCES.get(key) or name_of(key), _amount(key, value), _amount(key, null), said))
    return rows


def _all(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {**table_of(table_of(summary.get("advice")).get("measures")), **table_of(summary.get("measures"))}


def _amount(key: str, value: float | None) -> str:
    return words.percent(value) if key in SHARES else words.figures(value)


def _measure(key: str, value: Any) -> Sequence[Measure]:
    found = table_of(value)
    span, note = interval(found.get("interval")), NOTES.get(key, "")
    if key == "knn" and {"accuracy", "k"} <= found.keys():
        return [Measure("nearest neighbours", words.percent(number(found["accuracy"])), _near(found))]
    if "value" in found:
        between = f"{words.figures(span[0])} to {words.figures(span[1])}" if span else ""
        return [Measure(name_of(key), words.figures(number(found["value"])), "; ".join(filter(None, (between, note))))]
    return [Measure(name, text, note) for name, text in flatten({key: value})]


def _near(found: Mapping[str, Any]) -> str:
    images, span = number(found.get("images")), interval(found.get("interval"))
    of = f"of {words.plural(images, 'image')} " if images is not None else ""
    right = f"{of}right by their {words.count(number(found['k']))} nearest"
    return f"{right}, {words.percent_range(span)}" if span else right
