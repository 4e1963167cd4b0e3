"""Whether there are images enough for a method's steps: what is refused, and what is warned of, before any training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headstart.catalog.pretraining import PretrainMethod
from headstart.catalog.self_supervision import SwavConfig
from headstart.data.names import count
from headstart.data.task import Task
from headstart.strategies.pretrain.swav import sharing


def few_for_batches(images: int, aside: int, batch: int) -> Iterator[str]:
    """What is wrong with so many images for batches of `batch`, if anything; `aside`: images that nothing learns from."""
    if images >= 2 * batch:
        return
    kept = f" ({count(aside, 'other is', 'others are')} set aside to judge by)" if aside else ""
    if images < 4:
        said = f"{count(images, 'image is', 'images are')} too few{kept}"
        yield f"{said}: give four at least, and thousands to learn something"
        return
    yield (
        f"{images} images to learn from{kept} are too few for batches of {batch}, of which an epoch should have two at "
        f"least: give --batch-size {images // 2} or less, or {2 * batch} images to learn from, thousands to learn something"
    )


def small_steps(name: str, about: PretrainMethod, config: Any, pool: Task) -> Iterator[str]:
    """Warnings where steps have fewer images of the pool than method `name`, with these settings, should have."""
    batch = min(config.school.batch_size, len(pool))
    if batch < about.least:
        yield (
            f"{name} learns from all images of a step together, of which there should be {about.least} or more, and "
            f"there are {batch}: give --batch-size {about.least}"
        )
    if isinstance(config, SwavConfig) and config.prototypes is not None:
        there = sharing(config, pool)
        if there < config.prototypes:
            yield (
                f"{name} shares the images of a step out among {config.prototypes} prototypes, and there are {there} "
                f"(with those of the queue): some prototypes get none. Give --settings prototypes={there} or queue="
                f"{config.prototypes - there + config.queue}, or larger batches"
            )
