"""What methods with negatives ask of a net, images and settings before they begin, and what they show."""

from __future__ import annotations

from typing import Protocol

from headstart.catalog.pretraining import Schooling
from headstart.data.task import Task
from headstart.engine.run import under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.terms.chunked import normalises_batches


class _Config(Protocol):
    @property
    def school(self) -> Schooling: ...

    def faults(self) -> list[str]: ...


def checked(name: str, cfg: _Config, net: Net, data: Task) -> None:
    """Raise ConfigError naming everything that keeps method `name` from being done as asked."""
    faults = cfg.faults()
    if net.input.kind != "image":
        faults.append("it learns from renderings of an image, and this network takes vectors")
    if net.info[net.last].towers is not None:
        faults.append(f"the network ends in {net.info[net.last].towers} towers; take one out with nets.towers.tower")
    if len(data) < 2:
        faults.append(f"negatives are other images, and there {'is' if len(data) == 1 else 'are'} {len(data)} in all")
    problems(ConfigError, f"{name} cannot be done as asked:", faults)


def tell_chunks(name: str, net: Net, chunk: int | None) -> None:
    """Say what chunks mean for a network with batch normalisation."""
    blocks = normalises_batches(net)
    if chunk is not None and blocks:
        text = (
            f"{name}: batch normalisation in {len(blocks)} of {len(net.blocks)} blocks sees chunks of {chunk} renderings "
            "and not the whole batch; negatives are exact, the gradient is not that of the whole batch at once"
        )
        under_way(net).log.event("warning", text=text)
