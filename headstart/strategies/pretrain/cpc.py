"""CPC: from the patches above, tell the patches below among those of all images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from headstart.catalog.contrast import CpcConfig
from headstart.data.pipelines import views_of
from headstart.data.task import Task
from headstart.engine.evaluate import looking
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import images_of_steps, pretrain_stage
from headstart.strategies.pretrain.contrasted import checked
from headstart.terms.chunked import normalises_batches
from headstart.terms.cpc import Cpc, PatchGrid

ENCODER = "headstart:cpc_encoder"


def cpc(net: Net, data: Task, cfg: CpcConfig | None = None) -> Iterator[Stage]:
    """Contrastive predictive coding of images (van den Oord et al. 2018, section 3.3): every patch passes through the
    backbone by itself, a masked convolutional network reads the grid from the top left to the bottom right, and rows below
    are predicted from the nearest that shares no pixel on.

    At 32 px patches of 8 px every 4 px give the 7x7 grid that 64 px patches give at 256 px. Deviations: features are those
    of the given backbone and not of a ResNet-101; patches are not augmented one by one.
    """
    cfg = cfg or CpcConfig()
    checked("cpc", cfg, net, data)
    height, width = (int(side) for side in data.store.array.shape[1:3])
    patch = cfg.patch or max(1, min(height, width) // 4)
    grid = PatchGrid(patch, cfg.stride or max(1, patch // 2))
    shape = grid.shape(height, width)
    problems(ConfigError, "cpc cannot be done as asked:", _faults(net, grid, shape, (height, width)))
    ahead = range(grid.nearest, min(grid.nearest + cfg.rows, shape[0]))
    term = Cpc(
        net,
        net.last,
        shape,
        ahead,
        width=cfg.width,
        layers=cfg.layers,
        images=images_of_steps(data, cfg.school),
        objective=cfg.objective,
        similarity=cfg.similarity,
        temperature=cfg.temperature,
        seed=cfg.school.seed,
    )
    views = {"one": replace(views_of(cfg.pipeline, net.input.size, 1)[0], pieces=grid)}
    yield pretrain_stage("cpc", net, data, {"cpc": term}, views, cfg.school, even=True)


def _faults(net: Net, grid: PatchGrid, shape: tuple[int, int], sides: tuple[int, int]) -> list[str]:
    found = []
    if blocks := normalises_batches(net):
        where = ", ".join(blocks[:3]) + (", ..." if len(blocks) > 3 else "")
        found.append(
            f"batch normalisation (in {where}) lets patches know of each other, and the answer with it; take a network "
            f"without, e.g. --backbone {ENCODER}"
        )
    if shape[0] <= grid.nearest or not shape[1]:
        found.append(
            f"images of {sides[1]}x{sides[0]} px give {shape[0]} rows of {shape[1]} patches (patch={grid.patch}, "
            f"stride={grid.stride}), and the nearest row to predict is {grid.nearest} below; take smaller patches or "
            "larger images"
        )
    elif said := _refused(net, grid.patch):
        found.append(
            f"this network does not take patches of {grid.patch} px ({said}); take another patch, or a network for small "
            f"images, e.g. --backbone {ENCODER}"
        )
    return found


def _refused(net: Net, patch: int) -> str:
    """What the network says to a patch of that size; nothing where it takes it. Networks do not tell but by trying."""
    try:
        with looking(net):
            net.run(torch.zeros(2, len(net.input.mean), patch, patch, device=net.device))
    except (RuntimeError, ValueError, AssertionError) as error:
        return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return ""
