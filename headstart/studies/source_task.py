"""The task a network comes from, asked again: how much of it is kept when the network is adapted to another."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from headstart.nets.build import build, parse_args
from headstart.nets.heads import LinearHead
from headstart.nets.net import Net
from headstart.nets.saved import EMBEDDED, load_embedded, load_net
from headstart.nets.sources import SOURCE
from headstart.studies.checks import check_kind

LIMIT = 1_000
"""Images of the source that are looked at, at most: after every trial, once more."""


NOT_ASKED = "no images of the source were given (--source)"
"""Why nothing is known of the source where nobody asked."""


@dataclass(frozen=True)
class OwnHead:
    """The head that a network came with, and what its answers are called.

    also  further names of answers, in lower case with underscores: place in `classes`
    """

    head: LinearHead
    classes: tuple[str, ...]
    also: Mapping[str, int] = field(default_factory=dict)

    def place(self, name: str) -> int | None:
        """Which answer a class is; a WordNet id may be followed by anything (`n01440764_tench`)."""
        if name in self.classes:
            return self.classes.index(name)
        plain = name.strip().lower().replace(" ", "_")
        synset = re.match(r"n\d{8}(?!\d)", plain)
        return self.also.get(synset[0] if synset else plain)


def own_head(net: Net, network: BackboneConfig, given: Any = None, *, seed: int = 0) -> OwnHead | str:
    """The head of the source task that belongs to `net`, or why there is none that could be asked.

    net      as it was chosen, without heads
    network  its name; `given` the module or Net it was made from, where it came from Python

    Networks of timm and torchvision are made once more, with their head.
    """
    card = saved_card(network.backbone) if given is None else None
    if card is not None:
        if not card.head:
            return "the network is a pretrained backbone that has learned no task yet"
        place = model_folder(str(network.backbone))
        assert place is not None  # it has the card
        return OwnHead(load_net(place).head(card.head), card.classes)
    source = net.source or {}
    library = given is None and source.get("builder") in ("timm", "torchvision")
    origin = given if isinstance(given, Net) else None
    if given is None and source.get("name") == EMBEDDED:
        origin = load_embedded()
    elif library:
        origin = _made_again(f"{source['builder']}:{source['name']}", network, seed)
    if origin is None or SOURCE not in origin.heads:
        return "the network brings no head of its source task whose classes have names"
    head = copy.deepcopy(origin.head(SOURCE))
    if library and head.num_classes == _IMAGENET:
        return _of_imagenet(head)
    classes = ((origin.source or {}).get("card") or {}).get("classes") or ()
    if len(classes) != head.num_classes:
        return "the classes that the network's own head answers have no names"
    return OwnHead(head, tuple(map(str, classes)))


_IMAGENET = 1000
"""Classes of ImageNet's challenge, which the heads of both libraries answer in the order of their WordNet ids."""


def _made_again(name: str, network: BackboneConfig, seed: int) -> Net:
    return build(
        name,
        weights=network.weights,
        args=parse_args(network.backbone_args),
        size=network.size,
        mean=network.mean,
        std=network.std,
        seed=seed,
    )


def _of_imagenet(head: LinearHead) -> OwnHead:
    """Its answers by WordNet id, and by every word that means one of them alone."""
    from timm.data import imagenet_info  # timm keeps the list; nothing else here needs it

    kept: Any = imagenet_info.ImageNetInfo
    about = kept("imagenet1k")
    ids = tuple(str(name) for name in about.label_names())
    words = [
        (word.strip().lower().replace(" ", "_"), place)
        for place, text in enumerate(about.label_descriptions())
        for word in str(text).split(",")
    ]
    often = Counter(word for word, _ in set(words))
    also = {word: place for word, place in words if often[word] == 1}
    return OwnHead(head, ids, {**also, **{name: place for place, name in enumerate(ids)}})


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
    _check_classes(path, source.classes or (), own)
    split = next(name for name in ("test", "val", "train") if len(source.splits.get(name, ())))
    rows = np.asarray(source.splits[split], np.int64)
    fewer = replace(source, splits={"train": np.sort(rows[evenly(len(rows), LIMIT)])})
    data = prepare(fewer, size=net.input.size, fit=images.fit, cache=cache, progress=progress)
    places = np.array([own.place(name) for name in data.classes], np.int64)
    task = Task(SOURCE, data.store, places[data.labels], own.classes, data.splits["train"])
    return SourceTask(task, own.head, _asked(net, task, own.head), split)


def _check_classes(path: str, found: Sequence[str], own: OwnHead) -> None:
    strange = [name for name in found if own.place(name) is None]
    if strange:
        raise DataError(
            f"--source {path} has classes that the network's own head does not answer: {some(strange)}; it answers "
            f"{some(own.classes, 12)}. Name the folders like these, or leave out --source"
        )


def check_known(path: str | None, own: OwnHead | str) -> None:
    """Raise ConfigError when images of the source are named, but there is no head to ask."""
    if path is not None and isinstance(own, str):
        raise ConfigError(
            f"--source {path}: what is kept of the source cannot be measured, as {own}. Use the embedded network, a "
            "model that headstart saved or one trained on ImageNet, or leave out --source"
        )
