"""Weights held near where they were, the more important ones harder."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError, problems
from headstart.losses.quadratic import pull, quadratic
from headstart.terms.base import StepLike, Term


class Penalty(Term):
    """strength * 1/2 * sum_i F_i (theta_i - theta*_i)^2 over some of the net's weights.

    It is zero at theta*, its gradient is strength * F * (theta - theta*), and it counts once in any number of processes.

    live         the weights theta themselves by full name (`blocks.X.weight`, `heads.Y.linear.bias`); they stay the net's
    strength     the factor before; papers and tools that leave out the 1/2 have half as large a number
    anchors      theta* by name; None: zero
    importances  F by name, never negative; None: one

    Names in `anchors` and `importances` that are not `live` are left out. What is kept is copied, so that the originals may
    be dropped, and is saved and moved with the term. One copy of the weights each, whatever number of tasks it speaks for.

    Raises ConfigError for no weights, a negative strength, and for what is missing, of another shape or negative.
    """

    def __init__(
        self,
        live: Mapping[str, nn.Parameter],
        strength: float,
        *,
        anchors: Mapping[str, Tensor] | None = None,
        importances: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        problems(ConfigError, "the penalty cannot be made:", _faults(live, strength, anchors, importances))
        self.strength = strength
        self.live = dict(live)  # a plain dict registers nothing: the weights belong to the net
        self._anchored = self._keep("anchor", anchors)
        self._weighed = self._keep("importance", importances)

    def _keep(self, what: str, given: Mapping[str, Tensor] | None) -> bool:
        for name, parameter in self.live.items() if given is not None else ():
            kept = torch.empty_like(parameter, requires_grad=False)  # in the weight's own memory format
            assert given is not None
            self.register_buffer(_called(what, name), kept.copy_(given[name].detach()))
        return given is not None

    def kept(self, what: str) -> list[Tensor] | None:
        """The buffers of `what`, `anchor` or `importance`, in the order of the weights; None where there are none."""
        there = self._anchored if what == "anchor" else self._weighed
        return [self.get_buffer(_called(what, name)) for name in self.live] if there else None

    def forward(self, step: StepLike) -> Tensor:
        value = quadratic(list(self.live.values()), self.kept("anchor"), self.kept("importance"))
        return step.once(self.strength * value)

    def gradient(self) -> dict[str, Tensor]:
        """Of the whole penalty, over all processes, where the weights are now."""
        found = pull(list(self.live.values()), self.kept("anchor"), self.kept("importance"))
        torch._foreach_mul_(found, self.strength)
        return dict(zip(self.live, found, strict=True))


def _called(what: str, name: str) -> str:
    """Name of a buffer; dots are not allowed there."""
    return f"{what}:{name.replace('.', ':')}"


def _faults(
    live: Mapping[str, Tensor],
    strength: float,
    anchors: Mapping[str, Tensor] | None,
    importances: Mapping[str, Tensor] | None,
) -> list[str]:
    faults = [] if live else ["no weights are named; name some of those that train"]
    if not 0 <= strength < math.inf:
        faults.append(f"strength={strength}: give a number that is 0 or larger")
    for what, given in (("anchors", anchors), ("importances", importances)):
        for name, parameter in live.items() if given is not None else ():
            assert given is not None
            if name not in given:
                faults.append(f"{what} lack {name!r}")
            elif given[name].shape != parameter.shape:
                faults.append(f"{what}[{name!r}] has shape {list(given[name].shape)}, the weight {list(parameter.shape)}")
            elif what == "importances" and bool((given[name] < 0).any()):
                faults.append(f"importances[{name!r}] has negative numbers, which would reward moving away")
    return faults
