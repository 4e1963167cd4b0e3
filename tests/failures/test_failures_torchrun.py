"""Several processes under torchrun: they find what one finds, and what fails in the first is said once, by the first."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.data.digits import digit_files
from headstart.data.prepare import prepare
from headstart.data.sources import open_source
from headstart.engine import distributed
from headstart.errors import ConfigError
from headstart.studies import arms
from tests.failures import short
from tests.failures.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
PER_CLASS = {"train": 14, "test": 6}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 of scikit-learn's digits: three classes, 14 images each to learn from and 6 to test."""
    root = tmp_path_factory.mktemp("digits")
    for name, content in digit_files().items():
        split, label, _ = name.split("/")
        folder = root / split / label
        if int(label) < 3 and len(list(folder.glob("*"))) < PER_CLASS[split]:
            folder.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


class Ended:
    """How two processes ended: torchrun's own words, and each process's stderr."""

    def __init__(self, torchrun: str, logs: Path) -> None:
        self.torchrun = torchrun
        self.err = [next(logs.glob(f"*/attempt_0/{rank}/stderr.log")).read_text("utf-8") for rank in (0, 1)]


def surroundings() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def torchrun(module: str, words: list[str], logs: Path) -> tuple[int, Ended]:
    """Two processes; what each says goes to its own files, since torchrun's report of a failure has a traceback too."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--redirects", "3"]
    command = [sys.executable, *launch, "--log-dir", str(logs), "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=surroundings(), check=False)
    return done.returncode, Ended(done.stderr, logs)


def words_for(data: Path, network: list[str]) -> list[str]:
    usual = ["--budget", "1h", "--folds", "2", "--device", "cpu", "--strategies", "probe", "svm", "full_100"]
    return ["adapt", str(data), *network, *usual, "--out"]


def test_two_processes_find_what_one_finds(
    digits: Path, network: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(digits, network)
    monkeypatch.setattr(arms, "_enough_epochs", short.few)
    assert run(*words, tmp_path / "one").code == 0
    code, ended = torchrun("tests.failures.short", [*words, str(tmp_path / "two")], tmp_path / "logs")
    assert code == 0, ended.err
    assert ended.err[1] == ""
    one, two = (json.loads((tmp_path / name / "summary.json").read_text("utf-8")) for name in ("one", "two"))
    assert two["chosen"] == one["chosen"]
    assert two["test"]["accuracy"] == one["test"]["accuracy"]
    assert {arm["name"] for arm in two["arms"]} >= {"probe", "svm", "full_100"}


def test_a_folder_in_use_by_another_run_is_refused_once(digits: Path, network: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_text("{}")
    code, ended = torchrun("headstart", [*words_for(digits, network), str(out)], tmp_path / "logs")
    assert code == 1
    assert "exitcode  : 3" in ended.torchrun
    assert ended.err[0].count("error: ") == 1
    assert "already holds a run" in ended.err[0]
    assert "Traceback" not in "".join(ended.err)
    assert ended.err[1] == ""


class Unsure:
    """A Dataset of pictures that nothing tells apart from others of its kind."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return np.full((8, 8, 3), 20 * place, np.uint8), place % 2


def test_the_pictures_of_a_dataset_reach_other_processes_by_their_file(tmp_path: Path) -> None:
    made = prepare(open_source(Unsure()), size=8, cache=tmp_path)
    sent = pickle.dumps(made.store)
    assert len(sent) < 1000 < made.store.array.nbytes
    received = pickle.loads(sent)
    assert np.array_equal(received.array, made.store.array)
    assert received.fingerprint == made.store.fingerprint


@pytest.mark.parametrize(
    ("device", "processes", "part"),
    [("cuda:1", 2, "CUDA_VISIBLE_DEVICES"), ("cuda", 4, "--nproc-per-node 3"), ("cuda", 4, "4 processes")],
)
def test_a_device_that_processes_cannot_share_out_is_refused(
    device: str, processes: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    with pytest.raises(ConfigError, match=part):
        distributed.start(device)
