"""A CIFAR ResNet written in the usual layout is the same network when headstart loads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from headstart.errors import BackboneError
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet


def usual(net: Net, classifier: str) -> dict[str, torch.Tensor]:
    """The network's tensors by the names that others give them."""
    found = {}
    for name, value in net.state_dict().items():
        name = name.replace("blocks.stem.", "").replace("heads.source.linear", classifier)
        name = re.sub(r"blocks\.layer(\d)_(\d+)", r"layer\1.\2", name)
        if "calibration" not in name:
            found[f"module.{name}"] = value
    return found


@pytest.mark.parametrize("classifier", ["linear", "fc"])
def test_the_same_answers(tmp_path: Path, classifier: str) -> None:
    with forked(3):
        net = cifar_resnet(8, 16, 12)
        head = net.add_head("source", 5)
        torch.nn.init.normal_(head.linear.weight)
        x = torch.randn(2, 3, 12, 12)
    torch.save({"state_dict": usual(net, classifier)}, tmp_path / "w.th")
    found = build("headstart:resnet8", weights=tmp_path / "w.th", size=12)
    assert list(found.heads) == ["source"]
    assert torch.equal(found(x), net.eval()(x))


def test_a_file_of_another_depth_is_refused(tmp_path: Path) -> None:
    with forked(3):
        net = cifar_resnet(20, 16, 12)
        net.add_head("source", 5)
    torch.save(usual(net, "linear"), tmp_path / "w.th")
    with pytest.raises(BackboneError, match=r"does not fit headstart:.*resnet8"):
        build("headstart:resnet8", weights=tmp_path / "w.th", size=12)
