"""The learning curve: what its points are, and where it goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.engine.solvers import cross_validate
from headstart.engine.solvers.folds import stratified_folds
from headstart.engine.solvers.select import DEFAULT_PENALTIES
from headstart.errors import ConfigError
from headstart.seeding import generator
from headstart.transferability.learning_curve import _next, learning_curve


def clouds(per_class: int, classes: int = 4, width: int = 24, apart: float = 0.8, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = generator(seed, "clouds")
    labels = np.repeat(np.arange(classes), per_class)
    centres = apart * generator(7, "centres").normal(size=(classes, width))
    return torch.from_numpy((centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32)), torch.tensor(
        labels
    )


def test_the_last_point_is_the_cross_validated_probe_on_all_images() -> None:
    features, labels = clouds(20)
    folds = stratified_folds(labels, 5)
    curve = learning_curve(features, labels, 4, folds, seed=0)
    whole = cross_validate("ridge", features, labels, 4, DEFAULT_PENALTIES, folds)
    right = (whole.out_of_fold_logits.argmax(1) == labels).numpy()
    assert curve.points[-1].images == 64
    assert np.array_equal(curve.points[-1].right.astype(bool), right)


def test_points_are_a_quarter_a_half_and_all_of_each_folds_images() -> None:
    features, labels = clouds(20)
    curve = learning_curve(features, labels, 4, stratified_folds(labels, 5), seed=0)
    assert [point.images for point in curve.points] == [16, 32, 64]
    assert all(len(point.right) == 80 for point in curve.points)


def test_more_images_help_where_classes_overlap() -> None:
    features, labels = clouds(64, apart=0.4)
    curve = learning_curve(features, labels, 4, stratified_folds(labels, 5), seed=0)
    accuracies = [point.accuracy.mean for point in curve.points]
    assert accuracies == sorted(accuracies)
    assert curve.twice is not None
    assert curve.gain is not None
    assert accuracies[-1] <= curve.twice.mean <= 1
    assert curve.twice.low <= curve.twice.mean <= curve.twice.high


def test_what_twice_the_images_bring_is_about_right() -> None:
    """Predicted from 32 images per class, measured with 64, six times: within 4 points on average."""
    misses = []
    for seed in range(6):
        features, labels = clouds(64, apart=0.45, seed=seed)
        folds = stratified_folds(labels, 5)
        half = torch.arange(len(labels)).reshape(4, 64)[:, :32].ravel()
        ahead = learning_curve(features[half], labels[half], 4, stratified_folds(labels[half], 5), seed=seed).twice
        there = learning_curve(features, labels, 4, folds, seed=seed).points[-1].accuracy.mean
        assert ahead is not None
        misses.append(ahead.mean - there)
    assert abs(float(np.mean(misses))) < 0.04


def test_error_falls_by_the_last_factor_and_never_faster_than_by_half() -> None:
    assert _next(0.4, 0.3) == pytest.approx(0.225)
    assert _next(0.4, 0.1) == pytest.approx(0.05)
    assert _next(0.3, 0.4) == pytest.approx(0.4)  # a curve that rose by accident stays where it is
    assert _next(0.0, 0.0) == 0


def test_parts_without_an_image_of_a_typical_class_are_left_out() -> None:
    features, labels = clouds(3)
    curve = learning_curve(features, labels, 4, stratified_folds(labels, 3), seed=0)
    assert [point.images for point in curve.points] == [4, 8]
    features, labels = clouds(2)
    alone = learning_curve(features, labels, 4, stratified_folds(labels, 2), seed=0)
    assert len(alone.points) == 1
    assert alone.twice is None
    assert alone.gain is None
    assert "expected" not in str(alone)


def test_the_curve_follows_from_its_seed() -> None:
    features, labels = clouds(12)
    folds = stratified_folds(labels, 3)
    a, b, c = (learning_curve(features, labels, 4, folds, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(x.right, y.right) for x, y in zip(a.points, b.points, strict=True))
    assert any(not np.array_equal(x.right, y.right) for x, y in zip(a.points, c.points, strict=True))


def test_it_prints_what_is_expected() -> None:
    features, labels = clouds(20)
    lines = str(learning_curve(features, labels, 4, stratified_folds(labels, 5), seed=0)).splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("expected")


def test_folds_must_fit() -> None:
    features, labels = clouds(4)
    with pytest.raises(ConfigError, match="rows outside"):
        learning_curve(features, labels, 4, [(np.arange(40), np.arange(3))], seed=0)
