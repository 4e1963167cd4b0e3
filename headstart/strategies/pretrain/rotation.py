"""Rotation: by how much was the image turned?"""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.pretext import RotationConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.asked import checked, one_view
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.terms.pretext import Rotation


def rotation(net: Net, data: Task, cfg: RotationConfig | None = None) -> Iterator[Stage]:
    """Tell by which of four right angles an image was turned (RotNet, Gidaris et al. 2018).

    All four turns of every image stand in one batch, after crop and flip. Each image passes four times. Deviation: the
    head is linear on the pooled output of the last block; the paper's best features are one block earlier.
    """
    cfg = cfg or RotationConfig()
    checked("rotation", cfg, net, data, square=True)
    term = Rotation(net, seed=cfg.school.seed)
    yield pretrain_stage("rotation", net, data, {"rotation": term}, one_view(cfg, net, term.pieces), cfg.school)
