"""Killed without warning at any moment and run again, a run ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from headstart.engine.checkpoint import load_state
from tests.engine import killable
from tests.engine.engine_toys import differing


@pytest.fixture(scope="module")
def undisturbed(server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = server.Process(target=killable.run, args=(folder,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return folder


def killed_after(process: BaseProcess, folder: Path, seconds: float) -> bool:
    """Kill the process so many seconds after it has begun its work; False when it was done before."""
    deadline = time.monotonic() + 120
    while process.is_alive() and not (folder / f"started-{process.pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.join(seconds)
    if not process.is_alive():
        return False
    os.kill(int(process.pid or 0), signal.SIGKILL)
    return True


def kill_and_finish(server: ForkServerContext, folder: Path, moments: Iterator[float], kills: int) -> tuple[int, int]:
    """Start the run again and again, killing it at the next moment up to `kills` times, until it has finished.

    Returns how often it was killed and how often it said that it goes on inside a stage.
    """
    done = 0
    while not (folder / "final.safetensors").exists():
        process = server.Process(target=killable.run, args=(folder,))
        process.start()
        if done < kills:
            done += killed_after(process, folder, next(moments))
        process.join(120)
        assert process.exitcode in (0, -signal.SIGKILL)
    return done, (folder / "log.jsonl").read_text().count('"event": "resumed"')


def epochs(folder: Path) -> list[tuple[str, int, float]]:
    """Every epoch in the log; what was begun and lost must not be told twice."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["stage"], line["epoch"], line["loss"]) for line in lines if line["event"] == "epoch"]


def check(server: ForkServerContext, undisturbed: Path, tmp_path: Path, wanted: int) -> None:
    """Kill runs `wanted` times in all. A moment is up to half of the whole run after a start, so most are in its middle."""
    whole = load_state(undisturbed / "final.safetensors")
    draw = np.random.default_rng(time.time_ns())
    moments = iter(lambda: float(draw.uniform(0, whole["seconds"] / 2)), None)
    killed = resumed = rounds = 0
    while killed < wanted:
        folder = tmp_path / str(rounds)
        kills, resumes = kill_and_finish(server, folder, moments, wanted - killed)
        assert not differing(load_state(folder / "final.safetensors")["net"], whole["net"])
        assert epochs(folder) == epochs(undisturbed)
        killed, resumed, rounds = killed + kills, resumed + resumes, rounds + 1
        assert rounds <= 10 + wanted
    print(f"killed {killed} times in {rounds} runs of {whole['seconds']:.1f} s; went on inside a stage {resumed} times")
    assert resumed or wanted < 10


def test_killed_at_three_moments(server: ForkServerContext, undisturbed: Path, tmp_path: Path) -> None:
    check(server, undisturbed, tmp_path, 3)


@pytest.mark.slow
def test_killed_at_twenty_moments(server: ForkServerContext, undisturbed: Path, tmp_path: Path) -> None:
    check(server, undisturbed, tmp_path, 20)
