"""Masked autoencoder: a transformer sees a quarter of the patches and the others are told from it."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import MaeConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, one_view
from headstart.terms.reconstruction import Reconstruction


def mae(net: Net, data: Task, cfg: MaeConfig | None = None) -> Iterator[Stage]:
    """Masked autoencoder (He et al. 2022) for headstart's own `vit` and timm's plain vision transformers.

    The network's layers see the visible patches only; a small decoder, which goes when this ends, tells the pixels of the
    hidden ones, standardised within each patch.

    Deviations: the network's places learn where it lets them, theirs are fixed waves; AdamW's second decay is 0.999, theirs
    0.95; a smaller decoder by default. Both special tokens of `vit` see the patches; nothing else is asked of them.
    """
    cfg = cfg or MaeConfig()
    checked("mae", cfg, net, data)
    term = Reconstruction(net, share=cfg.share, width=cfg.width, depth=cfg.depth, heads=cfg.heads, seed=cfg.school.seed)
    yield pretrain_stage("mae", net, data, {"mae": term}, one_view(net, cfg.pipeline), cfg.school)
