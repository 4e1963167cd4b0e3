"""What an extension counts, says and begins with: time over stops, warnings of methods, seeds, memories from old data."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart.catalog.continual import FineTuneConfig
from headstart.catalog.extend import ExtendConfig
from headstart.engine.model import Ancestor, Card, Model
from headstart.errors import ConfigError, Interrupted
from headstart.nets.rng import forked
from headstart.studies.elapsed import Elapsed
from headstart.studies.extend import extend as study
from tests.studies.test_extend import SIZE, USED, fresh, write


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in folders, and in `model` one that knows 0, 1 and 2, saved as `adapt` saves one."""
    found = tmp_path_factory.mktemp("counted")
    for name, digits in (("low", (0, 1, 2)), ("mid", (3, 4, 5)), ("high", (6, 7))):
        write(found / name, digits)
    net = fresh()
    net.heads.clear()
    with forked(2):
        torch.nn.init.normal_(net.add_head("low", 3).linear.weight)
    card = Card("low", ("0", "1", "2"), "squash", (Ancestor("low", "full", "low", "0"),), "0")
    Model(net, card).save(found / "model")
    return found


def _work(clock: Elapsed, path: Path) -> None:
    """Comes to an end after 20 milliseconds, and not a good one."""
    with clock.during("work"):
        clock.keep_in(path)
        time.sleep(0.02)
        raise ZeroDivisionError


def test_seconds_add_up_over_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "seconds.json"
    for total in (0.02, 0.04):
        clock = Elapsed()
        with pytest.raises(ZeroDivisionError):
            _work(clock, path)
        assert total <= clock.seconds["work"] < total + 1
        assert json.loads(path.read_text())["work"] == pytest.approx(clock.seconds["work"], abs=1e-6)
    path.write_text("{")
    damaged = Elapsed()
    damaged.keep_in(path)
    assert damaged.seconds == {}


def test_a_run_that_was_stopped_counts_the_time_of_all_its_parts(place: Path, tmp_path: Path) -> None:
    config = ExtendConfig(str(place / "model"), (str(place / "mid"),), method="fine_tune", out=tmp_path / "run", **USED)
    paused = 0.5

    def stop(line: dict[str, Any]) -> None:
        if line["event"] == "epoch":
            time.sleep(paused)
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        study(config, listeners=(stop,))
    began = time.monotonic()
    resumed = study(ExtendConfig(**{**vars(config), "resume": True}))
    last = time.monotonic() - began
    assert resumed.summary["arms"][0]["seconds"] > paused
    assert resumed.summary["seconds"] > paused + 0.9 * resumed.summary["phases"]["runs"] - paused
    assert resumed.summary["seconds"] > last
    assert resumed.summary["phases"]["runs"] > paused
    assert sum(resumed.summary["phases"].values()) <= resumed.summary["seconds"] + 0.1


def _nothing_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def carried_out(*given: Any, **named: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("headstart.studies.extend_runs.Runs.carry_out", carried_out)


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("icarl", {"scenario": "class", "capacity": 4}, "room for 6 samples"),
        ("derpp", {"scenario": "class", "max_memory": str(20 * (SIZE**2 * 3 + 16 + 4 * 4)), "capacity": 20}, "allows 19"),
        ("packnet", {"settings": ("share=0",)}, "no free weights are left"),
    ],
)
def test_what_fails_at_a_later_task_is_said_before_any_training(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any], said: str
) -> None:
    """The first two classes fit, and the first task; what comes after does not."""
    _nothing_trained(monkeypatch)
    write(tmp_path / "all", (0, 1, 2, 3, 4, 5), train=6, test=3)
    with pytest.raises(ConfigError, match=rf"{said}[\s\S]*task [23] of 3"):
        headstart.extend(fresh(), tmp_path / "all", out=tmp_path / "run", increments=3, method=method, **{**USED, **more})


def test_each_seed_of_a_network_by_name_begins_with_weights_of_its_own(place: Path, tmp_path: Path) -> None:
    seen: dict[int, list[torch.Tensor]] = {}
    original = headstart.CONTINUAL["fine_tune"]

    def watched(net: Any, task: Any, cfg: Any = None, *, past: Any) -> Any:
        seen.setdefault(past.seed, []).append(next(net.parameters()).detach().clone())
        return original(net, task, cfg, past=past)

    how: dict[str, Any] = {**USED, "epochs": 1, "method": "fine_tune", "seeds": 2, "seed": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(headstart.CONTINUAL, "fine_tune", watched)
        patch.setattr("headstart.studies.extend.config_class", lambda name: FineTuneConfig)
        named = headstart.extend("headstart:convnet8", place / "mid", out=tmp_path / "named", size=16, **how)
        first, other = seen[3][-1], seen[4][-1]
        assert not torch.equal(first, other)
        assert torch.equal(first, next(headstart.build("headstart:convnet8", size=16, seed=3).parameters()))
        assert torch.equal(other, next(headstart.build("headstart:convnet8", size=16, seed=4).parameters()))
        seen.clear()
        saved = headstart.extend(place / "model", place / "mid", out=tmp_path / "saved", **how)
        assert torch.equal(seen[3][-1], seen[4][-1])
    assert "each seed begins with random weights of its own" in str(named)
    assert "all seeds begin with the same weights" in str(saved)


def test_a_strength_that_overshoots_is_among_the_warnings(place: Path, tmp_path: Path) -> None:
    found = headstart.extend(
        place / "model",
        place / "mid",
        out=tmp_path / "run",
        method="ewc",
        old=place / "low",
        settings=("strength=1e12", "clip=0.1"),
        **{**USED, "epochs": 1, "seeds": 2},
    )
    (told,) = (text for text in found.summary["warnings"] if "overshoot" in text)
    assert told.startswith("ewc, task mid: strength=1e+12")
    assert "1 more seed" in told
    assert "overshoot" in (found.folder / "report.html").read_text()


@pytest.mark.parametrize("method", ["replay", "derpp", "agem", "icarl"])
def test_a_memory_that_is_lacking_is_filled_from_the_old_data(place: Path, tmp_path: Path, method: str) -> None:
    told: list[str] = []
    config = ExtendConfig(
        str(place / "model"),
        (str(place / "mid"),),
        method=method,
        scenario="class",
        old=(str(place / "low"),),
        out=tmp_path / "run",
        capacity=24,
        **{**USED, "epochs": 1},
    )
    found = study(config, listeners=(lambda line: told.append(line.get("text", "")),))
    past = Model.load(found.folder).past
    assert past is not None
    assert past.memory is not None
    low = [np.asarray(headstart.read(place / "low", size=SIZE).task(name="low").store.array)]
    for sample in past.memory.samples[past.memory.tasks == 0]:
        assert (low[0] == sample).reshape(len(low[0]), -1).all(1).any()
    assert (past.memory.tasks == 0).sum() >= 4
    need = found.summary["arms"][0]["old_data"]
    assert (need["what"], need["images"], need["bytes"]) == ("old data", 42, 42 * SIZE * SIZE * 3)
    assert any("its memory is filled from the old data" in text for text in told)
    assert not any("nothing holds that" in text for text in found.summary["warnings"])


def test_a_memory_that_the_model_brings_is_used_and_old_data_are_only_looked_at(place: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {**USED, "epochs": 1, "method": "replay", "capacity": 12}
    first = headstart.extend(fresh(), place / "low", out=tmp_path / "a", **how)
    found = headstart.extend(first.folder, place / "mid", out=tmp_path / "b", old=place / "low", **how)
    assert found.summary["arms"][0]["old_data"] == {"what": "stored samples", "images": 12, "bytes": 12 * (SIZE**2 * 3 + 16)}
