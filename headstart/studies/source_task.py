"""The task a network comes from, asked again: how much of it is kept when the network is adapted to another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.catalog.adapt import BackboneConfig, DataConfig
from headstart.data.names import some
from headstart.data.prepare import Progress, prepare
from headstart.data.sources import open_source
from headstart.data.task import Task
from headstart.engine.evaluate import accuracy
from headstart.engine.model import model_folder, saved_card
from headstart.engine.source_statistics import evenly
from headstart.errors import ConfigError, DataError
from headstart.nets.heads import LinearHead
from headstart.nets.net import Net
from headstart.nets.saved import EMBEDDED, load_embedded, load_net
from headstart.nets.sources import SOURCE
from headstart.studies.checks import check_kind

LIMIT = 1_000
"""Images of the source that are looked at, at most: after every trial, once more."""


@dataclass(frozen=True)
class OwnHead:
    """The head that a network came with, and what its answers are called."""

    head: LinearHead
    classes: tuple[str, ...]


def own_head(net: Net, network: BackboneConfig, given: Any = None) -> OwnHead | str:
    """The head of the source task that belongs to `net`, or why there is none that could be asked.

    net      as it was chosen, without heads
    network  its name; `given` the module or Net it was made from, where it came from Python
    """
    card = saved_card(network.backbone) if given is None else None
    if card is not None:
        place = model_folder(str(network.backbone))
        assert place is not None  # it has the card
        return OwnHead(load_net(place).head(card.head), card.classes)
    origin = given if isinstance(given, Net) else None
    if given is None and (net.source or {}).get("name") == EMBEDDED:
        origin = load_embedded()
    if origin is None or SOURCE not in origin.heads:
        return "the network brings no head of its source task whose classes have names"
    classes = ((origin.source or {}).get("card") or {}).get("classes") or ()
    head = origin.head(SOURCE)
    if len(classes) != head.num_classes:
        return "the classes that the network's own head answers have no names"
    return OwnHead(copy.deepcopy(head), tuple(map(str, classes)))


@dataclass(frozen=True)
class SourceTask:
    """Images of the source with the positions of their classes in the head's answers.

    before  accuracy of the network as it came
    split   which part of the images these are
    """

    task: Task
    head: LinearHead
    before: float
    split: str

    def accuracy(self, net: Net) -> float:
        """Of `net`'s blocks under the source's own head, which adapting did not touch."""
        return _asked(net, self.task, self.head)


def _asked(net: Net, task: Task, head: LinearHead) -> float:
    looked = Net(dict(net.blocks.items()), net.input, net.info, net.source)  # the blocks are shared, the heads its own
    looked.heads[SOURCE] = copy.deepcopy(head).to(net.device)
    return accuracy(looked, task, SOURCE)


def check_named(path: str | None) -> None:
    """Raise DataError when the images named as the source are not there."""
    if path is not None and not Path(path).exists():
        raise DataError(f"--source {path} does not exist; give labelled images of the task the network was trained on")


def read_source(
    net: Net, own: OwnHead, path: str, images: DataConfig, *, cache: Path, progress: Progress | None = None
) -> SourceTask:
    """At most `LIMIT` images of the source, evenly spread over its test part (validation, training part where it has none).

    Raises DataError for images that cannot be read or whose classes the head does not know, ConfigError for those of
    another kind than the network takes.
    """
    source = open_source(path)
    check_kind(source, net.input)
    _check_classes(path, source.classes or (), own.classes)
    split = next(name for name in ("test", "val", "train") if len(source.splits.get(name, ())))
    rows = np.asarray(source.splits[split], np.int64)
    fewer = replace(source, splits={"train": np.sort(rows[evenly(len(rows), LIMIT)])})
    data = prepare(fewer, size=net.input.size, fit=images.fit, cache=cache, progress=progress)
    places = np.array([own.classes.index(name) for name in data.classes], np.int64)
    task = Task(SOURCE, data.store, places[data.labels], own.classes, data.splits["train"])
    return SourceTask(task, own.head, _asked(net, task, own.head), split)


def _check_classes(path: str, found: Sequence[str], known: Sequence[str]) -> None:
    strange = [name for name in found if name not in known]
    if strange:
        raise DataError(
            f"--source {path} has classes that the network's own head does not answer: {some(strange)}; it answers "
            f"{some(known, 12)}. Name the folders like these, or leave out --source"
        )


def check_known(path: str | None, own: OwnHead | str) -> None:
    """Raise ConfigError when images of the source are named, but there is no head to ask."""
    if path is not None and isinstance(own, str):
        raise ConfigError(
            f"--source {path}: what is kept of the source cannot be measured, as {own}. Use the embedded network or a "
            "model that headstart saved, or leave out --source"
        )
