"""Heads: what turns taps of a backbone into the answers of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headstart.catalog.kinds import Kind
from headstart.errors import ConfigError


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
    `kind`: of the question it answers (`catalog/kinds.py`): one logit per class, one per yes/no question, or one number,
    whose unit and zero are `spread` and `offset`.
    `tower`: which tower it reads where a block gives several; None: none of the blocks does.
    `calibration` `[2]` (scale, shift) multiplies and shifts logits before the softmax that gives probabilities; a head
    learned by gradient steps or by logistic regression keeps the neutral (1, 0).
    """

    def __init__(
        self,
        reads: tuple[str, ...],
        in_features: int,
        num_classes: int,
        channels: tuple[int, int] | None = None,
        tower: int | None = None,
        kind: Kind = "classes",
    ) -> None:
        super().__init__()
        self.kind = kind
        self.reads, self.channels, self.tower = reads, channels, tower
        # Through the meta device, because the usual start draws from the global random generator; zeros follow anyway.
        self.linear = nn.Linear(in_features, num_classes, device="meta").to_empty(device="cpu")
        self.calibration: Tensor
        self.offset: Tensor
        self.spread: Tensor
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        if kind == "number":
            self.register_buffer("offset", torch.zeros(()))
            self.register_buffer("spread", torch.ones(()))
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
        """Calibrated probabilities `[N, num_classes]` of the classes, or of yes to each of several questions."""
        if self.kind == "number":
            raise ConfigError("this head answers with a number, which has no probability; ask for `numbers`")
        scaled = logits.float() * self.calibration[0] + self.calibration[1]
        return torch.sigmoid(scaled) if self.kind == "several" else torch.softmax(scaled, 1)

    def numbers(self, outputs: Tensor) -> Tensor:
        """`[N]` the numbers meant by outputs `[N, 1]`, in the unit of the labels learned from."""
        if self.kind != "number":
            raise ConfigError("this head answers with classes; ask for `probabilities`")
        return outputs.float()[:, 0] * self.spread + self.offset

    def standardised(self, labels: Tensor) -> Tensor:
        """Labels `[N]` in the unit that outputs are in."""
        return (labels.float() - self.offset) / self.spread

    @torch.no_grad()
    def learn_unit(self, labels: Tensor) -> None:
        """Make the mean of known `labels` the zero of the outputs, and their standard deviation its unit."""
        known = labels[~torch.isnan(labels)].double()
        self.offset.fill_(known.mean())
        self.spread.fill_(known.std(unbiased=False).clamp(min=1e-12))

    def spec(self) -> dict[str, Any]:
        """What is needed to build an equal, empty head."""
        spec: dict[str, Any] = {
            "kind": "linear",
            "reads": list(self.reads),
            "in_features": self.linear.in_features,
            "num_classes": self.num_classes,
        }
        spec |= {} if self.channels is None else {"channels": list(self.channels)}
        spec |= {} if self.tower is None else {"tower": self.tower}
        return spec if self.kind == "classes" else {**spec, "question": self.kind}


def head_from(spec: Mapping[str, Any]) -> LinearHead:
    """An empty head as described by `LinearHead.spec`."""
    some = spec.get("channels")
    channels = None if some is None else (int(some[0]), int(some[1]))
    tower = None if spec.get("tower") is None else int(spec["tower"])
    kind = spec.get("question", "classes")
    return LinearHead(tuple(spec["reads"]), int(spec["in_features"]), int(spec["num_classes"]), channels, tower, kind)
