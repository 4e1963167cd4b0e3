"""Many smooth problems minimised in lockstep by L-BFGS, every step one batched evaluation.

A grid of penalties and folds is many small problems over the same features. Solved one by one they are bound by memory
(the features are read twice per step for a few columns); together their products are large matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x [p, M], which [p]) -> (value [p], gradient [p, M]) of the problems numbered `which`"""

Metric = Callable[[Tensor], Tensor]
"""which [p] -> positive diagonal [p, M] near the inverse of the curvature where those problems were last evaluated"""

_ARMIJO = 1e-4
_CURVATURE = 0.9
_MEMORY = 10
_TRIALS = 30


@dataclass(frozen=True)
class Minimum:
    """What `minimise` found.

    x           `[P, M]`
    value       `[P]`
    gradient    `[P]` largest absolute entry of the gradient
    iterations  `[P]` steps taken
    converged   `[P]` whether `gradient` came below the tolerance
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    iterations: Tensor
    converged: Tensor


class _Memory:
    """The last few steps and gradient changes of each problem, `[m, p, M]`, in a ring shared by all of them.

    A pair without positive curvature gets weight zero, which drops it from the recursion of that problem alone.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverse: list[Tensor] = []
        self.scale: Tensor | None = None

    def push(self, step: Tensor, change: Tensor) -> None:
        curvature, length = (step * change).sum(1), (change * change).sum(1)
        usable = curvature > 1e-10 * length.sqrt() * step.norm(dim=1)
        inverse = torch.where(usable, 1 / curvature.where(usable, torch.ones_like(curvature)), 0.0)
        scale = torch.where(usable, curvature / length.where(usable, torch.ones_like(length)), 1.0)
        self.scale = scale if self.scale is None else torch.where(usable, scale, self.scale)
        for ring, new in ((self.steps, step), (self.changes, change), (self.inverse, inverse)):
            ring.append(new)
            del ring[:-_MEMORY]

    def keep(self, chosen: Tensor) -> None:
        for ring in (self.steps, self.changes, self.inverse):
            ring[:] = [kept[chosen] for kept in ring]
        self.scale = None if self.scale is None else self.scale[chosen]

    def direction(self, gradient: Tensor, metric: Tensor | None) -> Tensor:
        """Two-loop recursion (Nocedal & Wright, algorithm 7.4) for all problems at once: `[p, M]`."""
        q, weights = gradient.clone(), []
        for step, change, inverse in zip(reversed(self.steps), reversed(self.changes), reversed(self.inverse), strict=True):
            weight = inverse * (step * q).sum(1)
            weights.append(weight)
            q.addcmul_(change, weight[:, None], value=-1)
        if metric is not None:
            q *= metric
            if self.steps:  # the metric's shape with the last step's size
                curvature = (self.changes[-1].square() * metric).sum(1)
                fit = (self.steps[-1] * self.changes[-1]).sum(1) / curvature.clamp_min(torch.finfo(q.dtype).tiny)
                q *= torch.where(fit > 0, fit, 1.0).clamp(0.1, 10)[:, None]
        elif self.scale is None:  # no curvature known: a first step of length at most one
            q /= gradient.norm(dim=1, keepdim=True).clamp_min(1.0)
        else:
            q *= self.scale[:, None]
        for step, change, inverse, weight in zip(self.steps, self.changes, self.inverse, reversed(weights), strict=True):
            q.addcmul_(step, (weight - inverse * (change * q).sum(1))[:, None])
        return q.neg_()


def minimise(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float,
    max_iterations: int = 1000,
    metric: Metric | None = None,
    close: float = 0.0,
) -> Minimum:
    """Minimise P smooth convex problems from `start` `[P, M]` until every gradient entry is at most `tolerance`.

    metric  what directions start from instead of the plain gradient: worth its price where curvatures differ widely
    close   with a `metric`: a problem is also done when the step to the minimum, as the metric tells it, is at most this
            share of x, both in the length the metric defines: for a linear classifier about the share of its logits

    A problem that has converged, or whose line search finds no lower point (rounding), takes no further part.
    """
    problems = len(start)
    which = torch.arange(problems)
    value, gradient = objective(start, which)
    shape = None if metric is None else metric(which)
    best = Minimum(start.clone(), value.clone(), _largest(gradient), torch.zeros(problems, dtype=torch.long), value < value)
    best.converged.copy_(_done(start, gradient, shape, tolerance, close))
    x, memory = start, _Memory()
    alive = ~best.converged
    for iteration in range(1, max_iterations + 1):
        if not alive.all():
            which, x, value, gradient = which[alive], x[alive], value[alive], gradient[alive]
            shape = None if shape is None else shape[alive]
            memory.keep(alive)
        if not len(which):
            break
        towards = _downhill(memory, gradient, shape)
        moved, lower, steeper, found = _search(objective, x, value, gradient, towards, which)
        memory.push(moved - x, steeper - gradient)
        x, value, gradient = moved, lower, steeper
        shape = None if metric is None else metric(which)
        done = _done(x, gradient, shape, tolerance, close)
        alive = found & ~done
        left = slice(None) if iteration == max_iterations else ~alive
        rows = which[left]
        best.x[rows], best.value[rows], best.gradient[rows] = x[left], value[left], _largest(gradient[left])
        best.iterations[rows], best.converged[rows] = iteration, done[left]
    return best


def _done(x: Tensor, gradient: Tensor, metric: Tensor | None, tolerance: float, close: float) -> Tensor:
    done = _largest(gradient) <= tolerance
    if metric is not None and close > 0:
        done |= (gradient.square() * metric).sum(1) <= close**2 * (x.square() / metric).sum(1)
    return done


def _downhill(memory: _Memory, gradient: Tensor, metric: Tensor | None) -> Tensor:
    """The quasi-Newton direction, or the plain gradient's where rounding has made that one point uphill."""
    towards = memory.direction(gradient, metric)
    uphill = (towards * gradient).sum(1) >= 0
    if uphill.any():
        towards[uphill] = -(gradient if metric is None else gradient * metric)[uphill]
    return towards


def _search(
    objective: Objective, x: Tensor, value: Tensor, gradient: Tensor, towards: Tensor, which: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Backtracking with quadratic interpolation, each problem at its own step length.

    Returns the new x, value and gradient, and whether a point was accepted. Near the minimum, where values no longer tell
    points apart, the slope decides (the approximate Wolfe condition of Hager & Zhang 2005).
    """
    slope = (gradient * towards).sum(1)
    noise = 4 * torch.finfo(value.dtype).eps * value.abs().clamp_min(1e-3)
    length = torch.ones_like(value)
    # nearly always every problem accepts its whole step: then nothing needs to be picked apart
    moved = x + towards
    lower, steeper = objective(moved, which)
    accepted = _lower(value, slope, noise, length, lower, (steeper * towards).sum(1))
    if accepted.all():
        return moved, lower, steeper, accepted
    pending = (~accepted).nonzero()[:, 0]
    length[pending] = _shorter(length, value, slope, lower[pending], pending)
    moved[pending], lower[pending], steeper[pending] = x[pending], value[pending], gradient[pending]
    for _ in range(_TRIALS):
        trial = x[pending] + length[pending, None] * towards[pending]
        trial_value, trial_gradient = objective(trial, which[pending])
        trial_slope = (trial_gradient * towards[pending]).sum(1)
        accepted = _lower(value[pending], slope[pending], noise[pending], length[pending], trial_value, trial_slope)
        taken = pending[accepted]
        moved[taken], lower[taken], steeper[taken] = trial[accepted], trial_value[accepted], trial_gradient[accepted]
        length[pending] = torch.where(accepted, length[pending], _shorter(length, value, slope, trial_value, pending))
        pending = pending[~accepted]
        if not len(pending):
            break
    found = torch.ones(len(x), dtype=torch.bool)
    found[pending] = False
    return moved, lower, steeper, found


def _lower(value: Tensor, slope: Tensor, noise: Tensor, length: Tensor, trial_value: Tensor, trial_slope: Tensor) -> Tensor:
    """Which trials are low enough for their step, or level with the start within `noise` and flatter."""
    enough = trial_value <= value + _ARMIJO * length * slope
    return enough | ((trial_value <= value + noise) & (trial_slope.abs() <= _CURVATURE * slope.abs()))


def _shorter(length: Tensor, value: Tensor, slope: Tensor, trial_value: Tensor, pending: Tensor) -> Tensor:
    """Minimiser of the parabola through value, slope and trial value, kept within a tenth and a half of the last step."""
    last = length[pending]
    bend = trial_value - value[pending] - last * slope[pending]
    guess = -slope[pending] * last**2 / (2 * bend)
    # a trial that overflowed, or a parabola without minimum, tells nothing: halve
    guess = torch.where(torch.isfinite(guess) & (bend > 0), guess, 0.5 * last)
    return torch.minimum(torch.maximum(guess, 0.1 * last), 0.5 * last)


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().amax(1) if gradient.shape[1] else gradient.new_zeros(len(gradient))
