"""Which images an exported file is checked on: never those that calibrate it, and those that `adapt` sets aside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.prepare import prepare
from headstart.data.sources import open_source
from headstart.engine.log import SILENT
from headstart.errors import ConfigError, DataError
from headstart.export.pictures import NEVER, Wanted, drawn, of_run, parted, pictures
from headstart.nets.net import InputSpec
from headstart.studies.splitting import split
from tests.conftest import images
from tests.export.toys import CLASSES

WANTED = Wanted(InputSpec(16), "squash", 1000, 1000, 0)


def rows(stack: np.ndarray) -> set[bytes]:
    return {one.tobytes() for one in stack}


def test_the_test_split_is_checked_on_and_the_rest_calibrates(album: Path, tmp_path: Path) -> None:
    found = pictures(album, WANTED, cache=tmp_path)
    assert found.where == str(album)
    assert found.check.shape == found.calibrate.shape == (60, 16, 16, 3)
    assert not rows(found.check) & rows(found.calibrate)
    assert found.classes == CLASSES
    assert found.notes == ()
    few = pictures(album, replace(WANTED, check=7, calibrate=5), cache=tmp_path)
    assert (len(few.check), len(few.calibrate)) == (7, 5)
    assert rows(few.check) < rows(found.check)
    other = pictures(album, replace(WANTED, check=7, calibrate=5, seed=1), cache=tmp_path)
    assert rows(other.check) != rows(few.check)


def test_without_a_test_split_it_is_the_one_of_adapt(tmp_path: Path) -> None:
    pixels, labels = images(80, 3, 16, 3)
    source = open_source((pixels, labels))
    found = pictures(source, WANTED, cache=tmp_path)
    data = prepare(source, size=16, cache=tmp_path)
    parts = split(data, test_fraction=0.2, folds=5, seed=0, log=SILENT)
    array = data.store.array
    assert rows(found.check) == rows(np.asarray(array[parts.test.rows]))
    assert rows(found.calibrate) == rows(np.asarray(array[parts.train.rows]))


def test_networks_of_other_sizes_see_the_same_images(tmp_path: Path) -> None:
    pixels, labels = images(60, 3, 24, 4)
    source = parted((pixels, labels), WANTED, cache=tmp_path)
    small = pictures(source, WANTED, cache=tmp_path)
    large = pictures(source, replace(WANTED, spec=InputSpec(24)), cache=tmp_path)
    assert small.labels is not None
    assert large.labels is not None
    assert np.array_equal(small.labels, large.labels)
    shrunk = np.stack([np.asarray(Image.fromarray(one).resize((16, 16), Image.Resampling.BILINEAR)) for one in large.check])
    assert np.abs(shrunk.astype(int) - small.check).max() <= 2


def test_a_folder_without_classes(tmp_path: Path) -> None:
    pixels, _ = images(11, 1, 20)
    place = tmp_path / "photos"
    place.mkdir()
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(place / f"{number}.png")
    (place / "broken.png").write_bytes(b"\x89PNG")
    found = pictures(place, WANTED, cache=tmp_path)
    assert (len(found.check), len(found.calibrate), found.labels) == (6, 5, None)
    assert found.truth(CLASSES) is None
    assert "no class folders" in found.notes[0]
    assert "broken.png" in found.notes[1]
    with pytest.raises(DataError, match="takes vectors of 6 numbers"):
        pictures(place, replace(WANTED, spec=InputSpec(6, kind="vector")), cache=tmp_path)


def test_folders_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty is empty; give a folder with images"):
        pictures(tmp_path / "empty", WANTED, cache=tmp_path)
    (tmp_path / "empty" / "a.png").write_text("words")
    with pytest.raises(DataError, match=r"no image that can be read: .*a\.png"):
        pictures(tmp_path / "empty", WANTED, cache=tmp_path)


def test_too_few_to_keep_apart_is_said(tmp_path: Path) -> None:
    pixels, labels = images(6, 3, 16)
    found = pictures((pixels, labels), WANTED, cache=tmp_path)
    assert len(found.check) == len(found.calibrate) == 6
    assert "too few images to keep some apart" in found.notes[0]


def test_classes_are_matched_by_name(album: Path, tmp_path: Path) -> None:
    found = pictures(album, WANTED, cache=tmp_path)
    truth = found.truth(("cow", "dog", "ant"))
    assert truth is not None
    assert found.labels is not None
    assert np.array_equal(truth, np.array([2, NEVER, 0])[found.labels])
    assert found.truth(("x", "y")) is None
    # The same letter, composed and as letter and accent.
    composed = found.truth(("be\u0301e",))
    assert composed is not None
    assert set(composed) == {0, NEVER}


def test_vectors_and_kinds_that_do_not_go_together(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32), np.arange(40) % 2
    found = pictures((x, y), replace(WANTED, spec=InputSpec(6, kind="vector")), cache=tmp_path)
    assert found.check.shape[1:] == (6,)
    with pytest.raises(ConfigError, match="the data are vectors of 6 numbers, and the network takes images of 16 px"):
        pictures((x, y), WANTED, cache=tmp_path)


def test_noise_is_always_the_same() -> None:
    first, second = drawn(WANTED), drawn(WANTED)
    assert np.array_equal(first.check, second.check)
    assert (first.where, first.labels, first.check.shape) == (None, None, (64, 16, 16, 3))
    assert drawn(replace(WANTED, spec=InputSpec(6, kind="vector"))).check.dtype == np.float32


def test_the_images_of_a_run_are_found(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    assert of_run(run / "model") is None
    config = {"data": str(tmp_path / "photos"), "images": {"label_column": "kind", "fit": "pad"}}
    (run / "config.json").write_text(json.dumps(config))
    assert of_run(run) is None
    (tmp_path / "photos").mkdir()
    for place in (run, run / "model"):
        found = of_run(place)
        assert found is not None
        assert found[0] == str(tmp_path / "photos")
        assert (found[1].label_column, found[1].path_column) == ("kind", None)
    (run / "config.json").write_text("{")
    assert of_run(run) is None
