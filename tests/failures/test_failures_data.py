"""Images that are not what they should be: bad ones are set aside and named; what cannot be learned from is said at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.errors import ConfigError, DataError
from tests.engine.engine_toys import perceptron, resnet
from tests.failures.conftest import SIZE, Run, refused, write_album


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it has 900 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def test_bad_files_are_set_aside_and_named_and_the_rest_is_learned_from(
    adapt: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = photos / "class0"
    good = (here / "0.png").read_bytes()
    (here / "empty.jpg").write_bytes(b"")
    (here / "text.jpg").write_text("this is no picture")
    (here / "half.png").write_bytes(good[: len(good) // 2])
    (here / "folder.jpg").mkdir()
    (here / "locked.png").write_bytes(good)
    bomb(here / "bomb.png")
    os.mkfifo(here / "pipe.png")
    (here / "gone.png").symlink_to(photos / "nowhere.png")
    (here / "itself.png").symlink_to("itself.png")
    (here / "loop").symlink_to(photos)
    (here / "日本 Käfer 🐞.png").write_bytes(_other_picture(1))
    (here / " two  spaces.png").write_bytes(_other_picture(2))
    (here / "a\x1b[31mred.png").write_bytes(b"red")

    def unless_locked(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).endswith("locked.png"):  # for root, who tests as often as not, no file is locked
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain_open(path, *rest, **more)

    plain_open = open
    monkeypatch.setattr("headstart.data.decode.open", unless_locked, raising=False)
    said = adapt(photos)
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err
    assert "set aside" in said.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert summary["data"]["num_images"] == 32
    reasons = {Path(bad["path"]).name: bad["reason"] for bad in summary["data"]["set_aside"]}
    assert set(reasons) == {
        *("empty.jpg", "text.jpg", "half.png", "folder.jpg", "locked.png", "bomb.png", "pipe.png", "gone.png", "itself.png"),
        r"a\x1b[31mred.png",
    }
    for name, word in {
        "empty.jpg": "0 bytes",
        "text.jpg": "not a picture",
        "half.png": "truncated",
        "folder.jpg": "folder",
        "locked.png": "Permission denied",
        "bomb.png": "limit",
        "pipe.png": "never opened",
        "gone.png": "does not exist",
        "itself.png": "symbolic links",
    }.items():
        assert word in reasons[name], reasons[name]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert all(name in page for name in ("empty.jpg", "bomb.png"))


def _other_picture(seed: int) -> bytes:
    from io import BytesIO

    file = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def keep_first(folder: Path, number: int) -> None:
    for path in sorted(folder.iterdir())[number:]:
        path.unlink()


def emptied(photos: Path) -> None:
    keep_first(photos / "class1", 0)


def all_unreadable(photos: Path) -> None:
    for path in (photos / "class1").iterdir():
        path.write_bytes(b"")


def one_image(photos: Path) -> None:
    keep_first(photos / "class1", 1)


def two_images(photos: Path) -> None:
    keep_first(photos / "class1", 2)


def one_class(photos: Path) -> None:
    shutil.rmtree(photos / "class0")
    shutil.rmtree(photos / "class1")


def no_classes(photos: Path) -> None:
    for folder in list(photos.iterdir()):
        for path in folder.iterdir():
            path.rename(photos / path.name)
        folder.rmdir()


def nothing(photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()


def copies(photos: Path) -> None:
    for path in (photos / "class1").iterdir():
        path.write_bytes((photos / "class0" / "0.png").read_bytes())


def all_alike(photos: Path) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(_other_picture(0))


def three_each(photos: Path) -> None:
    for folder in photos.iterdir():
        keep_first(folder, 3)


def foreign_test_class(photos: Path) -> None:
    for folder in list(photos.iterdir()):
        (photos / "train").mkdir(exist_ok=True)
        folder.rename(photos / "train" / folder.name)
    shutil.copytree(photos / "train" / "class0", photos / "test" / "owls")


USELESS: dict[Callable[[Path], None], tuple[str, ...]] = {
    emptied: ("class folder 'class1' is empty", "add images or remove it"),
    all_unreadable: ("class 'class1' has no readable training image left", "0 bytes", "repair them, or remove it"),
    one_image: ("class 'class1' has only one image", "add images or remove the class"),
    two_images: ("class 'class1' has 2 besides the test images, which leaves 1", "add pictures, or take the class out"),
    one_class: ("there is only one class, 'class2'", "at least two class folders"),
    no_classes: ("30 images directly in the folder", "photos/cats/1.jpg"),
    nothing: ("no images found", "it is empty"),
    copies: (
        "all images of class 'class1' are in one group (or are copies of one picture)",
        "add images or remove the class",
    ),
    all_alike: ("no test images can be set aside", "Add pictures, or give a test split"),
    three_each: ("no test images can be set aside: every class has fewer than 5 different pictures", "give a test split"),
    foreign_test_class: (
        "test/ has 1 class that train/ does not have: owls",
        "add training images of them, or take them out",
    ),
}


@pytest.mark.parametrize("spoil", USELESS, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_learned_from_is_said_and_leaves_nothing(
    adapt: Run, photos: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(photos)
    refused(adapt(photos), *USELESS[spoil])
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_folds(adapt: Run, photos: Path) -> None:
    refused(adapt(photos, "--folds", "40"), "40 folds cannot be made", "only 24 images; use at most 24 folds")


def test_classes_too_small_for_the_test_are_learned_from_all_the_same(adapt: Run, photos: Path, tmp_path: Path) -> None:
    keep_first(photos / "class1", 3)
    said = adapt(photos, "--folds", "3")
    assert said.code == 0, said.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    support = {row["class"]: (row["support"], row["recall"]) for row in summary["test"]["per_class"]}
    assert support["class1"] == (0, None)
    assert support["class0"][0] >= 2


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("nothing", None, ("nothing does not exist", "one sub-folder per class")),
        ("deep/nothing", None, ("nor does its folder",)),
        ("photos.zip", b"PK", ("is an archive; unpack it",)),
        ("photo.png", b"", ("is not data that can be read", "one sub-folder per class")),
        ("list.csv", b"path,label\n", ("has no rows",)),
        ("list.csv", b"path,label\nmissing.png,cat\n", ("missing.png does not exist",)),
        ("list.csv", b"one,two\n1,2\n", ("list.csv", "column")),
        ("list.csv", "path,label\nä.png,cat\n".encode("utf-16-le"), ("list.csv",)),
        ("arrays.npz", b"junk", ("cannot be read as an .npz file",)),
    ],
)
def test_data_that_are_none(adapt: Run, tmp_path: Path, name: str, content: bytes | None, parts: tuple[str, ...]) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(adapt(tmp_path / name), *parts)
    assert not (tmp_path / "run").exists()


def test_columns_of_what_has_none(adapt: Run, photos: Path) -> None:
    refused(adapt(photos, "--label-column", "what"), "columns can be chosen for a CSV file only", "label_column='what'")


def images_and_labels(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 255, (count, SIZE, SIZE, 3)).astype(np.uint8), np.arange(count) % 3


def test_arrays_given_from_python_that_cannot_be(tmp_path: Path) -> None:
    x, y = images_and_labels()
    out = tmp_path / "run"
    for data, words in [
        ((x, y[:-1]), "24 images but 23 labels"),
        ((x, np.zeros(24, int)), "only one class, '0'"),
        ((x, np.arange(24)), "no test images can be set aside"),
        ((x, np.eye(3)[y]), "one class per image"),
        ([x, y], "pairs are needed"),
        ({"train": x}, "pairs are needed"),
        (7, "give an image folder"),
    ]:
        with pytest.raises(DataError, match=words):
            headstart.adapt(data, resnet(SIZE), out=out)
    assert not out.exists()


def test_vectors_and_images_are_not_taken_for_one_another(tmp_path: Path) -> None:
    x, y = images_and_labels()
    vectors = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
    with pytest.raises(ConfigError, match=r"vectors of 6 numbers.*images of 12 px"):
        headstart.adapt((vectors, y), resnet(SIZE), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"images.*vectors of 6 numbers"):
        headstart.adapt((x, y), perceptron(), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"vectors of 4 numbers.*vectors of 6 numbers"):
        headstart.adapt((vectors[:, :4], y), perceptron(), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="no default network"):
        headstart.adapt((vectors, y), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_relative_album_next_to_the_run(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cd photos; headstart adapt .` would make the run a class of its own images."""
    write_album(tmp_path / "photos", 30)
    monkeypatch.chdir(tmp_path / "photos")
    said = adapt(".", "--out", "runs/adapt")
    refused(said, "--out runs/adapt lies in the folder of the images", "choose a folder outside of it")
    assert not Path("runs").exists()
