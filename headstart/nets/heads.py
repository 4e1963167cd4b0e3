"""Heads: what turns taps of a backbone into the answers of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def pool(activation: Tensor, layout: str) -> Tensor:
    """Average an activation over its places: `[N, C]`.

    layout: `nchw` maps, `nhwc` maps with channels last as dimension, `nlc` tokens, `nc` already pooled.
    """
    if layout == "nchw":
        return activation.mean((2, 3))
    if layout == "nhwc":
        return activation.mean((1, 2))
    return activation.mean(1) if layout == "nlc" else activation


class LinearHead(nn.Module):
    """A linear map from the pooled taps it reads (concatenated in order) to one logit per class.

    `channels` `(first, end)`: only these of them, as the head on one token of several; None: all.
    `calibration` `[2]` (scale, shift) multiplies and shifts logits before the softmax that gives probabilities; a head
    learned by gradient steps or by logistic regression keeps the neutral (1, 0).
    """

    def __init__(
        self, reads: tuple[str, ...], in_features: int, num_classes: int, channels: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.reads, self.channels = reads, channels
        # Through the meta device, because the usual start draws from the global random generator; zeros follow anyway.
        self.linear = nn.Linear(in_features, num_classes, device="meta").to_empty(device="cpu")
        self.calibration: Tensor
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @property
    def num_classes(self) -> int:
        return self.linear.out_features

    def forward(self, pooled: Mapping[str, Tensor]) -> Tensor:
        """Logits `[N, num_classes]` from pooled taps `{name: [N, C]}`."""
        read = [pooled[name] for name in self.reads]
        features = read[0] if len(read) == 1 else torch.cat(read, 1)
        if self.channels is not None:
            # Contiguous, so that the product rounds the same whatever stands beside these channels.
            features = features[:, slice(*self.channels)].contiguous()
        logits: Tensor = self.linear(features)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated class probabilities `[N, num_classes]`."""
        return torch.softmax(logits.float() * self.calibration[0] + self.calibration[1], 1)

    def spec(self) -> dict[str, Any]:
        """What is needed to build an equal, empty head."""
        spec = {
            "kind": "linear",
            "reads": list(self.reads),
            "in_features": self.linear.in_features,
            "num_classes": self.num_classes,
        }
        return spec if self.channels is None else {**spec, "channels": list(self.channels)}


def head_from(spec: Mapping[str, Any]) -> LinearHead:
    """An empty head as described by `LinearHead.spec`."""
    some = spec.get("channels")
    channels = None if some is None else (int(some[0]), int(some[1]))
    return LinearHead(tuple(spec["reads"]), int(spec["in_features"]), int(spec["num_classes"]), channels)
