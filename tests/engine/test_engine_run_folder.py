"""A run's folder: one writer, settings that agree, and nothing of an earlier run touched before a new one begins."""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from headstart.engine.run_folder import open_run
from headstart.errors import ConfigError, RunError, RunFolderInUse, RunFolderMismatch
from tests.engine import holding

CONFIG: dict[str, Any] = {"data": "pictures", "seed": 0, "out": "runs/x", "resume": False}


def begun(path: Path, **inputs: str) -> Path:
    """A run that was begun and ended before it was done."""
    with open_run(path, CONFIG) as run:
        run.begin(**inputs)
        run.write("summary.json", {"accuracy": 0.5})
        run.log.write_text("line\n")
    return path


def test_a_new_run_writes_its_settings_and_surroundings(tmp_path: Path) -> None:
    path = begun(tmp_path / "deep" / "run")
    assert json.loads((path / "config.json").read_text()) == CONFIG
    env = json.loads((path / "env.json").read_text())
    assert {"python", "packages", "threads", "processes", "platform"} <= set(env)
    assert "torch" in env["packages"]
    assert not (path / ".lock").exists()
    with open_run(path, CONFIG, resume=True) as run:
        assert run.summary == {"accuracy": 0.5}


def test_in_use_by_another_process(tmp_path: Path, server: ForkServerContext) -> None:
    ready, done = server.Event(), server.Event()
    process = server.Process(target=holding.hold, args=(tmp_path / "run", CONFIG, ready, done))
    process.start()
    assert ready.wait(60)
    try:
        with (
            pytest.raises(RunFolderInUse, match=rf"in use by process {process.pid}; .*--out"),
            open_run(tmp_path / "run", CONFIG, resume=True),
        ):
            pass
    finally:
        done.set()
        process.join(60)
    with open_run(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.resumed


def test_the_lock_of_a_killed_process_does_not_stay(tmp_path: Path, server: ForkServerContext) -> None:
    ready, done = server.Event(), server.Event()
    process = server.Process(target=holding.hold, args=(tmp_path / "run", CONFIG, ready, done))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join(60)
    assert (tmp_path / "run" / ".lock").read_text() == str(process.pid)
    with open_run(tmp_path / "run", CONFIG, resume=True):
        assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())
    assert multiprocessing.active_children() == []


def test_going_on_needs_resume_and_says_what_else_is_possible(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with (
        pytest.raises(RunFolderMismatch, match=r"already holds a run.*--resume.*--overwrite.*--out"),
        open_run(path, CONFIG),
    ):
        pass
    with open_run(path, {**CONFIG, "resume": True, "out": "elsewhere"}, resume=True) as run:
        assert run.resumed
    assert json.loads((path / "config.json").read_text()) == CONFIG


def test_a_setting_in_a_group_is_named_by_itself(tmp_path: Path) -> None:
    path, config = tmp_path / "run", {"seed": 0, "network": {"backbone": "embedded", "size": None}}
    with open_run(path, config) as run:
        run.begin()
    other = {"seed": 0, "network": {"backbone": "timm:resnet18", "size": None}}
    with pytest.raises(RunFolderMismatch) as caught, open_run(path, other, resume=True):
        pass
    assert "backbone was 'embedded', now 'timm:resnet18'" in str(caught.value)
    assert "size" not in str(caught.value)
    assert "{" not in str(caught.value)


def test_other_settings_are_listed(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    other = {**CONFIG, "seed": 1, "budget": "10m"}
    with pytest.raises(RunFolderMismatch) as caught, open_run(path, other, resume=True):
        pass
    for part in ("made by other settings", "seed was 0, now 1", "budget was None, now '10m'", "--out"):
        assert part in str(caught.value)


def test_other_inputs_are_named(tmp_path: Path) -> None:
    path = begun(tmp_path / "run", data="aa", backbone="bb")
    with open_run(path, CONFIG, resume=True) as run:
        run.begin(data="aa", backbone="bb")
        with pytest.raises(RunFolderMismatch, match="begun with other backbone"):
            run.begin(data="aa", backbone="cc")


def test_overwriting_waits_until_the_new_run_begins(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with open_run(path, {**CONFIG, "seed": 1}, overwrite=True):
        assert (path / "summary.json").exists()
    assert (path / "summary.json").exists()
    with open_run(path, {**CONFIG, "seed": 1}, overwrite=True) as run:
        run.begin()
        assert run.summary is None
        assert not run.log.exists()
        assert json.loads((path / "config.json").read_text())["seed"] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_someone_elses_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderMismatch, match=r"not empty.*thesis\.tex"), open_run(tmp_path, CONFIG, overwrite=overwrite):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_and_a_damaged_config(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="a file is in the way"), open_run(tmp_path / "file", CONFIG):
        pass
    with pytest.raises(RunError, match="--out /proc/x: no folder can be made there"), open_run(Path("/proc/x"), CONFIG):
        pass
    path = begun(tmp_path / "run")
    (path / "config.json").write_text("{")
    with pytest.raises(RunFolderMismatch, match="damaged"), open_run(path, CONFIG, resume=True):
        pass


def test_a_finished_run_says_that_nothing_was_read_again(tmp_path: Path) -> None:
    heard: list[Any] = []
    with open_run(tmp_path / "run", {"lr": 1}) as run:
        assert run.finished((heard.append,)) is None
        run.begin()
        run.write("summary.json", {"accuracy": 0.5})
    with open_run(tmp_path / "run", {"lr": 1}, resume=True) as run:
        assert run.finished((heard.append,)) == {"accuracy": 0.5}
    (said,) = heard
    assert "holds a finished run: this is its result, and nothing was read" in said["text"]


def test_what_only_an_unfinished_run_needs_is_removed_at_the_end(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", CONFIG) as run:
        run.begin()
        (run.work / "stage").mkdir(parents=True)
        run.clean()
        assert not run.work.exists()
        assert run.path.is_dir()
