"""Value and gradient of many linear classification problems at once, and fits of every fold with every penalty."""

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
    """Mean weighted loss + penalty / 2 * ||W||^2 of P problems of R rows each; problem p sees `samples[sets[p]]`.

    Parameters `x` are `[P, R * (1 + K)]`: weights on the axes of the problem's samples, padded with zeros to the widest.
    Problems of one set share its features in one matrix product. Images come last: a product with few rows and many
    columns runs at three times the speed of its transpose, and a softmax goes along contiguous memory.

    sets  `[P]`, ascending; penalties `[P]`
    bend  `[P]` mean curvature of the loss by a logit, where each problem was last evaluated
    """

    def __init__(self, samples: Sequence[Spectrum], sets: Tensor, penalties: Tensor, rows: int) -> None:
        self.samples, self.sets, self.rows = samples, sets, rows
        self.width = max(s.width for s in samples)
        like = samples[0].features
        self.ridge = penalties.to(like.dtype)[:, None].repeat(1, self.width)
        self.ridge[:, 0] = 0  # the bias is not penalised
        self.values = like.new_ones(len(samples), self.width)
        for number, s in enumerate(samples):
            self.values[number, : s.width] = s.values
        self.bend = like.new_ones(len(sets))

    @abstractmethod
    def loss(self, logits: Tensor, which: Tensor, samples: Spectrum, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Loss `[p]` in float64, its derivative by the logits `[p, R, n]`, and its mean curvature `[p]`.

        logits `[p, R, n]`, may be overwritten, of the images `part` of `samples` by the problems `which`
        """

    def start(self) -> Tensor:
        """All weights zero, `[P, R * (1 + K)]`."""
        return self.values.new_zeros(len(self.sets), self.rows * self.width)

    def metric(self, which: Tensor) -> Tensor:
        """Inverse of the curvature at the last evaluation, taken to be diagonal: `[p, R * (1 + K)]`."""
        curvature = torch.addcmul(self.ridge[which], self.bend[which, None], self.values[self.sets[which]])
        return curvature.reciprocal_().repeat(1, self.rows)

    def __call__(self, x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Values `[p]` and gradients `[p, R * (1 + K)]` of the problems `which`."""
        x = x.view(len(which), self.rows, self.width)
        ridge = self.ridge[which].unsqueeze(1)
        gradient = x * ridge
        value = 0.5 * (x * gradient).sum((1, 2))
        counts = torch.bincount(self.sets[which], minlength=len(self.samples)).tolist()
        begin = 0
        for samples, count in zip(self.samples, counts, strict=True):
            run = slice(begin, begin + count)
            if count:
                value[run] += self._data_part(x[run], gradient[run], which[run], samples)
            begin += count
        return value, gradient.view(len(which), -1)

    def _data_part(self, x: Tensor, gradient: Tensor, which: Tensor, samples: Spectrum) -> Tensor:
        """Losses `[p]` of problems of one set, images taken some at a time; adds onto `gradient` and sets `bend`."""
        problems, rows = len(which), self.rows
        flat = x[..., : samples.width].reshape(problems * rows, samples.width)
        products, value, bend = torch.zeros_like(flat), x.new_zeros(problems), x.new_zeros(problems)
        step = max(256, _CHUNK // (problems * rows))
        for begin in range(0, len(samples.labels), step):
            part = slice(begin, begin + step)
            logits = (flat @ samples.features[part].T).view(problems, rows, -1)
            some, residual, curvature = self.loss(logits, which, samples, part)
            value += some
            bend += curvature
            products.addmm_(residual.view(problems * rows, -1), samples.features[part])
        gradient[..., : samples.width] += products.view(problems, rows, -1)
        self.bend[which] = bend
        return value


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
        away = features[valid] - mine.centre
        shift = bias + torch.where(mine.present, weight @ mine.centre.double(), 0.0)
        scores = away @ weight.to(away.dtype).flatten(0, 1).T
        logits[:, valid] = scores.view(len(valid), -1, num_classes).transpose(0, 1) + shift.to(away.dtype).unsqueeze(1)
    return logits


def finished(name: str, samples: Spectrum, x: Tensor, dtype: torch.dtype, info: dict[str, Any]) -> LinearSolution:
    """The solution `[C, 1 + K]` on raw features."""
    weight, bias = samples.folded(x)
    return LinearSolution(weight.to(dtype), bias.to(dtype), info={"solver": name, **info, "absent_classes": samples.absent})
