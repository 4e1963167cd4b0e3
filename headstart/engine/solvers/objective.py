"""Value and gradient of many linear classification problems over the same features, in two matrix products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.lbfgs import Minimum, minimise
from headstart.engine.solvers.linear import Samples, folded, standardised

_CHUNK = 1 << 22
"""logits held at a time: 16 MB in float32, which bounds memory and stays near the cache"""


class Objective(ABC):
    """Mean weighted loss + penalty / 2 * ||W||^2 of P problems; problem p has sample set `sets[p]` and `penalties[p]`.

    Standardising is folded into the weights, so that all problems multiply the same features:
    logits = (W s) X' + (b - W s m), and the gradient of W is (R'X - R'1 m) s. Images come last: a product with few rows and
    many columns runs at three times the speed of its transpose, and a softmax goes along contiguous memory.

    fine, coarse  largest gradient entry at the end of a fit to keep, and of fits that only choose a penalty
    """

    fine: float
    coarse: float

    def __init__(self, samples: Samples, sets: Tensor, penalties: Tensor) -> None:
        self.samples = samples
        self.sets = sets
        self.penalties = penalties.to(samples.features.dtype)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Loss `[p]` in float64, and its derivative by the logits `[p, C, n]`.

        logits [p, C, n] may be overwritten; labels [n]; weights [p, n], zero where left out; present [p, C]
        """

    def __call__(self, x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Values `[p]` and gradients `[p, C * D + C]` of the problems `which` at packed parameters `x`."""
        samples, sets, penalty = self.samples, self.sets[which], self.penalties[which]
        weight_PCD, bias_PC = unpacked(samples, x)
        scale, mean = samples.scale[sets].unsqueeze(1), samples.mean[sets].unsqueeze(2)
        scaled = weight_PCD * scale
        shift = bias_PC - (scaled @ mean).squeeze(2)
        value, gradient, sums = self._data_part(scaled, shift, sets)
        gradient.sub_(sums.unsqueeze(2) * mean.transpose(1, 2)).mul_(scale).add_(penalty.view(-1, 1, 1) * weight_PCD)
        value = value.to(x.dtype) + 0.5 * penalty * weight_PCD.square().sum((1, 2))
        return value, torch.cat((gradient.flatten(1), sums), 1)

    def _data_part(self, scaled: Tensor, shift: Tensor, sets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over images, some at a time: loss `[p]`, residual times features `[p, C, D]`, residual `[p, C]`."""
        samples = self.samples
        problems, classes, width = scaled.shape
        flat = scaled.view(problems * classes, width)
        value, sums = scaled.new_zeros(problems, dtype=torch.float64), scaled.new_zeros(problems, classes)
        products = scaled.new_zeros(problems * classes, width)
        step = max(256, _CHUNK // (problems * classes))
        for begin in range(0, len(samples.labels), step):
            rows = slice(begin, begin + step)
            logits = (flat @ samples.features[rows].T).view(problems, classes, -1).add_(shift.unsqueeze(2))
            part, residual = self.loss(logits, samples.labels[rows], samples.weights[sets, rows], samples.present[sets])
            value += part
            sums += residual.sum(2)
            products.addmm_(residual.view(problems * classes, -1), samples.features[rows])
        return value, products.view(problems, classes, width), sums


def solve(objective: Objective, tolerance: float | None = None) -> Minimum:
    """Minimise all problems of `objective` from zero; `x` is `[P, C * D + C]`, see `unpacked`."""
    samples, limit = objective.samples, objective.fine if tolerance is None else tolerance
    width = (samples.features.shape[1] + 1) * samples.num_classes
    return minimise(objective, samples.features.new_zeros(len(objective.sets), width), tolerance=limit)


def unpacked(samples: Samples, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weight `[..., C, D]` and bias `[..., C]` from packed parameters `[..., C * D + C]`."""
    classes, width = samples.num_classes, samples.features.shape[1]
    return x[..., : classes * width].reshape(*x.shape[:-1], classes, width), x[..., classes * width :]


def held_out_logits(
    kind: type[Objective],
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Logits `[K, N, C]` of every image by the fit that did not see it, for K penalties; NaN where none held it out.

    All folds x penalties are solved in lockstep, in the features' own precision: this is for choosing, not for keeping.
    An image held out by several folds (repeated cross-validation) gets the last one's answer.
    """
    pairs = rows_of(folds, len(labels))
    masks = torch.zeros(len(pairs), len(labels), dtype=torch.bool)
    for number, (train, _) in enumerate(pairs):
        masks[number, train] = True
    samples = standardised(features, labels, num_classes, masks, sample_weight, features.dtype)
    sets = torch.arange(len(pairs)).repeat_interleave(len(penalties))
    found = solve(kind(samples, sets, torch.tensor(list(penalties), dtype=torch.float64).repeat(len(pairs))), kind.coarse)
    weights, biases = unpacked(samples, found.x)
    logits = features.new_full((len(penalties), len(labels), num_classes), torch.nan)
    for problem, number in enumerate(sets.tolist()):
        valid = pairs[number][1]
        weight, bias = folded(samples, number, weights[problem], biases[problem])
        shift = bias + torch.where(samples.present[number], weight @ samples.centre, 0.0)
        scores = (samples.features[valid].double() @ weight.T + shift).to(features.dtype)
        logits[problem % len(penalties), valid] = scores
    return logits
