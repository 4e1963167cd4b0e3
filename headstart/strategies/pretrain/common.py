"""What ways to pretrain share: one stage that trains every block and the method's own modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.catalog.pretraining import Schooling
from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine.sampler import even_sizes
from headstart.nets.net import Net
from headstart.stage import Adapt, Budget, Optimizer, Stage, Train
from headstart.strategies.common import weighted_blocks
from headstart.terms.base import Term


def images_of_steps(data: Task | Mix, school: Schooling) -> list[int]:
    """Images of each step of an epoch, where a method takes even batches."""
    return even_sizes(len(data), min(school.batch_size, len(data)))


def pretrain_stage(
    name: str,
    net: Net,
    data: Task | Mix,
    terms: Mapping[str, Term],
    views: Mapping[str, View],
    school: Schooling,
    *,
    blocks: Mapping[str, float | Train | Adapt] | None = None,
    epochs: int | None = None,
    even: bool = False,
    **more: Any,
) -> Stage:
    """A stage in which every block learns with the modules of the terms, at one rate.

    views   what each image is rendered as; without one called `main`, nothing is drawn that no term asks for
    even    whether the loss is about the images of a step together (negatives, statistics, codes): see `Stage.even`
    blocks  what trains of the backbone, as `Stage.trains` has it; None: every block with weights
    more    other fields of `Stage`
    """
    chosen: dict[str, float | Train | Adapt] = dict(blocks or {f"blocks.{name}": 1.0 for name in weighted_blocks(net)})
    chosen |= {f"terms.{name}": 1.0 for name, term in terms.items() if any(p.requires_grad for p in term.parameters())}
    return Stage(
        name,
        data,
        trains=chosen,
        terms=terms,
        budget=Budget(epochs=school.epochs if epochs is None else epochs),
        optimizer=Optimizer(
            lr=school.lr,
            kind=school.optimizer,
            weight_decay=school.weight_decay,
            warmup=school.warmup,
            clip=school.clip,
        ),
        batch_size=school.batch_size,
        even=even,
        views=views,
        **more,
    )
