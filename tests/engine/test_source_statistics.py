"""Statistics of features: against NumPy, to disk and back, refused for other weights, found where they belong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headstart.data.task import Task
from headstart.engine.features import FeatureBank
from headstart.engine.model import Card, Model, read_card
from headstart.engine.source_statistics import (
    STATISTICS,
    SourceStatistics,
    backbone_digest,
    embedded_statistics,
    evenly,
    last_features,
    source_statistics,
    statistics_from_data,
    statistics_from_task,
    statistics_of,
)
from headstart.errors import DataError, ModelFileError
from headstart.nets.build import build
from headstart.nets.net import Net
from tests.conftest import images, make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet

NAMES = ("ant", "bee", "wasp", "nobody")


def features(count: int = 40, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count)
    return (rng.normal(size=(count, width)) + 2 * labels[:, None]).astype(np.float32), labels


def equal(a: SourceStatistics, b: SourceStatistics) -> bool:
    arrays = ("mean", "covariance", "class_means", "class_counts")
    same = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
    return same and (a.block, a.images, a.classes, a.backbone) == (b.block, b.images, b.classes, b.backbone)


def test_they_are_what_numpy_says() -> None:
    f, labels = features()
    found = statistics_of(f, labels, NAMES, "top")
    np.testing.assert_allclose(found.mean, f.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(f, rowvar=False), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.class_means[:3], [f[labels == c].mean(0) for c in range(3)], rtol=1e-5)
    assert not found.class_means[3].any()
    assert found.class_counts.tolist() == [*np.bincount(labels), 0]
    assert {found.mean.dtype, found.covariance.dtype, found.class_means.dtype} == {np.dtype(np.float32)}
    expected = sum((labels == c).sum() - 1 for c in range(3))
    pooled = sum((f[labels == c] - f[labels == c].mean(0)).T @ (f[labels == c] - f[labels == c].mean(0)) for c in range(3))
    np.testing.assert_allclose(found.within(), pooled / expected, rtol=1e-3, atol=1e-4)


def test_within_classes_nothing_is_known_of_single_images_or_unlabelled_ones() -> None:
    f, labels = features()
    assert statistics_of(f[:4], np.arange(4), NAMES, "top").within() is None
    labels[0] = -1
    found = statistics_of(f, labels, NAMES, "top")
    assert found.class_counts.sum() == 39
    assert found.within() is None
    assert statistics_of(f, np.full(40, -1), (), "top").class_means.shape == (0, 5)


@pytest.mark.parametrize("names", [NAMES, ()])
def test_to_disk_and_back(tmp_path: Path, names: tuple[str, ...]) -> None:
    f, labels = features()
    kept = statistics_of(f, labels if names else np.full(40, -1), names, "top", backbone="abc")
    kept.save(tmp_path / STATISTICS)
    assert equal(SourceStatistics.load(tmp_path / STATISTICS), kept)
    assert [path.name for path in tmp_path.iterdir()] == [STATISTICS]


def test_damage_and_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / STATISTICS
    statistics_of(*features(), NAMES, "top").save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match=r"damaged.*works without it"):
        SourceStatistics.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="not written by headstart"):
        SourceStatistics.load(path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        SourceStatistics.load(tmp_path / "missing")


def test_unusable_features_are_named() -> None:
    f, labels = features()
    with pytest.raises(DataError, match="at least two rows"):
        statistics_of(f[:1], labels[:1], NAMES, "top")
    with pytest.raises(DataError, match="one label per row"):
        statistics_of(f, labels[:-1], NAMES, "top")
    with pytest.raises(DataError, match=r"within -1\.\.1"):
        statistics_of(f, labels, NAMES[:2], "top")
    f[3, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        statistics_of(f, labels, NAMES, "top")


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_a_pass_gives_what_the_bank_gives(kind: str) -> None:
    net, task = (resnet(), make_image_task(size=12)) if kind == "images" else (perceptron(), make_vector_task())
    some = task.take(np.array([5, 3, 40, 7]))
    banked_f = FeatureBank().get(net, some.store, some.rows, [net.last])[net.last]
    # other images share the batch there, which changes rounding
    np.testing.assert_allclose(last_features(net, some.store, some.rows), banked_f, rtol=1e-5, atol=1e-6)
    alone, banked = statistics_from_task(net, task), statistics_from_task(net, task, bank=FeatureBank())
    np.testing.assert_allclose(alone.covariance, banked.covariance, rtol=1e-4, atol=1e-7)
    assert (alone.images, alone.block, alone.classes) == (48, net.last, task.classes)
    assert statistics_from_task(net, task, limit=9).images == 9
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(9, 5).tolist() == [0, 2, 4, 6, 8]


def test_the_hash_knows_weights_buffers_and_input_but_not_heads() -> None:
    net = resnet()
    first = backbone_digest(net)
    net.add_head("toy", 3)
    assert backbone_digest(net) == first == backbone_digest(resnet())
    assert backbone_digest(resnet(size=16)) != first
    with torch.no_grad():
        next(iter(net.blocks.buffers())).add_(1)
    assert backbone_digest(net) != first


@pytest.fixture
def model() -> Model:
    net, task = resnet(), make_image_task(size=12)
    net.add_head("toy", 3)
    return Model(net, Card("toy", task.classes, "pad", (), "0.1.0"), statistics_from_task(net, task))


def test_a_saved_model_brings_them(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "run" / "model")
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text("utf-8"))
    assert card["statistics"] == {"file": STATISTICS, "images": 48, "block": model.net.last}
    again = Model.load(tmp_path / "run")
    assert model.statistics is not None
    assert again.statistics is not None
    assert equal(again.statistics, model.statistics)
    assert again.card == model.card == read_card(tmp_path / "run" / "model")
    assert "48 images" in model.describe()
    for place in ("run", "run/model"):
        found = source_statistics(build(tmp_path / "run" / "model"), tmp_path / place)
        assert found is not None
        assert equal(found, model.statistics)


def test_those_of_other_weights_are_refused(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert model.statistics is not None
    other = statistics_from_task(resnet(width=8), make_image_task(size=12))
    other.save(tmp_path / STATISTICS)
    with pytest.raises(ModelFileError, match=r"statistics of other weights.*--source"):
        Model.load(tmp_path)
    assert source_statistics(model.net, tmp_path) is None
    (tmp_path / STATISTICS).unlink()  # as the message says
    assert Model.load(tmp_path).statistics is None


def test_a_model_without_them_loads_and_removes_those_of_another(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    Model(model.net, model.card).save(tmp_path)
    assert not (tmp_path / STATISTICS).exists()
    again = Model.load(tmp_path)
    assert again.statistics is None
    assert again.card.statistics is None
    kept = json.loads((tmp_path / "card.json").read_text("utf-8"))
    del kept["statistics"]  # cards written before there were any
    (tmp_path / "card.json").write_text(json.dumps(kept))
    assert Model.load(tmp_path).statistics is None


def test_the_embedded_network_carries_its_own_until_it_is_trained_or_resized() -> None:
    net = build("embedded")
    found = source_statistics(net)
    assert found is not None
    assert (found.images, len(found.classes), len(found.mean)) == (50_000, 10, 64)
    assert found.class_counts.tolist() == [5_000] * 10
    assert np.linalg.eigvalsh(found.covariance.astype(np.float64))[0] > -1e-5
    assert source_statistics(net, "embedded") is not None
    assert source_statistics(build("embedded", size=48)) is None
    with torch.no_grad():
        next(net.blocks.parameters()).mul_(1.01)
    assert source_statistics(net) is None
    assert source_statistics(resnet()) is None
    assert embedded_statistics().stat().st_size < 30_000


def folder_of(root: Path, classes: int, each: int) -> Path:
    pixels, labels = images(classes * each, classes, 12)
    for place, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        path = root / (f"class{label}" if classes > 1 else "") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path)
    return root


def test_a_source_that_the_user_names(tmp_path: Path) -> None:
    net, root = resnet(), folder_of(tmp_path / "source", 3, 8)
    look = statistics_from_data(net, root, cache=tmp_path / "cache")
    assert look.features.shape == (24, len(look.statistics.mean))
    assert look.statistics.class_counts.tolist() == [8, 8, 8]
    assert look.statistics.belongs_to(net)
    few = statistics_from_data(net, str(root), cache=tmp_path / "few", limit=6)
    assert few.statistics.class_counts.tolist() == [2, 2, 2]
    np.testing.assert_allclose(few.statistics.mean, few.features.mean(0), rtol=1e-5)
    banked = statistics_from_data(net, root, cache=tmp_path / "cache", bank=FeatureBank())
    np.testing.assert_allclose(banked.features, look.features, rtol=1e-4, atol=1e-6)


def test_a_source_without_class_folders(tmp_path: Path) -> None:
    look = statistics_from_data(resnet(), folder_of(tmp_path / "flat", 1, 9), cache=tmp_path / "cache")
    assert (look.statistics.images, look.statistics.classes, look.statistics.within()) == (9, (), None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--source .*empty holds 0 images"):
        statistics_from_data(resnet(), tmp_path / "empty", cache=tmp_path / "cache")


@pytest.mark.parametrize(("net", "task"), [(resnet(), make_vector_task()), (perceptron(), make_image_task(size=12))])
def test_a_source_of_another_kind_is_an_error(net: Net, task: Task, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the network takes"):
        statistics_from_data(net, task, cache=tmp_path)
