"""SimSiam: each view predicts the other, which is held still."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import SimSiamConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, pair_of_views
from headstart.terms.bootstrap import Siamese


def simsiam(net: Net, data: Task, cfg: SimSiamConfig | None = None) -> Iterator[Stage]:
    """Simple siamese networks (Chen & He 2021): one network, a predictor that is a bottleneck, and no gradient through the
    view that is predicted; no copy, no negatives.

    Deviations: the predictor's rate falls as the others' do, where theirs stays; projection and predictor are smaller by
    default.
    """
    cfg = cfg or SimSiamConfig()
    checked("simsiam", cfg, net, data)
    term = Siamese(net, dimensions=cfg.dimensions, hidden=cfg.hidden, seed=cfg.school.seed)
    yield pretrain_stage("simsiam", net, data, {"simsiam": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
