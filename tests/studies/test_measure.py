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
from headstart.studies.measure import Measures, _similarity_spread, _spread, measure, pixel_baseline
from headstart.transferability.depth import probe_by_depth
from headstart.transferability.evidence import Evidence
from headstart.transferability.knn import knn
from headstart.transferability.quadrant import similarity_place
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


def test_the_pixel_baseline_is_the_same_probe_on_16_by_16_pixels() -> None:
    """By the definition of adaptive pooling: cell i of 16 averages the pixels from floor(i S / 16) to ceil((i+1) S / 16)."""
    size = 24
    task = make_image_task(30, size=size)
    images = np.asarray(task.store.array[task.rows], np.float64) / 255
    edges = [(i * size // 16, -(-(i + 1) * size // 16)) for i in range(16)]
    small = np.stack([np.stack([images[:, a:b, c:d].mean((1, 2)) for c, d in edges], 1) for a, b in edges], 1)
    vectors = torch.from_numpy(small.transpose(0, 3, 1, 2).reshape(30, -1).astype(np.float32))
    by_hand = probe_by_depth({"pixels": vectors}, torch.from_numpy(task.targets), 3, folds_of(task), seed=0)
    assert pixel_baseline(task, folds_of(task), 0) == by_hand.accuracies["pixels"]


def test_vectors_have_no_pixel_baseline() -> None:
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


def test_more_labels_are_worth_a_curve_unless_it_would_take_too_long(
    measured: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured.growth is not None
    assert measured.growth.points[-1].images == 36 * 2 / 3
    monkeypatch.setattr("headstart.studies.measure._GROWTH_WORK", 1.0)
    task = make_vector_task(36)
    found = measure(perceptron(), task, folds_of(task), FeatureBank(), seed=0, log=SILENT)
    assert found.growth is None


def test_past_experiments_say_nothing_of_a_network_that_has_learned_nothing() -> None:
    task = make_image_task(36)
    blank = measure(resnet(), task, folds_of(task), FeatureBank(), seed=0, log=SILENT, pretrained=False)
    assert blank.advice.forecast is None
    assert blank.advice.strategy == blank.advice.by_table


def test_the_spread_is_that_of_the_probe(measured: Measures) -> None:
    assert 0 <= measured.spread[0] <= similarity_place(measured.evidence) <= measured.spread[1] <= 1
    evidence = Evidence.of(100, [50, 50], [0.7, 0.8], 1, pixels=0.5)
    few, many = (_similarity_spread(evidence, images) for images in (50, 5000))
    assert few[0] < many[0] < similarity_place(evidence) < many[1] < few[1]
