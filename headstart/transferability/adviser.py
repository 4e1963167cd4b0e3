"""The adviser: from what was measured to a quadrant of the classic table, and a strategy with its reasons. Torch-free.

Where past experiments reach (`forecast.py`), the strategy with the best expected accuracy is advised, and what to expect is
said with its interval; where they do not, the classic table decides. docs/advice.md says how good that is. `headstart adapt`
races the advice against its rivals and reports its regret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from headstart.errors import ConfigError, problems
from headstart.transferability.evidence import Evidence
from headstart.transferability.forecast import CLOSE, Forecast, Forecaster
from headstart.transferability.quadrant import (
    DROP,
    FEW_PER_CLASS,
    GAIN,
    LARGE_IN_ALL,
    SKILL,
    TINY_PER_CLASS,
    Quadrant,
    quadrant,
)

WORDS = {
    "probe": "a linear head on the frozen last block",
    "early_probe": "a linear head on all frozen blocks side by side",
    "partial": "fine-tuning the top third of the blocks",
    "full": "fine-tuning every block at a tenth of the rate",
    "lpft": "learning the head first, then fine-tuning every block",
    "retrain": "learning all weights anew",
}
"""Strategies as they are spoken of."""
FROZEN = ("probe", "early_probe", "svm")
WORTH = 0.02
"""points of accuracy that an action must bring to be worth mentioning"""


@dataclass(frozen=True)
class Advice:
    """What to try first, and why.

    place     the quadrant, and the point in it
    strategy  one of probe, svm, early_probe, partial, full, lpft, retrain, retrain_top, gradual
    by_table  what the classic table would say
    forecast  of every strategy, None where past experiments do not reach
    reasons   sentences for a person, with the numbers in them; `change`: what would make the advice another one;
              `actions`: what else can be done where nothing is safe
    measures  what was looked at, for machines
    """

    place: Quadrant
    strategy: str
    by_table: str
    forecast: Forecast | None = None
    reasons: list[str] = field(default_factory=list)
    change: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)

    @property
    def quadrant(self) -> int:
        """1 to 4."""
        return self.place.number

    @property
    def size(self) -> Literal["small", "large"]:
        return self.place.size

    @property
    def similarity(self) -> Literal["low", "high"]:
        return self.place.similarity

    def __str__(self) -> str:
        head = f"quadrant {self.quadrant}: {self.size} data, {self.similarity} similarity; try {self.strategy}"
        said = [*self.reasons, *self.change, *self.actions]
        return "\n".join([head, *(f"  - {sentence}" for sentence in said)])


def advise(
    evidence: Evidence, by_depth: Mapping[str, float], *, forecaster: Forecaster | None = None, twice: float | None = None
) -> Advice:
    """Name the quadrant and the strategy to try first.

    by_depth    cross-validated accuracy of a linear probe per block, shallow to deep
    forecaster  learned from past experiments; None: the classic table decides
    twice       accuracy that the frozen probe should reach with twice the images, see `learning_curve`
    """
    _check(evidence, by_depth)
    place = quadrant(evidence)
    by_table, why = classic(place.number, evidence)
    forecast = forecaster.forecast(evidence) if forecaster is not None and forecaster.reaches(evidence) else None
    strategy = by_table if forecast is None else forecast.strategies[0]
    reasons = [_size(evidence, place), *_similarity(evidence, by_depth), *_capacity(evidence)]
    reasons += [why] if forecast is None else _expected(forecast, by_table)
    change = [] if forecast is None or forecaster is None else _change(forecaster, evidence, strategy)
    actions = _actions(evidence, by_depth, twice, None if forecast is None else strategy) if place.number == 3 else []
    return Advice(place, strategy, by_table, forecast, reasons, change, actions, _measures(evidence, by_depth))


def _measures(e: Evidence, by_depth: Mapping[str, float]) -> dict[str, Any]:
    blocks, accuracies = list(by_depth), list(by_depth.values())
    return {
        "num_images": e.images,
        "num_classes": e.classes,
        "images_per_class": e.typical,
        "probe_by_depth": dict(by_depth),
        "probe_last": e.probe_last,
        "probe_best": e.probe_best,
        "last_block": blocks[-1],
        "peak_block": blocks[_peak(accuracies)],
        "peak_depth": e.peak,
        "chance": e.chance,
        "pixel_baseline": e.pixels,
        "skill": e.skill,
        "gain_over_pixels": e.gain,
        "drop_after_peak": e.drop,
        "knn": e.knn,
        "logme": e.logme,
        "trained_parameters": e.parameters,
    }


def _peak(accuracies: Sequence[float]) -> int:
    return max(range(len(accuracies)), key=lambda i: (accuracies[i], i))


def _size(e: Evidence, place: Quadrant) -> str:
    about = "" if e.typical == round(e.typical) else "about "
    counted = f"{e.images:,} images, {about}{e.typical:,.0f} in a typical class"
    if place.size == "large":
        return f"{counted}: much data (from {LARGE_IN_ALL:,} in all and {FEW_PER_CLASS} per class)."
    if e.images < LARGE_IN_ALL:
        return f"{counted}: little data (below {LARGE_IN_ALL:,} in all)."
    return f"{counted}: little data for so many classes (below {FEW_PER_CLASS} per class)."


def _similarity(e: Evidence, by_depth: Mapping[str, float]) -> list[str]:
    """Like, when frozen features are far better than none and the network's last block still serves."""
    reached = (
        f"A linear head on frozen features gets {_percent(e.probe_best)} of the images it has not seen right "
        f"(guessing: {_percent(e.chance)})"
    )
    if e.pixels is not None and e.gain is not None:
        whose = "its errors" if e.pixels >= e.chance else "the errors of guessing"
        share = f"the features remove {_whole(e.gain)} of {whose}" if e.gain >= 0 else "the features add errors"
        text = f"{reached}, one on raw pixels {_percent(e.pixels)}: {share}; {_border(GAIN)}"
    else:
        text = f"{reached}: {_whole(e.skill)} of the way from guessing to perfect; {_border(SKILL)}"
    return [text, _depth(e, list(by_depth))]


def _depth(e: Evidence, blocks: Sequence[str]) -> str:
    best, last = _percent(e.probe_best), _percent(e.probe_last)
    peak = blocks[round(e.peak * (len(blocks) - 1))]
    if peak == blocks[-1]:
        return f"Accuracy by depth is highest at the last block, {peak}."
    text = f"Accuracy by depth is highest at block {peak}, {best}"
    if e.drop > DROP:
        why = "the top of the network is too specific to its source."
        return f"{text}, and falls to {last} at the last, {blocks[-1]}: {why}"
    return f"{text}; the last one, {blocks[-1]}, reaches {last}."


def _capacity(e: Evidence) -> list[str]:
    if not e.parameters:
        return []
    each = float(f"{e.parameters / e.images:.2g}")
    told = f"{each:,.0f}" if each >= 10 else f"{each:g}"
    return [f"Training the whole backbone would move {e.parameters:,} weights, {told} per image."]


def _expected(forecast: Forecast, by_table: str) -> list[str]:
    """What past experiments say, beside what the classic table says. The numbers of the forecast stand elsewhere."""
    first, second = forecast.strategies[:2]
    lead = forecast.expected(first) - forecast.expected(second)
    ahead = f"{100 * lead:.1f} points ahead of {WORDS[second]}"
    said = [
        f"By past experiments, {WORDS[first]} does best on data and networks like these, "
        + (f"{ahead}." if lead > CLOSE else f"level with {WORDS[second]}.")
    ]
    frozen = next((name for name in forecast.strategies if name in FROZEN), None)
    if frozen not in (None, first, second) and first not in FROZEN:
        gap = 100 * (forecast.expected(first) - forecast.expected(frozen))
        said.append(f"{WORDS[frozen].capitalize()}, which costs seconds, should be {gap:.1f} points lower.")
    if by_table != first and by_table in forecast.strategies:
        lost = 100 * (forecast.expected(first) - forecast.expected(by_table))
        said.append(f"The classic table would choose {WORDS[by_table]}, expected {lost:.1f} points lower.")
    return said


def _change(forecaster: Forecaster, e: Evidence, strategy: str) -> list[str]:
    """The nearest other numbers at which another strategy would be better by more than a point."""
    said = []
    for factor in (2, 4, 8, 1 / 2, 1 / 4, 1 / 8):
        typical = e.typical * factor
        best = _better(forecaster, replace(e, typical=typical, images=max(round(e.images * factor), 2)), strategy)
        if best is not None and typical >= 1:
            said.append(f"With {typical:,.0f} images per class, and all else as it is, it would be {WORDS[best]}.")
            break
    if e.pixels is not None:
        moved = [e.pixels + sign * 0.05 * step for step in range(1, 5) for sign in (1, -1)]
        found = ((p, _better(forecaster, replace(e, pixels=p), strategy)) for p in moved if 0 <= p <= 1)
        said += [f"If raw pixels alone got {_percent(p)} right, it would be {WORDS[best]}." for p, best in found if best][:1]
    return said or [
        "Nothing within eight times more or fewer images would change it, nor 20 points more or less from raw pixels."
    ]


def _better(forecaster: Forecaster, e: Evidence, strategy: str) -> str | None:
    """What would be more than a point better than `strategy`, if anything is."""
    if not forecaster.reaches(e):
        return None
    forecast = forecaster.forecast(e)
    best = forecast.strategies[0]
    return best if forecast.expected(best) > forecast.expected(strategy) + CLOSE else None


def _actions(e: Evidence, by_depth: Mapping[str, float], twice: float | None, forecast: str | None) -> list[str]:
    """Ways out of the quadrant where nothing is safe; none that goes against the strategy that past experiments name."""
    blocks, said = list(by_depth), []
    frozen = forecast is None or forecast in FROZEN
    if frozen and e.probe_best - e.probe_last >= WORTH:
        peak = blocks[round(e.peak * (len(blocks) - 1))]
        gain = 100 * (e.probe_best - e.probe_last)
        said.append(f"Read an earlier block: {peak} is {gain:.1f} points better than the last (--strategies early_probe).")
    elif frozen and forecast != "early_probe":
        said.append("Read all depths side by side, the lower ones are less specific (--strategies early_probe).")
    said.append("Look for another source, made from more similar images: headstart select.")
    if forecast is None:
        fewer = "the top blocks alone (--strategies partial), or a smaller network"
        said.append(f"Train fewer weights than {e.parameters:,}: {fewer}.")
    if twice is not None:
        gain = 100 * (twice - e.probe_best)
        worth = "worth it" if gain >= 100 * WORTH else "little for the work"
        said.append(f"Label more: twice the images should bring a frozen head {gain:+.1f} points, {worth}.")
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _whole(share: float) -> str:
    """Rounded down, so that what is below a border does not read as if it had reached it."""
    return f"{math.floor(100 * share + 1e-9)} %"


def _border(share: float) -> str:
    return f"from {_whole(share)} on data count as like the source."


def classic(number: int, e: Evidence) -> tuple[str, str]:
    """The classic table's choice, and its reason."""
    if number == 4:
        if e.typical < TINY_PER_CLASS:
            few = f"under {TINY_PER_CLASS} images per class"
            return "svm", f"Little data, like the source, {few}: a max-margin head on frozen features."
        return "probe", "Little data, like the source: keep the backbone frozen and learn only a head."
    if number == 3:
        return (
            "early_probe",
            "Little data, unlike the source: nothing is safe; read all depths, the lower ones are less specific.",
        )
    if number == 2:
        return "partial", "Much data, like the source: fine-tune the top blocks at a low rate and keep the rest."
    if e.gain is not None and e.gain <= 0:
        return "retrain", "Much data, and frozen features are no better than pixels: learn all weights anew."
    return (
        "full",
        "Much data, unlike the source: fine-tune the whole network; the old features are the risk, not overfitting.",
    )


def _check(e: Evidence, by_depth: Mapping[str, float]) -> None:
    found = []
    if e.images < 1 or e.classes < 1:
        found.append(f"{e.images} images of {e.classes} classes; give at least one of each")
    if not by_depth or not all(0 <= accuracy <= 1 for accuracy in by_depth.values()):
        found.append(f"probe_by_depth = {dict(by_depth)} must name at least one block, accuracies between 0 and 1")
    if e.pixels is not None and not 0 <= e.pixels <= 1:
        found.append(f"pixel_baseline = {e.pixels} must be an accuracy between 0 and 1")
    problems(ConfigError, "the adviser cannot use its measures:", found)
