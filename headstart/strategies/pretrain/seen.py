"""What methods without negatives show and count: two global views, small crops, and the steps of a whole training."""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.catalog.pretraining import Schooling
from headstart.data.crops import CropTo
from headstart.data.pipelines import views_of
from headstart.data.task import Task
from headstart.data.views import View
from headstart.engine.evaluate import looking
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.strategies.pretrain.common import images_of_steps
from headstart.terms.bootstrap import PAIR


class _Config(Protocol):
    @property
    def school(self) -> Schooling: ...

    def faults(self) -> list[str]: ...


def checked(name: str, cfg: _Config, net: Net, data: Task) -> None:
    """Raise ConfigError naming everything that keeps method `name` from being done as asked."""
    faults = cfg.faults()
    if net.input.kind != "image":
        faults.append("it learns from two renderings of an image, and this network takes vectors")
    if len(data) < 2:
        faults.append(f"{len(data)} images are too few; give two at least, and thousands to learn something")
    problems(ConfigError, f"{name} cannot be done as asked:", faults)


def steps_of(data: Task, school: Schooling) -> int:
    """Optimiser steps of the whole training, of a method that takes even batches."""
    return school.epochs * len(images_of_steps(data, school))


def frozen_share(epochs: int | None, school: Schooling) -> float:
    """The share of the training in which the outputs that a loss chooses among stay as they were drawn: so many epochs.

    None: the first epoch, or a tenth of the training where that is less: a single epoch would leave them no time to learn.
    """
    return min(1 / school.epochs, 0.1) if epochs is None else epochs / school.epochs


def has_norm(net: Net) -> bool:
    """Whether the network has batch normalisation."""
    return any(isinstance(part, _BatchNorm) for part in net.modules())


def one_view(net: Net, pipeline: str) -> dict[str, View]:
    """The view `main`."""
    return {"main": views_of(pipeline, net.input.size, 1)[0]}


def pair_of_views(net: Net, pipeline: str) -> dict[str, View]:
    """Both views by a pipeline's name or text. Raises ConfigError where both are the image as it is."""
    return dict(zip(PAIR, _two_different(pipeline, views_of(pipeline, net.input.size, len(PAIR))), strict=True))


def _two_different(pipeline: str, views: list[View]) -> list[View]:
    """The same views, of which the first two are compared."""
    if not any(view.ops for view in views[: len(PAIR)]):
        raise ConfigError(
            f"views {pipeline!r}: both views of an image would be the image as it is, and equal pictures teach nothing; "
            'name steps that change it (--views "crop(0.2, 1.0) flip(0.5)"), or a pipeline (--views simclr)'
        )
    return views


def many_views(net: Net, pipeline: str, local: int) -> dict[str, View]:
    """Both global views, then `local` small ones called `small1`, ..., by a pipeline that may have one for them.

    Raises ConfigError for small views of several sizes, or of one that the network cannot take.
    """
    count, size = len(PAIR) + local, net.input.size
    drawn = _two_different(pipeline, views_of(pipeline, size, max(count, len(PAIR) + 1)))[:count]
    sizes = {next((op.size for op in reversed(view.ops) if isinstance(op, CropTo)), size) for view in drawn[len(PAIR) :]}
    if len(sizes) > 1:
        raise ConfigError(f"pipeline={pipeline!r}: small views of {sorted(sizes)} px; they pass together and have one size")
    for other in sizes - {size}:
        _check_size(net, other)
    names = [*PAIR, *(f"small{place + 1}" for place in range(local))]
    return dict(zip(names, drawn, strict=True))


def _check_size(net: Net, size: int) -> None:
    """Try it, because networks do not say."""
    try:
        with looking(net):
            net.run(torch.zeros(2, 3, size, size, device=net.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        said = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"small views of {size} px cannot pass this network ({said}); "
            "use local=0, or a pipeline without size= in its crops"
        ) from error
