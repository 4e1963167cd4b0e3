"""JPEG files that cost what photographs cost: 500 x 375 pixels, with edges, gradients and grain, in folders by class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from headstart.seeding import generator

WIDTH, HEIGHT = 500, 375


def write(folder: Path, count: int, classes: int, *, quality: int = 88) -> None:
    """`count` files `CLASS/NUMBER.jpg`, evenly spread over `classes` classes; all different, the same every time."""
    for number in range(classes):
        (folder / f"class_{number}").mkdir(parents=True)

    def one(number: int) -> None:
        kind = number % classes
        picture(number, kind, classes).save(folder / f"class_{kind}" / f"{number:05d}.jpg", quality=quality)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(count)))


def picture(number: int, kind: int, classes: int) -> Image.Image:
    """Blobs of light, a dozen ellipses with sharp edges, waves whose length tells the class, and grain."""
    draw = generator(0, "benchmark", "photograph", number)
    coarse = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    ground = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    pixels = 0.6 * ground + _waves(draw, x, y, kind, classes)
    for _ in range(12):
        pixels[_ellipse(draw, x, y)] = draw.uniform(0, 255, 3)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    grain = draw.normal(0, 5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(image, np.float32) + grain, 0, 255).astype(np.uint8))


def _waves(
    draw: np.random.Generator, x: NDArray[np.float32], y: NDArray[np.float32], kind: int, classes: int
) -> NDArray[np.float32]:
    """A grating of a class's own length, in a random direction, with random colour; `[H, W, 3]`."""
    turn, length = draw.uniform(0, np.pi), 6 * 1.35 ** (kind + draw.uniform(-0.4, 0.4)) * 10 / max(classes, 10)
    wave = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / length, dtype=np.float32)
    colour = draw.uniform(10, 60, 3).astype(np.float32)
    return wave[..., None] * colour + np.float32(50)


def _ellipse(draw: np.random.Generator, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
    """A mask `[H, W]`."""
    centre, half = draw.uniform(0, (WIDTH, HEIGHT)), draw.uniform(5, 70, 2)
    inside: NDArray[np.bool_] = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 < 1
    return inside
