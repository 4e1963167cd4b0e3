"""Views from text and back, and pictures of what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.catalog.pipelines import STEPS, Step, parse_steps, text_of, views_for
from headstart.data.colour_views import Blur, ColourJitter, Grey, Solarise
from headstart.data.crops import CropTo
from headstart.data.views import Erase, Flip, Op, ResizedCrop, Shift, View
from headstart.errors import ConfigError

_BORDER = 2
"""White pixels between pictures."""


def parse_pipeline(text: str) -> View:
    """The view that a text as in `catalog.pipelines` describes. Raises ConfigError with all that is wrong with it."""
    steps = parse_steps(text)
    draws = [step.values["count"] for step in steps if step.name == "draws"]
    ops = tuple(_op(step) for step in steps if step.name != "draws")
    return View(ops, int(draws[0]) if draws and draws[0] is not None else None)


def describe(view: View) -> str:
    """The view as text that `parse_pipeline` makes an equal view of. Raises ConfigError for ops that have no text."""
    steps = [_step(op) for op in view.ops]
    return text_of(steps if view.draws is None else [*steps, Step("draws", {"count": view.draws})])


def views_of(name_or_text: str, size: int, count: int = 2) -> list[View]:
    """`count` views by a pipeline's name or text, for images of `size` pixels; see `catalog.pipelines.views_for`."""
    return [parse_pipeline(text) for text in views_for(name_or_text, size, count)]


def _op(step: Step) -> Op:
    v = {name: value for name, value in step.values.items() if value is not None}
    if step.name == "crop":
        scale, ratio = (v["low"], v["high"]), (v["narrow"], v["wide"])
        return CropTo(int(v["size"]), scale, ratio) if "size" in v else ResizedCrop(scale, ratio)
    makers: Mapping[str, Callable[[], Op]] = {
        "shift": lambda: Shift(v["fraction"]),
        "flip": lambda: Flip(v["p"]),
        "jitter": lambda: ColourJitter(v["brightness"], v["contrast"], v["saturation"], v["hue"], v["p"]),
        "grey": lambda: Grey(v["p"]),
        "blur": lambda: Blur(v["p"], (v["low"], v["high"]), v["share"]),
        "solarise": lambda: Solarise(v["p"], int(v["threshold"])),
        "erase": lambda: Erase(v["fraction"], v["p"]),
    }
    return makers[step.name]()


def _step(op: Op) -> Step:
    """An op's name and settings in the order of `STEPS`."""
    match op:
        case CropTo():
            return _named("crop", *op.scale, *op.ratio, op.size)
        case ResizedCrop():
            return _named("crop", *op.scale, *op.ratio, None)
        case Shift():
            return _named("shift", op.fraction)
        case Flip():
            return _named("flip", op.p)
        case ColourJitter():
            return _named("jitter", op.brightness, op.contrast, op.saturation, op.hue, op.p)
        case Grey():
            return _named("grey", op.p)
        case Blur():
            return _named("blur", op.p, *op.sigma, op.share)
        case Solarise():
            return _named("solarise", op.p, op.threshold)
        case Erase():
            return _named("erase", op.fraction, op.p)
    raise ConfigError(f"{type(op).__name__} has no text; views in text are made of {', '.join(STEPS)}")


def _named(name: str, *values: float | None) -> Step:
    return Step(name, dict(zip((setting.name for setting in STEPS[name].settings), values, strict=True)))


def shown(view: View, images: Tensor, *, seed: int = 0, draws: int = 8) -> NDArray[np.uint8]:
    """One picture `[rows, columns, 3]` uint8: a row per image of `[N, H, W, C]` uint8, which stands first, then renderings.

    Smaller renderings (crops to another size) stand in the upper left corner of their place.
    """
    ids = torch.arange(len(images))
    columns = [images, *(view.render(images, ids, seed=seed, draw=draw) for draw in range(draws))]
    height, width = (max(one.shape[dim] for one in columns) for dim in (1, 2))
    page = np.full(
        (len(images) * (height + _BORDER) - _BORDER, len(columns) * (width + _BORDER) - _BORDER, 3), 255, np.uint8
    )
    for place, column in enumerate(columns):
        left = place * (width + _BORDER)
        for row, picture in enumerate(column.cpu().numpy()):
            top = row * (height + _BORDER)
            page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return page
