"""Ctrl-C saves and says how to go on; a process killed without warning goes on too, and ends with the same bits."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from tests.failures import killable
from tests.studies.test_adapt import timeless

LIMIT = 120.0
ROOT = Path(__file__).resolve().parents[2]


def words_for(album: Path, network: list[str], out: Path) -> list[str]:
    usual = ["--budget", "1h", "--folds", "2", "--device", "cpu", "--strategies", "probe", "full"]
    return ["adapt", str(album), *network, "--out", str(out), *usual]


Start = Callable[..., BaseProcess]


@pytest.fixture
def start(server: ForkServerContext, album: Path, network: list[str]) -> Start:
    def begin(out: Path, *more: str) -> BaseProcess:
        process = server.Process(
            target=killable.run, args=([*words_for(album, network, out), *more], out.with_suffix(".txt"))
        )
        process.start()
        return process

    return begin


def logged(out: Path, *parts: str) -> bool:
    """Whether a line of the run's log has all these parts."""
    path = out / "log.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return any(all(part in line for part in parts) for line in lines)


def wait_for(process: BaseProcess, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not happened():
        assert process.is_alive(), "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def end(process: BaseProcess) -> int:
    process.join(LIMIT)
    assert process.exitcode is not None
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(
    server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory, album: Path, network: list[str]
) -> tuple[Path, float]:
    """A run that nobody stopped, and its seconds."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    began = time.monotonic()
    process = server.Process(target=killable.run, args=(words_for(album, network, out), out.with_suffix(".txt")))
    process.start()
    assert end(process) == 0, out.with_suffix(".txt").read_text()
    return out, time.monotonic() - began


def check_equal(out: Path, whole: Path) -> None:
    """The same summary but for times, and the same weights to the bit; nothing half-written, no lock."""
    mine, other = (json.loads((folder / "summary.json").read_text("utf-8")) for folder in (out, whole))
    assert timeless(mine) == timeless(other)
    for name in ("weights.safetensors", "net.json"):
        assert (out / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert not list(out.rglob(".*"))


IN_RACE = ('"epoch"', '"arm": "full"', '"fold": 1')
IN_REFIT = ('"epoch"', '"arm": "full"', '"fold": "all"')


def test_killed_without_warning_it_goes_on_where_it_was(
    start: Start, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, _ = undisturbed
    out = tmp_path / "run"
    for moment in (IN_RACE, IN_REFIT):
        process = start(out, "--resume")
        wait_for(process, lambda moment=moment: logged(out, *moment))  # type: ignore[misc]
        os.kill(int(process.pid or 0), signal.SIGKILL)
        assert end(process) == -signal.SIGKILL
        assert not (out / "summary.json").exists()
    assert end(start(out, "--resume")) == 0
    check_equal(out, whole)


def test_stopped_politely_it_saves_and_says_how_to_go_on(
    start: Start, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, _ = undisturbed
    out = tmp_path / "run"
    for number, moment, more in ((signal.SIGINT, IN_RACE, ()), (signal.SIGTERM, IN_REFIT, ("--resume",))):
        process = start(out, *more)
        wait_for(process, lambda moment=moment: logged(out, *moment))  # type: ignore[misc]
        os.kill(int(process.pid or 0), number)
        assert end(process) == 130
        said = out.with_suffix(".txt").read_text("utf-8")
        assert "Traceback" not in said
        again = shlex.split(said.rsplit("continue with: ", 1)[1].strip())
        assert again[:2] == ["headstart", "adapt"]
        assert again.count("--resume") == 1
    assert end(start(out, "--resume")) == 0
    assert "going on at step" in out.with_suffix(".txt").read_text("utf-8")
    check_equal(out, whole)


def test_two_processes_do_not_write_to_one_folder(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = start(out)
    wait_for(first, lambda: logged(out, '"phase"', '"measure"'))
    second = start(out, "--resume")
    assert end(second) == 3
    assert f"is in use by process {first.pid}" in out.with_suffix(".txt").read_text("utf-8")
    os.kill(int(first.pid or 0), signal.SIGKILL)
    end(first)


@pytest.mark.slow
def test_killed_at_twenty_moments(start: Start, undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    whole, seconds = undisturbed
    draw = np.random.default_rng(time.time_ns())
    killed = rounds = 0
    while killed < 20:
        out = tmp_path / f"run{rounds}"
        while not (out / "summary.json").exists():
            process = start(out, "--resume")
            process.join(float(draw.uniform(0, seconds)) if killed < 20 else LIMIT)
            if process.is_alive():
                os.kill(int(process.pid or 0), signal.SIGKILL)
                killed += 1
            code = end(process)
            assert code in (0, -signal.SIGKILL), out.with_suffix(".txt").read_text("utf-8")
        if code != 0:  # killed between the summary and the page
            assert end(start(out, "--resume")) == 0
        check_equal(out, whole)
        rounds += 1


def test_ctrl_c_at_a_command_line(album: Path, network: list[str], tmp_path: Path) -> None:
    """The command as it is typed, in a process of its own."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "headstart", *words_for(album, network, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + LIMIT
        while not logged(out, '"epoch"'):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert printed == ""
    assert "Traceback" not in said
    assert f"--out {out}" in said.rsplit("continue with: headstart adapt", 1)[1]
    assert said.rstrip().endswith("--resume")
