"""Triplet learning without labels: an image's other view is nearer than any other image, by a margin."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.contrast import TripletConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.contrasted import checked, tell_chunks
from headstart.strategies.pretrain.seen import pair_of_views
from headstart.terms.chunked import Pooled
from headstart.terms.projection import projection
from headstart.terms.two_views import TwoViews, apart


def triplet(net: Net, data: Task, cfg: TripletConfig | None = None) -> Iterator[Stage]:
    """Triplets of an image, its other view and another image (Schroff et al. 2015), of all images in a batch or the nearest
    (Hermans et al. 2017).

    Deviation: those papers take positives from a person's other pictures; without labels the other view stands in for them,
    so that an anchor has one positive.
    """
    cfg = cfg or TripletConfig()
    checked("triplet", cfg, net, data)
    tell_chunks("triplet", net, cfg.chunk)
    term = TwoViews(
        features := Pooled(net, net.last, cfg.chunk),
        projection(cfg.projection, features.channels, cfg.dimensions, cfg.school.seed),
        apart(cfg.margin, cfg.mining, cfg.similarity),
        chance=cfg.margin,
    )
    yield pretrain_stage("triplet", net, data, {"triplet": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
