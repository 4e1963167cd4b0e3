"""What is decided about caching a stage's frozen part, and that a stage without room for it trains all the same."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import files
from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.data.views import Flip, Shift, View
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.nets.net import Net
from headstart.stage import Budget, Stage
from tests.engine.engine_toys import differing, images, perceptron, stage, state

TWO = View((Shift(), Flip()), 2)
ON_DISK = 35 * 2 * 4 * 16 * 3 * 3
"""Bytes of two renderings of 35 images at the last block but one: 16 maps of 3 x 3 numbers."""


def top(task: Task, **more: Any) -> Stage:
    settings: dict[str, Any] = {"trains": {"blocks.pool": 1.0, "heads": 1.0}, "views": {"main": TWO}, "cache": "auto"}
    return stage(task, budget=Budget(epochs=6), **(settings | more))


def trained(plan: Any = top, machine: Machine | None = None, **more: Any) -> tuple[Net, list[dict[str, Any]]]:
    net, task = images()
    heard: list[dict[str, Any]] = []
    fit(net, plan(task, **more), machine=machine or Machine(), log=RunLog(None, (heard.append,)))
    return net, heard


def decisions(heard: list[dict[str, Any]]) -> list[tuple[bool, str]]:
    return [(line["cached"], line["reason"]) for line in heard if line["event"] == "cache"]


def test_the_bytes_that_are_counted_are_those_that_are_taken(tmp_path: Path) -> None:
    """A part of a store is asked for: the file has a place for every row of the store, and every place counts."""
    net, whole = images()
    part = replace(whole, rows=whole.rows[:20])
    heard: list[dict[str, Any]] = []
    fit(net, top(part), machine=Machine(cache=tmp_path), log=RunLog(None, (heard.append,)))
    counted = next(line["bytes"] for line in heard if line["event"] == "cache")
    assert counted == ON_DISK
    assert sum(path.stat().st_size for path in tmp_path.glob("*.npy")) - 128 == counted


@pytest.mark.parametrize("cache", ["auto", "on"])
def test_the_limit_is_a_limit_also_for_what_was_asked_for(tmp_path: Path, cache: str) -> None:
    net, heard = trained(machine=Machine(cache=tmp_path, cache_limit=ON_DISK - 1), cache=cache)
    assert [cached for cached, _ in decisions(heard)] == [False]
    assert "more than the limit" in decisions(heard)[0][1]
    assert not list(tmp_path.glob("*.npy"))
    assert not differing(state(net), state(trained(cache="off")[0]))


@pytest.mark.parametrize("cache", ["auto", "on"])
def test_mixing_is_named_as_what_forbids_caching(tmp_path: Path, cache: str) -> None:
    _, heard = trained(machine=Machine(cache=tmp_path), cache=cache, mixup=0.2)
    assert [cached for cached, _ in decisions(heard)] == [False]
    assert "mix" in decisions(heard)[0][1]


def test_a_full_disk_costs_time_and_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.os, "posix_fallocate", fallocate)
    net, heard = trained(machine=Machine(cache=tmp_path))
    assert decisions(heard)[0][0]
    said = [line["text"] for line in heard if line["event"] == "warning"]
    assert len(said) == 1
    assert "no space left" in said[0]
    assert "not cached" in said[0]
    assert not list(tmp_path.glob("*.npy"))
    assert not differing(state(net), state(trained(cache="off")[0]))


def test_the_folder_as_a_whole_keeps_to_the_limit(tmp_path: Path) -> None:
    """Three prefixes of one size where two have room: the one that was used longest ago makes way."""
    machine = Machine(cache=tmp_path, cache_limit=2 * ON_DISK + 1000)

    def held(seed: int) -> set[str]:
        net, task = images()
        fit(net, top(task), machine=machine, seed=seed)
        return {path.name for path in tmp_path.glob("*.npy")}

    first = held(0)
    second = held(1)
    assert first < second
    assert held(0) == second  # it is used again, so the other one is the older now
    third = held(2)
    assert len(third) == 2
    assert first < third
    assert len(list(tmp_path.glob("*.filled.safetensors"))) == 2


def test_two_views_of_one_stage_do_not_push_each_other_out(tmp_path: Path) -> None:
    machine = Machine(cache=tmp_path, cache_limit=ON_DISK + 1000)
    other = View((Shift(0.25), Flip()), 2)
    net, heard = trained(machine=machine, views={"main": TWO, "other": other})
    assert [cached for cached, _ in decisions(heard)] == [True, True]
    assert len(list(tmp_path.glob("*.npy"))) == 1
    assert "not cached" in next(line["text"] for line in heard if line["event"] == "warning")
    assert not differing(state(net), state(trained(cache="off", views={"main": TWO, "other": other})[0]))


def test_vectors_of_a_large_store_are_counted_by_its_rows(tmp_path: Path) -> None:
    store = store_of(np.zeros((100, 6), np.float32))
    task = Task("toy", store, np.zeros(100, np.int64), ("a", "b", "c"), np.arange(10))
    net = perceptron()
    net.add_head("toy", 3)
    heard: list[dict[str, Any]] = []
    plan = stage(task, trains={"heads": 1.0}, cache="on")
    fit(net, plan, machine=Machine(cache=tmp_path), log=RunLog(None, (heard.append,)))
    assert next(line["bytes"] for line in heard if line["event"] == "cache") == 100 * 4 * 10
