"""Exporting and measuring what cannot be: one clear message, and nothing left behind or lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headstart.engine.model import Ancestor, Card, Model
from headstart.nets.small import BasicBlock
from tests.engine.engine_toys import resnet
from tests.failures.conftest import SIZE, Run, refused

CLASSES = ("class0", "class1", "class2")
MISSING = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"needs the extra 'device': {', '.join(MISSING)} not installed")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = resnet(SIZE)
    net.add_head("main", 3)
    with torch.no_grad():
        net.head("main").linear.weight.copy_(torch.linspace(-3, 3, 48).sin().reshape(3, 16))
    card = Card("main", CLASSES, "squash", (Ancestor("toy", "none", "nothing", ""),), "0.1.0")
    return Model(net, card).save(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def files(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@needs_onnx
def test_an_operator_that_cannot_be_exported_is_named(
    run: Run, model: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = BasicBlock.forward

    def odd(self: BasicBlock, x: Tensor) -> Tensor:
        y = forward(self, x)
        return y + torch.linalg.svdvals(y.flatten(2)).mean() if self.extra else y

    monkeypatch.setattr(BasicBlock, "forward", odd)
    before = files(model)
    said = run("export", model, "--images", album)
    refused(said, "cannot be written as ONNX: it uses the operator aten._linalg_svd (in block layer2_0)", "torch-export")
    assert files(model) == before


@needs_onnx
def test_int8_that_loses_too_much_leaves_what_was_there(run: Run, model: Path, album: Path) -> None:
    """In every block one useless channel is thousands of times the others, so that one range leaves these no steps."""
    loaded = Model.load(model)
    with torch.no_grad():
        for block in (part for part in loaded.net.modules() if isinstance(part, BasicBlock)):
            block.bn1.weight[0] = 1e4
            block.conv2.weight[:, 0] = 0
            block.bn2.weight.mul_(10)
    loaded.save(model)
    older = model / "model-int8.onnx"
    older.write_bytes(b"kept")
    plain = album.parent / "unlabelled"
    plain.mkdir(exist_ok=True)
    for place, path in enumerate(sorted(album.rglob("*.png"))):
        shutil.copy(path, plain / f"{place}.png")
    said = run("export", model, "--quantize", "int8", "--images", plain, "--overwrite", "--max-loss", "0")
    refused(said, "int8 is not written: int8 gives another class on", "--max-loss allows 0", "--calibrate")
    assert older.read_bytes() == b"kept"
    assert not list(model.glob(".*"))


def lone_folder(place: Path) -> Path:
    (place / "nothing").mkdir()
    return place / "nothing"


def picture(place: Path, album: Path) -> Path:
    return Path(shutil.copy(next(album.rglob("*.png")), place / "a.png"))


CASES: dict[str, tuple[Callable[[Path, Path, Path], list[object]], tuple[str, ...]]] = {
    "not a model folder": (lambda m, a, t: [lone_folder(t)], ("nothing is not a saved model", "finished run")),
    "a file": (lambda m, a, t: [picture(t, a)], ("a.png is not a saved model",)),
    "no such folder": (lambda m, a, t: [t / "none"], ("none is not a saved model",)),
    "an unknown kind": (lambda m, a, t: [m, "--to", "tflite"], ("invalid choice",)),
    "int8 of the wrong kind": (
        lambda m, a, t: [m, "--to", "torch-export", "--quantize", "int8", "--images", a],
        ("--quantize int8: only --to onnx can be quantised",),
    ),
    "a share that is none": (lambda m, a, t: [m, "--max-loss", "2"], ("--max-loss 2.0 must lie between 0 and 1",)),
    "another suffix": (
        lambda m, a, t: [m, "--to", "torch-export", "--out", t / "a.onnx"],
        ("files of this kind end in .pt2",),
    ),
    "a place that is not": (
        lambda m, a, t: [m, "--to", "torch-export", "--out", t / "x" / "a.pt2"],
        ("lies in a folder that does not exist",),
    ),
    "no images there": (
        lambda m, a, t: [m, "--to", "torch-export", "--images", t / "none"],
        ("none does not exist", "give a folder"),
    ),
    "an empty folder of images": (
        lambda m, a, t: [m, "--to", "torch-export", "--images", lone_folder(t)],
        ("nothing is empty; give a folder with images",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_exported(run: Run, model: Path, album: Path, tmp_path: Path, case: str) -> None:
    words, parts = CASES[case]
    given = words(model, album, tmp_path)
    before = files(model)
    said = run("export", *given)
    if case == "an unknown kind":
        assert said.code == 2
        assert parts[0] in said.err
    else:
        refused(said, *parts)
    assert files(model) == before


def test_int8_without_images(run: Run, model: Path) -> None:
    if MISSING:
        refused(run("export", model, "--quantize", "int8"), "pip install 'headstart[device]'")
    else:
        refused(run("export", model, "--quantize", "int8"), "--quantize int8 needs images to calibrate with", "--images")


def test_an_output_that_exists_is_kept(run: Run, model: Path) -> None:
    (model / "model.pt2").write_text("mine")
    said = run("export", model, "--to", "torch-export")
    refused(said, "model.pt2 exists already; replace it by --overwrite")
    assert (model / "model.pt2").read_text() == "mine"


def test_a_missing_extra_is_told_before_anything_is_done(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    refused(run("export", model), "ONNX files need", "onnxscript", "pip install 'headstart[device]'")


def test_a_damaged_model(run: Run, model: Path) -> None:
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused(run("export", model, "--to", "torch-export"), "weights.safetensors is not what was saved", "checksum")
    refused(run("bench", model, "--out", model.parent / "run"), "weights.safetensors is not what was saved")


def test_what_cannot_be_measured(run: Run, model: Path, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for given, part in (
        ([], "MODEL: none given"),
        ([tmp_path / "none.onnx"], "none.onnx does not exist"),
        ([picture(tmp_path, album)], "a.png is neither a folder with a saved model nor an .onnx or .pt2 file"),
        ([lone_folder(tmp_path)], "nothing is not a saved model"),
        ([model, "--images", tmp_path / "none"], "none does not exist"),
        ([model, "--threads", "0"], "--threads 0 must be at least 1"),
        ([model, model], "is named more than once"),
    ):
        refused(run("bench", *given, "--out", out), part)
        assert not out.exists()
    damaged = tmp_path / "a.pt2"
    damaged.write_bytes(b"PK\x03\x04")
    refused(run("bench", damaged, "--out", out), "a.pt2 is not a torch.export file, or it is damaged")
