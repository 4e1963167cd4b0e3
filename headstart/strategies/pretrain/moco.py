"""MoCo: negatives from a queue of keys, which a slowly moving copy of the network gives."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.contrast import MocoConfig
from headstart.data.task import Task
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import images_of_steps, pretrain_stage
from headstart.strategies.pretrain.contrasted import checked, tell_chunks
from headstart.strategies.pretrain.seen import pair_of_views
from headstart.terms.chunked import Pooled
from headstart.terms.moco import Moco
from headstart.terms.projection import projection

LARGEST_QUEUE = 4096
"""Keys where nothing is asked for. The paper's 65536 are a twentieth of ImageNet."""


def moco(net: Net, data: Task, cfg: MocoConfig | None = None) -> Iterator[Stage]:
    """Momentum contrast (He et al. 2020) with the head, temperature and views of its second version (Chen et al. 2020b).

    Deviations: keys pass through batch normalisation in parts on one device instead of being shuffled over several; by
    default a smaller queue and a faster average, for thousands of images instead of a million.
    """
    cfg = cfg or MocoConfig()
    checked("moco", cfg, net, data)
    tell_chunks("moco", net, cfg.chunk)
    features = Pooled(net, net.last, cfg.chunk)
    head = projection(cfg.projection, features.channels, cfg.dimensions, cfg.school.seed, norm=False)
    term = Moco(
        net,
        features,
        head,
        features.channels if cfg.projection == "none" else cfg.dimensions,
        queue=_queue(cfg, data),
        momentum=cfg.momentum,
        temperature=cfg.temperature,
        groups=cfg.groups,
        similarity=cfg.similarity,
        objective=cfg.objective,
        seed=cfg.school.seed,
    )
    yield pretrain_stage("moco", net, data, {"moco": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)


def _queue(cfg: MocoConfig, data: Task) -> int:
    """As asked; else no more than half the images, so that few images meet an older key of their own."""
    batch = max(images_of_steps(data, cfg.school))
    size = max(batch, min(LARGEST_QUEUE, len(data) // 2)) if cfg.queue is None else cfg.queue
    if size < batch:
        raise ConfigError(f"moco: queue={size} is smaller than a batch of {batch}; make it {batch} at least")
    return size
