"""How much a way to pretrain shows: renderings of images, and passes of the network that these take."""

from __future__ import annotations

from headstart.stage import Solve, Stage
from headstart.studies.pretrain_method import Method
from headstart.terms.bootstrap import PAIR


def renderings_of(stage: Stage | Solve) -> int | None:
    """Pictures that are drawn of an image in an epoch: its views, of which turns, patches and tiles count each."""
    return sum(pieces for pieces, _ in _shapes(stage).values()) if isinstance(stage, Stage) else None


def passes_of(method: Method, stage: Stage | Solve) -> float | None:
    """View passes per image and epoch: passes of one image of the network's own size, smaller ones by their area, those of a
    slow copy of the network included. Small views (`local=`) pass once."""
    if not isinstance(stage, Stage):
        return None
    about, config = method.learns
    whole: float = getattr(config, "passes", about.passes)
    small = {name: one for name, one in _shapes(stage).items() if name not in PAIR and name != "main"}
    return whole + sum(pieces * share for pieces, share in small.values())


def _shapes(stage: Stage) -> dict[str, tuple[int, float]]:
    """Of every view: how many pictures it makes of an image, and what share of its area each has."""
    sample = stage.data.store.array.shape[1:]
    found = {}
    for name, view in stage.views.items():
        pieces, *rest = view.shape(sample)
        share = rest[-1] * rest[-2] / (sample[0] * sample[1]) if len(rest) == 3 else 1.0
        found[name] = (pieces, share)
    return found
