"""What linear solvers share: their result, their inputs, and problems that see different samples of the same features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headstart.engine.solvers.lbfgs import Minimum
from headstart.errors import ConfigError, DataError, problems

ABSENT = -1e4
"""bias of a class without a training sample: it is never answered"""


@dataclass(frozen=True)
class LinearSolution:
    """A linear classifier on raw features: logits = features @ weight.T + bias.

    weight       `[C, D]` in the features' dtype
    bias         `[C]`; `ABSENT` for a class without a training sample
    calibration  (scale, shift) applied to logits before the softmax. The shift is always 0: one shift for all classes
                 cancels in a softmax, only the scale can be learned
    info         what the solver has to say: iterations, gradient, converged, penalty, absent classes
    """

    weight: Tensor
    bias: Tensor
    calibration: tuple[float, float] = (1.0, 0.0)
    info: dict[str, Any] = field(default_factory=dict)

    def logits(self, features: Tensor) -> Tensor:
        """Uncalibrated logits `[N, C]` of `features` `[N, D]`."""
        return torch.addmm(self.bias, features, self.weight.T)

    def probabilities(self, features: Tensor) -> Tensor:
        """Calibrated class probabilities `[N, C]`."""
        return torch.softmax(self.logits(features) * self.calibration[0] + self.calibration[1], 1)


@dataclass(frozen=True)
class Samples:
    """F sets of weighted samples of the same N features, each standardised by its own mean and deviation.

    features  `[N, D]`, shifted by `centre` so that products in short floats lose nothing
    centre    `[D]`
    labels    `[N]`
    weights   `[F, N]`, zero where a sample is left out; each row sums to one
    mean      `[F, D]` of the samples in the set, after shifting
    scale     `[F, D]` 1 / standard deviation; 1 where a feature is constant
    present   `[F, C]` whether the class has a sample in the set
    """

    features: Tensor
    centre: Tensor
    labels: Tensor
    weights: Tensor
    mean: Tensor
    scale: Tensor
    present: Tensor

    @property
    def num_classes(self) -> int:
        return self.present.shape[1]


def check(features: Tensor, labels: Tensor, num_classes: int, sample_weight: Tensor | None) -> None:
    """Raise `DataError` with everything that is wrong with a solver's input."""
    found = []
    if features.ndim != 2 or not features.is_floating_point() or not features.numel():
        found.append(f"features have shape {tuple(features.shape)} and type {features.dtype}; give floats [images, width]")
    elif not torch.isfinite(features).all():
        found.append("features are not all finite; look for the images that make the network overflow")
    if labels.shape != features.shape[:1]:
        found.append(f"{tuple(labels.shape)} labels for {len(features)} rows of features; give one per row")
    elif len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        found.append(f"labels go from {int(labels.min())} to {int(labels.max())}, not within 0..{num_classes - 1}")
    if sample_weight is not None and (sample_weight.shape != labels.shape or not bool((sample_weight >= 0).all())):
        found.append("sample_weight must be one number, not negative, per row")
    if sample_weight is not None and not bool((sample_weight > 0).any()):
        found.append("sample_weight is zero everywhere")
    problems(DataError, "the solver cannot use its input:", found)


def check_penalty(penalty: float) -> None:
    """A penalty must be a positive number: without one, separable classes have no best weights."""
    if not (0 < penalty < float("inf")):
        raise ConfigError(f"penalty = {penalty} must be a positive number, e.g. 1e-3")


def standardised(
    features: Tensor, labels: Tensor, num_classes: int, masks: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Samples:
    """`Samples` for sets given as `masks` `[F, N]` (True: the sample belongs to the set)."""
    weights = masks.double() * (1.0 if sample_weight is None else sample_weight.double())
    member = (weights > 0).double()
    count = member.sum(1, keepdim=True)
    if bool((count == 0).any()):
        raise DataError("a fold leaves nothing to learn from; use fewer folds or more images")
    centre = features.double().mean(0)
    shifted = features.double() - centre
    mean = member @ shifted / count
    variance = (member @ shifted.square() / count - mean.square()).clamp_min(0)
    # rounding leaves a constant feature a little variance: below this it is nothing but that
    constant = variance <= 1e-12 * (centre.square() + shifted.square().mean(0)) + torch.finfo(torch.float64).tiny
    scale = torch.where(constant, 1.0, variance.where(~constant, torch.ones_like(variance)).rsqrt())
    hot = torch.nn.functional.one_hot(labels.long(), num_classes).double()
    return Samples(
        shifted.to(dtype),
        centre,
        labels.long(),
        (weights / weights.sum(1, keepdim=True)).to(dtype),
        mean.to(dtype),
        scale.to(dtype),
        member @ hot > 0,
    )


def folded(samples: Samples, which: int, weight_CD: Tensor, bias_C: Tensor) -> tuple[Tensor, Tensor]:
    """Weight `[C, D]` and bias `[C]` on raw features, float64, from those on the standardised features of set `which`."""
    weight = weight_CD.double() * samples.scale[which].double()
    bias = bias_C.double() - weight @ (samples.mean[which].double() + samples.centre)
    bias = torch.where(samples.present[which], bias, ABSENT)
    return torch.where(samples.present[which][:, None], weight, 0.0), bias


def everything(features: Tensor, labels: Tensor, num_classes: int, penalty: float, sample_weight: Tensor | None) -> Samples:
    """Checked input as one set of all samples, in float64."""
    check(features, labels, num_classes, sample_weight)
    check_penalty(penalty)
    mask = torch.ones(1, len(labels), dtype=torch.bool)
    return standardised(features, labels, num_classes, mask, sample_weight, torch.float64)


def finished(name: str, samples: Samples, found: Minimum, penalty: float, dtype: torch.dtype) -> LinearSolution:
    """The solution of the first problem, on raw features."""
    classes, width = samples.num_classes, samples.features.shape[1]
    x = found.x[0]
    weight, bias = folded(samples, 0, x[: classes * width].view(classes, width), x[classes * width :])
    info = {
        "solver": name,
        "penalty": penalty,
        "iterations": int(found.iterations[0]),
        "gradient": float(found.gradient[0]),
        "converged": bool(found.converged[0]),
        "objective": float(found.value[0]),
        "absent_classes": [int(c) for c in (~samples.present[0]).nonzero()[:, 0]],
    }
    return LinearSolution(weight.to(dtype), bias.to(dtype), info=info)
