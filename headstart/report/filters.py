"""The first layer's filters as pictures, beside those of a network that has learned nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.report import words

LARGEST = 64
"""Most filters shown."""

ACROSS = 8
"""Filters in a row."""

SIDE = 40
"""Pixels across a filter in the picture, about: filters are enlarged by a whole number."""

KINDS = {"base": "Learned (base)", "random": "At random, before any training"}


@dataclass(frozen=True)
class Filters:
    """Pictures of filters.

    lead      how many there are and how large
    pictures  heading and data URI of each kind
    gap       a sentence when there is nothing to show, else empty
    """

    lead: str
    pictures: Sequence[tuple[str, str]]
    caption: str
    gap: str = ""


def filters(folder: Path, name: str = "report_data/filters.npz") -> Filters:
    """Read the arrays `base` and `random`, `[K, C, h, w]` each, from the file `name` of a run folder."""
    try:
        with np.load(folder / name, allow_pickle=False) as arrays:
            found = {kind: arrays[kind].astype(np.float32) for kind in KINDS if kind in arrays}
    except FileNotFoundError:
        return Filters("", (), "", f"{name} is missing (the first layer's filters).")
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        return Filters("", (), "", f"{name} cannot be read (the first layer's filters): {error}.")
    bad = [kind for kind, one in found.items() if one.ndim != 4 or 0 in one.shape or not np.isfinite(one).all()]
    if bad or not found:
        what = f"{' and '.join(bad)} must be finite numbers [K, C, h, w]" if bad else f"it holds none of {', '.join(KINDS)}"
        return Filters("", (), "", f"{name} cannot be shown (the first layer's filters): {what}.")
    return Filters(_lead(next(iter(found.values()))), [(KINDS[k], picture(mosaic(one))) for k, one in found.items()],
                   _caption(found))  # fmt: skip


def _lead(one: NDArray[np.float32]) -> str:
    count, channels, high, wide = one.shape
    shown = f"; the first {LARGEST} are shown" if count > LARGEST else ""
    over = words.plural(channels, "channel")
    return f"The first layer has {words.plural(count, 'filter')} of {high} x {wide} weights over {over}{shown}."


def _caption(found: dict[str, NDArray[np.float32]]) -> str:
    channels = next(iter(found.values())).shape[1]
    text = "Middle grey is zero; each filter is stretched to its own largest weight."
    if channels == 3:
        text += " The three channels are shown as red, green and blue."
    elif channels > 1:
        text += f" Shown is the mean over the {channels} channels."
    return text


def mosaic(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`[K, C, h, w]` as a picture `[H, W, 4]`, `ACROSS` filters in a row and clear gaps between them."""
    shown = weights[:LARGEST] if weights.shape[1] == 3 else weights[:LARGEST].mean(axis=1, keepdims=True)
    most = np.abs(shown).max(axis=(1, 2, 3), keepdims=True)
    level = 0.5 + 0.5 * shown / np.where(most > 0, most, 1)
    tiles = np.rint(255 * level).astype(np.uint8).transpose(0, 2, 3, 1)
    tiles = np.broadcast_to(tiles, (*tiles.shape[:3], 3))
    times = max(1, SIDE // max(tiles.shape[1:3]))
    tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
    count, high, wide = tiles.shape[:3]
    gap, across = 4, min(ACROSS, count)
    rows = -(-count // across)
    sheet = np.zeros((rows * (high + gap) - gap, across * (wide + gap) - gap, 4), np.uint8)
    for place, tile in enumerate(tiles):
        y, x = (place // across) * (high + gap), (place % across) * (wide + gap)
        sheet[y : y + high, x : x + wide, :3] = tile
        sheet[y : y + high, x : x + wide, 3] = 255
    return sheet


def picture(sheet: NDArray[np.uint8]) -> str:
    """`[H, W, 4]` as a data URI, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
