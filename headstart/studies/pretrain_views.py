"""What a way to pretrain shows of an image, told and drawn before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.catalog.pipelines import views_for
from headstart.catalog.settings import names_of
from headstart.data.arrays import VectorSamples
from headstart.data.decode import UnreadableError
from headstart.data.pipelines import describe, parse_pipeline, shown
from headstart.data.pool_sources import open_pool
from headstart.data.views import standard_view
from headstart.errors import ConfigError, DataError
from headstart.strategies.pretrain import PRETRAIN
from headstart.strategies.pretrain.greedy import settings_of
from headstart.studies.backbone import SMALL_IMAGES, typical_side

SMALL, LARGE = 32, 224
"""Sides in pixels of the networks that are trained where none is named: for images up to 40 px, and for larger ones."""
_IMAGES, _DRAWS, _MOST = 6, 7, 3
"""Images that are drawn, renderings of each, and how many views may differ from each other."""
_SEEN = 96
"""Side in pixels that images are enlarged to about, by whole numbers, where they are smaller: to be looked at."""


@dataclass(frozen=True)
class Shown:
    """Views of a method, or of a text, for images of `size` pixels: the last stands for all further ones too.

    text  all of them, as --views takes them
    """

    size: int
    views: tuple[str, ...]

    @property
    def text(self) -> str:
        return " | ".join(self.views)


def views_shown(name_or_text: str, size: int) -> Shown:
    """What a method shows by itself, or what a pipeline's name or text stands for. Raises ConfigError for bad text."""
    texts = views_for(name_or_text, size, _MOST) if name_or_text not in PRETRAIN else _own(name_or_text, size)
    while len(texts) > 1 and texts[-1] == texts[-2]:
        texts = texts[:-1]
    return Shown(size, tuple(describe(parse_pipeline(text)) for text in texts))


def _own(method: str, size: int) -> tuple[str, ...]:
    """Of a method: its setting `pipeline`; of those that have none, what supervised training shows."""
    settings = names_of(settings_of(PRETRAIN[method])())
    inner = settings.get("objective")
    if method == "greedy" and inner in PRETRAIN:
        return _own(inner, size)
    if "pipeline" not in settings:
        return (describe(standard_view(size, mirror=bool(settings.get("mirror", True)))),)
    return views_for(str(settings["pipeline"]), size, _MOST)


def size_for(data: str) -> int:
    """Side in pixels that images are shown at where no network is named. Raises InputError for what cannot be read."""
    return SMALL if typical_side(open_pool(data)) <= SMALL_IMAGES else LARGE


def draw(found: Shown, data: str, out: Path, seed: int = 0) -> None:
    """A picture of some of the images, a row each: as they are, then renderings; one such block for every view.

    Raises InputError where they cannot be read, ConfigError where `out` cannot be written.
    """
    images = _some(data, found.size)
    blocks = [shown(parse_pipeline(text), images, seed=seed + place, draws=_DRAWS) for place, text in enumerate(found.views)]
    times = max(1, _SEEN // found.size)
    try:
        Image.fromarray(_below(blocks).repeat(times, 0).repeat(times, 1)).save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out {out} cannot be written ({error}); name a file such as views.png") from error


def _some(data: str, size: int) -> torch.Tensor:
    """`[N, size, size, 3]` uint8: some of the images, evenly spread."""
    source = open_pool(data)
    if isinstance(source.samples, VectorSamples):
        raise DataError(f"{data} holds vectors, of which there is nothing to see")
    found = []
    for place in np.unique(np.linspace(0, len(source) - 1, _IMAGES).round().astype(int)):
        try:
            found.append(source.samples.read(int(place), size, "squash")[0].pixels)
        except UnreadableError:
            continue
    if not found:
        raise DataError(f"{data}: none of {_IMAGES} images could be read; `headstart inspect` names them")
    return torch.from_numpy(np.stack(found))


def _below(blocks: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One below the other, with a white gap."""
    width = max(block.shape[1] for block in blocks)
    gap = np.full((8, width, 3), 255, np.uint8)
    rows = [part for block in blocks for part in (gap, block)]
    return np.concatenate(rows[1:])
