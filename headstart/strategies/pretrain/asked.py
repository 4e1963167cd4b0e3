"""What methods with a made-up question check before they start, and where their patches lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from headstart.catalog.pretext import SMALLEST_PATCH, JigsawConfig, RelativePositionConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.pipelines import views_of
from headstart.data.task import Task
from headstart.data.views import Pieces, View
from headstart.engine.evaluate import looking
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.terms.patches import Grid


class _Config(Protocol):
    @property
    def school(self) -> Schooling: ...

    @property
    def pipeline(self) -> str: ...

    def faults(self) -> list[str]: ...


def checked(name: str, cfg: _Config, net: Net, data: Task, *, square: bool = False) -> None:
    """Raise ConfigError naming everything that keeps method `name` from being done as asked.

    square  whether it needs square images
    """
    faults = cfg.faults()
    if net.input.kind != "image" or not data.store.is_image:
        faults.append("it asks about images, and these are vectors")
    elif square and data.store.array.shape[1] != data.store.array.shape[2]:
        height, width = data.store.array.shape[1:3]
        faults.append(f"images of {height} x {width} px: a turn would be told by the shape; crop them to squares")
    if len(data) < 2:
        faults.append(f"{len(data)} images are too few; give two at least, and thousands to learn something")
    problems(ConfigError, f"{name} cannot be done as asked:", faults)


def one_view(cfg: _Config, net: Net, pieces: Pieces) -> dict[str, View]:
    """The view `main`, by the settings' pipeline, which shows these pieces of every image."""
    return {"main": replace(views_of(cfg.pipeline, net.input.size, 1)[0], pieces=pieces)}


def grid_of(cfg: RelativePositionConfig | JigsawConfig, net: Net, data: Task) -> Grid:
    """Where patches lie on these images. Raises ConfigError where they are too small, for themselves or for the network."""
    side = min(data.store.array.shape[1:3])
    if isinstance(cfg, JigsawConfig):
        grid, name = _cells(side, cfg.tile), "tile"
    else:
        grid, name = _with_gaps(side, cfg), "patch"
    words = {4: "four", 9: "nine"}[grid.count]
    if grid.side < SMALLEST_PATCH or grid.span > side:
        several = {"patch": "patches", "tile": "tiles"}[name]
        need = f"{several} of {grid.side} px ({SMALLEST_PATCH} at least) on {grid.span} px with what lies between"
        raise ConfigError(
            f"images of {side} px are too small for {words} {several}: {need}; give a larger --size, or another {name}="
        )
    _check_size(net, grid.side, name)
    return grid


def _with_gaps(side: int, cfg: RelativePositionConfig) -> Grid:
    """Lengths in whole pixels, none of them more than asked for but a move of one pixel."""
    patch, reach = int(cfg.patch * side + 1e-6), max(int(cfg.jitter * side + 1e-6), int(cfg.jitter > 0))
    return Grid(patch, patch + int(cfg.gap * side + 1e-6), reach, cfg.across)


def _cells(side: int, tile: float) -> Grid:
    """A tile in each of nine cells, at any place in it."""
    cell, patch = side // 3, int(tile * side + 1e-6)
    return Grid(patch, cell, max(cell - patch, 0) // 2)


def _check_size(net: Net, size: int, name: str) -> None:
    """Try it, because networks do not say."""
    channels = len(net.input.mean)
    try:
        with looking(net):
            net.run(torch.zeros(2, channels, size, size, device=net.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        said = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"this network does not take images of {size} px, the size of a {name} ({said}); "
            f"give larger images, a larger {name}=, or a network that takes any size (headstart:resnet20)"
        ) from error
