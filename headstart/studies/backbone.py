"""Which network a job starts from."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from torch import nn

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.models import own_name
from headstart.data.arrays import VectorSamples
from headstart.data.decode import UnreadableError
from headstart.data.sources import Source
from headstart.engine.model import model_folder
from headstart.errors import BackboneError, ConfigError, problems
from headstart.nets.build import build
from headstart.nets.library import parse_args
from headstart.nets.net import Net

SMALL_IMAGES = 40
"""Images up to this side go to the embedded network, which was trained on 32 px."""
DEFAULT = "timm:mobilenetv4_conv_small.e2400_r224_in1k"
"""Small and strong: 3.8 M weights, 0.2 GMAC at 224 px, 74 % on ImageNet (timm's results table)."""


def choose(source: Source, config: BackboneConfig, given: nn.Module | Net | None = None, *, seed: int = 0) -> Net:
    """The network named, or a copy of the one given, or the default for images of this size; its heads are the job's own.

    Raises BackboneError when it cannot be had, saying what can be used instead; never another one in its place.
    """
    net = copy.deepcopy(given) if isinstance(given, Net) else _build(source, config, given, seed)
    net.heads.clear()
    return net


def _build(source: Source, config: BackboneConfig, given: nn.Module | None, seed: int) -> Net:
    name: str | Path | nn.Module | None = given if given is not None else config.backbone
    if name is None:
        _check_alone(config)
        if isinstance(source.samples, VectorSamples):
            raise ConfigError("the data are vectors, for which there is no default network; give one as `backbone`")
        name = "embedded" if typical_side(source) <= SMALL_IMAGES else DEFAULT
        try:
            return _built(name, config, seed)
        except BackboneError as error:
            raise BackboneError(f"{error}. For example: headstart adapt {source.where} --backbone embedded") from error
    return _built(name, config, seed)


def _built(name: str | Path | nn.Module, config: BackboneConfig, seed: int) -> Net:
    saved = model_folder(name) if isinstance(name, str) else None
    return build(
        saved if saved is not None else name,
        weights=config.weights,
        args=parse_args(config.backbone_args),
        size=config.size,
        mean=config.mean,
        std=config.std,
        seed=seed,
    )


def _check_alone(config: BackboneConfig) -> None:
    """What only goes with a network of the user's choice must not be applied to another one in silence."""
    needy = {"--weights": config.weights, "--backbone-args": config.backbone_args or None}
    found = [f"{flag} {value}" for flag, value in needy.items() if value is not None]
    problems(ConfigError, "these need --backbone, the network they belong to:", found)


def untrained(config: BackboneConfig) -> bool:
    """Whether the network named starts from weights drawn at random, as our own small ones do without a weight file."""
    return config.weights is None and own_name(config.backbone or "") is not None


def typical_side(source: Source, looks: int = 25) -> float:
    """Median of the longer side over a few evenly spread images, in pixels; unreadable ones are passed over."""
    if isinstance(source.samples, VectorSamples):
        return 0.0
    sides = []
    for place in np.linspace(0, len(source) - 1, min(len(source), looks)).round().astype(int):
        try:
            picture, _ = source.samples.read(int(place), 32, "squash")
        except UnreadableError:
            continue
        sides.append(max(picture.width, picture.height))
    return float(np.median(sides)) if sides else 0.0
