"""Small picture folders to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, width: int = 24, height: int = 16) -> Image.Image:
    """A smooth random pattern, different for every number, that JPEG keeps well."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def fill(folder: Path, numbers: range, suffix: str = ".png") -> list[Path]:
    """Write one picture per number into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n}{suffix}" for n in numbers]
    for n, path in zip(numbers, paths, strict=True):
        picture(n).save(path)
    return paths


def animals(root: Path, suffix: str = ".png") -> Path:
    """Two classes of four pictures each, no splits."""
    fill(root / "cats", range(4), suffix)
    fill(root / "dogs", range(10, 14), suffix)
    return root
