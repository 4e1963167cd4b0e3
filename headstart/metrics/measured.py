"""The measures of every kind of question, as functions of how often each image counts: arrays in, numbers out.

A measure that takes counts is computed on images drawn anew without copying any, and on some by counting the rest zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError
from headstart.metrics.numbers import numbers, r2_of
from headstart.metrics.ranking import ranked

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Maps `[B, N]`, how often each image counts, to `[B]`; NaN where nothing is left to measure it on."""

UNKNOWN = -1
"""An answer that is not known, of several yes/no questions at once."""


@dataclass(frozen=True)
class Measure:
    """A measure and what is to be known of it.

    higher  whether more is better
    words   what it is called in a sentence
    answers what it compares labels with: `classes` (numbers of classes, or 0 and 1), `scores` (higher for yes) or `numbers`
    of      makes the statistic from labels `[N]` and answers `[N]`, all known
    range   values it can have
    """

    higher: bool
    words: str
    answers: str
    of: Callable[[ArrayLike, ArrayLike], Statistic]
    range: tuple[float, float] = (0.0, 1.0)


def measure(name: str, labels: ArrayLike, answers: ArrayLike) -> float:
    """The measure `name` of `MEASURES` on all images; see `statistic` for shapes. NaN where it is not defined."""
    truth = np.asarray(labels)
    return float(statistic(name, truth, answers)(np.ones((1, len(truth))))[0])


def statistic(name: str, labels: ArrayLike, answers: ArrayLike) -> Statistic:
    """The measure `name` of `MEASURES` as a function of how often each image counts.

    labels, answers  `[N]`, unknown labels left out; or `[N, L]` for several yes/no questions at once, unknown ones
                     `UNKNOWN`: the mean over the questions, each over the images whose answer to it is known, of those it is
                     defined for

    Raises DataError for other shapes and values, or where no answer is known.
    """
    if name not in MEASURES:
        raise DataError(f"measure {name!r} is unknown; there are {', '.join(MEASURES)}")
    truth, said = np.asarray(labels), np.asarray(answers)
    if truth.shape != said.shape or truth.ndim not in (1, 2) or not truth.size:
        raise DataError(
            f"labels {truth.shape} and answers {said.shape} must have one shape, [images] or [images, questions]"
        )
    if truth.ndim == 1:
        return MEASURES[name].of(truth, said)
    known = truth != UNKNOWN
    asked = [question for question in range(truth.shape[1]) if known[:, question].any()]
    if not asked:
        raise DataError("of none of the questions is any answer known")
    parts = [(known[:, q], MEASURES[name].of(truth[known[:, q], q], said[known[:, q], q])) for q in asked]
    return lambda weights: _mean(np.stack([part(weights[:, rows]) for rows, part in parts], 1))


def _accuracy(labels: ArrayLike, answers: ArrayLike) -> Statistic:
    right = (np.asarray(labels) == np.asarray(answers)).astype(np.float64)
    return lambda weights: _ratio(weights @ right, weights.sum(1))


def _balanced_accuracy(labels: ArrayLike, answers: ArrayLike) -> Statistic:
    truth = np.asarray(labels)
    classes = (truth[:, None] == np.unique(truth)).astype(np.float64)
    hits = classes * (truth == np.asarray(answers))[:, None]
    return lambda weights: _mean(_ratio(weights @ hits, weights @ classes))


def _average_precision(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    return ranked(labels, scores).average_precision


def _auc(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    return ranked(labels, scores).auc


def _mean_absolute_error(labels: ArrayLike, predictions: ArrayLike) -> Statistic:
    truth, said = numbers(labels, predictions)
    errors = np.abs(said - truth)
    return lambda weights: _ratio(weights @ errors, weights.sum(1))


def _root_mean_squared_error(labels: ArrayLike, predictions: ArrayLike) -> Statistic:
    truth, said = numbers(labels, predictions)
    errors = np.square(said - truth)
    return lambda weights: np.sqrt(_ratio(weights @ errors, weights.sum(1)))


def _r2(labels: ArrayLike, predictions: ArrayLike) -> Statistic:
    truth, said = numbers(labels, predictions)
    return lambda weights: r2_of(truth, said, weights)


MEASURES: dict[str, Measure] = {
    "accuracy": Measure(True, "accuracy", "classes", _accuracy),
    "balanced_accuracy": Measure(True, "balanced accuracy", "classes", _balanced_accuracy),
    "average_precision": Measure(True, "average precision", "scores", _average_precision),
    "auc": Measure(True, "area under the ROC curve", "scores", _auc),
    "mean_absolute_error": Measure(False, "mean absolute error", "numbers", _mean_absolute_error, (0.0, math.inf)),
    "root_mean_squared_error": Measure(
        False, "root mean squared error", "numbers", _root_mean_squared_error, (0.0, math.inf)
    ),
    "r2": Measure(True, "R\u00b2", "numbers", _r2, (-math.inf, 1.0)),
}
"""Name -> measure."""


def _ratio(over: Floats, under: Floats) -> Floats:
    found: Floats = np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)
    return found


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is defined there; NaN where nothing is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1).astype(np.float64))
