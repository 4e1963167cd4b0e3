"""What is measured before anything is trained: probes by depth, the pixel baseline, and the point in the 2x2 table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.splits import folds as make_folds
from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.engine.features import FeatureBank
from headstart.engine.log import SILENT
from headstart.nets.net import count_parameters
from headstart.studies.measure import Measures, pixel_baseline, _spread, measure
from headstart.transferability.adviser import FEW_PER_CLASS, GAIN, LARGE_IN_ALL, SKILL, advise
from headstart.transferability.depth import probe_by_depth
from headstart.transferability.knn import knn
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet


def folds_of(task: Task) -> list[Any]:
    return list(make_folds(task.targets, None, 3, 0))


@pytest.fixture(scope="module")
def measured() -> Measures:
    task = make_image_task(36, size=12)
    return measure(resnet(), task, folds_of(task), FeatureBank(), seed=0, log=SILENT)


def test_every_depth_is_probed_on_the_folds_of_the_race(measured: Measures) -> None:
    task, net = make_image_task(36, size=12), resnet()
    names = [point.block for point in measured.curve.points]
    assert names == [name for name in net.block_names if name in names]
    assert names[-1] == net.last
    bank = FeatureBank().get(net, task.store, task.rows, names)
    features = {name: torch.from_numpy(bank[name]) for name in names}
    again = probe_by_depth(features, torch.from_numpy(task.targets), 3, folds_of(task), seed=0)
    assert again.accuracies == measured.curve.accuracies
    assert measured.advice.measures["probe_by_depth"] == measured.curve.accuracies


def test_the_adviser_is_told_all(measured: Measures) -> None:
    told = measured.advice.measures
    assert (told["num_images"], told["num_classes"], told["images_per_class"]) == (36, 3, 12)
    assert told["knn"] == measured.knn["accuracy"]
    assert told["logme"] == measured.logme
    assert told["pixel_baseline"] == measured.pixel_baseline
    assert told["trained_parameters"] == count_parameters(resnet().blocks)
    low, high = measured.knn["interval"]
    assert 0 <= low <= measured.knn["accuracy"] <= high <= 1
    assert measured.seconds_per_mac > 0


def test_nearest_neighbours_of_ones_own_group_do_not_vote() -> None:
    """Every image is there twice: the copy knows the answer, whatever that says about the features."""
    one = make_image_task(30, size=12)
    pictures = np.concatenate([one.store.array, one.store.array])
    labels = np.random.default_rng(0).permutation(np.arange(30) % 3)  # nothing can be learned but copies
    task = Task("toy", store_of(pictures), np.tile(labels, 2), one.classes, np.arange(60), np.tile(np.arange(30), 2))
    folds = list(make_folds(task.targets, task.groups, 3, 0))
    net = resnet()
    bank = FeatureBank()
    found = measure(net, task, folds, bank, seed=0, log=SILENT).knn
    features = bank.get(net, task.store, task.rows, [net.last])[net.last]
    assert found["accuracy"] == knn(features, task.targets, 3, groups=task.groups).accuracy.mean
    assert found["accuracy"] < knn(features, task.targets, 3, k=1).accuracy.mean == 1


def test_one_group_of_all_is_no_group_for_neighbours() -> None:
    task = replace(make_image_task(36, size=12), groups=np.zeros(36, np.int64))
    measured = measure(resnet(), task, [(np.arange(24), np.arange(24, 36))], FeatureBank(), seed=0, log=SILENT)
    assert measured.knn["images"] == 36


def test_thepixel_baseline_is_the_same_probe_on_16_by_16_pixels() -> None:
    """By the definition of adaptive pooling: cell i of 16 averages the pixels from floor(i S / 16) to ceil((i+1) S / 16)."""
    size = 24
    task = make_image_task(30, size=size)
    images = np.asarray(task.store.array[task.rows], np.float64) / 255
    edges = [(i * size // 16, -(-(i + 1) * size // 16)) for i in range(16)]
    small = np.stack([np.stack([images[:, a:b, c:d].mean((1, 2)) for c, d in edges], 1) for a, b in edges], 1)
    vectors = torch.from_numpy(small.transpose(0, 3, 1, 2).reshape(30, -1).astype(np.float32))
    by_hand = probe_by_depth({"pixels": vectors}, torch.from_numpy(task.targets), 3, folds_of(task), seed=0)
    assert pixel_baseline(task, folds_of(task), 0) == by_hand.accuracies["pixels"]


def test_vectors_have_nopixel_baseline() -> None:
    task = make_vector_task(36)
    found = measure(perceptron(), task, folds_of(task), FeatureBank(), seed=0, log=SILENT)
    assert found.pixel_baseline is None
    assert found.advice.measures["gain_over_pixels"] is None
    assert 0 < found.position()[0] < 1


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_a_sample_is_spread_evenly(total: int, limit: int) -> None:
    places = _spread(total, limit)
    assert len(places) == min(total, limit)
    assert len(set(places.tolist())) == len(places)
    assert places[0] == 0
    assert places[-1] == (total - 1 if len(places) > 1 else 0)
    steps = np.diff(places)
    assert not len(steps) or steps.max() - steps.min() <= 1


accuracies = st.floats(0, 1)


@given(
    st.lists(st.integers(1, 40_000), min_size=2, max_size=6),
    accuracies,
    accuracies,
    st.none() | accuracies,
)
def test_the_point_lies_on_the_side_of_the_border_that_the_rule_chose(
    measured: Measures, counts: list[int], early: float, last: float, pixels: float | None
) -> None:
    advice = advise(sum(counts), counts, len(counts), {"early": early, "last": last}, 0.5, 0.0, pixels)
    x, y = replace(measured, advice=advice).position()
    assert 0 < x < 1
    assert 0 < y < 1
    assert (x > 0.5) == (advice.similarity == "high")
    assert (y > 0.5) == (advice.size == "large")


def test_the_point_moves_with_what_it_shows(measured: Measures) -> None:
    def at(images: int, accuracy: float, pixels: float | None = 0.4) -> tuple[float, float]:
        counts = [images // 2] * 2
        advice = advise(images, counts, 2, {"last": accuracy}, 0.5, 0.0, pixels)
        return replace(measured, advice=advice).position()

    likes = [at(1000, accuracy)[0] for accuracy in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    sizes = [at(images, 0.9)[1] for images in (20, 200, 2000, 40_000, 400_000)]
    assert likes == sorted(likes)
    assert likes[0] < likes[2] < 0.5 < likes[-1]
    assert sizes == sorted(set(sizes))
    assert [size > 0.5 for size in sizes] == [
        n >= 2 * FEW_PER_CLASS and n >= LARGE_IN_ALL for n in (20, 200, 2000, 40_000, 400_000)
    ]
    assert GAIN == SKILL == 0.5
