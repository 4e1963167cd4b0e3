"""What a backbone is pretrained on, and what judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.pool import read_pool
from headstart.data.pool_sources import open_pool
from headstart.data.prepare import DataSet
from headstart.engine.log import RunLog
from headstart.studies.pretrain_data import parts_of, some_of
from headstart.studies.splitting import split
from tests.conftest import images

SEED = 3


def data_of(labels: np.ndarray, tmp: Path, **splits: int) -> DataSet:
    pixels, _ = images(len(labels), 3, 8)
    pixels = np.random.default_rng(0).integers(0, 255, pixels.shape).astype(np.uint8)
    given: Any = (pixels, labels)
    if splits:
        given, start = {}, 0
        for name, count in splits.items():
            given[name] = (pixels[start : start + count], labels[start : start + count])
            start += count
    return read_pool(open_pool(given), size=8, cache=tmp)


def test_all_images_are_learned_from_where_nothing_is_labelled(tmp_path: Path):
    parts = parts_of(data_of(np.full(20, -1), tmp_path), test_fraction=0.2, seed=SEED, log=RunLog())
    assert len(parts.pool) == 20
    assert (parts.known, parts.held, parts.test) == (None, None, None)


def test_the_test_images_are_those_that_other_jobs_set_aside(tmp_path: Path):
    data = data_of(np.arange(120) % 3, tmp_path)
    parts = parts_of(data, test_fraction=0.2, seed=SEED, log=RunLog())
    other = split(data, test_fraction=0.2, folds=5, seed=SEED, log=RunLog())
    assert parts.test is not None
    assert parts.test.rows.tolist() == other.test.rows.tolist()


def test_parts_never_overlap_and_hold_every_image(tmp_path: Path):
    labels = np.arange(150) % 3
    labels[100:] = -1
    parts = parts_of(data_of(labels, tmp_path), test_fraction=0.2, seed=SEED, log=RunLog())
    assert parts.known is not None
    assert parts.held is not None
    assert parts.test is not None
    every = np.concatenate([parts.pool.rows, parts.held.rows, parts.test.rows])
    assert sorted(every.tolist()) == list(range(150))
    assert set(parts.known.rows) <= set(parts.pool.rows)
    assert parts.known.known.all()
    assert len(parts.pool) - len(parts.known) == 50
    assert np.ptp(np.bincount(parts.test.targets)) <= 1


def test_copies_of_test_images_without_a_label_are_not_learned_from(tmp_path: Path):
    labels = np.arange(150) % 3
    labels[100:] = -1
    data = data_of(labels, tmp_path)
    first = parts_of(data, test_fraction=0.2, seed=SEED, log=RunLog())
    assert first.test is not None
    pixels = np.array(data.store.array)
    pixels[120] = pixels[first.test.rows[0]]
    again = read_pool(open_pool((pixels, labels)), size=8, cache=tmp_path)
    parts = parts_of(again, test_fraction=0.2, seed=SEED, log=RunLog())
    assert parts.test is not None
    assert parts.held is not None
    twin = first.test.rows[0]
    aside = {*parts.test.rows.tolist(), *parts.held.rows.tolist()}
    assert (120 not in parts.pool.rows) == (twin in aside)


def test_the_users_splits_are_respected(tmp_path: Path):
    data = data_of(np.arange(90) % 3, tmp_path, train=60, val=12, test=18)
    parts = parts_of(data, test_fraction=0.2, seed=SEED, log=RunLog())
    assert parts.pool.rows.tolist() == data.splits["train"].tolist()
    assert parts.held is not None
    assert parts.held.rows.tolist() == data.splits["val"].tolist()
    assert parts.test is not None
    assert parts.test.rows.tolist() == data.splits["test"].tolist()


def test_too_few_labels_judge_nothing_and_that_is_said(tmp_path: Path):
    labels = np.full(30, -1)
    labels[:4] = [0, 1, 0, 1]
    said: list[dict[str, Any]] = []
    parts = parts_of(data_of(labels, tmp_path), test_fraction=0.2, seed=SEED, log=RunLog(None, (said.append,)))
    assert len(parts.pool) == 30
    assert parts.known is None
    assert "cannot judge" in said[0]["text"]


def test_methods_without_labels_see_none(tmp_path: Path):
    parts = parts_of(data_of(np.arange(60) % 3, tmp_path), test_fraction=0.2, seed=SEED, log=RunLog())
    assert not parts.unlabelled.known.any()
    assert parts.unlabelled.classes == ()
    assert parts.unlabelled.rows.tolist() == parts.pool.rows.tolist()
    few = some_of(parts.pool, 10, SEED)
    assert len(few) == 10
    assert set(few.rows) <= set(parts.pool.rows)
    assert some_of(parts.pool, 100, SEED) is parts.pool
