"""Losses that become NaN, disks that become full, and an impatient person: what was there is kept, and goes on."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart import files
from headstart.catalog.strategies import FullConfig, Recipe
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.run import Drive
from headstart.errors import NonFiniteLoss
from headstart.strategies import STRATEGIES
from headstart.studies import adapt as job
from headstart.studies import elapsed
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet
from tests.failures.conftest import Run, Said, refused


def unscaled(real: Callable[..., Any]) -> Callable[..., Any]:
    """Recipes with a learning rate that no network survives."""

    def recipe(*given: Any, **more: Any) -> Any:
        return replace(real(*given, **more), lr=1e30, warmup=0.0)

    return recipe


def test_a_learning_rate_of_a_million_stops_with_stage_step_and_term_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    net, task = resnet(), make_image_task(48, size=12)
    config = FullConfig(Recipe(epochs=40, batch_size=16, lr=1e6, warmup=0.0, augment=False), scale=1.0)
    drive = Drive(net, machine=Machine(checkpoint_every=0.0), folder=tmp_path)
    with pytest.raises(NonFiniteLoss) as caught:
        drive.run(STRATEGIES["full"](net, task, config))
    said = str(caught.value)
    assert all(part in said for part in ("stage 'fine_tune'", "step ", "loss 'supervised' is", "1000000.0", "a tenth of it"))
    kept = Checkpoints(tmp_path / "00-fine_tune").load()
    assert kept is not None
    assert kept["done"] >= 1
    assert all(bool(torch.isfinite(torch.tensor(total))) for total in kept["sums"].values())


def test_a_diverging_arm_is_named_and_the_run_goes_on_without_it(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "base_recipe", unscaled(job.base_recipe))
    said = adapt(album, "--strategies", "probe", "full")
    assert said.code == 0, said.err
    assert "warning: Fine-tune all, LR/10 diverged and was dropped: stage 'fine_tune', step" in said.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert (arms["full"]["status"], arms["full"]["accuracy_mean"]) == ("diverged", None)
    assert "loss 'supervised' is" in arms["full"]["reason"]
    assert arms["full"]["trained_parameters"] is None
    assert summary["chosen"] != "full"
    assert "diverged" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_when_nothing_else_was_asked_for_a_divergence_ends_the_run_which_can_be_resumed(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, advised = job.base_recipe, job.advised_arm
    monkeypatch.setattr(job, "advised_arm", lambda every, strategy: advised(every, "full_100"))
    monkeypatch.setattr(job, "base_recipe", unscaled(real))
    said = adapt(album, "--strategies", "full_100")
    refused(said, "every arm diverged: full_100: stage 'fine_tune', step", "loss 'supervised'", "--strategies", code=4)
    assert not (tmp_path / "run" / "summary.json").exists()
    monkeypatch.setattr(job, "base_recipe", real)
    assert adapt(album, "--strategies", "full_100", "--resume").code == 0


# ---- a full disk


class Disk:
    """Takes `room` more durable files and then none."""

    def __init__(self, room: int) -> None:
        self.room = room

    def sync(self, descriptor: int) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


ARMS = ("--strategies", "probe", "--budget", "1h")
"""An hour is enough for everything, so that a run writes as often whatever the machine does besides."""


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are written when a phase ends, and not also whenever one has passed: a run writes as often as another."""
    monkeypatch.setattr(elapsed, "_OFTEN", math.inf)


def writes_of(adapt: Run, album: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a whole run makes a file durable."""
    disk = Disk(10**9)
    monkeypatch.setattr(os, "fsync", disk.sync)
    assert adapt(album, "--out", out, *ARMS).code == 0
    return 10**9 - disk.room


def full_after(adapt: Run, album: Path, out: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> Said:
    """A run on a disk that is full after so many files; then, with room again, the same run is gone on with."""
    monkeypatch.setattr(os, "fsync", Disk(room).sync)
    said = adapt(album, "--out", out, *ARMS)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for path in out.rglob("*.json"):
        json.loads(path.read_text("utf-8"))  # whole, or not there
    again = adapt(album, "--out", out, *ARMS, "--resume")
    assert again.code == 0, again.err
    return said


@pytest.mark.parametrize(
    "share", [pytest.param(0.0, marks=pytest.mark.slow), 0.5, pytest.param(0.95, marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("no_clock")
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    every = writes_of(adapt, album, tmp_path / "whole", monkeypatch)
    assert every > 20
    said = full_after(adapt, album, tmp_path / "run", int(share * every), monkeypatch)
    refused(said, "space", str(tmp_path / "run"), code=3)
    assert not list((tmp_path / "run").rglob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.usefixtures("no_clock")
def test_a_disk_that_is_full_at_any_moment(adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = writes_of(adapt, album, tmp_path / "whole", monkeypatch)
    for room in range(every):
        said = full_after(adapt, album, tmp_path / str(room), room, monkeypatch)
        refused(said, "space", code=3)


def test_a_log_that_cannot_be_written_is_named(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def refuse(path: Path, *given: Any, **more: Any) -> Any:
        if path.name == "log.jsonl" and any(str(mode).startswith("a") for mode in (*given, *more.values())):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, *given, **more)

    monkeypatch.setattr(Path, "open", refuse)
    refused(adapt(album), "log.jsonl: No space left on device", code=3)


def test_a_file_that_grows_too_large_for_its_file_system_is_no_defect(
    adapt: Run, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, write: Any) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))

    monkeypatch.setattr(files, "write_atomic", refuse)
    refused(adapt(album), "File too large", code=3)


# ---- stopped early


def test_ctrl_c_while_images_are_read_is_heard(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import prepare

    real = prepare.decode_all

    def stopped(*given: Any) -> Any:
        for chunk in real(*given):
            STOP.requested = True
            yield chunk

    monkeypatch.setattr(prepare, "decode_all", stopped)
    said = adapt(album)
    assert said.code == 130
    assert "error" not in said.err
    assert "Traceback" not in said.err
    assert said.err.rstrip().endswith("--resume")
    assert "probing" not in said.err
    monkeypatch.setattr(prepare, "decode_all", real)
    assert adapt(album, "--resume").code == 0
