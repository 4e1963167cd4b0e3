"""What greedy pretraining keeps: renderings drawn once, as what the frozen blocks make of them, and the room for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from headstart.catalog.greedy import GreedyConfig
from headstart.data.views import View
from headstart.errors import ConfigError
from headstart.nets.cost import activation_bytes
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import weighted_blocks

_HEADERS = 4096
"""Bytes of a file besides the numbers in it, and then some."""


@dataclass(frozen=True)
class Kept:
    """What is kept between blocks.

    renderings  of every image and view that changes images, drawn once; None: new ones in every epoch
    cached      whether outputs of frozen blocks are kept
    bytes       these take at most
    text        what is said about it; `kind` of event in the log
    """

    renderings: int | None
    cached: bool
    bytes: int
    text: str
    kind: Literal["note", "warning"] = "note"

    def views(self, views: Mapping[str, View]) -> dict[str, View]:
        """The same views, in so many renderings."""
        if self.renderings is None:
            return dict(views)
        return {name: fixed(view, self.renderings) for name, view in views.items()}


def fixed(view: View, renderings: int) -> View:
    """The view in so many renderings that come again; 0: its images plain, though cut into the same pieces."""
    return replace(view, draws=renderings) if renderings else replace(view, ops=(), draws=1)


def ends(net: Net) -> list[str | None]:
    """For every block with weights the one right below it; None for the first of all."""
    names = net.block_names
    places = [names.index(name) for name in weighted_blocks(net)]
    return [names[place - 1] if place else None for place in places]


def room_for(net: Net, stage: Stage, cfg: GreedyConfig) -> Kept:
    """What can be kept of the views of `stage`, the first one, for all blocks of `net`.

    As many renderings as asked for, or as have room. Raises ConfigError where not even one has.
    """
    if not any(term.reads or term.heads for term in stage.terms.values()):
        text = f"{stage.name} shows the blocks something else at every step: the frozen ones run anew each time"
        return Kept(None, False, 0, text)
    if cfg.renderings < 0:
        return Kept(None, False, 0, "views are drawn anew in every epoch: the frozen blocks run anew each time")
    # More than there are epochs would never be seen.
    most, limit = min(cfg.renderings, cfg.school.epochs), round(cfg.room * 1e9)
    asked = _bytes(net, stage, most)
    if asked <= limit:
        return Kept(most, True, asked, _said(stage, most, asked))
    for count in range(most - 1, 0, -1):
        if (taken := _bytes(net, stage, count)) <= limit:
            text = f"renderings={most} would take {asked / 1e9:.1f} GB of disk, and room={cfg.room:g} GB"
            return Kept(count, True, taken, f"{text}: {_said(stage, count, taken)}", "warning")
    raise ConfigError(
        f"greedy cannot be done as asked: what frozen blocks put out for one rendering of {len(stage.data.store)} images "
        f"takes {_bytes(net, stage, min(1, cfg.renderings)) / 1e9:.1f} GB of disk, and room={cfg.room:g} GB. Give more "
        "room, or fewer images, or renderings=-1: then nothing is kept, and the frozen blocks run at every step"
    )


def _said(stage: Stage, renderings: int, taken: int) -> str:
    changing = sum(bool(view.ops) for view in stage.views.values())
    drawn = f"{renderings} renderings of every image" if renderings and changing else "every image as it is"
    views = f", in each of {changing} views" if renderings and changing > 1 else ""
    return f"{drawn}{views}, drawn once; what frozen blocks put out for them takes {taken / 1e9:.2f} GB of disk at most"


def _bytes(net: Net, stage: Stage, renderings: int) -> int:
    """Bytes on disk at most at any one time: while a view's are computed, those of the block below are there too."""
    store = stage.data.store
    levels: list[list[int]] = []
    for end in ends(net):
        sizes = []
        for view in stage.views.values():
            shape, draws = view.shape(store.array.shape[1:]), fixed(view, renderings).fixed_draws or 1
            one = 0 if end is None else shape[0] * activation_bytes(net, end, shape)
            sizes.append(draws * len(store) * one + _HEADERS)
        levels.append(sizes)
    return max((sum(new[: v + 1]) + sum(old[v:]) for old, new in pairwise(levels) for v in range(len(new))), default=0)
