"""SimCLR: two views of an image are alike, views of different images are not."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from headstart.catalog.contrast import SimclrConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import images_of_steps, pretrain_stage
from headstart.strategies.pretrain.contrasted import checked, tell_chunks
from headstart.strategies.pretrain.seen import pair_of_views
from headstart.terms.chunked import Pooled
from headstart.terms.projection import projection
from headstart.terms.two_views import TwoViews, chance_of, contrast


def simclr(net: Net, data: Task, cfg: SimclrConfig | None = None) -> Iterator[Stage]:
    """SimCLR (Chen et al. 2020): NT-Xent between projected features of two views, which pass in one batch.

    The projection is thrown away: features are those before it. Batches may be made large by chunks (Gao et al. 2021).
    Deviations: SGD with momentum or AdamW and not LARS; smaller batches and higher temperature by default, as the authors
    have for CIFAR-10.
    """
    cfg = cfg or SimclrConfig()
    checked("simclr", cfg, net, data)
    tell_chunks("simclr", net, cfg.chunk)
    term = TwoViews(
        features := Pooled(net, net.last, cfg.chunk),
        projection(cfg.projection, features.channels, cfg.dimensions, cfg.school.seed),
        contrast(cfg.objective, cfg.temperature, cfg.similarity),
        chance=fmean(chance_of(cfg.objective, count) for count in images_of_steps(data, cfg.school)),
    )
    yield pretrain_stage("simclr", net, data, {"simclr": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
