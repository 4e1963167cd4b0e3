"""How good a classifier's answers are: arrays in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def confusion(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> Ints:
    """Counts `[C, C]`: entry (i, j) is the number of images of class i that were called j.

    labels, predictions: `[N]` integers in 0..C-1. Raises `DataError` for other values, or when nothing was given.
    """
    truth, said = _checked(labels, "labels", num_classes), _checked(predictions, "predictions", num_classes)
    if truth.shape != said.shape:
        raise DataError(f"{len(truth)} labels but {len(said)} predictions; give one prediction per image")
    return (
        np.bincount(truth * num_classes + said, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)
    )


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of images called rightly."""
    truth, said = np.asarray(labels), np.asarray(predictions)
    if truth.shape != said.shape or truth.ndim != 1 or not len(truth):
        raise DataError(f"labels {truth.shape} and predictions {said.shape} must be equally long, flat and not empty")
    return float(np.mean(truth == said))


def recalls(counts: NDArray[np.number]) -> Floats:
    """Recall per class `[..., C]` from confusion counts `[..., C, C]`; NaN for a class without images."""
    support = counts.sum(-1)
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), support)


def balanced_accuracy(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> float:
    """Mean recall over the classes that have images."""
    return float(balanced_accuracy_of(confusion(labels, predictions, num_classes)))


def balanced_accuracy_of(counts: NDArray[np.number]) -> Floats:
    """Mean recall `[...]` over the classes that have images, from confusion counts `[..., C, C]`."""
    recall = recalls(counts)
    present = ~np.isnan(recall)
    return np.asarray(np.where(present, recall, 0.0).sum(-1) / np.maximum(present.sum(-1), 1))


def accuracy_of(counts: NDArray[np.number]) -> Floats:
    """Accuracy `[...]` from confusion counts `[..., C, C]`."""
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1)))


@dataclass(frozen=True)
class ClassRow:
    """One class: of those called so, the share that was (`precision`); of those that were, the share called so (`recall`).

    f1 is their harmonic mean, support the number of images. A ratio without any image to measure it on is NaN.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassTable:
    """Precision, recall, F1 and support of every class; prints as a table."""

    rows: tuple[ClassRow, ...]

    def __str__(self) -> str:
        width = max(5, *(len(row.name) for row in self.rows))
        head = f"{'class':<{width}}  precision  recall     f1  images"
        return "\n".join(
            [head]
            + [
                f"{row.name:<{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}  {row.support:6d}"
                for row in self.rows
            ]
        )


def per_class(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int, names: tuple[str, ...] | list[str] | None = None
) -> ClassTable:
    """The table of precision, recall, F1 and support per class; `names` default to the class numbers."""
    counts = confusion(labels, predictions, num_classes)
    hits, support, called = np.diag(counts), counts.sum(1), counts.sum(0)
    precision, recall, f1 = _ratio(hits, called), _ratio(hits, support), _ratio(2 * hits, support + called)
    called_names = [str(c) for c in range(num_classes)] if names is None else list(names)
    if len(called_names) != num_classes:
        raise DataError(f"{len(called_names)} class names for {num_classes} classes")
    return ClassTable(
        tuple(
            ClassRow(called_names[c], float(precision[c]), float(recall[c]), float(f1[c]), int(support[c]))
            for c in range(num_classes)
        )
    )


def top_k(labels: ArrayLike, probabilities: ArrayLike, k: int) -> float:
    """Share of images whose class is among the `k` most probable.

    Ties count against the answer: a class ranks below every other class of at least its probability, so that a constant
    answer is never called right by the order of the classes.
    """
    truth, chances = _scored(labels, probabilities)
    if not 1 <= k <= chances.shape[1]:
        raise DataError(f"k = {k} must be between 1 and the number of classes, {chances.shape[1]}")
    own = np.take_along_axis(chances, truth[:, None], 1)
    return float(np.mean((chances >= own).sum(1) <= k))


def nll(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log probability (nats) of the true class; infinite when one was called impossible."""
    truth, chances = _scored(labels, probabilities)
    own = np.take_along_axis(chances, truth[:, None], 1)[:, 0]
    with np.errstate(divide="ignore"):
        return float(-np.log(own).mean())


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width.

    confidence, accuracy: `[B]` means over the images of a bin (NaN when it has none); images: `[B]` how many it has.
    error: expected calibration error, the mean gap between the two, weighted by images (Guo et al. 2017, eq. 5).
    """

    confidence: Floats
    accuracy: Floats
    images: Ints
    error: float

    def __str__(self) -> str:
        return f"expected calibration error {self.error:.3f} over {int(self.images.sum())} images"


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> Reliability:
    """Confidence of the most probable class against how often it was right, in `bins` bins (lower, upper]."""
    truth, chances = _scored(labels, probabilities)
    confidence, right = chances.max(1), chances.argmax(1) == truth
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(which, minlength=bins).astype(np.int64)
    sums = np.bincount(which, confidence, bins), np.bincount(which, right.astype(np.float64), bins)
    error = np.abs(sums[0] - sums[1]).sum() / len(truth)
    return Reliability(_ratio(sums[0], images), _ratio(sums[1], images), images, float(error))


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error; see `Reliability`."""
    return reliability(labels, probabilities, bins).error


def _ratio(over: NDArray[np.number], under: NDArray[np.number]) -> Floats:
    ratio: Floats = np.divide(over, under, out=np.full(np.shape(over), np.nan), where=np.asarray(under) > 0)
    return ratio


def _checked(values: ArrayLike, what: str, num_classes: int) -> Ints:
    array = np.asarray(values)
    found = []
    if array.ndim != 1 or not array.size:
        found.append(f"shape {array.shape} is not a flat, non-empty list")
    elif not np.issubdtype(array.dtype, np.integer):
        found.append(f"type {array.dtype} is not a whole number")
    elif array.min() < 0 or array.max() >= num_classes:
        found.append(f"values {array.min()}..{array.max()} are not within 0..{num_classes - 1}; leave unknown ones out")
    problems(DataError, f"{what} cannot be used:", found)
    return array.astype(np.int64)


def _scored(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Ints, Floats]:
    chances = np.asarray(probabilities, np.float64)
    if chances.ndim != 2:
        raise DataError(f"probabilities have shape {chances.shape}, not [images, classes]")
    truth = _checked(labels, "labels", chances.shape[1])
    if len(truth) != len(chances):
        raise DataError(f"{len(truth)} labels but {len(chances)} rows of probabilities")
    if not np.isfinite(chances).all() or (np.abs(chances.sum(1) - 1) > 1e-3).any() or (chances < 0).any():
        raise DataError("probabilities must be finite, not negative and add up to one; pass logits through softmax")
    return truth, chances
