"""A small network learns from what big ones answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headstart.catalog.strategies import DistillConfig
from headstart.data.join import with_unlabelled
from headstart.data.task import Task
from headstart.engine.run import under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.nets.vit import has_two_tokens
from headstart.stage import Stage
from headstart.strategies.common import class_weights, supervised_stage, weighted_blocks
from headstart.strategies.feature_losses import feature_terms
from headstart.strategies.teaching import answers_on, check_classes, together
from headstart.terms.base import Term
from headstart.terms.decoupled import Decoupled
from headstart.terms.distill import Distill
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Answers, Live

FEATURES = ("hints", "attention", "relational", "contrastive")
"""Losses on what the first teacher's blocks put out, for which it has to see every batch."""


def distill(
    net: Net,
    task: Task,
    cfg: DistillConfig | None = None,
    *,
    teachers: Sequence[Live] = (),
    unlabelled: Task | None = None,
    folder: Path | None = None,
) -> Iterator[Stage]:
    """Learn from labels and from a teacher's answers: T^2 lambda soft + (1 - lambda) hard (Hinton et al. 2015).

    Every block trains at the full rate, from the weights it has. With a distillation token (DeiT, Touvron et al. 2021) the
    labels teach the class token's head and the teacher the distillation token's; at the end one head on both tokens gives
    the mean of their logits. Unlabelled images take part in what the teacher says alone. Without a teacher and `share=0`
    this is the student alone: the same initial weights, order and renderings, so that the two can be compared in pairs.
    """
    cfg = cfg or DistillConfig()
    problems(ConfigError, "distill cannot be done as asked:", [*cfg.faults(len(teachers)), *_token_faults(net, cfg)])
    heads = _heads(net, task, token=cfg.token)
    trains = {f"blocks.{name}": 1.0 for name in weighted_blocks(net)} | {f"heads.{name}": 1.0 for name in heads}
    stage = supervised_stage("distill", net, task, trains, cfg.recipe)
    if unlabelled is not None:
        stage = replace(stage, data=with_unlabelled(stage.task, _others(unlabelled, task), folder))
    check_classes(teachers, stage)
    terms = _terms(net, task, cfg, stage, heads, teachers, folder)
    learned = {f"terms.{name}": 1.0 for name, term in terms.items() if next(term.parameters(), None) is not None}
    yield replace(stage, terms=terms, trains={**stage.trains, **learned})
    if cfg.token:
        fold_heads(net, *heads)


def _others(unlabelled: Task, task: Task) -> Task:
    """The unlabelled samples that are none of the task's, whose held-out part nobody may learn from either."""
    if unlabelled.store.fingerprint != task.store.fingerprint:
        return unlabelled
    return unlabelled.take(np.flatnonzero(~np.isin(unlabelled.rows, task.rows)))


def _token_faults(net: Net, cfg: DistillConfig) -> list[str]:
    if not cfg.token or has_two_tokens(net):
        return []
    return ["the student has no distillation token; use one that has (headstart:vit), or token=False"]


def _heads(net: Net, task: Task, *, token: bool) -> tuple[str, ...]:
    """Give the net its empty heads: one, or one per token. The first learns the labels, the last the teacher."""
    if not token:
        net.add_head(task.name, task.num_classes)
        return (task.name,)
    width = net.info[net.last].channels // 2
    taught = f"{task.name}-distill"
    net.add_head(task.name, task.num_classes, channels=(0, width))
    net.add_head(taught, task.num_classes, channels=(width, 2 * width))
    return (task.name, taught)


def _terms(
    net: Net,
    task: Task,
    cfg: DistillConfig,
    stage: Stage,
    heads: tuple[str, ...],
    teachers: Sequence[Live],
    folder: Path | None,
) -> Mapping[str, Term]:
    terms: dict[str, Term] = {}
    if cfg.share < 1:
        weights = class_weights(task) if cfg.recipe.class_weights else None
        smoothing = cfg.recipe.smoothing
        terms["hard"] = Supervised(task.name, smoothing=smoothing, class_weights=weights, share=1 - cfg.share)
    features = tuple(name for name in cfg.losses if name in FEATURES)
    if cfg.share > 0:
        live = len(teachers) if not cfg.record else int(bool(features))
        found = answers_on(stage, net, teachers, folder=folder, live=live, dtype=cfg.dtype, top_k=cfg.top_k)
        terms["soft"] = _soft(task, cfg, heads[-1], together(found, cfg.teacher_weights, cfg.teacher_average))
    return terms | (feature_terms(net, teachers[0], features, stage, under_way(net).seed) if features else {})


def _soft(task: Task, cfg: DistillConfig, head: str, answers: Answers) -> Term:
    if "decoupled" in cfg.losses:
        return Decoupled(task.name, answers, head=head, temperature=cfg.temperature, weight=cfg.share)
    return Distill(
        task.name,
        answers,
        head=head,
        temperature=cfg.temperature,
        weight=cfg.share,
        kind=cfg.kind,
        standardise="standardise" in cfg.losses,
    )


def fold_heads(net: Net, labels: str, teacher: str) -> None:
    """Put two heads on halves of the last block's channels together, in place, as one on all of them called `labels`.

    Its logits are the mean of theirs (DeiT, section 4), exactly, because both are linear.
    """
    first, second = net.head(labels), net.head(teacher)
    weight = torch.cat([first.linear.weight, second.linear.weight], 1).detach() / 2
    bias = (first.linear.bias + second.linear.bias).detach() / 2
    both = net.add_head(labels, first.num_classes)
    with torch.no_grad():
        both.linear.weight.copy_(weight)
        both.linear.bias.copy_(bias)
    del net.heads[teacher]
