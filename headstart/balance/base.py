"""Balances: how several losses become one gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

Groups = Mapping[str, Sequence[nn.Parameter]]
"""Trained parameters by role: `shared` (blocks), `heads`, `terms`, `balance`."""


class Balance(nn.Module):
    """Fills `.grad` from the losses of one step and returns the weights it used.

    A loss that is absent from `losses` (its task has no sample in the batch) is missing, never zero.
    """

    @abstractmethod
    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]: ...
