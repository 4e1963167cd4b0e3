"""LogME, computed exactly: how well a Bayesian linear regression on the features explains the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems
from headstart.transferability.moments import Moments

Floats = NDArray[np.float64]

_GRID = 241
_NEAR = 11
_REACH = 14.0
"""decades the ratio of noise to weight precision may be from 1 / (largest singular value)^2"""


@dataclass(frozen=True)
class LogME:
    """Maximised log evidence per image (nats), higher is better.

    score      mean over classes that have images; comparable between networks on the same labels only
    per_class  `[C]`; NaN for a class without images, as are alpha and beta
    alpha      `[C]` precision of the weights at the maximum
    beta       `[C]` precision of the noise
    unbounded  classes whose evidence grows without limit (a linear map without error, of fewer dimensions than images); they
               are counted at the end of the search range
    """

    score: float
    per_class: Floats
    alpha: Floats
    beta: Floats
    unbounded: tuple[int, ...]

    @property
    def ratio(self) -> Floats:
        """`[C]` beta / alpha."""
        return self.beta / self.alpha

    def __str__(self) -> str:
        return f"LogME {self.score:.4f}"


def logme(features: ArrayLike, labels: ArrayLike, num_classes: int) -> LogME:
    """Exact LogME of `features` `[N, D]` for `labels` `[N]`, each class against the rest as a 0/1 target.

    For every class: max over alpha, beta of log N(y | 0, I / beta + F F' / alpha) / N (You et al. 2021, "LogME"). The widely
    copied fixed-point code leaves out (D - k) log(alpha) / 2 of it, k = min(N, D), and so favours wide networks whenever
    N < D. Features are used raw, without a bias, as there.

    One singular value decomposition serves all classes. For a given ratio alpha / beta the best beta has a closed form, so
    a search along one line finds the global maximum. More images than features are first reduced by QR, a part at a time.
    """
    f, y = _checked(features, labels, num_classes)
    images = len(f)
    there = np.flatnonzero(y.any(0))  # the evidence of a target that is always 0 has no limit and tells nothing
    squares, z_KC, rest_C = _rotated(f, y[:, there])
    best = _maximum(squares, z_KC, rest_C, images)
    evidence, alpha, beta = _evidence(best[:, None], squares, z_KC, rest_C, images)
    high = np.log10(best * max(squares.max(initial=0.0), np.finfo(float).tiny)) > _REACH - 0.5
    unbounded = tuple(int(c) for c in there[high & (len(squares) < images)])
    found = np.full((3, num_classes), np.nan)
    found[:, there] = evidence[:, 0] / images, alpha[:, 0], beta[:, 0]
    return LogME(float(found[0, there].mean()), found[0], found[1], found[2], unbounded)


def logme_near(m: Moments, ratio: Floats) -> float:
    """LogME from moments, with the maximum of each class sought near `ratio` `[C]`, beta / alpha of about the same images.

    For many parts of one set: an eigendecomposition of F'F is faster than a singular value decomposition of F and keeps
    half as many digits, enough for how a score varies. A maximum that is not near is sought everywhere.
    """
    squares, turn = np.linalg.eigh(m.scatter + m.images * np.outer(m.mean, m.mean))
    keep = squares > squares[-1] * np.finfo(np.float64).eps * 10 * max(m.images, m.width)
    squares, turn = squares[keep], turn[:, keep]
    there, count = m.present, m.counts[m.present]
    z_KC = turn.T @ (m.sums[there] + count[:, None] * m.mean).T / np.sqrt(squares)[:, None]
    full = len(squares) == m.images  # then a linear map fits everything, and what is left is rounding
    rest_C = np.zeros(len(there)) if full else np.maximum(count - np.square(z_KC).sum(0), 0.0)
    best = _nearby(ratio[there], squares, z_KC, rest_C, m.images)
    return float(_evidence(best[:, None], squares, z_KC, rest_C, m.images)[0].mean()) / m.images


def _rotated(f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Squared singular values `[K]` of F, targets `[K, C]` in its left singular vectors, and what is left of them `[C]`.

    Householder QR in parts (Demmel et al. 2012, TSQR) keeps memory at one part and, unlike F'F, all the digits.
    """
    width = f.shape[1]
    if len(f) > width + y.shape[1]:
        part = 4 * (width + y.shape[1])
        r = np.empty((0, width + y.shape[1]))
        for begin in range(0, len(f), part):
            rows = slice(begin, begin + part)
            stacked = np.vstack((r, np.hstack((f[rows].astype(np.float64), y[rows]))))
            r = np.asarray(np.linalg.qr(stacked, mode="r"))
        f, y, below = r[:width, :width], r[:width, width:], r[width:, width:]
    else:
        f, below = f.astype(np.float64), np.empty((0, y.shape[1]))
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    keep = s > s.max(initial=0.0) * np.finfo(np.float64).eps * max(f.shape)
    u, s = u[:, keep], s[keep]
    z = u.T @ y
    # y minus its projection, not |y|^2 - |z|^2: that difference would be rounding where the fit is nearly perfect
    rest = np.square(y - u @ z).sum(0) + np.square(below).sum(0)
    return np.square(s), z, rest


def _evidence(ratio: Floats, squares: Floats, z_KC: Floats, rest_C: Floats, images: int) -> tuple[Floats, Floats, Floats]:
    """Log evidence, alpha and beta `[C, G]` at ratios beta / alpha `[C, G]`, beta chosen best for each."""
    grown = 1 + ratio[:, :, None] * squares  # [C, G, K]
    error = (np.square(z_KC.T)[:, None, :] / grown).sum(2) + rest_C[:, None]
    beta = images / np.maximum(error, images * np.finfo(np.float64).tiny * 1e16)
    evidence = 0.5 * (images * (np.log(beta) - np.log(2 * np.pi) - 1) - np.log(grown).sum(2))
    return evidence, beta / ratio, beta


def _maximum(squares: Floats, z_KC: Floats, rest_C: Floats, images: int) -> Floats:
    """Best ratio beta / alpha `[C]`: a grid over 28 decades against several maxima, then a finer grid around the best."""
    centre = -np.log10(squares.max(initial=0.0)) if squares.size else 0.0
    low = np.full(z_KC.shape[1], centre - _REACH)
    high = np.full(z_KC.shape[1], centre + _REACH)
    for _ in range(8):
        exponents = np.linspace(low, high, _GRID, axis=1)
        values = np.concatenate(
            [
                _evidence(10**part, squares, z_KC, rest_C, images)[0]
                for part in np.array_split(exponents, _parts(squares, z_KC), 1)
            ],
            1,
        )
        best = values.argmax(1)
        rows = np.arange(len(best))
        low, high = exponents[rows, np.maximum(best - 1, 0)], exponents[rows, np.minimum(best + 1, _GRID - 1)]
        if (high - low).max() < 1e-7:
            break
    return np.asarray(10 ** exponents[rows, best])


def _nearby(ratio: Floats, squares: Floats, z_KC: Floats, rest_C: Floats, images: int) -> Floats:
    """Best ratio `[C]` within a decade of a known one; the maximum of the evidence is flat, so few digits of it will do."""
    centre, reach = np.log10(ratio), 1.0
    lost = ~np.isfinite(centre)
    centre[lost] = 0.0
    while reach > 1e-4:
        exponents = centre[:, None] + reach * np.linspace(-1, 1, _NEAR)
        best = _evidence(10**exponents, squares, z_KC, rest_C, images)[0].argmax(1)
        if reach == 1.0:
            lost |= (best == 0) | (best == _NEAR - 1)
        centre, reach = exponents[np.arange(len(best)), best], 2.5 * reach / (_NEAR - 1)
    found = 10**centre
    if lost.any():
        found[lost] = _maximum(squares, z_KC[:, lost], rest_C[lost], images)
    return found


def _parts(squares: Floats, z_KC: Floats) -> int:
    """Pieces to cut the grid into so that one holds about four million numbers."""
    return min(_GRID, 1 + _GRID * int(z_KC.shape[1]) * len(squares) // (1 << 22))


def _checked(features: ArrayLike, labels: ArrayLike, num_classes: int) -> tuple[Floats, Floats]:
    f, truth = np.asarray(features), np.asarray(labels)
    found = []
    if f.ndim != 2 or not f.size or not np.issubdtype(f.dtype, np.floating):
        found.append(f"features have shape {f.shape} and type {f.dtype}; give floats [images, width]")
    elif not np.isfinite(f).all():
        found.append("features are not all finite")
    if truth.shape != f.shape[:1]:
        found.append(f"labels have shape {truth.shape}, features {f.shape}; give one label per row")
    elif truth.size and not (truth.min() >= 0 and truth.max() < num_classes):
        found.append(f"labels go from {truth.min()} to {truth.max()}, not within 0..{num_classes - 1}")
    problems(DataError, "LogME cannot be computed:", found)
    present = np.unique(truth)
    if len(present) < 2:
        raise DataError("LogME needs images of at least two classes")
    return f, (truth[:, None] == np.arange(num_classes)).astype(np.float64)
