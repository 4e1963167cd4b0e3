"""Masked autoencoder: a transformer sees a quarter of the patches and the others are told from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from headstart.catalog.self_supervision import MaeConfig
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine.source_statistics import evenly
from headstart.engine.step import render
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, one_view
from headstart.terms.reconstruction import Reconstruction, loss_of_guessing

_GUESSED, _AT_ONCE = 256, 32
"""Images that guessing is measured on at most, and how many of them at once."""


def mae(net: Net, data: Task, cfg: MaeConfig | None = None) -> Iterator[Stage]:
    """Masked autoencoder (He et al. 2022) for headstart's own `vit` and timm's plain vision transformers.

    The network's layers see the visible patches only; a small decoder, which goes when this ends, tells the pixels of the
    hidden ones, standardised within each patch.

    Deviations: the network's places learn where it lets them, theirs are fixed waves; AdamW's second decay is 0.999, theirs
    0.95; a smaller decoder by default. Both special tokens of `vit` see the patches; nothing else is asked of them.
    """
    cfg = cfg or MaeConfig()
    checked("mae", cfg, net, data)
    views, seed = one_view(net, cfg.pipeline), cfg.school.seed
    chance = loss_of_guessing(net, _some(net, data, views["main"], seed_for(seed, "mae", "guessing")))
    term = Reconstruction(net, share=cfg.share, width=cfg.width, depth=cfg.depth, heads=cfg.heads, seed=seed, chance=chance)
    yield pretrain_stage("mae", net, data, {"mae": term}, views, cfg.school)


def _some(net: Net, data: Task, view: View, seed: int) -> Iterator[Tensor]:
    """Renderings of some of the images, by which guessing is measured."""
    rows = data.rows[evenly(len(data), _GUESSED)]
    for part in np.array_split(rows, -(-len(rows) // _AT_ONCE)):
        yield render(data.store, part, view, seed=seed, draw=0, device=net.device)
