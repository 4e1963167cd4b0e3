"""Value and gradient of many linear classification problems at once, and what their fits answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.linear import LinearSolution
from headstart.engine.solvers.spectrum import Spectrum

_CHUNK = 1 << 20
"""logits held at a time: 4 MB in float32, which bounds memory and stays in the cache"""


class Objective(ABC):
    """Mean weighted loss + penalty / 2 * ||W||^2 of P problems of R rows each, on the same samples.

    Parameters `x` are `[P, R * (1 + K)]`: weights on the axes of the samples. Problems share the samples' features in one
    matrix product. Images come last: a product with few rows and many columns runs at three times the speed of its
    transpose, and a softmax goes along contiguous memory.

    penalties  `[P]`
    bend       `[P]` mean curvature of the loss by a logit, where each problem was last evaluated
    """

    def __init__(self, samples: Spectrum, penalties: Tensor, rows: int) -> None:
        self.samples, self.rows = samples, rows
        self.ridge = penalties.to(samples.values.dtype)[:, None].repeat(1, samples.width)
        self.ridge[:, 0] = 0  # the bias is not penalised
        self.bend = samples.values.new_ones(len(penalties))

    @abstractmethod
    def loss(self, logits: Tensor, which: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Loss `[p]`, its derivative by the logits `[p, R, n]`, and its mean curvature `[p]`.

        logits `[p, R, n]`, may be overwritten, of the images `part` of the samples by the problems `which`
        """

    def start(self) -> Tensor:
        """All weights zero, `[P, R * (1 + K)]`."""
        return self.ridge.new_zeros(len(self.ridge), self.rows * self.samples.width)

    def metric(self, which: Tensor) -> Tensor:
        """Inverse of the curvature at the last evaluation, taken to be diagonal: `[p, R * (1 + K)]`."""
        curvature = torch.addcmul(self.ridge[which], self.bend[which, None], self.samples.values)
        return curvature.reciprocal_().repeat(1, self.rows)

    def __call__(self, x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Values `[p]` and gradients `[p, R * (1 + K)]` of the problems `which`; sets `bend`."""
        features, problems, rows = self.samples.features, len(which), self.rows
        x = x.view(problems, rows, -1)
        gradient = x * self.ridge[which].unsqueeze(1)
        value = 0.5 * (x * gradient).sum((1, 2))
        flat, onto, bend = x.reshape(problems * rows, -1), gradient.view(problems * rows, -1), torch.zeros_like(value)
        # some images at a time
        step = max(256, _CHUNK // (problems * rows))
        for begin in range(0, len(features), step):
            part = slice(begin, begin + step)
            logits = (flat @ features[part].T).view(problems, rows, -1)
            some, residual, curvature = self.loss(logits, which, part)
            value += some
            bend += curvature
            onto.addmm_(residual.view(problems * rows, -1), features[part])
        self.bend[which] = bend
        return value, gradient.view(problems, -1)


def held_out_logits(
    features: Tensor, samples: Sequence[Spectrum], folds: Folds, fits: Sequence[Tensor], num_classes: int
) -> Tensor:
    """Logits `[K, N, C]` of every image by the fits that did not see it; NaN where none held it out.

    fits  per fold `[K, C, 1 + its K]`, see `Spectrum.folded`

    An image held out by several folds (repeated cross-validation) gets the last one's answer.
    """
    logits = features.new_full((len(fits[0]), len(features), num_classes), torch.nan)
    for (_, valid), mine, x in zip(rows_of(folds, len(features)), samples, fits, strict=True):
        weight, bias = mine.folded(x)
        away = (features[valid] - mine.centre).to(features.dtype)
        shift = bias + torch.where(mine.present, weight @ mine.centre, 0.0)
        scores = away @ weight.to(away.dtype).flatten(0, 1).T
        logits[:, valid] = scores.view(len(valid), -1, num_classes).transpose(0, 1) + shift.to(away.dtype).unsqueeze(1)
    return logits


def finished(name: str, samples: Spectrum, x: Tensor, dtype: torch.dtype, info: dict[str, Any]) -> LinearSolution:
    """The solution `[C, 1 + K]` on raw features."""
    weight, bias = samples.folded(x)
    return LinearSolution(weight.to(dtype), bias.to(dtype), info={"solver": name, **info, "absent_classes": samples.absent})
