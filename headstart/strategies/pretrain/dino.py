"""DINO: a network teaches itself, its slowly moving copy being centred and sharpened."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import DinoConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, frozen_share, has_norm, many_views, steps_of
from headstart.terms.self_distillation import SelfDistilled


def dino(net: Net, data: Task, cfg: DinoConfig | None = None) -> Iterator[Stage]:
    """Self-distillation with no labels (Caron et al. 2021), for convolutional networks and transformers.

    `local` small views beside the two global ones are its multi-crop; by default there are none, because a transformer of
    fixed places takes one input size only.

    Deviations: weight decay does not rise during training; batches and the head are smaller by default; the copy's
    temperature rises with every step, not every epoch; short trainings free the last layer sooner; the head has batch
    normalisation where the network has it.
    """
    cfg = cfg or DinoConfig()
    checked("dino", cfg, net, data)
    views = many_views(net, cfg.pipeline, cfg.local)
    term = SelfDistilled(
        net,
        words=cfg.words,
        hidden=cfg.hidden,
        bottleneck=cfg.bottleneck,
        norm=has_norm(net) if cfg.norm is None else cfg.norm,
        momentum=cfg.momentum,
        temperature=cfg.temperature,
        teacher=(cfg.teacher_start, cfg.teacher_end),
        warmup=cfg.teacher_warmup,
        centre_decay=cfg.centre,
        frozen=frozen_share(cfg.frozen_epochs, cfg.school),
        steps=steps_of(data, cfg.school),
        seed=cfg.school.seed,
        small=[*views][2:],
    )
    yield pretrain_stage("dino", net, data, {"dino": term}, views, cfg.school, even=True)
