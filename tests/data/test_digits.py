"""The bundled digits as an image folder: every pixel of the original, split class by class, whole or not at all."""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.data import digits
from headstart.data.digits import digit_files, write_digits
from headstart.errors import DataError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "a" / "demo-data")


def test_every_pixel_of_the_original_is_there(written: Path) -> None:
    original = load_digits()
    files = sorted(written.glob("*/*/*.png"), key=lambda path: path.name)
    assert [int(path.stem) for path in files] == list(range(len(original.target)))
    assert [int(path.parent.name) for path in files] == original.target.tolist()
    for path, pixels in zip(files, original.images, strict=True):
        with Image.open(path) as image:
            assert image.mode == "L"
            # 16 grey steps spread over 0 to 255: 15.9375 apart, so the original comes back exactly.
            assert np.array_equal(np.rint(np.asarray(image, float) * 16 / 255), pixels)


def test_a_quarter_of_every_class_is_for_the_test() -> None:
    parts = Counter(tuple(name.split("/")[:2]) for name in digit_files())
    for label in map(str, range(10)):
        test, train = parts["test", label], parts["train", label]
        assert abs(test - 0.25 * (test + train)) <= 0.5


def test_the_same_in_every_call_and_mixed_within_a_class() -> None:
    names = list(digit_files())
    assert names == list(digit_files())
    places = [int(Path(name).stem) for name in names if name.startswith("test")]
    assert 700 < np.mean(places) < 1100  # not the first or last quarter, which other writers wrote


def test_what_is_there_already_is_kept(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert write_digits(written) == written
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    assert len(list(write_digits(tmp_path / "digits").glob("*/*/*.png"))) == 1797
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]  # nothing temporary is left


@pytest.mark.parametrize("change", ["extra", "missing", "pixels", "garbage", "file"])
def test_something_else_in_the_way_is_refused_and_untouched(written: Path, tmp_path: Path, change: str) -> None:
    place = tmp_path / "digits"
    if change == "file":
        place.write_text("mine")
    else:
        shutil.copytree(written, place)
        victim = next((place / "train" / "3").iterdir())
        match change:
            case "extra":
                (place / "notes.txt").write_text("mine")
            case "missing":
                victim.unlink()
            case "pixels":
                Image.new("L", (8, 8), 7).save(victim)
            case "garbage":
                victim.write_text("no picture")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="--data-folder"):
        write_digits(place)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_packing_of_the_same_pictures_is_the_same(written: Path, tmp_path: Path) -> None:
    """A later Pillow may compress otherwise; the demonstration must not then refuse its own folder."""
    place = tmp_path / "digits"
    shutil.copytree(written, place)
    for path in (place / "test" / "5").iterdir():
        with Image.open(path) as image:
            image.load()
            image.save(path, "PNG", compress_level=0)
    assert write_digits(place) == place


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        places = list(pool.map(write_digits, [tmp_path / "digits"] * 3))
    assert places == [tmp_path / "digits"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(digits.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_digits(tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []
