"""Balances: how several losses become one gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

Groups = Mapping[str, Sequence[nn.Parameter]]
"""Trained parameters by role: `shared` (blocks), `heads`, `terms`, `balance`."""


class Balance(nn.Module):
    """Fills `.grad` from the losses of one step and returns the weights it used.

    tasks  names of the losses it weighs; any other loss counts once. None named: it weighs whatever it is given

    A loss that is absent from `losses` (its task has no sample in the batch) is missing, never zero. Under several processes
    each holds its share of every loss, and the weights come out equal in all. What must survive a resume is a buffer or
    a parameter.
    """

    tasks: tuple[str, ...] = ()

    def begin(self, steps: int, per_epoch: int) -> None:
        """How long the stage is: `steps` in all, `per_epoch` an epoch. Called before the first step, also after a resume."""

    @abstractmethod
    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]: ...

    def report(self) -> dict[str, float]:
        """Numbers for the log's line of the epoch that just ended, besides the weights. Asking changes nothing."""
        return {}
