"""What losses on activations share: pairs of blocks, and activations of every layout as maps or as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist

from headstart.errors import ConfigError, problems
from headstart.losses.precision import full
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.terms.base import StepLike, Term
from headstart.terms.distill import setting_faults
from headstart.terms.teacher import Live

Pairs = Sequence[tuple[str, str]]
"""(block of the student, block of the teacher)."""


class FeatureTerm(Term):
    """A loss between blocks of the student and of a teacher that sees the same samples.

    student  only asked what its blocks put out, not kept
    teacher  is made to read its blocks of the pairs

    Raises ConfigError for no pairs, unknown blocks, and settings that are not numbers >= 0.
    """

    def __init__(self, student: Net, teacher: Live, pairs: Pairs, view: str, **settings: float) -> None:
        super().__init__()
        faults = setting_faults(**settings) if pairs else ["there are no pairs of blocks; name at least one"]
        for net, place, who in ((student, 0, "student"), (teacher.net, 1, "teacher")):
            unknown = sorted({pair[place] for pair in pairs} - set(net.block_names))
            faults += [f"the {who} has no blocks {unknown}; there are {net.block_names}"] if unknown else []
            split = sorted({pair[place] for pair in pairs if (info := net.info.get(pair[place])) and info.towers})
            faults += [f"blocks {split} of the {who} give several towers; name blocks before them"] if split else []
        problems(ConfigError, "features cannot be compared as asked:", faults)
        self.teacher, self.view = teacher, view
        self.pairs = tuple((ours, theirs) for ours, theirs in pairs)
        self.reads = tuple(dict.fromkeys(ours for ours, _ in self.pairs))
        self.layouts = {name: student.info[name].layout for name in self.reads}
        teacher.also_reads([theirs for _, theirs in self.pairs])

    def maps(self, step: StepLike, pair: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """Both activations of a pair as `[B, C, H, W]`."""
        ours = single(step.taps(self.view), pair[0])
        theirs = single(self.teacher.taps(step, self.view), pair[1])
        return as_maps(ours, self.layouts[pair[0]]), as_maps(theirs, self.teacher.net.info[pair[1]].layout)

    def vectors(self, step: StepLike, pair: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """Both activations of a pair averaged over places, `[B, C]`."""
        ours = pool(single(step.taps(self.view), pair[0]), self.layouts[pair[0]])
        return ours, self.teacher.pooled(step, pair[1], self.view)


def as_maps(activation: Tensor, layout: str) -> Tensor:
    """An activation as maps `[N, C, H, W]`.

    Tokens `nlc` are taken for a square grid, row by row, after those that stand for no place (class, distillation and
    register tokens come first in every vision transformer); vectors `nc` for maps of one place.
    """
    if layout == "nchw":
        return activation
    if layout == "nhwc":
        return activation.permute(0, 3, 1, 2)
    if layout == "nc":
        return activation[:, :, None, None]
    side = math.isqrt(activation.shape[1])
    grid = activation[:, activation.shape[1] - side * side :].mT
    return grid.reshape(*grid.shape[:2], side, side)


@torch.no_grad()
def mean_square(x: Tensor) -> Tensor:
    """Of all numbers in all processes' parts of the batch; none has to have any. A scalar in float32, without gradient."""
    sums = torch.stack([full(x).double().square().sum(), torch.tensor(float(x.numel()), device=x.device).double()])
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    return (sums[0] / sums[1].clamp(min=1)).float()
