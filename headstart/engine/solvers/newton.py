"""Squared-hinge machines finished by Newton's method: exact once the set of images inside the margin stands still.

With the images inside their margin fixed, the objective is a quadratic with a closed-form minimum; stepping there with an
exact line search ends in finitely many steps (Keerthi & DeCoste 2005, "A modified finite Newton method").
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.engine.solvers.spectrum import Spectrum

_STEPS = 100


def finish(samples: Spectrum, sign: Tensor, penalty: float, x: Tensor, gap: float = 0.0) -> tuple[Tensor, int]:
    """Minimum of mean max(0, 1 - sign f)^2 + penalty / 2 ||w||^2 near `x` `[1 + K]`, and the steps it took.

    sign  `[n]` 1 for images of the class, -1 for the rest
    gap   stop when a step lowers the objective by no more than this share of it; 0: at the exact minimum
    """
    x, sign = x.double(), sign.double()
    weights = samples.weights.double()
    outputs = _outputs(samples, x)
    for step in range(1, _STEPS + 1):
        inside = sign * outputs < 1
        if not inside.any():
            inside = inside.logical_not()  # nothing pulls: begin again as if everything did
        target = _quadratic(samples, sign, weights, penalty, inside.nonzero()[:, 0])
        towards = _outputs(samples, target)
        if bool(((sign * towards < 1) == inside).all()):
            return target, step
        before = _value(x, outputs, sign, weights, penalty)
        length = _line(x, target - x, outputs, towards - outputs, sign, weights, penalty)
        x, outputs = torch.lerp(x, target, length), torch.lerp(outputs, towards, length)
        if before - _value(x, outputs, sign, weights, penalty) <= gap * before:
            return x, step
    return x, _STEPS


def _outputs(samples: Spectrum, x: Tensor) -> Tensor:
    return (samples.features @ x.to(samples.features.dtype)).double()


def _value(x: Tensor, outputs: Tensor, sign: Tensor, weights: Tensor, penalty: float) -> float:
    hinge = (1 - sign * outputs).clamp_min(0)
    return float(weights @ hinge.square() + penalty / 2 * (x[1:] @ x[1:]))


def _quadratic(samples: Spectrum, sign: Tensor, weights: Tensor, penalty: float, rows: Tensor) -> Tensor:
    """Minimum when exactly `rows` are inside the margin: a system of the size of the images or of the axes."""
    a, y, share = samples.features[rows].double(), sign[rows], 2 * weights[rows]
    if len(rows) >= a.shape[1]:
        curvature = a.T @ (share[:, None] * a)
        curvature.diagonal()[1:] += penalty
        curvature.diagonal()[0] += torch.finfo(a.dtype).tiny
        return _solve(curvature, a.T @ (share * y)[:, None])[:, 0]
    along = a[:, 1:]
    products = along @ along.T
    products.diagonal().add_(penalty / share)
    # f + penalty / share c = y on those images, with f = products c + bias and sum c = 0
    both = _solve(products, torch.stack((y, torch.ones_like(y)), 1))
    bias = both[:, 0].sum() / both[:, 1].sum()
    return torch.cat((bias[None], along.T @ (both[:, 0] - bias * both[:, 1])))


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))


def _line(x: Tensor, step: Tensor, outputs: Tensor, change: Tensor, sign: Tensor, weights: Tensor, penalty: float) -> float:
    """Step length at the minimum along `step`: root of a rising, piecewise linear slope, by Newton within a fence."""
    along, square = penalty * float(x[1:] @ step[1:]), penalty * float(step[1:] @ step[1:])
    low, high, length = 0.0, float("inf"), 1.0
    for _ in range(50):
        hinge = (1 - sign * (outputs + length * change)).clamp_min(0)
        slope = along + length * square - 2 * float((weights * sign * hinge) @ change)
        bend = square + 2 * float((weights * (hinge > 0)) @ change.square())
        low, high = (length, high) if slope < 0 else (low, length)
        guess = length - slope / bend if bend > 0 else 0.5 * (low + min(high, 2.0))
        following = guess if low < guess < high else 0.5 * (low + min(high, 2 * low + 1))
        if abs(following - length) <= 1e-9 * max(length, 1e-3):
            return following
        length = following
    return length
