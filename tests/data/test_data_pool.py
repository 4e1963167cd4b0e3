"""Images to pretrain on: labels are welcome and not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.pool import read_pool
from headstart.data.pool_sources import open_pool
from headstart.data.prepare import DataSet
from headstart.errors import DataError

DRAW = np.random.default_rng(0)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 9, 3)).astype(np.uint8)).save(path)


def album(root: Path, names: dict[str, int]) -> Path:
    number = 0
    for folder, count in names.items():
        for place in range(count):
            picture(root / folder / f"{place}.png", number := number + 1)
    return root


def read(data: Any, tmp: Path, **how: Any) -> DataSet:
    return read_pool(open_pool(data, **how), size=8, cache=tmp / "cache")


def test_a_flat_folder_and_a_deep_one_have_no_labels(tmp_path: Path):
    flat = read(album(tmp_path / "flat", {"": 5}), tmp_path)
    deep = read(album(tmp_path / "deep", {"a/b/c": 3, "a/d": 2}), tmp_path)
    for data in (flat, deep):
        assert len(data) == 5
        assert (data.labels == -1).all()
        assert data.classes == ()
        assert data.splits["train"].tolist() == list(range(5))
        assert data.inspection.num_classes == 0
        assert not data.inspection.warnings


def test_class_folders_are_labels_unless_they_are_not_wanted(tmp_path: Path):
    root = album(tmp_path / "photos", {"cats": 4, "dogs/old": 3})
    data = read(root, tmp_path)
    assert data.classes == ("cats", "dogs")
    assert np.bincount(data.labels).tolist() == [4, 3]
    without = read(root, tmp_path, labels=False)
    assert (without.labels == -1).all()
    assert len(without) == 7


def test_images_beside_class_folders_are_learned_from_without_a_label(tmp_path: Path):
    root = album(tmp_path / "photos", {"train/cats": 4, "train/dogs": 3, "test/cats": 2, "test/dogs": 2, "more": 5, "": 1})
    picture(root / "test" / "stray.png", 99)
    data = read(root, tmp_path)
    assert len(data.splits["train"]) == 13
    assert len(data.splits["test"]) == 4
    assert (data.labels == -1).sum() == 6
    assert not [text for text in data.inspection.warnings if "no label" in text]


def test_a_table_may_leave_labels_out(tmp_path: Path):
    album(tmp_path / "images", {"": 6})
    table = tmp_path / "some.csv"
    rows = [f"{n}.png,{label},{n // 2}" for n, label in enumerate(["x", "y", "", "", "x", "y"])]
    table.write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    data = read(table, tmp_path)
    assert data.labels.tolist() == [0, 1, -1, -1, 0, 1]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 0, 1, 1, 2, 2]
    table.write_text("file\n" + "\n".join(f"{n}.png" for n in range(6)) + "\n")
    assert (read(table, tmp_path).labels == -1).all()
    with pytest.raises(DataError, match="label_column='kind' is not"):
        open_pool(table, columns={"label": "kind"})


@pytest.mark.parametrize("form", ["array", "pair", "mapping", "npz", "dataset", "unknown"])
def test_images_in_memory_need_no_labels(form: str, tmp_path: Path):
    images = DRAW.integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
    data: Any = {
        "array": images,
        "pair": (images, None),
        "mapping": {"images_train": images, "images_test": images[:2]},
        "npz": tmp_path / "images.npz",
        "dataset": [Image.fromarray(one) for one in images],
        "unknown": (images, np.full(6, -1)),
    }[form]
    if form == "npz":
        np.savez(data, images=images)
    found = read(data, tmp_path)
    assert (found.labels == -1).all()
    assert len(found.splits["train"]) == 6


def test_labels_in_memory_are_found_and_can_be_left_out(tmp_path: Path):
    images, labels = DRAW.integers(0, 255, (6, 8, 8, 3)).astype(np.uint8), np.array([0, 1, 0, 1, -1, -1])
    assert read((images, labels), tmp_path).labels.tolist() == [0, 1, 0, 1, -1, -1]
    assert (read((images, labels), tmp_path, labels=False).labels == -1).all()
    pairs = [(Image.fromarray(one), int(label)) for one, label in zip(images[:4], labels[:4], strict=True)]
    assert read(pairs, tmp_path).labels.tolist() == [0, 1, 0, 1]
    assert (read(pairs, tmp_path, labels=False).labels == -1).all()


def test_labels_of_one_class_alone_are_forgotten_aloud(tmp_path: Path):
    images = DRAW.integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
    data = read((images, np.array([2, 2, 2, -1, -1, -1])), tmp_path)
    assert (data.labels == -1).all()
    assert any("only one class" in text for text in data.inspection.warnings)


def test_copies_with_and_without_a_label_are_no_contradiction(tmp_path: Path):
    images = DRAW.integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
    images[4] = images[0]
    data = read((images, np.array([0, 1, 0, 1, -1, -1])), tmp_path)
    assert not data.inspection.conflicts
    assert not [text for text in data.inspection.warnings if "different labels" in text or "largest class" in text]


def test_what_holds_no_image_is_said(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_pool(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        open_pool(tmp_path / "nothing")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_text("no picture")
    with pytest.raises(DataError, match="none of its 1 image can be read"):
        read(tmp_path / "bad", tmp_path)
