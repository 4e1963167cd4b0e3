"""The experiments that advice is learned from, as they come with headstart. Torch-free.

`assets/experience.json` is written by `python -m benchmarks.advice --write` from the table in benchmarks/grid.csv: what was
measured of a target and a network, and what each strategy then reached.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Any

from headstart.transferability.evidence import Evidence
from headstart.transferability.forecast import Case, Forecaster, fit
from headstart.transferability.quadrant import similarity_place, size_place

USED = ("images per class", "raw pixels")
"""The measures that the forecast rests on: the simplest that did as well as any (docs/advice.md)."""
FROZEN, RETRAINED = ("probe", "early_probe"), ("retrain",)


def to_json(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """What `from_json` reads."""
    return [asdict(case) for case in cases]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Case]:
    """The cases that `to_json` wrote."""
    return [Case(**{**row, "evidence": Evidence(**row["evidence"])}) for row in rows]


@cache
def cases() -> tuple[Case, ...]:
    """All experiments that come with headstart."""
    text = resources.files("headstart.assets").joinpath("experience.json").read_text(encoding="utf-8")
    return tuple(from_json(json.loads(text)))


@cache
def forecaster() -> Forecaster:
    """The forecast learned from them."""
    return fit(cases(), USED)


def calibration() -> list[dict[str, Any]]:
    """A point in the 2x2 table for each experiment, draws of the same images per class together: where it lies, what won.

    gap  accuracy by which the best strategy that trains the backbone beat the best that leaves it frozen
    """
    groups: dict[tuple[str, str, float], list[Case]] = {}
    for case in cases():
        groups.setdefault((case.source, case.target, case.evidence.typical), []).append(case)
    return [_point(same) for same in groups.values()]


def _point(same: Sequence[Case]) -> dict[str, Any]:
    mean = {name: fmean(case.accuracy[name] for case in same) for name in same[0].accuracy}
    winner = max(mean, key=lambda name: mean[name])
    frozen = max(mean[name] for name in mean if name in FROZEN)
    return {
        "x": _inside(fmean(similarity_place(case.evidence) for case in same)),
        "y": _inside(size_place(fmean(case.evidence.images for case in same))),
        "label": same[0].label,
        "winner": winner,
        "family": "frozen" if winner in FROZEN else "retrained" if winner in RETRAINED else "tuned",
        "gap": max(mean[name] for name in mean if name not in FROZEN) - frozen,
    }


def _inside(place: float) -> float:
    """A mark at the very edge would hide the frame."""
    return min(max(place, 0.02), 0.98)


def counted() -> str:
    """How much experience there is, for people."""
    every = cases()
    pairs = Counter((case.source, case.target) for case in every)
    return (
        f"{len(every)} experiments on {len({case.target for case in every})} data sets and {len(pairs)} source-target pairs"
    )
