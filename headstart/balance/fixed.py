"""A weighted sum with weights that do not change."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from headstart.balance.base import Balance, Groups


class Fixed(Balance):
    """`sum_i w_i L_i`; a term without a weight counts once."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {})

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        used = {name: self.weights.get(name, 1.0) for name in losses}
        weighed = [loss if used[name] == 1.0 else loss * used[name] for name, loss in losses.items()]
        total = weighed[0] if len(weighed) == 1 else torch.stack(weighed).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return used
