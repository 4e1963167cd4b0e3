"""A saved model answers as it did before, names what it could not read, and tells where it came from."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.engine.model import Ancestor, Card, Model, saved_card
from headstart.engine.predictions import Predictions
from headstart.errors import DataError, ModelFileError
from headstart.nets.rng import forked
from tests.conftest import make_image_task
from tests.engine.engine_toys import perceptron, resnet

ANCESTORS = (
    Ancestor("resnet-8", "retrain", "squares", "aa11"),
    Ancestor("toy", "lpft", "shapes", "bb22", {"epochs": 2}, 0.9, (0.85, 0.93)),
)


@pytest.fixture
def model() -> Model:
    net = resnet()
    head = net.add_head("toy", 3)
    with forked(0), torch.no_grad():
        head.linear.weight.normal_()
        head.calibration.copy_(torch.tensor([0.5, 0.1]))
    return Model(net, Card("toy", ("ant", "bee", "wasp"), "pad", ANCESTORS, "0.1.0"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, pixels in enumerate(make_image_task(4, size=12).store.array):
        Image.fromarray(pixels).save(pictures / f"{number} ä.png")
    (pictures / "text.jpg").write_text("not a picture")
    return pictures


def test_saved_and_loaded_it_answers_the_same_to_the_bit(model: Model, tmp_path: Path) -> None:
    samples = make_image_task(9, size=12).store.array
    expected = model.probabilities(samples)
    assert model.save(tmp_path / "run" / "model") == tmp_path / "run" / "model"
    for place in ("run/model", "run"):
        again = Model.load(tmp_path / place)
        assert again.card == model.card
        np.testing.assert_array_equal(again.probabilities(samples), expected)
    assert saved_card(str(tmp_path / "run")) == model.card
    assert saved_card("timm:resnet18") is None
    assert saved_card(None) is None


def test_probabilities_are_the_calibrated_softmax_and_no_batch_matters(model: Model) -> None:
    samples = make_image_task(9, size=12).store.array
    found = model.probabilities(samples)
    x = (samples / 255.0 - model.net.input.mean) / model.net.input.std
    with torch.no_grad():
        logits = model.net(torch.from_numpy(x).float().permute(0, 3, 1, 2), "toy").double().numpy()
    powers = np.exp(0.5 * logits + 0.1)
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(model.probabilities(samples, batch_size=2), found, rtol=1e-4)
    assert model.probabilities(samples[:0]).shape == (0, 3)


def test_files_folders_and_arrays_get_the_same_answers(model: Model, folder: Path) -> None:
    pixels = make_image_task(4, size=12).store.array
    by_folder, by_array = model.predict(folder), model.predict(pixels)
    by_files = model.predict(sorted(folder.glob("*.png")))
    assert [row.probabilities for row in by_folder.rows] == [row.probabilities for row in by_array.rows]
    assert [row.labels for row in by_files.rows] == [row.labels for row in by_array.rows]
    assert [Path(row.path).name for row in by_folder.rows] == [f"{number} ä.png" for number in range(4)]
    assert [Path(bad.path).name for bad in by_folder.unreadable] == ["text.jpg"]
    for row in by_folder.rows:
        assert row.probabilities == sorted(row.probabilities, reverse=True)
        assert sum(row.probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (99, 3), (0, 1)])
def test_the_likeliest_so_many(model: Model, asked: int, given: int) -> None:
    row = model.predict(make_image_task(1, classes=1, size=12).store.array, top_k=asked).rows[0]
    assert len(row.labels) == len(row.probabilities) == given


def test_tables_json_and_csv_hold_the_same(model: Model, folder: Path) -> None:
    found = model.predict(folder, top_k=2)
    kept = json.loads(json.dumps(found.to_json()))
    assert [row["labels"] for row in kept["predictions"]] == [row.labels for row in found.rows]
    assert len(kept["unreadable"]) == 1
    rows = list(csv.reader(io.StringIO(found.to_csv())))
    assert rows[0] == ["path", "label_1", "probability_1", "label_2", "probability_2"]
    assert [row[1] for row in rows[1:]] == [row.labels[0] for row in found.rows]
    assert "text.jpg  not read" in str(found)
    assert Predictions([], []).to_csv().splitlines()[0].startswith("path,")


def test_nothing_to_look_at_is_an_error(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in"):
        model.predict(tmp_path)
    with pytest.raises(DataError, match="empty list"):
        model.predict([])


def test_an_array_may_be_one_picture_or_several(model: Model) -> None:
    colour = make_image_task(4, size=12).store.array
    opaque = np.concatenate([colour, np.full_like(colour[..., :1], 255)], -1)
    expected = model.predict(colour[:1]).to_json()
    assert model.predict(colour[0]).to_json() == expected
    assert model.predict(opaque[0]).to_json() == expected
    grey = model.predict(colour[..., 0])
    assert len(grey.rows) == 4
    assert grey.to_json() == model.predict(colour[..., :1]).to_json()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 4, 4), r"shape \(5, 4, 4\) is one picture .* or 5 grey ones: give images\[None\] .* images\[..., None\]"),
        ((0, 12, 12, 3), r"no images in an array of shape \(0, 12, 12, 3\)"),
        ((0,), r"no images in an array of shape \(0,\)"),
        ((2, 12, 12, 5), r"the array has an image that cannot be used: it has shape \(12, 12, 5\)"),
    ],
)
def test_arrays_that_cannot_be_answered_are_named(model: Model, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        model.predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("given", [torch.zeros(2, 12, 12, 3), [Image.new("RGB", (12, 12))], Image.new("RGB", (12, 12)), 3])
def test_what_is_neither_file_nor_array_is_named(model: Model, given: Any) -> None:
    with pytest.raises(DataError, match=r"images are given as (Tensor|Image|int); give files, folders or a NumPy array"):
        model.predict(given)


def test_the_card_tells_the_chain_of_ancestors(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    text = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in ("1. **resnet-8** by *retrain* on squares (`aa11`)", "2. **toy** by *lpft*", "0.9000 (0.8500 to 0.9300)"):
        assert part in text


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"head": 1}'])
def test_a_damaged_card_is_named(model: Model, tmp_path: Path, content: str) -> None:
    model.save(tmp_path)
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"card\.json is damaged"):
        Model.load(tmp_path)


def test_a_card_of_other_classes_than_the_networks_is_named(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "card.json").write_text(json.dumps({**card, "classes": card["classes"][:2]}))
    with pytest.raises(ModelFileError, match=r"card\.json names 2 classes, the network answers 3"):
        Model.load(tmp_path)


def test_without_the_file_of_its_statistics_a_model_has_none(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    about = {"file": "source_statistics.safetensors", "images": 9, "block": "pool"}
    (tmp_path / "card.json").write_text(json.dumps({**card, "statistics": about}))
    assert Model.load(tmp_path).statistics is None


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"not a saved model.*model/ folder"):
        Model.load(tmp_path)


def test_no_vectors_are_no_answer() -> None:
    net = perceptron()
    net.add_head("toy", 2)
    with pytest.raises(DataError, match="no images in an array of shape"):
        Model(net, Card("toy", ("a", "b"), "squash", (), "0.1.0")).predict(np.zeros((0, 6), np.float32))


def test_vectors_are_answered_too() -> None:
    net = perceptron()
    net.add_head("toy", 2)
    model = Model(net, Card("toy", ("no", "yes"), "pad", (), "0"))
    rows = model.predict(np.zeros((3, 6), np.float32)).rows
    assert [row.probabilities for row in rows] == [[0.5, 0.5]] * 3
