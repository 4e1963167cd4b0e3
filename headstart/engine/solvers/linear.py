"""What linear solvers share: their result, and what their input must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

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


def check(features: Tensor, labels: Tensor, num_classes: int, sample_weight: Tensor | None) -> None:
    """Raise `DataError` with everything that is wrong with a solver's input."""
    found = []
    if features.ndim != 2 or not features.is_floating_point() or not features.numel():
        found.append(f"features have shape {tuple(features.shape)} and type {features.dtype}; give floats [images, width]")
    elif not all(torch.isfinite(end) for end in torch.aminmax(features)):  # a tenth of the time of asking every number
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
