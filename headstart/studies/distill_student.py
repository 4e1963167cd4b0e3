"""The network that is to learn: built at the size of the images, and how it is trained."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from headstart.catalog.distill import DistillJobConfig
from headstart.catalog.strategies import Recipe
from headstart.data.arrays import VectorSamples
from headstart.data.sources import Source
from headstart.engine.model import Model, model_folder
from headstart.errors import ConfigError
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.strategies.distill import FEATURES
from headstart.studies.backbone import typical_side

SIDES = (8, 64)
"""Least and largest side of the input of headstart's own networks where none is asked for, in pixels."""
_OWN = ("cifar_resnet", "convnet8", "vit")
_STEPS, _EPOCHS = 2_500, (30, 100)
_CLIP = 5.0
"""Largest gradient norm of trainings with losses on features, whose scale is the teacher's own: hints of a ResNet-20 for a
ResNet-8 diverged within five steps at the usual rate. The student alone trains with the same limit."""


def student_of(config: DistillJobConfig, source: Source, given: Any = None) -> Net:
    """The student without heads, its weights drawn at random.

    given  from Python instead of by name: a Net (its weights are not used) or a Model

    Raises BackboneError for a name that nothing has, with the nearest ones.
    """
    if given is not None:
        net = _given(given)
    else:
        if not config.student:
            raise ConfigError("--student is missing: name the network that learns, e.g. headstart:resnet8 or timm:resnet18")
        net = _named(config, source)
    net.heads.clear()
    return net


def _given(given: Any) -> Net:
    if isinstance(given, Model):
        return copy.deepcopy(given.net)
    if isinstance(given, Net):
        return copy.deepcopy(given)
    what = "a module does not tell what its input looks like" if isinstance(given, nn.Module) else "is no network"
    raise ConfigError(
        f"student={type(given).__name__}: {what}; give a name, or a Net, e.g. headstart.build(module, size=32, mean=..., "
        "std=...)"
    )


def _named(config: DistillJobConfig, source: Source) -> Net:
    name: Any = model_folder(config.student) or config.student
    seed = seed_for(config.seed, "student")
    net = build(name, size=config.size, pretrained=False, seed=seed)
    own = (net.source or {}).get("builder") in _OWN and model_folder(config.student) is None
    if own and config.size is None and not isinstance(source.samples, VectorSamples):
        side = min(max(SIDES[0], 4 * round(typical_side(source) / 4)), SIDES[1])
        if side != net.input.size:
            net = build(name, size=side, pretrained=False, seed=seed)
    return net


def is_transformer(net: Net) -> bool:
    """Whether some block puts out tokens."""
    return any(one.layout == "nlc" for one in net.info.values())


def recipe_of(config: DistillJobConfig, net: Net, images: int) -> Recipe:
    """How every student trains: alone, distilled and born again alike."""
    usual = min(max(_EPOCHS[0], -(-_STEPS * config.batch_size // images)), _EPOCHS[1])
    shared = Recipe(
        epochs=config.epochs or usual,
        batch_size=config.batch_size,
        mirror=config.mirror,
        views=config.views or None,
        clip=_CLIP if set(config.losses) & set(FEATURES) else None,
        seed=config.seed,
    )
    if is_transformer(net):
        kind = {"optimizer": "adamw", "lr": config.lr or 1e-3, "weight_decay": 0.05}
    else:
        kind = {"optimizer": "sgd", "lr": config.lr or 0.05}
    return Recipe(**{**vars(shared), **kind})
