"""Learn the classes, and keep the backbone."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.greedy import SupervisedConfig
from headstart.data.task import Task
from headstart.data.views import PLAIN, View, standard_view
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import weighted_blocks
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.terms.supervised import Supervised

_HEAD = "pretrain_classes"


def supervised(net: Net, data: Task, cfg: SupervisedConfig | None = None) -> Iterator[Stage]:
    """Cross-entropy of a linear head on the last block, which is thrown away at the end: how most published backbones were
    made. Images without a label teach nothing."""
    cfg = cfg or SupervisedConfig()
    yield from classes_learned("supervised", net, data, cfg)


def classes_learned(name: str, net: Net, data: Task, cfg: SupervisedConfig, view: View | None = None) -> Iterator[Stage]:
    """One stage of supervised learning of every block, by a head that is gone afterwards.

    Raises ConfigError where the images have no labels.
    """
    check_labels(data)
    net.add_head(_HEAD, data.num_classes)
    blocks = {f"blocks.{block}": 1.0 for block in weighted_blocks(net)}
    term = Supervised(data.name, head=_HEAD, smoothing=cfg.smoothing)
    views = {"main": classes_view(net, cfg.mirror) if view is None else view}
    yield pretrain_stage(name, net, data, {name: term}, views, cfg.school, blocks={**blocks, f"heads.{_HEAD}": 1.0})
    del net.heads[_HEAD]


def classes_view(net: Net, mirror: bool) -> View:
    """Shifts or crops, and mirroring; vectors as they are."""
    return standard_view(net.input.size, mirror=mirror) if net.input.kind == "image" else PLAIN


def check_labels(data: Task) -> None:
    """Raise ConfigError unless some images of two classes at least are labelled."""
    if data.num_classes < 2 or not data.known.any():
        raise ConfigError(
            "supervised pretraining learns from labels, and these images have none; lay them out in one folder per class, "
            "or choose a method that needs no labels, e.g. --method simclr"
        )
