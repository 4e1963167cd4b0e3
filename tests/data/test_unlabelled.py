"""Images without labels: all below a folder, whatever its layout; copies of others are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.store import store_of
from headstart.data.unlabelled import copies_of, read_unlabelled
from headstart.errors import DataError
from tests.conftest import images


def write(folder: Path, count: int = 5) -> np.ndarray:
    pixels, _ = images(count, 3, 12)
    for place, picture in enumerate(pixels):
        path = folder / ("" if place % 2 else "some class") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return pixels


def test_every_picture_below_a_folder_is_read(tmp_path: Path) -> None:
    pixels = write(tmp_path / "more")
    (tmp_path / "more" / "broken.png").write_bytes(b"nothing")
    ticks: list[tuple[int, int]] = []
    store, bad = read_unlabelled(
        tmp_path / "more", size=12, fit="squash", cache=tmp_path / "cache", progress=lambda *at: ticks.append(at)
    )
    assert len(store) == 5
    assert [Path(one.path).name for one in bad] == ["broken.png"]
    assert {picture.tobytes() for picture in store.array} == {picture.tobytes() for picture in pixels}
    assert ticks[-1] == (6, 6)
    again, _ = read_unlabelled(tmp_path / "more", size=12, fit="squash", cache=tmp_path / "cache")
    assert again.fingerprint == store.fingerprint


def test_copies_are_found(tmp_path: Path) -> None:
    pixels = write(tmp_path / "more")
    store, _ = read_unlabelled(tmp_path / "more", size=12, fit="squash", cache=tmp_path / "cache")
    others = store_of(pixels[:3])
    found = copies_of(store, others, np.array([0, 2]))
    assert found.sum() == 2
    assert all(any((store.array[at] == pixels[n]).all() for n in (0, 2)) for at in np.flatnonzero(found))


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for name, said in (("empty", "no image"), ("file.txt", "is a file"), ("lost", "does not exist")):
        with pytest.raises(DataError, match=said):
            read_unlabelled(tmp_path / name, size=12, fit="squash", cache=tmp_path / "cache")
