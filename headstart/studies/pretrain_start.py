"""The network that pretraining starts from."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.pretrain import DEFAULT_LARGE, DEFAULT_SMALL, PretrainConfig
from headstart.data.sources import Source
from headstart.engine.model import model_folder
from headstart.errors import ConfigError
from headstart.nets.build import build
from headstart.nets.initialise import reinitialise
from headstart.nets.library import parse_args
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.studies.backbone import SMALL_IMAGES, choose, typical_side, untrained


def network_of(config: PretrainConfig, source: Source, given: Any = None) -> BackboneConfig:
    """The settings of the network, with the default's name where none is named."""
    if given is not None or config.network.backbone is not None:
        return config.network
    name = DEFAULT_SMALL if typical_side(source) <= SMALL_IMAGES else DEFAULT_LARGE
    return replace(config.network, backbone=name)


def starting_net(
    config: PretrainConfig, network: BackboneConfig, source: Source, given: nn.Module | Net | None = None
) -> Net:
    """The network without heads: all weights drawn anew from the seed, or as they are.

    network  as `network_of` says

    Raises ConfigError for --start trained of a network that nothing has trained; BackboneError as of `build`.
    """
    if config.start == "trained":
        if given is None and untrained(network):
            raise ConfigError(
                f"--start trained: {network.backbone} has weights drawn at random; add --weights FILE, or --start random"
            )
        return choose(source, network, given, seed=config.seed)
    if given is not None:
        net = copy.deepcopy(given) if isinstance(given, Net) else choose(source, network, given, seed=config.seed)
    else:
        saved = model_folder(str(network.backbone))
        net = build(
            saved if saved is not None else network.backbone,
            args=parse_args(network.backbone_args),
            size=network.size,
            mean=network.mean,
            std=network.std,
            pretrained=False,
            seed=config.seed,
        )
    net.heads.clear()
    drawn_anew(net, config.seed)
    return net


def forgotten(config: PretrainConfig, given: nn.Module | Net | None = None) -> Iterator[str]:
    """A word of warning where a network is named that has learned something, none of which is used."""
    name = str(config.network.backbone)
    if config.start == "random" and given is None and (name == "embedded" or model_folder(name) is not None):
        yield (
            f"--start random: all weights of {name} are drawn anew, and what it had learned is not used; --start trained "
            "goes on from it"
        )


def drawn_anew(net: Net, seed: int) -> None:
    """All weights and statistics of the network drawn from the seed, in place."""
    reinitialise(net, net.block_names, seed_for(seed, "pretrain", "start"))
