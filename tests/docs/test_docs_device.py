"""The example on the page about devices runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"needs the extra 'device': {', '.join(MISSING)} not installed")
def test_the_example_runs(
    tmp_path: Path,
    run_example: Callable[[Path, str, str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (ROOT / "docs" / "device.md").read_text(encoding="utf-8")
    short = tmp_path / "device.md"
    short.write_text(page.replace("seconds=5", "seconds=0.3, threads=1"), encoding="utf-8")
    run_example(short, 'budget="30s"', 'budget="1s", strategies=("probe",), folds=2, device="cpu"')
    said = capsys.readouterr().out
    assert "onnx-int8" in said
    assert "int8 loses" in said
    assert (tmp_path / "runs/photos/model/model.onnx").exists()
    assert (tmp_path / "runs/bench/report.html").exists()
