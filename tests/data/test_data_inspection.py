"""Everything planted in a data set is found, told once, and comes with a remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_pictures import animals, fill, picture
from PIL import Image

from headstart.data.inspection import Inspection
from headstart.data.prepare import inspect_data
from headstart.errors import DataError


def about(found: Inspection, *words: str) -> str:
    """The one warning with all of `words`."""
    (line,) = [w for w in found.warnings if all(word in w for word in words)]
    return line


def test_counts_sizes_and_formats(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "a", range(12))
    fill(tmp_path / "train" / "b", range(20, 32))
    fill(tmp_path / "test" / "a", range(40, 43))
    fill(tmp_path / "test" / "b", range(50, 51))
    picture(60, 100, 40).convert("L").save(tmp_path / "train" / "a" / "wide.png")
    found = inspect_data(tmp_path, size=16)
    assert (found.num_images, found.num_classes) == (29, 2)
    assert found.counts == {"train": {"a": 13, "b": 12}, "test": {"a": 3, "b": 1}}
    assert found.sizes is not None
    assert found.sizes.width == (24, 24.0, 100)
    assert found.sizes.height == (16, 16.0, 40)
    assert found.sizes.wide_share == pytest.approx(1 / 29)
    assert found.modes == {"RGB": 28, "L": 1}
    assert found.imbalance == pytest.approx(13 / 12)
    assert found.warnings == ()


def test_planted_copies_leaks_and_contradictions_are_found(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("test", 100)):
        fill(tmp_path / split / "a", range(start, start + 12))
        fill(tmp_path / split / "b", range(start + 50, start + 62))
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "a" / "0.png", train / "a" / "copy.png")
    with Image.open(train / "b" / "50.png") as image:
        image.save(test / "b" / "leak.bmp")
    shutil.copy(train / "a" / "1.png", train / "b" / "contradiction.png")
    picture(2, 240, 160).save(train / "a" / "large.png")
    picture(2, 120, 80).save(test / "a" / "small.jpg", quality=80)
    found = inspect_data(tmp_path, size=32)
    assert [c.names for c in found.exact] == [
        ("train/a/0.png", "train/a/copy.png"),
        ("train/a/1.png", "train/b/contradiction.png"),
        ("train/b/50.png", "test/b/leak.bmp"),
    ]
    assert [set(c.names) for c in found.near] == [{"train/a/2.png", "train/a/large.png", "test/a/small.jpg"}]
    assert {c.kind for c in found.leaks} == {"exact", "near"}
    (conflict,) = found.conflicts
    assert conflict.labels == ("a", "b")
    assert "train/b/50.png, test/b/leak.bmp" in about(found, "1 picture is in more than one of train/test")
    about(found, "1 nearly identical picture is in more than one of")
    about(found, "different labels", "train/b/contradiction.png", "as a, b", "take the other out")
    about(found, "2 sets of identical or nearly identical pictures within a split")


def test_groups_in_several_splits(tmp_path: Path) -> None:
    fill(tmp_path / "images", range(8))
    rows = zip(range(8), "abababab", "ppqqrrqs", ["train"] * 6 + ["test"] * 2, strict=True)
    (tmp_path / "m.csv").write_text("path,label,patient,split\n" + "".join(f"{n}.png,{c},{g},{s}\n" for n, c, g, s in rows))
    found = inspect_data(tmp_path / "m.csv")
    (leak,) = found.leaks
    assert (leak.kind, leak.what, leak.rows) == ("group", "q", (2, 3, 6))
    about(found, "1 group is in more than one of train/test", "first: q")


def test_weak_spots_of_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "many", range(30))
    fill(tmp_path / "train" / "few", range(40, 43))
    fill(tmp_path / "train" / "one", range(50, 51))
    fill(tmp_path / "test" / "many", range(60, 62))
    found = inspect_data(tmp_path)
    about(found, "only one training image of one", "add images")
    about(found, "fewer than 10 training images of few")
    about(found, "30 times as many", "class weights")
    about(found, "test has no image of few, one")


def test_a_class_written_in_two_ways(tmp_path: Path) -> None:
    for place, name in enumerate(("Grey Wolf", "grey_wolf", "dog", "dogs")):
        fill(tmp_path / name, range(20 * place, 20 * place + 12))
    said = about(inspect_data(tmp_path, size=16), "differ only in how they are written")
    assert "'Grey Wolf' and 'grey_wolf'" in said
    assert "dog" not in said


def test_shapes_that_the_fit_spoils(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for n in range(10):
            picture(ord(name) * 100 + n, 200, 60).save(tmp_path / name / f"{n}.png")
    about(inspect_data(tmp_path, size=32), "100% of the images", "squeezed", "fit=pad")
    about(inspect_data(tmp_path, size=32, fit="crop"), "cut down to their middle")
    assert not inspect_data(tmp_path, size=32, fit="pad").warnings
    about(inspect_data(tmp_path, size=200, fit="pad"), "far smaller than the working size of 200 px")


def test_set_aside_and_ignored_are_listed_together(tmp_path: Path) -> None:
    root = animals(tmp_path / "a")
    (root / "cats" / "bad.jpg").write_text("x")
    (root / "cats" / "folder.png").mkdir()
    (root / "notes.md").write_text("x")
    found = inspect_data(root)
    assert [b.path for b in found.set_aside] == ["cats/folder.png", "cats/bad.jpg"]
    assert found.ignored == ("notes.md",)
    about(found, "2 samples were set aside", "repair, label or delete")


def test_prints_and_becomes_json(tmp_path: Path) -> None:
    root = animals(tmp_path / "tiere \u00fc")
    (root / "cats" / "bad.jpg").write_text("x")
    shutil.copy(root / "cats" / "0.png", root / "cats" / "copy.png")
    found = inspect_data(root)
    again = json.loads(json.dumps(found.to_json()))
    assert again["set_aside"] == [{"path": "cats/bad.jpg", "reason": "is not a picture in a format that can be read"}]
    assert again["exact"][0]["names"] == ["cats/0.png", "cats/copy.png"]
    assert again["num_images"] == 9
    text = str(found)
    for line in ("9 images in 2 classes", "cats         5", "all          9", "cats/bad.jpg: is not a picture", "warnings:"):
        assert line in text


def test_many_classes_print_in_a_screenful(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (300, 4, 4, 3), np.uint8)
    text = str(inspect_data((x, np.arange(300) % 150), size=8))
    assert len(text.splitlines()) < 60
    assert "... 110 more" in text


def test_columns_and_cache_are_passed_on(tmp_path: Path) -> None:
    fill(tmp_path / "images", range(4))
    (tmp_path / "m.csv").write_text("p,l\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    found = inspect_data(tmp_path / "m.csv", path_column="p", label_column="l", cache=tmp_path / "cache")
    assert found.num_images == 4
    assert len(list((tmp_path / "cache").iterdir())) == 3
    with pytest.raises(DataError, match="its columns are"):
        inspect_data(tmp_path / "m.csv")
