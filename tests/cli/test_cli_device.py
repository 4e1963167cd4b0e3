"""`headstart export` and `headstart bench` as typed: text, JSON, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.cli.main import COMMANDS
from headstart.engine.model import Ancestor, Card, Model
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from tests.cli.conftest import Run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    with forked(0):
        net = cifar_resnet(8, 4, 8)
    net.add_head("main", 2)
    card = Card("main", ("a", "b"), "squash", (Ancestor("toy", "none", "nothing", ""),), "0.1.0")
    return Model(net, card).save(tmp_path / "model")


def test_from_a_model_to_a_file_to_a_table(run: Run, model: Path, tmp_path: Path) -> None:
    said = run("export", model, "--to", "torch-export")
    assert said.code == 0
    assert said.out.startswith(f"{model}/model.pt2: torch-export, ")
    assert "in   images: uint8 [batch, 8, 8, 3]" in said.out
    assert "pictures of noise (no --images): logits differ by at most 0" in said.out
    assert "writing the graph" in said.err

    again = run("export", model, "--to", "torch-export", "--overwrite", "--json")
    told = json.loads(again.out)
    assert (told["command"], told["kind"], told["classes"]) == ("export", "torch-export", ["a", "b"])
    assert told["parity"]["agreement"] == 1

    words = ["bench", model, model / "model.pt2", "--out", tmp_path / "run", "--seconds", "0.2", "--threads", "1"]
    said = run(*words)
    assert said.code == 0
    assert f"report: {tmp_path}/run/report.html" in said.out
    assert "no images, so costs only" in said.out
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
    assert run(*words).code == 3
    told = json.loads(run(*words, "--overwrite", "--json").out)
    assert [one["kind"] for one in told["models"]] == ["headstart", "torch-export"]


def test_neither_goes_on_after_an_interruption() -> None:
    assert not COMMANDS["export"].resumable
    assert not COMMANDS["bench"].resumable
