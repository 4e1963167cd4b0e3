"""The run folder: one writer, settings that must agree, and an earlier run that is never lost to a mistake."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.engine import run_folder
from headstart.engine.run_folder import open_run
from headstart.errors import ConfigError, RunFolderInUse, RunFolderMismatch
from tests.failures.conftest import Run, refused, write_album

CONFIG = {"command": "adapt", "seed": 0, "data": "photos", "out": "a", "resume": False}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, album: Path, network: list[str]) -> Path:
    """A finished run."""
    from headstart.cli.main import main

    out = tmp_path_factory.mktemp("done") / "run"
    usual = ["--budget", "1h", "--folds", "2", "--strategies", "probe", "--device", "cpu"]
    assert main(["adapt", str(album), *network, "--out", str(out), *usual]) == 0
    return out


@pytest.fixture
def finished(done: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, where `adapt` writes."""
    return Path(shutil.copytree(done, tmp_path / "run"))


# ---- an earlier run


def test_a_run_is_not_written_over_in_silence(adapt: Run, album: Path, finished: Path) -> None:
    before = content(finished)
    refused(adapt(album), "already holds a run", "--resume", "--overwrite", "--out", code=3)
    assert content(finished) == before


def test_resuming_a_finished_run_returns_it(adapt: Run, album: Path, finished: Path) -> None:
    before = content(finished)
    said = adapt(album, "--resume")
    assert said.code == 0
    assert "test, read once" in said.out
    assert {n for n, c in content(finished).items() if c != before[n]} <= {"report.html"}


def test_other_settings_are_listed(adapt: Run, album: Path, finished: Path) -> None:
    said = adapt(album, "--resume", "--seed", "3", "--class-weights", "--folds", "4")
    refused(said, "made by other settings", "seed was 0, now 3", "class_weights was False, now True", "folds was 2", code=3)


@pytest.mark.parametrize(
    "words", [["--backbone", "resnt"], ["--strategies", "xyz"], ["--weights", "gone.pt"], ["--folds", "99"]]
)
def test_a_new_run_that_cannot_start_costs_nothing_of_the_old_one(
    adapt: Run, album: Path, finished: Path, words: list[str]
) -> None:
    before = content(finished)
    assert adapt(album, "--overwrite", *words).code == 2
    after = content(finished)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("work/data/") for name in set(after) - set(before))


def test_overwrite_replaces_all_of_it(adapt: Run, album: Path, finished: Path) -> None:
    (finished / "model" / "notes.txt").write_text("of the old model")
    (finished / "mine.txt").write_text("not headstart's")
    said = adapt(album, "--overwrite", "--seed", "1")
    assert said.code == 0, said.err
    assert json.loads((finished / "config.json").read_text())["seed"] == 1
    assert not (finished / "model" / "notes.txt").exists()
    assert (finished / "mine.txt").read_text() == "not headstart's"
    assert sum('"name": "network"' in line for line in (finished / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "words", [["--backbone", "{run}"], ["--backbone", "{run}/model"], ["--weights", "{run}/model/weights.safetensors"]]
)
def test_a_run_does_not_replace_the_network_it_starts_from(
    adapt: Run, album: Path, finished: Path, words: list[str]
) -> None:
    before = content(finished)
    refused(adapt(album, "--overwrite", *(word.format(run=finished) for word in words)), words[0], "would be replaced")
    assert content(finished) == before


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
@pytest.mark.parametrize("harm", ["", "{", "[1]"])
def test_damaged_records_are_named(adapt: Run, album: Path, finished: Path, name: str, harm: str) -> None:
    (finished / name).write_text(harm)
    refused(adapt(album, "--resume"), str(finished / name), "choose another folder", code=3)


def test_parts_of_a_run_are_not_taken_for_an_empty_folder(adapt: Run, album: Path, finished: Path) -> None:
    (finished / "config.json").unlink()
    before = content(finished)
    refused(adapt(album), "holds parts of a run, without its config.json", "--overwrite", code=3)
    assert content(finished) == before


# ---- folders that cannot be


def test_folders_that_are_not_for_runs(adapt: Run, album: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    refused(adapt(album, "--out", tmp_path / "full"), "is not empty and holds no run (thesis.tex)", "new or empty", code=3)
    refused(adapt(album, "--out", tmp_path / "full", "--overwrite"), "is not empty and holds no run", code=3)
    file = tmp_path / "full" / "thesis.tex"
    refused(adapt(album, "--out", file), f"--out {file}: a file is in the way; choose another folder")
    refused(adapt(album, "--out", file / "run"), "a file is in the way")
    refused(adapt(album, "--out", tmp_path / ("x" * 300)), "File name too long", code=3)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    assert file.read_text() == "years of work"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_cannot_be_written(
    adapt: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, *rest: Any, **more: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = adapt(album, "--out", tmp_path / "locked")
    refused(said, str(tmp_path / "locked"), "choose another", code=3 if number == errno.EROFS else 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(adapt: Run, album: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(adapt(album, "--out", tmp_path / "locked"), "not allowed to write there")
    refused(adapt(album, "--out", tmp_path / "locked" / "run"), "not allowed to write there")


# ---- one writer


def test_a_folder_in_use_names_its_process(adapt: Run, album: Path, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", CONFIG) as held:
        held.begin()
        for word in ("--resume", "--overwrite"):
            refused(adapt(album, word), f"run is in use by process {os.getpid()}", "--out", code=3)
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_lock_left_by_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("999999")
    (tmp_path / ".summary.json.999999.tmp").write_text("half of i")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / ".weights.safetensors.999999.tmp").write_bytes(b"half")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with open_run(tmp_path, CONFIG, resume=True) as held:
        assert held.resumed
    assert {path.name for path in tmp_path.rglob("*")} == {"config.json", "model"}


def test_a_lock_removed_by_its_holder_while_another_waits_for_it_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it the holder may end and remove it; a third would then lock a new one."""
    real = fcntl.flock
    turns = []

    def flock(handle: Any, how: int) -> None:
        if not turns:
            turns.append(handle)
            (tmp_path / ".lock").unlink()
        real(handle, how)

    monkeypatch.setattr(run_folder.fcntl, "flock", flock)
    with open_run(tmp_path, CONFIG), pytest.raises(RunFolderInUse), open_run(tmp_path, CONFIG):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_folder.fcntl, "flock", flock)
    with (
        pytest.raises(ConfigError, match=r"files cannot be locked there \(No locks available\)"),
        open_run(tmp_path, CONFIG),
    ):
        pass


# ---- beginning and going on


def test_nothing_is_left_of_a_run_that_did_not_begin(tmp_path: Path) -> None:
    with open_run(tmp_path / "deep" / "run", CONFIG):
        pass
    assert not (tmp_path / "deep" / "run").exists()

    def in_vain() -> None:
        with open_run(tmp_path / "run", CONFIG) as held:
            (held.work / "data").mkdir(parents=True)
            raise ConfigError("no")

    with pytest.raises(ConfigError):
        in_vain()
    assert not (tmp_path / "run").exists()


def test_a_run_that_began_can_be_gone_on_with_by_the_same_inputs_only(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with open_run(out, CONFIG) as held:
        held.begin(images="a", network="b")
        assert not held.resumed
    with open_run(out, {**CONFIG, "resume": True, "out": "elsewhere"}, resume=True) as held:
        assert held.resumed
        held.begin(images="a", network="b")
        for other in ({"images": "x", "network": "b"}, {"images": "a", "network": "y"}):
            with pytest.raises(RunFolderMismatch, match=r"begun with other (images|network)"):
                held.begin(**other)
        with pytest.raises(RunFolderMismatch, match="other images and network"):
            held.begin(images="x", network="y")
    with pytest.raises(RunFolderMismatch, match="seed was 0, now 1"), open_run(out, {**CONFIG, "seed": 1}, resume=True):
        pass


@pytest.mark.parametrize("moment", ["env.json", "inputs.json", "config.json"])
def test_a_run_killed_while_it_begins_can_be_begun_again(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, value: Any) -> None:
        if path.name == moment:
            raise KeyboardInterrupt
        real(path, value)

    real: Callable[[Path, Any], None] = run_folder.write_json
    monkeypatch.setattr(run_folder, "write_json", killed)
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path / "run", CONFIG) as held:
        held.begin(images="a")
    monkeypatch.setattr(run_folder, "write_json", real)
    for resume in (False, True):
        with open_run(tmp_path / "run", CONFIG, resume=resume) as held:
            assert held.resumed == resume
            held.begin(images="a")
            assert json.loads((held.path / "config.json").read_text()) == CONFIG


def test_resuming_where_there_is_no_run_says_that_it_is_a_new_one(adapt: Run, album: Path, tmp_path: Path) -> None:
    said = adapt(album, "--resume")
    assert said.code == 0
    assert f"{tmp_path / 'run'} holds no run to go on with" in said.err


def test_images_that_changed_since(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after it had begun, then resumed with one image less."""
    photos = write_album(tmp_path / "photos", 30)
    real = run_folder.RunFolder.write

    def stop(self: Any, name: str, value: Any) -> None:
        real(self, name, value)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.RunFolder, "write", stop)
    said = adapt(photos)
    assert said.code == 130
    assert "continue with: headstart adapt" in said.err
    monkeypatch.setattr(run_folder.RunFolder, "write", real)
    (photos / "class0" / "0.png").unlink()
    refused(adapt(photos, "--resume"), "begun with other images, so it cannot be resumed", "--overwrite", code=3)
