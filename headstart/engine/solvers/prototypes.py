"""Classes and clusters as means."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.engine.solvers.linear import ABSENT, LinearSolution, check
from headstart.errors import ConfigError
from headstart.seeding import generator


def fit_nearest_mean(
    features: Tensor, labels: Tensor, num_classes: int, penalty: float = 0.0, sample_weight: Tensor | None = None
) -> LinearSolution:
    """Answer the class whose mean is nearest (Euclidean, on standardised features).

    Written as a linear classifier: minus half the squared distance, less a term common to all classes. Probabilities are
    those of classes that are normal with the pooled within-class variance per feature. `penalty` has no effect.
    """
    check(features, labels, num_classes, sample_weight)
    x = features.double()
    weight = torch.ones(len(labels), dtype=torch.float64) if sample_weight is None else sample_weight.double()
    used = x[weight > 0]
    centre, deviation = used.mean(0), used.std(0, unbiased=False)
    scale = torch.where(deviation > 1e-6 * centre.abs().clamp_min(1e-30), 1 / deviation.clamp_min(1e-300), 1.0)
    z = (x - centre) * scale
    members = torch.nn.functional.one_hot(labels.long(), num_classes).double().T * weight
    mass = members.sum(1, keepdim=True)
    known = mass[:, 0] > 0
    means = members @ z / mass.clamp_min(1e-300)
    within = float((weight[:, None] * (z - means[labels.long()]).square()).sum() / (weight.sum() * z.shape[1]))
    raw = means * scale
    bias = torch.where(known, -0.5 * means.square().sum(1) - raw @ centre, ABSENT)
    info = {"solver": "nearest_mean", "absent_classes": [int(c) for c in (~known).nonzero()[:, 0]]}
    calibration = (1 / within if within > 0 else 1.0, 0.0)
    return LinearSolution(raw.to(features.dtype), bias.to(features.dtype), calibration, info)


@dataclass(frozen=True)
class Clusters:
    """What `kmeans` found: centres `[K, D]`, the cluster of every image `[N]`, the sum of squared distances."""

    centres: Tensor
    labels: Tensor
    inertia: float
    iterations: int


def kmeans(features: Tensor, clusters: int, seed: int, *, restarts: int = 4, max_iterations: int = 300) -> Clusters:
    """k-means: k-means++ starts (Arthur & Vassilvitskii 2007) drawn from `seed`, Lloyd's iterations, best of `restarts`.

    features `[N, D]`, used as they are. A cluster that loses all its images restarts at the one farthest from its centre.
    """
    if not 1 <= clusters <= len(features):
        raise ConfigError(f"clusters = {clusters} must be between 1 and the number of images, {len(features)}")
    x = features.double()
    found = [_lloyd(x, _plus_plus(x, clusters, seed, start), max_iterations) for start in range(restarts)]
    best = min(found, key=lambda result: result.inertia)
    return Clusters(best.centres.to(features.dtype), best.labels, best.inertia, best.iterations)


def _plus_plus(x: Tensor, clusters: int, seed: int, start: int) -> Tensor:
    """Centres drawn one after the other, each image with probability proportional to its squared distance to the nearest."""
    rng = generator(seed, "kmeans", start)
    chosen = [int(rng.integers(len(x)))]
    nearest = (x - x[chosen[0]]).square().sum(1)
    while len(chosen) < clusters:
        total = nearest.cumsum(0)
        # all images coincide with a centre already: any will do, and empty clusters are harmless
        draw = int(rng.integers(len(x))) if total[-1] <= 0 else int(torch.searchsorted(total, rng.random() * total[-1]))
        chosen.append(min(draw, len(x) - 1))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return x[chosen]


def _lloyd(x: Tensor, centres: Tensor, max_iterations: int) -> Clusters:
    clusters = len(centres)
    labels = torch.full((len(x),), -1)
    for iteration in range(1, max_iterations + 1):  # noqa: B007
        distances, following = _nearest(x, centres)
        if torch.equal(following, labels):
            break
        labels = following
        count = torch.bincount(labels, minlength=clusters)
        for empty in (count == 0).nonzero()[:, 0].tolist():
            far = int(torch.where(count[labels] > 1, distances, -1.0).argmax())
            count[labels[far]] -= 1
            labels[far], count[empty], distances[far] = empty, 1, 0.0
        centres = torch.zeros_like(centres).index_add_(0, labels, x) / count[:, None]
    distances, labels = _nearest(x, centres)
    return Clusters(centres, labels, float(distances.sum()), iteration)


def _nearest(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to, and number of, the nearest centre of every image, some images at a time."""
    step = max(1, (1 << 22) // len(centres))
    half = 0.5 * centres.square().sum(1)
    labels = torch.cat([(half - part @ centres.T).argmin(1) for part in torch.split(x, step)])
    return (x - centres[labels]).square().sum(1), labels
