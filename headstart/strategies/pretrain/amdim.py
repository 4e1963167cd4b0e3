"""AMDIM: two copies of an image share what they show as a whole and in their parts, at several depths."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from headstart.catalog.contrast import AmdimConfig
from headstart.data.task import Task
from headstart.engine.evaluate import looking
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import images_of_steps, pretrain_stage
from headstart.strategies.pretrain.contrasted import checked
from headstart.strategies.pretrain.seen import pair_of_views
from headstart.terms.amdim import SIDES, Amdim

ENCODER = "headstart:amdim_encoder"


def amdim(net: Net, data: Task, cfg: AmdimConfig | None = None) -> Iterator[Stage]:
    """Augmented multiscale deep InfoMax (Bachman, Hjelm & Buchwalter 2019) between two copies of an image, over maps of 1x1,
    5x5 and 7x7 places, in both directions, with other images' places as negatives, scores softly clipped and penalised
    before.

    Deviations: the backbone is the given one, of which the last block with a map of each of these sides is read
    (headstart's own encoder for it is a fraction of the paper's); a mixture of representations (section 3.5) is left out.
    """
    cfg = cfg or AmdimConfig()
    checked("amdim", cfg, net, data)
    term = Amdim(
        net,
        maps_of(net),
        dimensions=cfg.dimensions,
        clip=cfg.clip,
        penalty=cfg.penalty,
        images=images_of_steps(data, cfg.school),
        seed=cfg.school.seed,
    )
    yield pretrain_stage("amdim", net, data, {"amdim": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)


def maps_of(net: Net) -> dict[int, str]:
    """The last block with a map of each side in `SIDES`. Raises ConfigError naming those that are missing."""
    size = net.input.size
    with looking(net):
        found = net.run(torch.zeros(2, len(net.input.mean), size, size, device=net.device), taps=net.block_names)
    sides: dict[int, str] = {}
    for name, layout in ((name, net.info[name].layout) for name in net.block_names):
        output = found[name]
        if isinstance(output, torch.Tensor) and layout == "nchw" and output.shape[2] == output.shape[3]:
            sides[output.shape[2]] = name
        elif layout == "nc":
            sides[1] = name
    missing = [f"{side}x{side}" for side in SIDES if side not in sides]
    if missing:
        there = ", ".join(f"{side}x{side}" for side in sorted(sides, reverse=True)) or "none"
        raise ConfigError(
            f"amdim compares maps of 1x1, 5x5 and 7x7 places; this network at {size} px has none of {' or '.join(missing)} "
            f"(it has {there}). Take one that has, e.g. --backbone {ENCODER}"
        )
    return {side: sides[side] for side in SIDES}
