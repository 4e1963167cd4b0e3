"""Contrastive predictive coding: from what stands above, which patch stands below?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.losses.info_nce import info_nce, nce
from headstart.losses.precision import full
from headstart.losses.similarity import Similarity, similarities
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike, Term
from headstart.terms.gather import gathered_at


@dataclass(frozen=True)
class PatchGrid:
    """Square patches of an image, from the top left, in pixels; what is left over at the right and below is not seen."""

    patch: int
    stride: int

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches; 0 where the image is too small."""
        rows, columns = (max(0, (side - self.patch) // self.stride + 1) for side in (height, width))
        return rows, columns

    @property
    def nearest(self) -> int:
        """How many rows down a patch shares no pixel: the next one does where patches overlap."""
        return -(-self.patch // self.stride)

    def __call__(self, x: Tensor, ids: Tensor, *, seed: int, draw: int) -> Tensor:
        """The patches as pieces of a view."""
        return self.cut(x)

    def cut(self, samples: Tensor) -> Tensor:
        """`[B rows columns, patch, patch, C]` of samples `[B, H, W, C]`."""
        cut = samples.unfold(1, self.patch, self.stride).unfold(2, self.patch, self.stride)
        return cut.permute(0, 1, 2, 4, 5, 3).flatten(0, 2)


class Masked(nn.Conv2d):
    """A 3x3 convolution that sees its own place, those to the left of it and the row above (van den Oord et al. 2016)."""

    mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)
        self.register_buffer("mask", torch.tensor([[1.0, 1, 1], [1, 1, 0], [0, 0, 0]]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=1)


class Context(nn.Module):
    """`[N, C, H, W]` features of patches to `[N, width, H, W]` contexts, of which each knows what comes before it in reading
    order, row by row from the top left, and its own place; residual, and without normalisation."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 1)
        self.masked = nn.ModuleList([Masked(width) for _ in range(layers)])
        self.mixed = nn.ModuleList([nn.Conv2d(width, width, 1) for _ in range(layers)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for masked, mixed in zip(self.masked, self.mixed, strict=True):
            x = x + mixed(F.relu(masked(F.relu(x))))
        return F.relu(x)


class Cpc(Term):
    """Mean over distances k and places of InfoNCE between a prediction W_k c(i, j) and the patch z(i + k, j), among the
    patches z(., .) at which the batch's predictions for that distance aim (van den Oord et al. 2018, eqs. 3-4).

    block    of the net, whose pooled output on a patch is z
    shape    rows and columns of the patches, which the view shows (`PatchGrid`) and each of which passes by itself
    ahead    distances k
    width    of contexts; layers: of the context network
    images   of each step of an epoch, in all processes: the loss of guessing is the mean over them

    Context network and the W_k train with the net and go with the term. Patches of all processes are candidates.
    """

    def __init__(
        self,
        net: Net,
        block: str,
        shape: tuple[int, int],
        ahead: Sequence[int],
        *,
        width: int,
        layers: int,
        images: Sequence[int],
        objective: str = "info_nce",
        similarity: Similarity = "dot",
        temperature: float = 1.0,
        seed: int = 0,
        view: str = "one",
    ) -> None:
        super().__init__()
        self.reads, self.shape, self.ahead, self.view = (block,), shape, tuple(ahead), view
        self.similarity, self.temperature = similarity, temperature
        self.loss = {"info_nce": info_nce, "nce": nce}[objective]
        self.layout, channels = net.info[block].layout, net.info[block].channels
        with forked(seed_for(seed, "terms", "cpc")):
            self.context = Context(channels, width, layers)
            self.predict = nn.ModuleList([nn.Conv2d(width, channels, 1, bias=False) for _ in self.ahead])
        patches = [(shape[0] - k) * shape[1] for k in self.ahead]
        every = fmean(math.log(count * places) for count in images for places in patches)
        self.chance = every if objective == "info_nce" else None

    def forward(self, step: StepLike) -> Tensor:
        z = full(self._patches(step))
        context = self.context(z)
        every, first = gathered_at(z)
        losses = [
            self._loss(full(predict(context[:, :, :-k])), every[:, :, k:], first)
            for k, predict in zip(self.ahead, self.predict, strict=True)
        ]
        return step.mean_all(torch.stack(losses).mean(0))

    def _patches(self, step: StepLike) -> Tensor:
        """`[B, C, rows, columns]` of this process's images."""
        block = self.reads[0]
        z = pool(single(step.taps(self.view), block), self.layout)
        return z.view(len(step.ids), *self.shape, z.shape[1]).permute(0, 3, 1, 2)

    def _loss(self, predicted: Tensor, targets: Tensor, first: int) -> Tensor:
        """`[B]`: of predictions `[B, C, rows, columns]` among the same places of all images `[N, C, rows, columns]`."""
        anchors, candidates = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (predicted, targets))
        places = predicted.shape[2] * predicted.shape[3]
        own = torch.arange(len(anchors), device=anchors.device) + first * places
        scores = similarities(anchors, candidates, self.similarity, self.temperature)
        return self.loss(scores, own).view(len(predicted), places).mean(1)
