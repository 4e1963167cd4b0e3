"""A teacher whose classes are finer than the task's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from headstart.nets.net import Activation, Net
from headstart.terms.teacher import Live


class Grouped(Live):
    """A live teacher several of whose classes stand for one of the task's: their probabilities are added.

    groups  `groups[k]` are the teacher's classes that are the task's class k, each of them in one group at most

    The probability of a group is the exponential of the log-sum-exp of its logits, so that these are its logit.
    """

    def __init__(self, net: Net, head: str, groups: Sequence[Sequence[int]], *, reads: Sequence[str] = ()) -> None:
        super().__init__(net, head, reads=reads, order=tuple(chain.from_iterable(groups)))
        self.sizes = tuple(len(group) for group in groups)

    @property
    def num_classes(self) -> int:
        """Number of groups."""
        return len(self.sizes)

    @torch.no_grad()
    def _answer(self, passed: Mapping[str, Activation]) -> Tensor:
        fine = super()._answer(passed)
        return torch.stack([part.logsumexp(1) for part in torch.split(fine, list(self.sizes), 1)], 1)

    def digest(self, *, again: bool = False) -> str:
        """As `Live.digest`, of the groups too."""
        return hashlib.blake2b(repr((super().digest(again=again), self.sizes)).encode(), digest_size=16).hexdigest()
