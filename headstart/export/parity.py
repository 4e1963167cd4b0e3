"""Whether an exported file answers as PyTorch does, on the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.engine.evaluate import batch_for
from headstart.metrics.intervals import wilson
from headstart.metrics.paired import Difference, paired_bootstrap
from headstart.nets.net import InputSpec
from headstart.seeding import seed_for

Answers = tuple[NDArray[np.float32], ...]
"""Logits and probabilities; or the answers to each of several questions, which `task_parity` compares."""
Answer = Callable[[NDArray[Any]], Answers]

TOLERANCE = 1e-3
"""Largest difference of a logit that rounding may make, relative to the largest logit. Measured are 1e-7 to 1e-5; a wrong
padding, resize or activation makes 1e-2 and more."""
SMALLEST = 0.1
"""Logits that are all nearer to zero are sums that cancel, whose rounding is that of their larger parts."""


@dataclass(frozen=True)
class Parity:
    """How far two programs agree.

    images       how many, from `where` (None: noise)
    logits       largest absolute difference of a logit, `scale` the largest absolute logit
    probability  largest absolute difference of a probability
    agreement    share of the images given the same class
    """

    images: int
    where: str | None
    logits: float
    scale: float
    probability: float
    agreement: float

    @property
    def holds(self) -> bool:
        """Whether the differences are those of rounding."""
        return self.logits <= TOLERANCE * max(self.scale, SMALLEST)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)

    def __str__(self) -> str:
        on = f"{self.images} images of {self.where}" if self.where else f"{self.images} pictures of noise (no --images)"
        return (
            f"parity with PyTorch on {on}: logits differ by at most {self.logits:.2g} (largest {self.scale:.3g}), "
            f"probabilities by {self.probability:.2g}; the same class on {100 * self.agreement:.2f} %"
        )


@dataclass(frozen=True)
class Loss:
    """What int8 costs, on images it was not calibrated with.

    before, after  accuracies; None where no labels are known
    lost           accuracy that int8 lost; without labels the share of the answers that changed, which is at least as much
    difference     paired, of the losses image by image
    """

    images: int
    before: float | None
    after: float | None
    lost: float
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        kept = {name: value for name, value in asdict(self).items() if name != "difference"}
        d = self.difference
        return {**kept, "interval": [d.low, d.high], "decided": d.decided, "detectable": d.detectable}

    def __str__(self) -> str:
        d = self.difference
        points = f"{100 * self.lost:+.2f} points ({100 * d.low:+.2f} to {100 * d.high:+.2f})"
        if self.before is None or self.after is None:
            return f"int8 gives another class on {100 * self.lost:.2f} % of {self.images} images (no labels are known)"
        low, high = (wilson(round(value * self.images), self.images) for value in (self.before, self.after))
        return f"int8 loses {points} on {self.images} images: accuracy {low} before, {high} after"


def answers(answer: Answer, samples: NDArray[Any], spec: InputSpec) -> Answers:
    """All outputs `[N, ...]` of many samples, in batches."""
    size = batch_for(spec)
    parts = [answer(samples[at : at + size]) for at in range(0, len(samples), size)]
    return tuple(np.concatenate(output) for output in zip(*parts, strict=True))


def parity(before: Answers, after: Answers, where: str | None) -> Parity:
    """Compare two programs' answers to the same images."""
    (logits, probabilities), (others, chances) = before, after
    finite = np.isfinite(others).all()
    return Parity(
        len(logits),
        where,
        float(np.abs(logits - others).max()) if finite else float("inf"),
        float(np.abs(logits).max()),
        float(np.abs(probabilities - chances).max()) if finite else float("inf"),
        float((logits.argmax(1) == others.argmax(1)).mean()),
    )


def loss(before: Answers, after: Answers, truth: NDArray[np.int64] | None, seed: int) -> Loss:
    """What the second program loses; `truth` `[N]`, negative where it is not known."""
    one, two = before[0].argmax(1), after[0].argmax(1)
    told = np.ones(len(one), bool) if truth is None else truth >= 0
    target = one if truth is None else truth
    right, still = ((guess == target)[told].astype(float) for guess in (one, two))
    found = paired_bootstrap(right, still, seed_for(seed, "export", "loss"))
    known = truth is not None
    return Loss(
        int(told.sum()),
        float(right.mean()) if known else None,
        float(still.mean()) if known else None,
        float((right - still).mean()),
        found,
    )
