"""ONNX files: PyTorch's answers for any batch, one file that says everything, nothing of this machine in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from headstart.engine.model import Model
from headstart.errors import BackboneError, ModelFileError
from headstart.export.calls import export_model
from headstart.export.deployed import Deployed, facts_of
from headstart.export.export import Exported
from headstart.export.onnx import OnnxRunner, write_onnx
from headstart.export.runners import of_model, open_runner
from headstart.export.trace import traced
from headstart.nets.build import build
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.saved import load_embedded
from tests.export.conftest import card, needs_onnx
from tests.export.toys import taught

pytestmark = needs_onnx
Made = Callable[[str], Exported]


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_any_batch_is_answered_as_pytorch_does(made: Made, model: Model, pixels: NDArray[np.uint8], count: int) -> None:
    runner = open_runner(made("onnx").path, threads=1)
    for mine, theirs in zip(runner.answer(pixels[:count]), of_model(model)(pixels[:count]), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_parity_was_checked_on_the_test_pictures(made: Made) -> None:
    found = made("onnx").parity
    assert found.images == 60
    assert found.agreement == 1
    assert 0 < found.logits < 1e-4 < found.scale
    assert found.probability < 1e-5
    assert "parity with PyTorch on 60 images of" in str(made("onnx"))


def test_the_file_alone_is_enough(made: Made, pixels: NDArray[np.uint8]) -> None:
    """As somebody without headstart would use it."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(made("onnx").path.read_bytes(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["batch", 16, 16, 3])
    assert [(out.name, out.shape) for out in session.get_outputs()] == [
        ("logits", ["batch", 3]),
        ("probabilities", ["batch", 3]),
    ]
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert classes == ["ant", "bée", "cow"]
    (probabilities,) = session.run(["probabilities"], {"images": pixels[:3]})
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert list(made("onnx").path.parent.glob("*.data")) == []


def test_nothing_of_this_machine_is_in_the_file(made: Made) -> None:
    content = made("onnx").path.read_bytes()
    for word in (str(Path.home()), "site-packages", ".py", str(Path(__file__).parents[2])):
        assert word.encode() not in content


def test_the_same_model_gives_the_same_bytes(made: Made, model: Model, tmp_path: Path, rng_guard: None) -> None:
    path = tmp_path / "again.onnx"
    write_onnx(traced(Deployed(model, contiguous=True), "toy"), facts_of(model, "onnx"), path)
    assert path.read_bytes() == made("onnx").path.read_bytes()


def one_block(block: nn.Module, channels: int = 3) -> Model:
    blocks = {"stem": nn.Conv2d(3, 3, 1), "odd": block}
    info = {"stem": BlockInfo("nchw", 3), "odd": BlockInfo("nc", channels)}
    net = Net(blocks, InputSpec(4), info, None)
    net.add_head("main", 3)
    return Model(net, card())


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).reshape(2, 3)


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_code_that_is_no_graph_is_named() -> None:
    with pytest.raises(BackboneError, match=r"one size of batch only.*write -1, or x.shape"):
        traced(Deployed(one_block(Fixed()), contiguous=True), "toy")
    with pytest.raises(BackboneError, match=r"depends on the values it sees.*test_export_onnx.py, line \d+, in forward"):
        traced(Deployed(one_block(Deciding()), contiguous=True), "toy")


def test_what_is_no_file_of_ours(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    path.write_bytes(b"words")
    with pytest.raises(ModelFileError, match=r"a\.onnx cannot be run as ONNX"):
        OnnxRunner(path)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value.__class__()])
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    opset = [onnx.helper.make_opsetid("", 18)]
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    with pytest.raises(ModelFileError, match="was not written by headstart export"):
        OnnxRunner(path)


def test_the_embedded_network_on_digits(tmp_path: Path) -> None:
    """As a run of `adapt` leaves it: the network that comes along, with a head for ten digits."""
    found = load_digits()
    net = load_embedded()
    side = net.input.size
    grey = [Image.fromarray((one * 15).astype(np.uint8)).convert("RGB").resize((side, side)) for one in found.images[:160]]
    model = taught(net, np.stack(grey[:120]), found.target[:120], tuple(map(str, range(10))))
    path = export_model(model, images=(np.stack(grey), found.target[:160]), out=tmp_path / "digits.onnx").path
    rest = np.stack(grey[120:])
    (logits, chances), (wanted, known) = OnnxRunner(path, 1)(rest), of_model(Model.load(model.save(tmp_path / "m")))(rest)
    np.testing.assert_allclose(logits, wanted, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(chances, known, atol=1e-5)
    assert (logits.argmax(1) == found.target[120:160]).mean() > 0.6


def test_our_transformer_for_any_batch(tmp_path: Path) -> None:
    """Its tokens are laid beside as many copies of its own as there are images."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    model = taught(build("headstart:vit", size=16, pretrained=False, seed=1), pixels, np.array([0, 1, 2, 0, 1]))
    write_onnx(traced(Deployed(model, contiguous=True), "vit"), facts_of(model, "onnx"), tmp_path / "a.onnx")
    runner = OnnxRunner(tmp_path / "a.onnx", 1)
    for count in (1, 5):
        wanted, _ = of_model(model)(pixels[:count])
        np.testing.assert_allclose(runner(pixels[:count])[0], wanted, atol=1e-4 * float(np.abs(wanted).max()))


@pytest.mark.slow
def test_a_network_of_timm(tmp_path: Path) -> None:
    net = build("timm:resnet18", pretrained=False, size=64, seed=3)
    net.add_head("main", 5)
    with torch.no_grad():
        net.head("main").linear.weight.copy_(torch.linspace(-1, 1, 5 * 512).reshape(5, 512).sin())
    model = Model(net, card(classes=tuple("abcde")))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    write_onnx(traced(Deployed(model, contiguous=True), "resnet18"), facts_of(model, "onnx"), tmp_path / "a.onnx")
    logits, _ = OnnxRunner(tmp_path / "a.onnx", 1)(pixels)
    wanted, _ = of_model(model)(pixels)
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * max(1.0, float(np.abs(wanted).max())))
