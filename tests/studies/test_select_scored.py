"""What is measured of one candidate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.data.splits import folds as make_folds
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.errors import DataError
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.strategies.early_probe import depths_of
from headstart.studies.scored import Scored, identity, score, source_probabilities
from headstart.transferability.scores import score_all


def pictures(count: int = 48) -> Task:
    """Random pictures whose mean colour says their class."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = draw.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    images[np.arange(count), ..., labels] += 100
    return task_of("main", store_of(images), labels, ("a", "b", "c"))


def folds_for(task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    return make_folds(task.targets, np.arange(len(task)), 3, 0, classes=task.classes)


def features_of(net: Net, task: Task) -> dict[str, np.ndarray]:
    return FeatureBank().get(net, task.store, task.rows, depths_of(net))


def test_it_is_what_the_scores_are() -> None:
    net, task = build("embedded"), pictures()
    found = score("it", net, task, folds_for(task), FeatureBank(), seed=3, loading=1.5)
    features = features_of(net, task)
    wanted = score_all(
        features,
        task.targets,
        3,
        folds_for(task),
        source_probabilities=source_probabilities(net, features),
        parameters=found.parameters,
        seed=3,
    )
    assert {name: one["value"] for name, one in found.scores.items()} == {
        name: one.value for name, one in wanted.values.items()
    }
    assert found.peak == wanted.depth.peak
    assert np.mean(found.correct) == pytest.approx(found.probe)
    assert found.seconds["load"] == 1.5
    assert (found.feature_width, found.input_size) == (64, 32)
    assert found.parameters == sum(one.numel() for one in net.blocks.parameters())
    assert found.bytes == sum(one.numel() * one.element_size() for one in net.blocks.state_dict().values())
    assert found.feature_bytes == 4 * len(task) * sum(one.shape[1] for one in features.values())


def test_it_survives_json() -> None:
    task = pictures(24)
    found = score("it", build("embedded"), task, folds_for(task), FeatureBank(), seed=0, loading=0.0)
    assert Scored(**json.loads(json.dumps(asdict(found)))) == found


def test_source_probabilities_are_the_networks_own_answers() -> None:
    net, task = build("embedded"), pictures(12)
    found = source_probabilities(net, features_of(net, task))
    assert found is not None
    assert found.shape == (12, 10)
    np.testing.assert_allclose(found, torch.softmax(torch.from_numpy(answers(net, task, "source")), 1), atol=1e-5)
    net.heads.clear()
    assert source_probabilities(net, features_of(net, task)) is None
    net.add_head("one", 4)
    only = source_probabilities(net, features_of(net, task))
    assert only is not None
    assert only.shape == (12, 4)
    net.add_head("two", 4)
    assert source_probabilities(net, features_of(net, task)) is None


def test_identity_is_of_weights_heads_and_input() -> None:
    first = build("embedded")
    assert identity(first) == identity(build("embedded"))
    assert identity(first) != identity(build("embedded", size=64))
    with torch.no_grad():
        first.head("source").linear.bias[0] += 1
    assert identity(first) != identity(build("embedded"))


def test_weights_of_no_use_are_said_to_be_so() -> None:
    net, task = build("embedded"), pictures(12)
    next(net.parameters()).data.fill_(float("nan"))
    with pytest.raises(DataError, match="it gives values that are no finite numbers"):
        score("it", net, task, folds_for(task), FeatureBank(), seed=0, loading=0.0)


def test_a_real_network_tells_colours_apart(shared: Path) -> None:
    """Weights that somebody else published; its classifier is convolutional, so no source classes are left to ask."""
    file = shared / "data/weights/squeezenet1_0_deepcompressed_imagenet_fp16.pt"
    net, task = build("torchvision:squeezenet1_0", weights=file, size=64), pictures(24)
    found = score("squeezenet", net, task, folds_for(task), FeatureBank(), seed=0, loading=0.0)
    assert found.probe > 0.6
    assert found.why_missing["leep"]
