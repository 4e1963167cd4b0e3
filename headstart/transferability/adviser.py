"""The adviser: from a few measures to a quadrant of the classic table, and a strategy with its reasons. Torch-free.

| quadrant | data   | target against source |
|----------|--------|-----------------------|
| 1        | much   | unlike                |
| 2        | much   | like                  |
| 3        | little | unlike                |
| 4        | little | like                  |

Every threshold below is provisional: size follows published practice, similarity has no agreed measure, and the rule used is
the plain one of asking how much better frozen features are than none. `headstart adapt` therefore races the advice against
its rivals and reports its regret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from headstart.errors import ConfigError, problems

LARGE_IN_ALL = 20_000
"""images in all from which a data set is large: where BiT's HyperRule leaves its `small` regime (Kolesnikov et al. 2020)"""
FEW_PER_CLASS = 100
"""images of a typical class below which no data set is large: the end of BiT's few-shot experiments (1 to 100 per class)"""
TINY_PER_CLASS = 10
"""images of a typical class below which the max-margin head is advised over the probe (provisional)"""
GAIN = 0.5
"""share of a raw-pixel probe's errors that frozen features must remove to count as like (provisional; a MobileNetV1-0.25
from ImageNet removes .65 on ants and bees, .87 on 20 Caltech classes, .75 on 20 ImageNet classes; on traffic signs it adds
some)"""
SKILL = 0.5
"""the same against guessing, (accuracy - chance) / (1 - chance), where no pixel probe was made (provisional)"""
DROP = 0.1
"""share of the best block's skill that may be lost by the last block before the source counts as too specific, the fall of
transfer with depth of Yosinski et al. 2014 (provisional)"""


@dataclass(frozen=True)
class Advice:
    """What to try first, and why.

    quadrant    1-4 as in the table above
    strategy    one of probe, svm, early_probe, partial, full, lpft, retrain, retrain_top, gradual
    reasons     sentences for a person, with the numbers in them
    measures    what was looked at, for machines
    """

    quadrant: int
    size: Literal["small", "large"]
    similarity: Literal["low", "high"]
    strategy: str
    reasons: list[str] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f"quadrant {self.quadrant}: {self.size} data, {self.similarity} similarity; try {self.strategy}"
        return "\n".join([head, *(f"  - {reason}" for reason in self.reasons)])


def advise(
    num_images: int,
    images_per_class: Sequence[int],
    num_classes: int,
    probe_by_depth: Mapping[str, float],
    knn: float,
    logme: float,
    pixel_baseline: float | None = None,
    trained_parameters: int | None = None,
) -> Advice:
    """Name the quadrant and the strategy to try first.

    images_per_class    training images of each class
    probe_by_depth      cross-validated accuracy of a linear probe per block, shallow to deep
    knn, logme          shown next to the probe; scores that no rule here trusts alone
    pixel_baseline      cross-validated accuracy of the same probe on raw pixels
    trained_parameters  of the backbone, were all of it trained
    """
    _check(num_images, images_per_class, num_classes, probe_by_depth, pixel_baseline)
    measures = _measures(num_images, images_per_class, num_classes, probe_by_depth, pixel_baseline)
    measures |= {"knn": knn, "logme": logme, "trained_parameters": trained_parameters}
    size, size_reason = _size(measures)
    similarity, similarity_reasons = _similarity(measures)
    quadrant = {("large", "low"): 1, ("large", "high"): 2, ("small", "low"): 3, ("small", "high"): 4}[size, similarity]
    strategy, why = _strategy(quadrant, measures)
    reasons = [size_reason, *similarity_reasons, *_capacity(measures), why]
    return Advice(quadrant, size, similarity, strategy, reasons, measures)


def _measures(
    num_images: int, counts: Sequence[int], num_classes: int, by_depth: Mapping[str, float], pixels: float | None
) -> dict[str, Any]:
    blocks, accuracies = list(by_depth), list(by_depth.values())
    best = max(range(len(blocks)), key=lambda i: (accuracies[i], i))
    chance = max(max(counts) / sum(counts), 1 / num_classes)
    floor = chance if pixels is None else max(pixels, chance)
    skill = (accuracies[best] - chance) / max(1 - chance, 1e-9)
    gain = (accuracies[best] - floor) / max(1 - floor, 1e-9)
    drop = (accuracies[best] - accuracies[-1]) / max(accuracies[best] - chance, 1e-9)
    return {
        "num_images": num_images,
        "num_classes": num_classes,
        "images_per_class": float(median(counts)),
        "probe_by_depth": dict(by_depth),
        "probe_last": accuracies[-1],
        "probe_best": accuracies[best],
        "last_block": blocks[-1],
        "peak_block": blocks[best],
        "peak_depth": 1.0 if len(blocks) == 1 else best / (len(blocks) - 1),
        "chance": chance,
        "pixel_baseline": pixels,
        "skill": skill,
        "gain_over_pixels": None if pixels is None else gain,
        "drop_after_peak": max(drop, 0.0),
    }


def _size(m: Mapping[str, Any]) -> tuple[Literal["small", "large"], str]:
    typical = m["images_per_class"]
    about = "" if typical == round(typical) else "about "
    counted = f"{m['num_images']:,} images, {about}{typical:,.0f} in a typical class"
    if m["num_images"] < LARGE_IN_ALL:
        return "small", f"{counted}: little data (below {LARGE_IN_ALL:,} in all)."
    if m["images_per_class"] < FEW_PER_CLASS:
        return "small", f"{counted}: little data for so many classes (below {FEW_PER_CLASS} per class)."
    return "large", f"{counted}: much data (from {LARGE_IN_ALL:,} in all and {FEW_PER_CLASS} per class)."


def _similarity(m: Mapping[str, Any]) -> tuple[Literal["low", "high"], list[str]]:
    """Like, when frozen features are far better than none and the network's last block still serves."""
    pixels, chance = m["pixel_baseline"], m["chance"]
    reached = (
        f"A linear head on frozen features gets {_percent(m['probe_best'])} of the images it has not seen right "
        f"(guessing: {_percent(chance)})"
    )
    if pixels is not None:
        gain = m["gain_over_pixels"]
        like = gain >= GAIN
        whose = "its errors" if pixels >= chance else "the errors of guessing"
        share = f"the features remove {_whole(gain)} of {whose}" if gain >= 0 else "the features add errors"
        text = f"{reached}, one on raw pixels {_percent(pixels)}: {share}; {_border(GAIN)}"
    else:
        like = m["skill"] >= SKILL
        text = f"{reached}: {_whole(m['skill'])} of the way from guessing to perfect; {_border(SKILL)}"
    like = like and m["drop_after_peak"] <= DROP
    return ("high" if like else "low"), [text, _by_depth(m)]


def _by_depth(m: Mapping[str, Any]) -> str:
    best, last = _percent(m["probe_best"]), _percent(m["probe_last"])
    if m["peak_block"] == m["last_block"]:
        return f"Accuracy by depth is highest at the last block, {m['last_block']}."
    text = f"Accuracy by depth is highest at block {m['peak_block']}, {best}"
    if m["drop_after_peak"] > DROP:
        why = "the top of the network is too specific to its source."
        return f"{text}, and falls to {last} at the last, {m['last_block']}: {why}"
    return f"{text}; the last one, {m['last_block']}, reaches {last}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _whole(share: float) -> str:
    """Rounded down, so that what is below a border does not read as if it had reached it."""
    return f"{math.floor(100 * share + 1e-9)} %"


def _border(share: float) -> str:
    return f"from {_whole(share)} on data count as like the source."


def _capacity(m: Mapping[str, Any]) -> list[str]:
    if not m["trained_parameters"]:
        return []
    each = float(f"{m['trained_parameters'] / m['num_images']:.2g}")
    told = f"{each:,.0f}" if each >= 10 else f"{each:g}"
    return [f"Training the whole backbone would move {m['trained_parameters']:,} weights, {told} per image."]


def _strategy(quadrant: int, m: Mapping[str, Any]) -> tuple[str, str]:
    if quadrant == 4:
        if m["images_per_class"] < TINY_PER_CLASS:
            few = f"under {TINY_PER_CLASS} images per class"
            return "svm", f"Little data, like the source, {few}: a max-margin head on frozen features."
        return "probe", "Little data, like the source: keep the backbone frozen and learn only a head."
    if quadrant == 3:
        return (
            "early_probe",
            "Little data, unlike the source: nothing is safe; read all depths, the lower ones are less specific.",
        )
    if quadrant == 2:
        return "partial", "Much data, like the source: fine-tune the top blocks at a low rate and keep the rest."
    if m["gain_over_pixels"] is not None and m["gain_over_pixels"] <= 0:
        return "retrain", "Much data, and frozen features are no better than pixels: learn all weights anew."
    return (
        "full",
        "Much data, unlike the source: fine-tune the whole network; the old features are the risk, not overfitting.",
    )


def _check(
    num_images: int, counts: Sequence[int], num_classes: int, by_depth: Mapping[str, float], pixels: float | None
) -> None:
    found = []
    if num_images < 1 or len(counts) != num_classes or sum(counts) < 1 or min(counts, default=0) < 0:
        found.append(f"{num_images} images and counts of {len(counts)} classes; give one count for each of {num_classes}")
    if not by_depth or not all(0 <= accuracy <= 1 for accuracy in by_depth.values()):
        found.append(f"probe_by_depth = {dict(by_depth)} must name at least one block, accuracies between 0 and 1")
    if pixels is not None and not 0 <= pixels <= 1:
        found.append(f"pixel_baseline = {pixels} must be an accuracy between 0 and 1")
    problems(ConfigError, "the adviser cannot use its measures:", found)
