"""Odd surroundings: closed streams, a terminal that knows ASCII only, no home folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.cli.main import main
from tests.failures.conftest import SIZE, write_album

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_closed_streams_are_no_defect(closed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        for name in closed:
            patch.setattr(sys, name, None)
        codes = main(["--version"]), main(["adapt", str(tmp_path / "nothing"), "--budget", "soon"]), main(["adpat"])
    assert codes == (0, 2, 2)


def test_an_ascii_terminal_and_no_home(network: list[str], tmp_path: Path) -> None:
    """Names in any script are read, shown escaped, and written as they are."""
    photos, out = write_album(tmp_path / "日本 photos", 30), tmp_path / "Käfer run"
    (photos / "class0").rename(photos / "猫 🐈")
    (photos / "猫 🐈" / "broken ü.png").write_bytes(b"")
    words = ["adapt", str(photos), "--out", str(out), *network, "--folds", "2", "--strategies", "probe", "--device", "cpu"]
    environment = {"PATH": "", "HOME": "/nonexistent", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "headstart", *words],
        env={**environment, "PYTHONPATH": str(ROOT), "TMPDIR": os.environ.get("TMPDIR", "/tmp")},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert rb"broken \xfc.png" in done.stderr
    assert json.loads((out / "summary.json").read_text("utf-8"))["classes"] == ["class1", "class2", "猫 🐈"]
    assert json.loads((out / "model" / "net.json").read_text("utf-8"))["input"]["size"] == SIZE
