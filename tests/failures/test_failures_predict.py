"""Predicting with what is no model, or on what are no images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.failures.conftest import Run, refused


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, album: Path, network: list[str]) -> Path:
    from headstart.cli.main import main

    out = tmp_path_factory.mktemp("trained") / "run"
    usual = ["--budget", "1h", "--folds", "2", "--strategies", "probe", "--device", "cpu"]
    assert main(["adapt", str(album), *network, "--out", str(out), *usual]) == 0
    return out


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


HARMS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "a flipped byte": (lambda m: flip(m / "weights.safetensors"), ("weights.safetensors is not what was saved", "checksum")),
    "half the weights": (
        lambda m: (m / "weights.safetensors").write_bytes((m / "weights.safetensors").read_bytes()[:100]) and None,
        ("weights.safetensors is not what was saved",),
    ),
    "no weights": (lambda m: (m / "weights.safetensors").unlink(), ("weights.safetensors is missing",)),
    "no structure": (lambda m: (m / "net.json").unlink(), ("holds no saved headstart model",)),
    "half a structure": (lambda m: (m / "net.json").write_text('{"format": ') and None, ("net.json cannot be read",)),
    "another's structure": (
        lambda m: (m / "net.json").write_text("{}") and None,
        ("net.json was not written by headstart",),
    ),
    "half a card": (lambda m: (m / "card.json").write_text("{") and None, ("card.json is damaged",)),
    "a card of another kind": (lambda m: (m / "card.json").write_text("[]") and None, ("card.json is damaged",)),
    "no card": (lambda m: (m / "card.json").unlink(), ("is not a saved model: it has no card.json",)),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_model_is_named(run: Run, model: Path, album: Path, harm: str) -> None:
    spoil, parts = HARMS[harm]
    spoil(model / "model")
    refused(run("predict", model, album), *parts)


def test_what_is_no_model(run: Run, album: Path, tmp_path: Path) -> None:
    refused(run("predict", tmp_path / "nothing", album), "nothing does not exist", "give the folder of a saved model")
    refused(run("predict", album / "class0" / "0.png", album), "0.png is a file")
    refused(run("predict", tmp_path, album), "is not a saved model", "finished run")


def test_images_that_are_none(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run("predict", model, tmp_path / "empty"), "no images in", "empty")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_text("words")
    said = run("predict", model, tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.png", "--format", "json")
    assert said.code == 1
    assert "Traceback" not in said.err
    found = json.loads(said.out)
    assert found["predictions"] == []
    reasons = {Path(bad["path"]).name: bad["reason"] for bad in found["unreadable"]}
    assert reasons["a.png"] == "is empty (0 bytes)"
    assert "not a picture" in reasons["b.jpg"]
    assert "does not exist" in reasons["c.png"]
    assert all(name in said.err for name in reasons)


def test_readable_images_are_answered_beside_unreadable_ones(run: Run, model: Path, album: Path, tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    shutil.copy(album / "class0" / "0.png", tmp_path / "mixed" / "日本 1.png")
    (tmp_path / "mixed" / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "mixed" / "loop").symlink_to(tmp_path / "mixed")
    said = run("predict", model, tmp_path / "mixed", "--format", "csv")
    assert said.code == 1
    assert [line.split(",")[0] for line in said.out.splitlines()[1:]] == ["mixed/日本 1.png"]
    assert "broken.png" in said.err


def test_an_unfinished_run_is_no_model(run: Run, model: Path, album: Path) -> None:
    shutil.rmtree(model / "model")
    refused(run("predict", model, album), "is not a saved model", "finished run")
