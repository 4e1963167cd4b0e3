"""The whole job: where files go, what is checked before, and that nothing bad is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart.catalog.device import ExportConfig
from headstart.engine.model import Model
from headstart.errors import BackboneError, ConfigError, DataError, ModelFileError
from headstart.export import export as job
from headstart.export.calls import export_model
from headstart.export.export import Exported, export
from headstart.export.runners import open_runner

Made = Callable[[str], Exported]
PT2 = {"to": "torch-export"}


def test_a_run_keeps_its_files_beside_the_weights(saved: Path, album: Path, tmp_path: Path) -> None:
    """And its own images are what they are checked on."""
    run = tmp_path / "run"
    shutil.copytree(saved, run / "model")
    (run / "config.json").write_text(json.dumps({"data": str(album), "images": {}}))
    events: list[dict[str, Any]] = []
    found = export(ExportConfig(run, to="torch-export", limit=9), listeners=[events.append])
    assert found.path == run / "model" / "model.pt2"
    assert found.bytes == found.path.stat().st_size
    assert (found.parity.images, found.parity.where) == (9, str(album))
    assert any("the images of the run that made it" in str(event.get("text")) for event in events)
    assert [event["text"] for event in events if event["event"] == "phase"] == [
        "loading the model",
        "reading images",
        "writing the graph",
        "comparing answers on 9 images",
    ]
    with pytest.raises(ConfigError, match=r"model\.pt2 exists already; replace it by --overwrite"):
        export(ExportConfig(run, to="torch-export"))
    assert export(ExportConfig(run, to="torch-export", limit=9, overwrite=True)).summary == found.summary


def test_without_images_noise_tells_what_it_can(saved: Path, tmp_path: Path) -> None:
    found = export_model(saved, "torch-export", out=tmp_path / "a.pt2")
    assert (found.parity.images, found.parity.where) == (64, None)
    assert "pictures of noise" in str(found)
    with pytest.raises(DataError, match="--quantize int8 needs images to calibrate with"):
        export_model(saved, quantize="int8", out=tmp_path / "a.onnx")


def test_a_model_in_memory(model: Model, tmp_path: Path, rng_guard: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
    found = export_model(model, images=(pixels, np.arange(30) % 3), out=tmp_path / "a.pt2", **PT2)
    assert found.summary["command"] == "export"
    assert found.parity.where == "arrays"
    assert open_runner(found.path).facts.classes == model.classes
    json.dumps(found.summary)
    with pytest.raises(ConfigError, match="give out=FILE"):
        export_model(model)


def test_settings_from_python(saved: Path) -> None:
    assert headstart.export_model is export_model
    with pytest.raises(ConfigError, match=r"'quantise' is no setting of headstart\.ExportConfig; there are calibrate"):
        export_model(saved, quantise="int8")
    with pytest.raises(ConfigError, match="give to='onnx' or 'torch-export'"):
        export_model(saved, to="tflite")
    with pytest.raises(ConfigError, match="no setting"):
        headstart.bench([saved], second=3)


def test_an_answer_that_differs_is_not_kept(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that computes one operator otherwise: here the file's normalisation is a little off."""
    true = job.Deployed

    def spoiled(model: Model, *, contiguous: bool) -> torch.nn.Module:
        made = true(model, contiguous=contiguous)
        made.shift += 5
        return made

    monkeypatch.setattr(job, "Deployed", spoiled)
    with pytest.raises(BackboneError, match="answers otherwise once it is exported, so the file was not kept"):
        export_model(saved, "torch-export", out=tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


def test_all_that_is_wrong_is_said_together(saved: Path, tmp_path: Path) -> None:
    bad = ExportConfig(
        saved, to="torch-export", quantize="int8", max_loss=1.5, limit=0, calibrate=0, out=tmp_path / "no" / "a.txt"
    )
    with pytest.raises(ConfigError) as found:
        export(bad)
    for word in (
        "only --to onnx can be quantised",
        "--max-loss 1.5",
        "--limit 0",
        "--calibrate 0",
        "end in .onnx",
        "not exist",
    ):
        assert word in str(found.value)
    (tmp_path / "a.pt2").mkdir()
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        export(ExportConfig(saved, to="torch-export", out=tmp_path / "a.pt2"))
    with pytest.raises(ModelFileError, match="is not a saved model"):
        export(ExportConfig(tmp_path, to="torch-export"))


def test_missing_packages_are_named_with_their_remedy(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match=r"need onnx \(.*\) and onnxscript \(.*(?s:.)*pip install 'headstart\[device\]'"):
        export_model(saved, out=tmp_path / "a.onnx")
    assert export_model(saved, "torch-export", out=tmp_path / "a.pt2").bytes > 0
