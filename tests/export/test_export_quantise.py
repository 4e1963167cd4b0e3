"""int8: what the file holds, how near it stays, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.engine.model import Model
from headstart.errors import BackboneError, DataError
from headstart.export.deployed import Deployed, facts_of
from headstart.export.export import Exported
from headstart.export.onnx import write_onnx
from headstart.export.quantise import quantise
from headstart.export.runners import of_model, open_runner
from headstart.export.trace import traced
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from tests.export.conftest import card, needs_onnx

pytestmark = needs_onnx
Made = Callable[[str], Exported]


def arrays(path: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(path)).graph
    return graph, {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_weights_are_whole_numbers_per_channel(made: Made) -> None:
    """Each stored weight is the nearest of 255 steps of its channel's range: within half a step of the float one."""
    graph, kept = arrays(made("int8").path)
    _, floats = arrays(made("onnx").path)
    by_shape = [value for value in floats.values() if value.ndim == 4]
    checked = 0
    for node in (one for one in graph.node if one.op_type == "DequantizeLinear" and one.input[0] in kept):
        whole, scale = kept[node.input[0]], kept[node.input[1]]
        if whole.ndim != 4:
            continue
        assert whole.dtype == np.int8
        assert scale.shape == (len(whole),)
        assert not kept[node.input[2]].any()
        near = whole * scale[:, None, None, None]
        gaps = [np.abs(near - one).max((1, 2, 3)) for one in by_shape if one.shape == whole.shape]
        assert any((gap <= 0.5001 * scale).all() for gap in gaps)
        checked += 1
    assert checked == 7  # every convolution of a ResNet-8 with shortcuts that have no weights


def test_the_ends_keep_their_precision(made: Made) -> None:
    graph, _ = arrays(made("int8").path)
    kinds = [node.op_type for node in graph.node]
    assert kinds.index("Mul") < kinds.index("QuantizeLinear")
    last = next(node for node in reversed(graph.node) if node.op_type in ("Gemm", "MatMul"))
    before = {name: node for node in graph.node for name in node.output}
    assert before[last.input[0]].op_type in ("DequantizeLinear", "ReduceMean", "Squeeze", "Reshape", "Flatten")
    assert last.input[1] not in {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}


def test_it_is_smaller_and_answers_alike(made: Made, model: Model, pixels: NDArray[np.uint8]) -> None:
    found = made("int8")
    assert found.loss is not None
    assert found.facts.kind == "onnx-int8"
    assert found.bytes < 0.75 * made("onnx").bytes
    assert found.calibrated == 60
    assert found.loss.before is not None
    assert found.loss.lost <= 0.1
    assert "int8 loses" in str(found)
    mine, theirs = open_runner(found.path, 1).answer(pixels)[1], of_model(model)(pixels)[1]
    assert (mine.argmax(1) == theirs.argmax(1)).mean() >= 0.9


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """A perceptron of one layer besides its head, and its file."""
    with forked(0):
        net: Net = mlp(6, (4,))
    net.add_head("main", 3)
    model = Model(net, card())
    path = tmp_path_factory.mktemp("layer") / "a.onnx"
    write_onnx(traced(Deployed(model, contiguous=True), "toy"), facts_of(model, "onnx"), path)
    return path, model


def test_vectors_can_be_quantised_and_nothing_cannot(one_layer: tuple[Path, Model], tmp_path: Path) -> None:
    path, model = one_layer
    x = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    quantise(path, facts_of(model, "onnx-int8"), x, tmp_path / "b.onnx")
    near, _ = open_runner(tmp_path / "b.onnx", 1).answer(x)
    wanted, _ = of_model(model)(x)
    assert np.abs(near - wanted).max() <= 0.05 * np.abs(wanted).max() + 1e-6
    with pytest.raises(DataError, match="int8 needs images to calibrate with"):
        quantise(path, facts_of(model, "onnx-int8"), x[:0], tmp_path / "c.onnx")


def test_a_head_alone_has_nothing_to_gain(
    one_layer: tuple[Path, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = one_layer
    monkeypatch.setattr("headstart.export.quantise.HEAVY", ("Conv",))
    with pytest.raises(BackboneError, match="no layers that int8 would make cheaper besides its head"):
        quantise(path, facts_of(model, "onnx-int8"), np.zeros((4, 6), np.float32), tmp_path / "b.onnx")


def test_of_a_transformer_only_products_with_weights(tmp_path: Path) -> None:
    """The class token of one layer of attention, written out, on four patches."""
    with forked(0):
        net = attending()
    net.add_head("main", 3)
    model = Model(net, card())
    write_onnx(traced(Deployed(model, contiguous=True), "toy"), facts_of(model, "onnx"), tmp_path / "a.onnx")
    x = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    quantise(tmp_path / "a.onnx", facts_of(model, "onnx-int8"), x, tmp_path / "b.onnx")
    graph, _ = arrays(tmp_path / "b.onnx")
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    from_eight_bits = [node for node in graph.node if "DequantizeLinear" in {made_by.get(name) for name in node.input}]
    assert {node.op_type for node in from_eight_bits} <= {"Conv", "MatMul", "Gemm", "Add", "Reshape", "Transpose"}
    sums = [node for node in graph.node if node.op_type == "Add" and node not in from_eight_bits]
    assert sums
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert sum(node not in from_eight_bits for node in products) == 2


class Attend(nn.Module):
    """Pre-normalised attention of one head, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.last = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, -1)
        return self.last(tokens + (query @ key.transpose(1, 2)).softmax(-1) @ value)[:, 0]


def attending() -> Net:
    blocks = {"patches": nn.Conv2d(3, 8, 4, 4), "attend": Attend(8)}
    return Net(blocks, InputSpec(8), {"patches": BlockInfo("nchw", 8), "attend": BlockInfo("nc", 8)}, None)
