"""Decoded once, stored whole, used again only when it is the same, and never half-written."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import resource
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from data_pictures import animals, fill, picture
from PIL import Image

from headstart.data import decoded as decoded_module
from headstart.data import samples as samples_module
from headstart.data.decode import decode_file, quiet_pillow
from headstart.data.prepare import DataSet, duplicate_groups, prepare
from headstart.data.sources import open_source
from headstart.data.splits import folds
from headstart.errors import DataError, DiskFull, RunError


def make(root: object, cache: Path, size: int = 16, **more: object) -> DataSet:
    return prepare(open_source(root), size=size, cache=cache, **more)  # type: ignore[arg-type]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which files were decoded."""
    seen: list[str] = []
    lock = threading.Lock()

    def counting(path: str, size: int, fit: str) -> object:
        with lock:
            seen.append(os.path.basename(path))
        return decode_file(path, size, fit)

    monkeypatch.setattr(samples_module, "decode_file", counting)
    return seen


def test_store_holds_every_picture_in_order(tmp_path: Path) -> None:
    root = animals(tmp_path / "a")
    made = make(root, tmp_path / "cache")
    assert isinstance(made.store.array, np.memmap)
    assert made.store.array.shape == (8, 16, 16, 3)
    with quiet_pillow():
        for name, row in zip(made.names, made.store.array, strict=True):
            np.testing.assert_array_equal(row, decode_file(root / name, 16).pixels)
    assert made.labels.tolist() == [0] * 4 + [1] * 4
    assert made.store.gather(np.array([2, 0])).shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(np.load(next((tmp_path / "cache").glob("*.npy"))), made.store.array)


def test_task_of_a_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        animals(tmp_path / "a" / split)
    made = make(tmp_path / "a", tmp_path / "cache")
    task = made.task("pets", "test")
    assert task.name == "pets"
    assert task.rows.tolist() == list(range(8, 16))
    assert task.targets.tolist() == [0] * 4 + [1] * 4
    assert task.classes == ("cats", "dogs")
    with pytest.raises(DataError, match=r"split='val'.*train, test"):
        made.task(split="val")


def test_many_chunks_and_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate("abc"):
        fill(tmp_path / "a" / name, range(100 * k, 100 * k + 25))
    steps: list[tuple[int, int]] = []
    one = make(tmp_path / "a", tmp_path / "one", workers=1)
    monkeypatch.setattr(decoded_module, "_CHUNK_BYTES", 3 * 16 * 16 * 3)
    many = make(tmp_path / "a", tmp_path / "many", workers=5, progress=lambda done, total: steps.append((done, total)))
    np.testing.assert_array_equal(one.store.array, many.store.array)
    assert one.fingerprint == many.fingerprint
    assert steps == [(n, 75) for n in range(3, 76, 3)]


def test_decoded_once_and_used_again(tmp_path: Path, reads: list[str]) -> None:
    root = animals(tmp_path / "a")
    first = make(root, tmp_path / "cache")
    assert sorted(reads) == sorted(f"{n}.png" for n in (*range(4), *range(10, 14)))
    second = make(root, tmp_path / "cache")
    assert len(reads) == 8
    np.testing.assert_array_equal(first.store.array, second.store.array)
    assert first.fingerprint == second.fingerprint
    assert first.inspection == second.inspection


def test_the_working_folder_does_not_matter(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make(animals(tmp_path / "a"), tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    make("a", tmp_path / "cache")
    assert len(reads) == 8


@pytest.mark.parametrize("change", ["edit", "touch", "add", "remove", "rename", "size", "fit"])
def test_any_change_decodes_anew_and_leaves_no_old_file(tmp_path: Path, reads: list[str], change: str) -> None:
    root, cache = animals(tmp_path / "a"), tmp_path / "cache"
    old = make(root, cache)
    number = len(reads)
    if change == "edit":
        picture(99).save(root / "cats" / "0.png")
    elif change == "touch":
        os.utime(root / "cats" / "0.png", ns=(1, 1))
    elif change == "add":
        picture(99).save(root / "cats" / "99.png")
    elif change == "remove":
        (root / "cats" / "0.png").unlink()
    elif change == "rename":
        (root / "cats" / "0.png").rename(root / "cats" / "00.png")
    new = make(root, cache, size=12 if change == "size" else 16, fit="pad" if change == "fit" else "squash")
    assert len(reads) == number + len(new)
    expected = decode_file(root / new.names[0], new.store.array.shape[1], "pad" if change == "fit" else "squash").pixels
    np.testing.assert_array_equal(new.store.array[0], expected)
    assert len(list(cache.glob("*.npy"))) == (2 if change in ("size", "fit") else 1)
    assert len(old.store.gather(np.arange(8))) == 8, "an old data set in use stays readable"


def test_pictures_replaced_in_place_are_decoded_anew(tmp_path: Path) -> None:
    """Of one size, and with one time as some archives write it: only the time the system keeps itself tells."""
    root, cache = tmp_path / "a", tmp_path / "cache"

    def written(first: int) -> DataSet:
        for number in range(8):
            file = root / ("cats", "dogs")[number % 2] / f"{number}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(first + number).save(file)
            os.utime(file, (1e9, 1e9))
        return make(root, cache)

    old, new = written(0), written(50)
    assert not np.array_equal(old.store.array, new.store.array)
    np.testing.assert_array_equal(new.store.array[0], decode_file(root / new.names[0], 16, "squash").pixels)


class Pictures:
    """A Dataset of eight pictures, other ones for every seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __len__(self) -> int:
        return 8

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        return picture(10 * self.seed + place), place % 2


def test_a_second_dataset_leaves_the_first_ones_pictures_alone(tmp_path: Path) -> None:
    first, second = make(Pictures(0), tmp_path), make(Pictures(1), tmp_path)
    for data in (first, second):
        again = pickle.loads(pickle.dumps(data.task()))
        np.testing.assert_array_equal(again.store.array, data.store.array)
    assert not np.array_equal(first.store.array, second.store.array)


def test_pictures_of_a_dataset_that_nobody_has_in_use_are_removed(tmp_path: Path) -> None:
    first = make(Pictures(0), tmp_path)
    copied = copy.deepcopy(first.task())
    del first
    gc.collect()
    kept = make(Pictures(1), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2, "a copy has the first in use"
    del copied
    gc.collect()
    last = make(Pictures(2), tmp_path)
    assert {path.with_suffix("") for path in tmp_path.glob("*.np[yz]")} == {
        data.store.file.with_suffix("") for data in (kept, last) if data.store.file
    }


def test_new_labels_alone_decode_nothing(tmp_path: Path, reads: list[str]) -> None:
    fill(tmp_path / "images", range(4))
    for labels in ("abab", "aabb"):
        (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{n}.png,{c}\n" for n, c in enumerate(labels)))
        made = make(tmp_path / "m.csv", tmp_path / "cache")
        assert [made.classes[c] for c in made.labels] == list(labels)
    assert len(reads) == 4


@pytest.mark.parametrize("damage", ["shorter", "longer", "flipped", "gone", "facts", "no facts", "json", "empty json"])
def test_a_damaged_store_is_never_served(tmp_path: Path, reads: list[str], damage: str) -> None:
    root, cache = animals(tmp_path / "a"), tmp_path / "cache"
    good = np.array(make(root, cache).store.array)
    pixels, facts, index = (next(cache.glob(f"*.{s}")) for s in ("npy", "npz", "json"))
    data = bytearray(pixels.read_bytes())
    if damage == "shorter":
        pixels.write_bytes(data[:-1])
    elif damage == "longer":
        pixels.write_bytes(data + b"\0")
    elif damage == "flipped":
        data[-5] ^= 1
        pixels.write_bytes(data)
    elif damage == "gone":
        pixels.unlink()
    elif damage == "facts":
        facts.write_bytes(facts.read_bytes()[:-3] + b"abc")
    elif damage == "no facts":
        facts.unlink()
    else:
        index.write_text("" if damage == "empty json" else json.dumps({**json.loads(index.read_text()), "pixels": 3}))
    again = make(root, cache)
    assert len(reads) == 16
    np.testing.assert_array_equal(again.store.array, good)
    make(root, cache)
    assert len(reads) == 16


def test_an_interrupted_pass_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_module, "_CHUNK_BYTES", 1)

    def stop(done: int, total: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(animals(tmp_path / "a"), tmp_path / "cache", progress=stop)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(DiskFull, match=r"need 6,144 bytes in .*cache: only 1 bytes are free"):
        make(animals(tmp_path / "a"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fills_up_while_writing_is_an_error_and_earlier_files_stay(tmp_path: Path) -> None:
    """The system refuses to let a file grow: what a full disk does, without filling one."""
    root, cache = animals(tmp_path / "a"), tmp_path / "cache"
    before = make(root, cache, size=8)
    files = sorted(cache.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(DiskFull, match="the decoded images need 98,304 bytes"):
            make(root, cache, size=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(cache.iterdir()) == files
    assert len(before.store.gather(np.arange(8))) == 8


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"cache folder .*file/cache cannot be written: Not a directory"):
        make(animals(tmp_path / "a"), tmp_path / "file" / "cache")


def test_bad_files_are_set_aside_and_the_rest_is_renumbered(tmp_path: Path) -> None:
    root = animals(tmp_path / "a" / "train").parent
    animals(root / "test")
    (root / "train" / "cats" / "0.png").write_text("no picture")
    (root / "train" / "dogs" / "12.png").write_bytes(b"")
    (root / "test" / "cats" / "3.png").write_bytes((root / "test" / "cats" / "3.png").read_bytes()[:60])
    for _ in range(2):  # made, then used again
        made = make(root, tmp_path / "cache")
        assert len(made) == len(made.store) == 13
        assert [b.path for b in made.inspection.set_aside] == ["train/cats/0.png", "train/dogs/12.png", "test/cats/3.png"]
        assert made.splits["test"].tolist() == list(range(6, 13))
        assert made.names[0] == "train/cats/1.png"
        np.testing.assert_array_equal(made.store.array[6], decode_file(root / "test" / "cats" / "0.png", 16).pixels)


def test_a_class_that_loses_every_picture_is_an_error(tmp_path: Path) -> None:
    root = animals(tmp_path / "a")
    (root / "mice").mkdir()
    (root / "mice" / "1.jpg").write_text("x")
    (root / "rats").mkdir()
    (root / "rats" / "2.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        make(root, tmp_path / "cache")
    assert "class 'mice' has no readable training image left: mice/1.jpg is not a picture" in str(caught.value)
    assert "class 'rats' has no readable training image left: rats/2.jpg is empty" in str(caught.value)


def test_nothing_readable_at_all(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "x.png").write_text("x")
    with pytest.raises(DataError, match=r"none of its 2 images can be read: a/x\.png is not a picture"):
        make(tmp_path / "a", tmp_path / "cache")


def test_a_test_split_without_a_readable_picture(tmp_path: Path) -> None:
    animals(tmp_path / "a" / "train")
    for name in ("cats", "dogs"):
        (tmp_path / "a" / "test" / name).mkdir(parents=True)
        (tmp_path / "a" / "test" / name / "x.png").write_text("x")
    with pytest.raises(DataError, match="test: none of its images can be read"):
        make(tmp_path / "a", tmp_path / "cache")


def test_vectors_stay_as_they_are(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    vectors[5] = np.nan
    vectors[7] = vectors[1]
    made = make((vectors, np.array([0, 1] * 4)), tmp_path)
    assert len(made) == 7
    np.testing.assert_array_equal(made.store.array, vectors[[0, 1, 2, 3, 4, 6, 7]])
    assert made.inspection.set_aside[0].path == "train[5]"
    assert [c.rows for c in made.inspection.exact] == [(1, 6)]
    assert made.inspection.sizes is None
    assert list(tmp_path.iterdir()) == []
    assert "vector[3]" in str(made.inspection)


def test_fingerprint_depends_on_content_and_labels_not_on_names_or_places(tmp_path: Path) -> None:
    a = make(animals(tmp_path / "a"), tmp_path / "cache")
    b = make(animals(tmp_path / "elsewhere" / "b", ".bmp"), tmp_path / "cache")
    assert a.fingerprint == b.fingerprint
    os.rename(tmp_path / "a" / "cats", tmp_path / "a" / "lions")
    c = make(tmp_path / "a", tmp_path / "cache")
    assert c.fingerprint != a.fingerprint
    assert c.classes == ("dogs", "lions")


def test_copies_never_straddle_folds(tmp_path: Path) -> None:
    root = tmp_path / "a"
    fill(root / "x", range(12))
    fill(root / "y", range(20, 32))
    for n in range(6):
        shutil.copy(root / "x" / f"{n}.png", root / "x" / f"copy {n}.png")
        with Image.open(root / "y" / f"{20 + n}.png") as image:
            image.save(root / "y" / f"copy {n}.bmp")
    made = make(root, tmp_path / "cache")
    groups = duplicate_groups(made)
    task = made.task()
    torn = 0
    for k, joined in ((3, groups[task.rows]), (3, None)):
        for train, valid in folds(task.targets, joined, k, 0):
            sides = [{made.names[task.rows[p]] for p in part} for part in (train, valid)]
            split = [c for c in made.inspection.exact if len({n in sides[0] for n in c.names}) == 2]
            torn += len(split)
            assert joined is None or not split
    assert torn > 0, "without the groups some copies are torn apart"
    assert len(made.inspection.exact) == 12


def test_user_groups_and_copies_are_joined(tmp_path: Path) -> None:
    fill(tmp_path / "images", range(5))
    shutil.copy(tmp_path / "images" / "0.png", tmp_path / "images" / "5.png")
    rows = [("0", "a", "p"), ("1", "b", "p"), ("2", "a", "q"), ("3", "b", ""), ("4", "a", "r"), ("5", "a", "q")]
    (tmp_path / "m.csv").write_text("path,label,group\n" + "".join(f"{n}.png,{c},{g}\n" for n, c, g in rows))
    assert duplicate_groups(make(tmp_path / "m.csv", tmp_path / "cache")).tolist() == [0, 0, 0, 1, 2, 0]


def test_real_folder(shared: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(shared / "data" / "hymenoptera.zip", tmp_path)
    made = make(tmp_path / "hymenoptera", tmp_path / "cache", size=32)
    assert {s: len(r) for s, r in made.splits.items()} == {"train": 244, "test": 153}
    assert made.classes == ("ants", "bees")
    assert not made.inspection.set_aside
    assert 20 < made.store.array[:50].std() < 120
