"""What the source network's own answers say about the target's classes: LEEP and NCE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems
from headstart.transferability.moments import Floats, checked, wrong_labels

Rows = NDArray[np.bool_]

_HELD = 1 << 23
"""numbers held at a time: 64 MB"""


def leep(source_probabilities: ArrayLike, labels: ArrayLike, num_classes: int) -> float:
    """Mean log probability (nats, at most 0, higher is better) of the labels under the expected empirical predictor.

    source_probabilities  `[N, S]`: what the source network says of the target images, each row summing to one
    labels                `[N]` of the target

    P(y, z) = mean over images with label y of p(z | x); the predictor says sum_z P(y | z) p(z | x) (Nguyen et al. 2020,
    "LEEP", section 3).
    """
    theta, truth = checked_probabilities(source_probabilities, labels, num_classes)
    return float(leep_of(theta, truth, num_classes, np.ones((1, len(truth)), bool))[0])


def leep_of(theta: NDArray[np.floating], truth: NDArray[np.int64], num_classes: int, parts: Rows) -> Floats:
    """LEEP `[H]` of each of `parts` `[H, N]` of the images, computed together: two matrix products serve them all."""
    order = np.argsort(truth, kind="stable")
    cuts = np.cumsum(np.bincount(truth, minlength=num_classes))[:-1]
    by_class = [rows for rows in np.split(order, cuts) if len(rows)]
    few = max(1, _HELD // (len(by_class) * theta.shape[1]))
    many = [_leep(theta, by_class, parts[begin : begin + few]) for begin in range(0, len(parts), few)]
    return np.concatenate(many)


def _leep(theta: NDArray[np.floating], by_class: list[NDArray[np.int64]], parts: Rows) -> Floats:
    joint = np.zeros((len(by_class), len(parts), theta.shape[1]))
    for c, rows in enumerate(by_class):
        for some in _blocks(rows, theta.shape[1]):
            joint[c] += parts[:, some].astype(np.float64) @ theta[some].astype(np.float64)
    # a source class that nobody is given any of has no P(y | z), and nobody asks for it
    given = joint / np.maximum(joint.sum(0), np.finfo(np.float64).tiny)
    total = np.zeros(len(parts))
    for c, rows in enumerate(by_class):
        for some in _blocks(rows, theta.shape[1]):
            said = theta[some].astype(np.float64) @ given[c].T  # [n, H]
            logs = np.log(np.maximum(said, np.finfo(np.float64).tiny))
            total += (logs.T * parts[:, some]).sum(1)
    return np.asarray(np.minimum(total / parts.sum(1), 0.0))


def _blocks(rows: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    step = max(1, _HELD // width)
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def nce(source_labels: ArrayLike, labels: ArrayLike) -> float:
    """Minus the conditional entropy H(labels | source_labels) (nats, at most 0, higher is better), both `[N]`.

    Tran et al. 2019, "Transferability and hardness of supervised classification tasks", with the source network's answers
    as `source_labels`: the argmax of its probabilities.
    """
    answers, truth = np.asarray(source_labels), np.asarray(labels)
    found = [f"labels have shape {truth.shape}; give one per image"] if truth.ndim != 1 or not truth.size else []
    for what, given in (("labels", truth), ("source_labels", answers)):
        found += wrong_labels(given, truth.shape, np.iinfo(np.int64).max, what)
    problems(DataError, "NCE cannot be computed:", found)
    return float(nce_of(answers.astype(np.int64), truth.astype(np.int64), np.ones((1, len(truth)), bool))[0])


def nce_from_probabilities(source_probabilities: ArrayLike, labels: ArrayLike, num_classes: int) -> float:
    """NCE with the most probable source class of each image; arguments as for `leep`."""
    theta, truth = checked_probabilities(source_probabilities, labels, num_classes)
    return nce(theta.argmax(1), truth)


def nce_of(answers: NDArray[np.int64], truth: NDArray[np.int64], parts: Rows) -> Floats:
    """NCE `[H]` of each of `parts` `[H, N]` of the images."""
    _, source = np.unique(answers, return_inverse=True)
    pairs, pair = np.unique(np.stack((source, truth)), axis=1, return_inverse=True)
    values = []
    for part in parts:
        together = np.bincount(pair.ravel()[part], minlength=pairs.shape[1])
        alone = np.bincount(source[part])
        seen = together > 0
        share = together[seen] / alone[pairs[0, seen]]
        values.append(float(together[seen] @ np.log(share)) / int(part.sum()))
    return np.asarray(np.minimum(np.array(values), 0.0))


def checked_probabilities(
    source_probabilities: ArrayLike, labels: ArrayLike, num_classes: int
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Probabilities `[N, S]` and labels `[N]` as arrays, or a DataError that says what is wrong with them."""
    theta, truth = checked(source_probabilities, labels, num_classes, "source probabilities")
    off = float(np.abs(theta.sum(1, dtype=np.float64) - 1).max())
    if theta.min() < 0 or off > 1e-2:
        raise DataError(
            f"source_probabilities go down to {theta.min():.3g} and a row's sum is off from 1 by {off:.2g}; "
            "give probabilities, the softmax of the source network's answers"
        )
    return theta, truth
