"""Pictures that occur more than once: identical ones by hash, nearly identical ones by perceptual hash and a second look.

The perceptual hash is the sign pattern of low cosine frequencies (pHash; Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions"). Hashes of small or plain pictures collide - all handwritten ones look alike to it - so
a pair counts only when the stored pixels, averaged to at most 32 x 32, agree as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RADIUS = 6
"""Bits in which the hashes of a pair may differ."""

VERSION = 1
"""Raised whenever other pictures would be found."""

TOLERANCE = 0.12
"""Largest root-mean-square difference of a pair, as a share of the pictures' own contrast.

Measured: JPEG at quality 50, or half the size, gives 0.01 to 0.12 for photographs. Of all pairs among MNIST's 70 000 digits,
enlarged to 32 px, 3 are closer than this (56 closer than 0.15); the 3 pairs among CIFAR-10's 60 000 are all true copies.
"""

_SIDE = 32
_FLAT = 2.0  # grey levels of standard deviation below which a picture has no pattern to hash
_GLANCE = 0.20  # the same tolerance for the first, coarse look
_REACH = 2048  # pictures that share a band are compared with at most so many neighbours each
_BLOCK = 1024

Rows = tuple[int, ...]


def perceptual_hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """64-bit hashes `[N]` of grey thumbnails `[N, 32, 32]`; 0 for pictures too flat to hash (a hash has 32 ones)."""
    values = thumbs.astype(np.float32)
    spectrum = _COSINES @ values @ _COSINES.T
    chosen = spectrum[:, _LOW[0], _LOW[1]]
    bits = chosen > np.median(chosen, axis=1, keepdims=True)
    hashes = np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)
    hashes[values.std(axis=(1, 2)) < _FLAT] = 0
    return hashes


def _cosines(kept: int) -> NDArray[np.float32]:
    """The first rows of the 32-point DCT-II: `C[u, x] = cos(pi (x + 1/2) u / 32)`."""
    u, x = np.arange(kept)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * (x + 0.5) * u / _SIDE).astype(np.float32)


def _lowest(count: int, kept: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the `count` lowest frequencies without the mean, diagonal by diagonal."""
    u, v = np.divmod(np.arange(kept * kept), kept)
    order = np.lexsort((u, u + v))[1 : count + 1]
    return u[order], v[order]


_COSINES = _cosines(12)
_LOW = _lowest(64, 12)


def exact_clusters(digests: NDArray[np.uint8]) -> list[Rows]:
    """Sets of rows `[N, 16]` with equal digests, of two or more, in order of their first row."""
    keys = np.ascontiguousarray(digests).view("V16")[:, 0]
    _, labels = np.unique(keys, return_inverse=True)
    return clusters_of(labels)


def coarse(thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey thumbnails `[N, 32, 32]` averaged to `[N, 64]`, for a first look at many pairs."""
    means = thumbs.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    return np.asarray(np.rint(means), np.uint8).reshape(-1, 64)


def near_clusters(
    hashes: NDArray[np.uint64],
    glance: NDArray[np.uint8],
    exact: Sequence[Rows],
    fetch: Callable[[NDArray[np.int64]], NDArray[Any]],
) -> list[Rows]:
    """Sets of rows that show nearly the same picture without all being identical.

    hashes   `[N]` perceptual hashes
    glance   `[N, 64]` from `coarse`
    exact    what `exact_clusters` found: of identical pictures only the first is compared
    fetch    returns uint8 pixels `[B, H, W, C]` of rows
    """
    copies = {row for rows in exact for row in rows[1:]}
    rows = np.array([r for r in np.flatnonzero(hashes) if int(r) not in copies], np.int64)
    pairs = verified(rows[candidate_pairs(hashes[rows])], lambda at: glance[at], _GLANCE)
    pairs = verified(pairs, lambda at: _averaged(fetch(at)), TOLERANCE)
    merged = union(len(hashes), [*map(tuple, pairs.tolist()), *exact])
    known = set(exact)
    return [cluster for cluster in clusters_of(merged) if cluster not in known]


def candidate_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs `[P, 2]` of hashes within `RADIUS` bits that agree in a whole band; each pair once.

    A hash is cut in six bands (four for more than 200 000 pictures): two that differ in at most five (three) bits agree
    in a band whatever those bits are. Within a band's bucket, sorted by hash, nearest neighbours are compared first; where
    thousands of pictures look alike the comparison ends early, so some of their pairs may be missing.
    """
    found = [np.empty(0, np.int64)]
    for first, width in _bands(6 if len(hashes) <= 200_000 else 4):
        band = (hashes >> np.uint64(first)) & np.uint64((1 << width) - 1)
        order = np.lexsort((hashes, band))
        found += _close_in_buckets(hashes, band[order], order)
    return np.stack(np.divmod(np.unique(np.concatenate(found)), max(1, len(hashes))), axis=1)


def _bands(number: int) -> Iterable[tuple[int, int]]:
    edges = [round(64 * i / number) for i in range(number + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _close_in_buckets(
    hashes: NDArray[np.uint64], band: NDArray[np.uint64], order: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Compare each entry with the one 1, 2, 3, ... places on, as long as both lie in one bucket; a pair is i * N + j."""
    found: list[NDArray[np.int64]] = []
    allowed = 500_000 + 8 * len(order)
    start = np.arange(len(order))
    for step in range(1, _REACH + 1):
        start = start[start < len(order) - step]
        start = start[band[start] == band[start + step]]
        if not len(start):
            break
        a, b = order[start], order[start + step]
        near = np.bitwise_count(hashes[a] ^ hashes[b]) <= RADIUS
        a, b = a[near], b[near]
        found.append(np.minimum(a, b) * len(order) + np.maximum(a, b))
        allowed -= len(a)
        if allowed < 0:
            break
    return found


def verified(
    pairs: NDArray[np.int64], fetch: Callable[[NDArray[np.int64]], NDArray[Any]], tolerance: float
) -> NDArray[np.int64]:
    """Those of `pairs` `[P, 2]` whose values, without their mean, differ by at most `tolerance` of their own norm."""
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        rows, place = np.unique(block, return_inverse=True)
        values = fetch(rows).reshape(len(rows), -1).astype(np.float32)
        values -= values.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(values, axis=1)
        a, b = place.reshape(-1, 2).T
        apart = np.linalg.norm(values[a] - values[b], axis=1)
        kept.append(block[apart <= tolerance * (norm[a] + norm[b]) / 2])
    return np.concatenate(kept)


def _averaged(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels `[B, H, W, C]` averaged over a grid of at most 32 x 32."""
    values = pixels.astype(np.float32)
    for axis in (1, 2):
        side = values.shape[axis]
        if side > _SIDE:
            edges = np.arange(_SIDE) * side // _SIDE
            shape = [1, 1, 1, 1]
            shape[axis] = _SIDE
            values = np.add.reduceat(values, edges, axis=axis)
            values /= np.diff(np.append(edges, side)).astype(np.float32).reshape(shape)
    return values


def union(number: int, sets: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """`[number]` labels, equal for numbers joined by a chain of `sets`; the label is the smallest member (union-find)."""
    parent = np.arange(number, dtype=np.int64)

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = int(parent[x])
        return x

    for members in sets:
        first = root(members[0])
        for other in members[1:]:
            second = root(other)
            first, second = min(first, second), max(first, second)
            parent[second] = first
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent


def clusters_of(labels: NDArray[np.integer[Any]]) -> list[Rows]:
    """Rows with equal labels, for labels that occur twice or more, in order of the first row."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    many = np.flatnonzero(counts[inverse] > 1)
    many = many[np.argsort(inverse[many], kind="stable")]
    cuts = np.flatnonzero(np.diff(inverse[many])) + 1
    found = [tuple(int(r) for r in part) for part in np.split(many, cuts) if len(part)]
    return sorted(found)


def merge_groups(groups: NDArray[np.integer[Any]] | None, number: int, clusters: Iterable[Rows]) -> NDArray[np.int64]:
    """`[number]` groups that keep both the given groups and every cluster of duplicates together, numbered from 0."""
    joined = list(clusters) + ([] if groups is None else clusters_of(groups))
    _, labels = np.unique(union(number, joined), return_inverse=True)
    return labels.astype(np.int64)
