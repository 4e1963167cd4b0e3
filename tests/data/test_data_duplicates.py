"""Copies are found, look-alikes are not, and it scales."""

from __future__ import annotations

import io
import itertools
import time

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import render
from headstart.data.duplicates import (
    RADIUS,
    candidate_pairs,
    clusters_of,
    coarse,
    exact_clusters,
    merge_groups,
    near_clusters,
    perceptual_hashes,
    union,
)


def scene(number: int) -> Image.Image:
    """A picture with coarse and fine structure."""
    rng = np.random.default_rng(number)
    layers = [Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize((160, 160), 3) for n in (4, 9, 20)]
    return Image.blend(Image.blend(layers[0], layers[1], 0.4), layers[2], 0.25)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def near(images: list[Image.Image], size: int = 64) -> list[tuple[int, ...]]:
    pictures = [render(i, size) for i in images]
    thumbs, pixels = np.stack([p.thumb for p in pictures]), np.stack([p.pixels for p in pictures])
    exact = exact_clusters(np.stack([np.frombuffer(p.digest, np.uint8) for p in pictures]))
    return near_clusters(perceptual_hashes(thumbs), coarse(thumbs), exact, lambda rows: pixels[rows])


def test_hash_is_the_sign_pattern_of_low_cosine_frequencies() -> None:
    """Against the defining double sum, and 32 of 64 bits set."""
    thumb = np.asarray(scene(0).convert("L").resize((32, 32)), np.float64)
    x = np.arange(32) + 0.5
    wave = [np.cos(np.pi * x * u / 32) for u in range(12)]
    order = sorted(itertools.product(range(12), repeat=2), key=lambda p: (p[0] + p[1], p[0]))[1:65]
    values = np.array([sum(thumb[i, j] * wave[u][i] * wave[v][j] for i in range(32) for j in range(32)) for u, v in order])
    bits = "".join("1" if v > np.median(values) else "0" for v in values)
    found = int(perceptual_hashes(thumb[None].astype(np.uint8))[0])
    assert found == int(bits, 2)
    assert found.bit_count() == 32


def test_flat_pictures_have_no_hash() -> None:
    flat = np.full((2, 32, 32), 77, np.uint8)
    flat[1, 0, 0] = 90
    assert perceptual_hashes(flat).tolist() == [0, 0]
    assert near([Image.new("RGB", (40, 40), (i, i, i)) for i in (100, 101, 102)]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda i: recompressed(i, 40),
        lambda i: i.resize((90, 90), Image.Resampling.LANCZOS),
        lambda i: i.point(lambda v: min(255, int(v * 1.05 + 4))),
        lambda i: Image.fromarray(np.asarray(i) ^ np.uint8(1)),
    ],
)
def test_changed_copies_are_found_and_others_are_not(change: object) -> None:
    images = [scene(n) for n in range(30)] + [change(scene(n)) for n in range(12)]  # type: ignore[operator]
    assert near(images) == [(n, n + 30) for n in range(12)]


def test_identical_pictures_are_no_near_ones_but_join_them() -> None:
    same, other = scene(1), scene(2)
    assert near([same, same.copy(), other]) == []
    assert near([same, same.copy(), other, recompressed(same, 50)]) == [(0, 1, 3)]


def test_strokes_that_only_look_alike_are_not_called_copies() -> None:
    """Bright bars on black at 28 px, leaning and shifted by little: their hashes collide, their pixels do not agree."""
    bars = []
    for lean, shift in itertools.product(np.linspace(-0.3, 0.3, 7), (-2, 0, 2)):
        y, x = np.mgrid[:28, :28]
        bars.append(Image.fromarray((255 * (np.abs(x - 14 - shift - lean * (y - 14)) < 2)).astype(np.uint8)))
    hashes = perceptual_hashes(np.stack([render(b, 28).thumb for b in bars]))
    assert len(candidate_pairs(hashes)) > 0
    assert near(bars, 28) == []


def test_candidate_pairs_equal_brute_force_up_to_five_bits() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 40, np.uint64)
    flips = [sum(1 << int(b) for b in rng.choice(64, d, replace=False)) for d in (0, 1, 3, 5, 6, 7, 12)]
    hashes = np.concatenate([base ^ np.uint64(f) for f in flips])
    found = {tuple(p) for p in candidate_pairs(hashes).tolist()}
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    within = {(i, j) for i, j in zip(*np.nonzero(apart <= 5), strict=True) if i < j}
    assert within <= found
    assert all(apart[i, j] <= RADIUS for i, j in found)
    assert len(candidate_pairs(hashes[:0])) == 0


def test_fifty_thousand_hashes_take_seconds() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, 50_000, np.uint64)
    hashes[25_000:25_050] = hashes[:50] ^ np.uint64(0b101)
    start = time.perf_counter()
    found = candidate_pairs(hashes)
    assert time.perf_counter() - start < 10
    assert {(i, i + 25_000) for i in range(50)} <= {tuple(p) for p in found.tolist()}


def test_a_crowd_of_equal_hashes_does_not_explode() -> None:
    start = time.perf_counter()
    candidate_pairs(np.full(3000, 12345, np.uint64))
    assert time.perf_counter() - start < 10


def test_exact_clusters_and_union() -> None:
    digests = np.zeros((6, 16), np.uint8)
    digests[:, 0] = [5, 1, 5, 2, 1, 5]
    assert exact_clusters(digests) == [(0, 2, 5), (1, 4)]
    assert exact_clusters(digests[:0]) == []
    assert union(6, [(1, 2), (4, 5), (2, 4)]).tolist() == [0, 1, 1, 3, 1, 1]
    assert clusters_of(np.array([3, 1, 3, 2])) == [(0, 2)]


def test_groups_and_copies_are_merged_over_chains() -> None:
    groups = np.array([7, 7, 8, 9, 9, 4])
    assert merge_groups(groups, 6, [(1, 2)]).tolist() == [0, 0, 0, 1, 1, 2]
    assert merge_groups(None, 4, [(0, 3)]).tolist() == [0, 1, 2, 0]


def test_mnist_like_numbers(shared: object) -> None:
    """Of 6 000 real digits none is called a copy of another."""
    with np.load(f"{shared}/data/mnist.npz") as file:
        digits = file["images_train"][:6000]
    assert near([Image.fromarray(d) for d in digits], 28) == []
