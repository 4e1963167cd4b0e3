"""Weights that belong to tasks: every task is answered with its own weights and those of earlier ones, the others zero."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.nets.net import Net

FREE = 0
"""Owner of a weight that no task has claimed."""
MOST_TASKS = 255
"""As many tasks as one byte per weight can tell apart."""


def with_owners(net: Net, owners: Mapping[str, Tensor], number: int) -> Net:
    """A copy of `net` in which, of the weights that `owners` names, only those of tasks 1 to `number` are not zero.

    owners  parameter name -> uint8 of its shape: the task (from 1) that claimed each weight, 0 for free ones
    number  of the task to answer, counting from 1

    Weights not named there, biases, normalisation and heads are as they are. `net` is not touched.
    Raises ConfigError for names or shapes that the net does not have, and a number below 1.
    """
    check_owners(net, owners)
    if number < 1:
        raise ConfigError(f"number={number}: tasks are counted from 1")
    own = copy.deepcopy(net)
    parameters = dict(own.named_parameters())
    with torch.no_grad():
        for name, owner in owners.items():
            parameter = parameters[name]
            seen = ((owner != FREE) & (owner <= number)).to(parameter.device)
            # `where` and not a product: what is not seen must be zero whatever it is, and what is must stay to the bit.
            parameter.copy_(torch.where(seen, parameter, torch.zeros_like(parameter)))
    return own


def check_owners(net: Net, owners: Mapping[str, Tensor]) -> None:
    """Raise ConfigError unless every name is one of the net's parameters and every owner has its shape."""
    parameters = dict(net.named_parameters())
    wrong = [
        name
        for name, owner in owners.items()
        if name not in parameters or parameters[name].shape != owner.shape or owner.dtype != torch.uint8
    ]
    if wrong:
        raise ConfigError(
            f"{len(wrong)} lists of which task claimed each weight do not fit the network: {', '.join(wrong[:5])}; "
            "give the network they were saved with"
        )


def prunable(net: Net, block_names: Iterable[str]) -> list[str]:
    """Full names of the weights of convolutions and linear layers in these blocks, shared ones once."""
    found: dict[int, str] = {}
    for block in block_names:
        for path, module in net.blocks[block].named_modules():
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                name = ".".join(part for part in ("blocks", block, path, "weight") if part)
                found.setdefault(id(module.weight), name)
    named = {name for name, _ in net.named_parameters()}
    return [name for name in found.values() if name in named]


def smallest(weight: Tensor, among: Tensor, share: float) -> Tensor:
    """Bool of `weight`'s shape: the `share` (rounded down) of the elements `among` that are smallest in magnitude.

    Of equals the first, so that the same weights give the same choice everywhere.
    """
    places = torch.nonzero(among.reshape(-1)).squeeze(1)
    magnitude = weight.detach().cpu().reshape(-1)[places].abs()
    count = int(len(places) * share)
    chosen = torch.zeros(weight.numel(), dtype=torch.bool)
    chosen[places[magnitude.argsort(stable=True)[:count]]] = True
    return chosen.reshape(weight.shape)
