"""The classic table of two axes: how much data there is, and how like the source it is. Torch-free.

| quadrant | data   | target against source | the table's advice                                     |
|----------|--------|-----------------------|--------------------------------------------------------|
| 1        | much   | unlike                | fine-tune or re-train the whole network                |
| 2        | much   | like                  | fine-tune the top blocks and the head                  |
| 3        | little | unlike                | nothing is safe: earlier blocks, all depths, more data |
| 4        | little | like                  | keep the backbone frozen, learn a head                 |

The size border is the published one: our experiments hold no data set beyond 2 000 training images that could move it. The
similarity border follows the experiments (docs/advice.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from headstart.transferability.evidence import Evidence

LARGE_IN_ALL = 20_000
"""images in all from which a data set is large: where BiT's HyperRule leaves its `small` regime (Kolesnikov et al. 2020)"""
FEW_PER_CLASS = 100
"""images of a typical class below which no data set is large: the end of BiT's few-shot experiments (1 to 100 per class)"""
TINY_PER_CLASS = 10
"""images of a typical class below which the max-margin head is advised over the probe (provisional)"""
GAIN = 0.6
"""share of a raw-pixel probe's errors that frozen features must remove to count as like: from there on a frozen head stayed
within a few points of training, below it lost ten and more (docs/advice.md)"""
SKILL = 0.5
"""the same against guessing, (accuracy - chance) / (1 - chance), where no pixel probe was made (provisional)"""
DROP = 0.1
"""share of the best block's skill that may be lost by the last block before the source counts as too specific, the fall of
transfer with depth of Yosinski et al. 2014 (provisional)"""


@dataclass(frozen=True)
class Quadrant:
    """Where a data set lies.

    number  1 to 4 as in the table
    x, y    similarity and size, 0 to 1, the border at one half
    """

    number: int
    size: Literal["small", "large"]
    similarity: Literal["low", "high"]
    x: float
    y: float


def quadrant(e: Evidence) -> Quadrant:
    """The quadrant that the borders above give."""
    large = e.images >= LARGE_IN_ALL and e.typical >= FEW_PER_CLASS
    like = (e.skill >= SKILL if e.gain is None else e.gain >= GAIN) and e.drop <= DROP
    number = {(True, False): 1, (True, True): 2, (False, False): 3, (False, True): 4}[large, like]
    x, y = _on_side(similarity_place(e), like), _on_side(size_place(e.images), large)
    return Quadrant(number, "large" if large else "small", "high" if like else "low", x, y)


def similarity_place(e: Evidence) -> float:
    """Similarity, 0 to 1, the border at one half."""
    value, border = (e.skill, SKILL) if e.gain is None else (e.gain, GAIN)
    return 0.5 + 0.5 * (value - border) / (1 - border) if value >= border else 0.5 * max(value, 0.0) / border


def size_place(images: float) -> float:
    """Size, 0 to 1: six decades around the border."""
    return min(max(0.5 + math.log10(max(images, 1) / LARGE_IN_ALL) / 6, 0.0), 1.0)


def _on_side(place: float, high: bool) -> float:
    """Keep the point on the side of the border where the rule put it."""
    return min(max(place, 0.53), 0.98) if high else max(min(place, 0.47), 0.02)
