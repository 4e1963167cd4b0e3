"""What is known of a target and a network before anything is trained: the numbers that advice rests on. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SMOOTHING = 0.5
"""images added to right and wrong before a logit is taken"""


@dataclass(frozen=True)
class Evidence:
    """Measured on training images only. None: not measured, or it cannot be here.

    images      in all; `classes`; `typical` images of a class (median)
    chance      accuracy of guessing
    parameters  of the backbone
    probe_last  cross-validated accuracy of a linear head on the last block; `probe_best` on the best block
    peak        where the best block lies, 0 first to 1 last
    pixels      accuracy of the same head on raw pixels; None for vectors
    knn         leave-one-out accuracy of nearest neighbours on the last block
    logme       see `logme`
    all_depths  cross-validated accuracy of a ridge head on all blocks side by side
    frechet, transport, domain   distance to what the network was trained on, see `similarity`
    pretrained  the network has learned from something before
    """

    images: int
    classes: int
    typical: float
    chance: float
    parameters: int
    probe_last: float
    probe_best: float
    peak: float
    pixels: float | None = None
    knn: float | None = None
    logme: float | None = None
    all_depths: float | None = None
    frechet: float | None = None
    transport: float | None = None
    domain: float | None = None
    pretrained: bool = True

    @property
    def skill(self) -> float:
        """Share of the way from guessing to perfect that the best block's head goes."""
        return (self.probe_best - self.chance) / max(1 - self.chance, 1e-9)

    @property
    def gain(self) -> float | None:
        """Share of the errors of a head on raw pixels (or of guessing, when that is better) that the features remove."""
        if self.pixels is None:
            return None
        floor = max(self.pixels, self.chance)
        return (self.probe_best - floor) / max(1 - floor, 1e-9)

    @property
    def drop(self) -> float:
        """Share of the best block's skill that is lost by the last block."""
        return max((self.probe_best - self.probe_last) / max(self.probe_best - self.chance, 1e-9), 0.0)

    @staticmethod
    def of(num_images: int, counts: Sequence[int], by_depth: Sequence[float], parameters: int, **others: Any) -> Evidence:
        """From images per class, and accuracies by depth, shallow to deep."""
        present = sorted(counts)
        middle = len(present) // 2
        typical = (present[middle] + present[~middle]) / 2
        best = max(range(len(by_depth)), key=lambda i: (by_depth[i], i))
        return Evidence(
            images=num_images,
            classes=len(counts),
            typical=typical,
            chance=max(max(counts) / sum(counts), 1 / len(counts)),
            parameters=parameters,
            probe_last=by_depth[-1],
            probe_best=by_depth[best],
            peak=1.0 if len(by_depth) == 1 else best / (len(by_depth) - 1),
            **others,
        )


def logit(share: float, images: float) -> float:
    """log(p / (1 - p)) with half an image added to both sides, so that 0 and 1 stay finite."""
    right = share * images
    return math.log((right + SMOOTHING) / (images - right + SMOOTHING))


def _share(name: str) -> Callable[[Evidence], float | None]:
    def value(e: Evidence) -> float | None:
        share = getattr(e, name)
        return None if share is None else logit(share, e.images)

    return value


def _less(name: str, other: str) -> Callable[[Evidence], float | None]:
    def value(e: Evidence) -> float | None:
        a, b = _share(name)(e), _share(other)(e)
        return None if a is None or b is None else a - b

    return value


def _plain(name: str) -> Callable[[Evidence], float | None]:
    def value(e: Evidence) -> float | None:
        found: float | None = getattr(e, name)
        return found

    return value


MEASURES: dict[str, Callable[[Evidence], float | None]] = {
    "images per class": lambda e: math.log10(max(e.typical, 0.5)),
    "images": lambda e: math.log10(e.images),
    "weights per image": lambda e: math.log10(e.parameters / e.images),
    "probe": _share("probe_last"),
    "best depth": _share("probe_best"),
    "all depths": _share("all_depths"),
    "raw pixels": _share("pixels"),
    "neighbours": _share("knn"),
    "gain over pixels": _less("probe_best", "pixels"),
    "gain of earlier depths": _less("probe_best", "probe_last"),
    "gain of all depths": _less("all_depths", "probe_last"),
    "depth of the peak": _plain("peak"),
    "LogME": _plain("logme"),
    "Frechet distance": _plain("frechet"),
    "class-mean transport": _plain("transport"),
    "domain classifier": _plain("domain"),
}
"""Name -> number on a scale on which a straight line is plausible; None where it was not measured."""
