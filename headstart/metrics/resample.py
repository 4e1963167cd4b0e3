"""Resampling means over images, and over seeds and images, without ever holding draws x images numbers.

Images that behaved alike under every seed are exchangeable, so a draw needs only how often each *pattern* was picked.
Right-or-wrong data has few patterns: ten thousand draws of ten thousand images cost milliseconds, and are distributed
exactly as drawing the images one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.seeding import generator

Floats = NDArray[np.float64]

_CHUNK = 1 << 22
"""numbers held at a time: 32 MB"""
_CACHED = 1 << 17
"""numbers gone over several times: 1 MB"""


def chunks(draws: int, width: int) -> Iterator[int]:
    """Sizes that add up to `draws`, each times `width` small enough to hold."""
    size = max(1, _CHUNK // max(width, 1))
    while draws > 0:
        yield min(size, draws)
        draws -= size


def resampled_means(values: Floats, seed: int, draws: int) -> Floats:
    """Means `[draws]` of `values` `[S, N]` with images, and when S > 1 seeds too, drawn anew with replacement.

    Images are crossed with seeds (every seed answered the same images), so rows and columns are drawn independently:
    Owen 2007, "The pigeonhole bootstrap". It errs on the wide side where single answers are noisy.
    """
    rng = generator(seed, "bootstrap", values.shape[0], values.shape[1])
    seeds, images = values.shape
    patterns, which, counts = np.unique(values, axis=1, return_inverse=True, return_counts=True)
    means = []
    for size in chunks(draws, images if 4 * len(counts) >= images else len(counts)):
        picked = _times_picked(rng, which.ravel(), counts, size) / images
        per_seed = picked @ patterns.T
        if seeds > 1:
            per_seed = per_seed * rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
            means.append(per_seed.sum(1))
        else:
            means.append(per_seed[:, 0])
    return np.concatenate(means)


def resampled_rows(values: Floats, seed: int, draws: int, *purpose: str | int) -> NDArray[np.float32]:
    """Means `[draws, R]` of every row of `values` `[R, N]`, each draw the same images for all rows; to seven figures.

    `purpose` names the stream: sets of images that are drawn independently of each other need different ones.
    """
    rng, images = generator(seed, "bootstrap", *purpose), values.shape[1]
    patterns, which, counts = np.unique(values, axis=1, return_inverse=True, return_counts=True)
    turned = np.ascontiguousarray(patterns.T, np.float32)
    sizes = chunks(draws, images if 4 * len(counts) >= images else len(counts))
    drawn = [_times_picked(rng, which.ravel(), counts, size).astype(np.float32) @ turned for size in sizes]
    means: NDArray[np.float32] = (np.concatenate(drawn) / np.float32(images)).astype(np.float32)
    return means


def image_counts(images: int, seed: int, draws: int, *purpose: str | int) -> Iterator[Floats]:
    """How often `[B, images]` each image is picked when all are drawn anew, in parts of B that add up to `draws`.

    For statistics that are no mean: they are computed with images counting as often as they were picked. Parts are small,
    because such statistics go over them several times, and fast while they stay in the processor's cache.
    """
    rng = generator(seed, "bootstrap", *purpose)
    size = max(1, _CACHED // max(images, 1))
    for low in range(0, draws, size):
        picked = np.empty((min(size, draws - low), images))
        for row in picked:
            row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
        yield picked


def _times_picked(
    rng: np.random.Generator, which: NDArray[np.integer], counts: NDArray[np.integer], size: int
) -> NDArray[np.integer]:
    """How often `[size, U]` each of U patterns comes up when all images (image i has pattern `which[i]`) are drawn anew."""
    images, patterns = len(which), len(counts)
    if 4 * patterns < images:  # a multinomial costs per pattern; drawing one by one costs per image, but a tenth of it
        return rng.multinomial(images, counts / images, size=size)
    flat = which[rng.integers(0, images, (size, images))] + patterns * np.arange(size)[:, None]
    return np.bincount(flat.ravel(), minlength=size * patterns).reshape(size, patterns)


def spread_seeds(values: Floats) -> Floats:
    """`values` `[S, N]` with the seeds' means moved apart by sqrt(S / (S - 1)).

    Drawing S seeds with replacement from S understates their variance by (S - 1) / S; with three seeds that is a third.
    """
    seeds = len(values)
    if seeds < 2:
        return values
    means = values.mean(1, keepdims=True)
    moved: Floats = values + (np.sqrt(seeds / (seeds - 1)) - 1) * (means - means.mean())
    return moved


def degrees_of_freedom(values: Floats) -> float:
    """Satterthwaite's degrees of freedom of the mean of `values` `[S, N]` over seeds and images; infinite if constant.

    Three seeds that disagree carry the certainty of two degrees of freedom, however many images they answered.
    """
    return degrees_of_freedom_of_sum([values])


def degrees_of_freedom_of_sum(parts: Sequence[Floats]) -> float:
    """The same for the sum over `parts` of the means of each, `[S, N_p]`, answered by the same S networks."""
    seeds, found = len(parts[0]), []
    if seeds > 1:
        found.append((sum(part.mean(1) for part in parts).var(ddof=1) / seeds, seeds - 1))
    for images, part in ((part.shape[1], part) for part in parts):
        if images > 1:
            found.append((part.mean(0).var(ddof=1) / images, images - 1))
    total = sum(variance for variance, _ in found)
    below = sum(variance**2 / dof for variance, dof in found)
    return float(total**2 / below) if below > 0 else float("inf")
