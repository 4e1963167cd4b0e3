"""A network of towers on a device: one with units as a whole, one without also as the ordinary network of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.catalog.device import ExportConfig
from headstart.engine.model import Model
from headstart.export.export import export
from headstart.export.runners import of_model, open_runner
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.nets.towers import tower, towers
from tests.export.conftest import card, needs_onnx
from tests.export.toys import SIZE


def model(stitch: tuple[str, ...] = ()) -> Model:
    """Two towers whose weights and heads differ; the card is the second task's."""
    with forked(0):
        net = towers(cifar_resnet(8, 8, SIZE), ["main", "other"], shared=1, stitch=stitch)
        with torch.no_grad():
            for one in net.blocks.parameters():
                one.add_(0.05 * torch.randn_like(one))
        for name, count in (("main", 3), ("other", 4)):
            nn.init.normal_(net.add_head(name, count).linear.weight)
    made = card("other", ("a", "b", "c", "d"))
    return Model(net, made)


@pytest.mark.parametrize("kind", ["torch-export", pytest.param("onnx", marks=[needs_onnx, pytest.mark.slow])])
def test_a_network_with_units_answers_from_a_file(kind: str, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    given = model(("layer2_0", "pool"))
    saved = given.save(tmp_path / "model")
    end = ".pt2" if kind == "torch-export" else ".onnx"
    runner = open_runner(export(ExportConfig(saved, to=kind, out=tmp_path / f"towers{end}")).path)  # type: ignore[arg-type]
    for count in (1, 5):
        for mine, theirs in zip(runner.answer(pixels[:count]), of_model(given)(pixels[:count]), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_one_task_is_exported_as_an_ordinary_network(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    given = model()
    alone = Model(tower(given.net, "other"), given.card)
    for mine, theirs in zip(of_model(alone)(pixels), of_model(given)(pixels), strict=True):
        assert np.array_equal(mine, theirs)
    saved = alone.save(tmp_path / "model")
    made = export(ExportConfig(saved, to="torch-export", out=tmp_path / "one.pt2"))
    assert made.parity.logits == 0
    for mine, theirs in zip(open_runner(made.path).answer(pixels), of_model(given)(pixels), strict=True):
        assert np.array_equal(mine, theirs)
    assert made.facts.parameters < sum(one.numel() for one in given.net.parameters())
