"""Jigsaw: in which order do these tiles lie?"""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.pretext import JigsawConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.asked import checked, grid_of, one_view
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.terms.orders import far_apart
from headstart.terms.pretext import Jigsaw


def jigsaw(net: Net, data: Task, cfg: JigsawConfig | None = None) -> Iterator[Stage]:
    """Tell in which of some orders an image's nine tiles were laid (Noroozi & Favaro 2016).

    Tiles lie anywhere in their cells, are standardised one by one, and pass the backbone alone. Deviations: orders are told
    by one hidden layer on the pooled features of the last block; all images are grey, where the paper has 30 % grey ones
    and moves the channels of the others.
    """
    cfg = cfg or JigsawConfig()
    checked("jigsaw", cfg, net, data)
    grid = grid_of(cfg, net, data)
    term = Jigsaw(net, grid, far_apart(cfg.permutations), colour=cfg.colour, hidden=cfg.hidden, seed=cfg.school.seed)
    yield pretrain_stage("jigsaw", net, data, {"jigsaw": term}, one_view(cfg, net, term.pieces), cfg.school)
