"""SwAV: the code of one view, among prototypes, is predicted from another."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import SwavConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import images_of_steps, pretrain_stage
from headstart.strategies.pretrain.seen import checked, frozen_share, many_views, steps_of
from headstart.terms.swapped import Swapped

PROTOTYPES = 128
"""Where nothing is asked for, and a step has as many images."""


def swav(net: Net, data: Task, cfg: SwavConfig | None = None) -> Iterator[Stage]:
    """Swapping assignments between views (Caron et al. 2020): codes share the images of a step evenly among prototypes.

    `local` small views beside the two global ones are its multi-crop, none by default; `queue` earlier images share in the
    codes, for steps of fewer images than prototypes, among which they cannot be shared out evenly.

    Deviations: SGD with momentum or AdamW and not LARS; fewer prototypes and a smaller projection by default, and codes of
    less entropy (0.03, as its authors advise where the loss stays at ln(prototypes), as it did with 0.05 on digits).
    """
    cfg = cfg or SwavConfig()
    checked("swav", cfg, net, data)
    views = many_views(net, cfg.pipeline, cfg.local)
    term = Swapped(
        net,
        prototypes=prototypes_for(cfg, data),
        dimensions=cfg.dimensions,
        hidden=cfg.hidden,
        temperature=cfg.temperature,
        eps=cfg.eps,
        iterations=cfg.iterations,
        frozen=frozen_share(cfg.frozen_epochs, cfg.school),
        queue=cfg.queue,
        queue_from=cfg.queue_from,
        steps=steps_of(data, cfg.school),
        seed=cfg.school.seed,
        small=[*views][2:],
    )
    yield pretrain_stage("swav", net, data, {"swav": term}, views, cfg.school, even=True)


def prototypes_for(cfg: SwavConfig, data: Task) -> int:
    """As asked; else the usual number, or as many as images share in the codes where those are fewer."""
    return min(PROTOTYPES, sharing(cfg, data)) if cfg.prototypes is None else cfg.prototypes


def sharing(cfg: SwavConfig, data: Task) -> int:
    """Images that share in the codes of a step, with those of the queue."""
    return min(images_of_steps(data, cfg.school)) + cfg.queue
