"""The table of similarities: a row per cell of the grid, numbers in their ranges, and correlations that agree with SciPy."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import grid_similarity
from benchmarks.grid import PAIRS, Pair, Places, cells
from benchmarks.grid_similarity import COLUMNS, _imagenet, _spearman, fill
from headstart.engine.source_statistics import statistics_from_task
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet

TABLE = Path(grid_similarity.__file__).parent / "grid_similarity.csv"


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_table_holds_cells_of_the_grid_once() -> None:
    rows = read(TABLE)
    keys = [(row["pair"], row["per_class"], row["draw"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= {(pair.name, str(count), str(draw)) for pair, count, draw in cells(list(PAIRS), 3)}
    for row in rows:
        assert float(row["frechet"]) >= 0
        assert float(row["transport"]) >= 0
        assert 0 <= float(row["domain"]) <= 0.5


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, train = resnet(), make_image_task(60, size=12)
    pair, places = Pair("toy", "toy", 12, (4, 8, 16)), Places(tmp_path, tmp_path, tmp_path)
    known = statistics_from_task(net, train)
    monkeypatch.setattr(grid_similarity, "source", lambda *_: net)
    monkeypatch.setattr(grid_similarity, "targets", lambda *_: (train, train))
    monkeypatch.setattr(grid_similarity, "known", lambda *_: (known, None))
    out = tmp_path / "table.csv"
    fill(out, places, [pair], 1)
    first = read(out)
    assert [row["per_class"] for row in first] == ["4", "8", "16"]
    assert tuple(first[0]) == COLUMNS
    fill(out, places, [pair], 2)
    assert read(out)[:3] == first
    assert [row["draw"] for row in read(out)[3:]] == ["1"] * 3


def test_the_sample_of_imagenet_is_labelled_by_its_names(tmp_path: Path) -> None:
    (tmp_path / "imagenet_sample").mkdir()
    for name in ("n02_cat.jpg", "n01_big_dog.jpg"):
        (tmp_path / "imagenet_sample" / name).touch()
    rows = read(_imagenet(Places(tmp_path, tmp_path, tmp_path)))
    assert [(row["label"], row["split"]) for row in rows] == [("n01", "train"), ("n02", "train")]


def test_what_is_not_known_is_left_out() -> None:
    assert _spearman(np.array([1, 2, np.nan, 3]), np.array([1.0, 4, -9, 9])) == pytest.approx(1)
    assert np.isnan(_spearman(np.ones(3), np.arange(3.0)))
