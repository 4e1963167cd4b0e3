"""What two processes do for the tests of gathered embeddings: each holds a part of a batch and its share of a loss."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from headstart.terms.gather import gathered, gathered_at, sizes_of

PARTS = {"even": (3, 3), "uneven": (4, 2), "one has none": (6, 0)}
"""How six samples are divided."""


def batch() -> Tensor:
    return torch.linspace(-1, 1, 6 * 3, dtype=torch.float64).sin().view(6, 3).clone()


def loss_of(own: Tensor, every: Tensor, first: int) -> Tensor:
    """A sum over own samples in which all the others are; its parts over all processes add up to that of one process."""
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    return (torch.logsumexp(own @ every.mT, 1) * weights[first : first + len(own)]).sum()


def process(rank: int, folder: Path) -> None:
    """Values, places and gradients, for every way to divide the batch."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found: dict[str, Tensor] = {}
    for name, sizes in PARTS.items():
        first = sum(sizes[:rank])
        own = batch()[first : first + sizes[rank]].requires_grad_(True)
        every, place = gathered_at(own)
        assert sizes_of(own) == list(sizes)
        (gradient,) = torch.autograd.grad(loss_of(own, every, place), own)
        found |= {
            f"{name}/every": gathered(own).detach(),
            f"{name}/place": torch.tensor(place),
            f"{name}/gradient": gradient,
        }
    dist.destroy_process_group()
    save_file(found, folder / f"{rank}.safetensors")
