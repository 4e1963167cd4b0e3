"""Cross-stitch units: every tower reads a learned mixture of all of them, channel by channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError

_AXIS = {"nchw": 1, "nhwc": -1, "nlc": -1, "nc": -1}
"""Where the channels are, by layout (see `heads.pool`)."""


class CrossStitch(nn.Module):
    """`x~_A = sum_B alpha_AB x_B` per channel (Misra et al. 2016, eq. 1): a tuple of K activations to a tuple of K.

    towers    K, two or more. The paper has two; its equation is the same for more
    channels  C of every activation
    layout    of every activation, see `heads.pool`
    keep      alpha on the diagonal at the start; `(1 - keep) / (K - 1)` off it, so that a mixture is a mean. The paper's
              ablation starts well with .9 and .1

    The matrices `alpha` are `[K, K, C]`. They are to have a rate of their own, 100 to 1000 times that of the network
    (as in the paper's ablation), and no weight decay, which would pull them away from mixtures:
    `Stage(trains={"blocks.layer1_stitch": Train(scale=100, weight_decay=0.0), ...})`, or `strategies.common.stitched`.

    Raises ConfigError for one tower, an unknown layout, and a `keep` that is no share.
    """

    def __init__(self, towers: int, channels: int, layout: str, keep: float = 0.9) -> None:
        super().__init__()
        check_keep(keep)
        if towers < 2 or layout not in _AXIS:
            raise ConfigError(
                f"towers={towers}, layout={layout!r}: a unit mixes two or more towers of layout {', '.join(_AXIS)}"
            )
        self.layout, self.keep = layout, keep
        self.alpha = nn.Parameter(torch.empty(towers, towers, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the start, which nothing random enters."""
        towers = len(self.alpha)
        with torch.no_grad():
            self.alpha.fill_((1 - self.keep) / (towers - 1))
            self.alpha[range(towers), range(towers)] = self.keep

    def widened(self, like: int) -> CrossStitch:
        """A unit for one tower more, which begins as a copy of number `like`: it is mixed as that one is, its own share of
        itself included, and the others take nothing of it."""
        towers = len(self.alpha)
        made = CrossStitch(towers + 1, self.alpha.shape[2], self.layout, self.keep).to(self.alpha.device, self.alpha.dtype)
        with torch.no_grad():
            made.alpha.zero_()
            made.alpha[:towers, :towers] = self.alpha
            made.alpha[towers, :towers] = self.alpha[like]
            made.alpha[towers, towers], made.alpha[towers, like] = self.alpha[like, like], 0.0
        made.alpha.requires_grad_(self.alpha.requires_grad)
        return made.train(self.training)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Each `[N, ...]` of the unit's layout; computed in the wider of the types, given in the activations' own."""
        places = x[0].ndim - 2 if _AXIS[self.layout] == 1 else 0
        rows = self.alpha.view(*self.alpha.shape, *[1] * places)
        return tuple(_mixed(row, x) for row in rows)

    def multiplications(self, elements: int) -> int:
        """Multiply-accumulates for `elements` numbers in the output, of all towers together."""
        return len(self.alpha) * elements

    def extra_repr(self) -> str:
        return f"towers={len(self.alpha)}, channels={self.alpha.shape[2]}, layout={self.layout}, keep={self.keep}"


def _mixed(row: Tensor, x: tuple[Tensor, ...]) -> Tensor:
    """One tower's mixture; `row` holds its alphas, one for each of `x`, ready to broadcast."""
    total = row[0] * x[0]
    for share, one in zip(row[1:], x[1:], strict=True):
        total = total + share * one
    return total.to(x[0].dtype)


def check_keep(keep: float) -> None:
    """Raise ConfigError for what is no share."""
    if not 0 <= keep <= 1:
        raise ConfigError(f"keep={keep}: give the share, 0 to 1, that a tower keeps of itself, e.g. 0.9")
