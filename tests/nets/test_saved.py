"""Saved networks: equal to the bit, verified, rebuilt without code, aliases saved once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.errors import BackboneError, DiskFull, ModelFileError
from headstart.nets import saved
from headstart.nets.build import build
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.saved import load_net, read_description, save_embedded, save_net
from headstart.nets.small import cifar_resnet, mlp
from tests.nets.toys import Plain, scramble


def _tiny() -> Net:
    net = cifar_resnet(8, 4)
    scramble(net)
    net.add_head("digits", 3)
    net.add_head("early", 2, reads=["stem", "layer2_0"])
    with torch.no_grad():
        net.head("digits").linear.weight.normal_()
        net.head("early").calibration.copy_(torch.tensor([2.0, -1.0]))
    return net.eval()


def _equal(one: Net, two: Net) -> None:
    assert one.block_names == two.block_names
    assert one.info == two.info
    assert one.input == two.input
    assert one.source == two.source
    a, b = one.state_dict(), two.state_dict()
    assert list(a) == list(b)
    assert all(torch.equal(a[key], b[key]) and a[key].stride() == b[key].stride() for key in a)


@pytest.mark.parametrize("kind", ["cifar", "mlp", "timm"])
def test_round_trip(kind: str, tmp_path: Path) -> None:
    makers: dict[str, Any] = {
        "cifar": _tiny,
        "mlp": lambda: mlp(5, (4, 3)),
        "timm": lambda: build("timm:vit_tiny_patch16_224", args={"depth": 1}, size=32, pretrained=False),
    }
    net = makers[kind]()
    state = torch.get_rng_state()
    save_net(net, tmp_path / "model", extra={"classes": ["a", "b"], "name": "äöü"})
    again = load_net(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)
    _equal(net, again)
    assert not again.training
    assert read_description(tmp_path / "model")["extra"] == {"classes": ["a", "b"], "name": "äöü"}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["net.json", "weights.safetensors"]


def test_heads_come_back(tmp_path: Path) -> None:
    net = _tiny()
    save_net(net, tmp_path)
    again = load_net(tmp_path)
    x = torch.randn(2, 3, 32, 32)
    for head in ("digits", "early"):
        assert torch.equal(again(x, head), net(x, head))
        logits = net(x, head)
        assert torch.equal(again.head(head).probabilities(logits), net.head(head).probabilities(logits))


def test_memory_format_is_kept(tmp_path: Path) -> None:
    net = _tiny().to(memory_format=torch.contiguous_format)
    save_net(net, tmp_path)
    _equal(net, load_net(tmp_path))


def test_a_module_needs_its_builder(tmp_path: Path) -> None:
    net = build(scramble(Plain()), size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    save_net(net, tmp_path)
    with pytest.raises(ModelFileError, match="builder=lambda"):
        load_net(tmp_path)
    _equal(net, load_net(tmp_path, builder=Plain))
    _equal(net, load_net(tmp_path, builder=lambda: build(Plain(), size=16, mean=(0.5,) * 3, std=(0.5,) * 3)))
    wide = Plain()
    wide.conv2 = nn.Conv2d(8, 12, 5, 2, 2)
    with pytest.raises(ModelFileError, match="do not belong to what was built"):
        load_net(tmp_path, builder=lambda: wide)
    with pytest.raises(ModelFileError, match="has the blocks"):
        load_net(tmp_path, builder=lambda: mlp(3))


def test_shared_tensors_are_saved_once(tmp_path: Path) -> None:
    def tied() -> Net:
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
        info = dict.fromkeys(("one", "two"), BlockInfo("nc", 4))
        return Net({"one": first, "two": second}, InputSpec(4, (0.0,), (1.0,), "vector"), info, None)

    net = tied()
    save_net(net, tmp_path)
    assert read_description(tmp_path)["aliases"] == {"blocks.two.weight": "blocks.one.weight"}
    again = load_net(tmp_path, builder=tied)
    _equal(net, again)
    assert again.blocks["one"].weight is again.blocks["two"].weight


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    save_net(_tiny(), tmp_path)
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="checksum"):
        load_net(tmp_path)


@pytest.mark.parametrize("harm", ["text", "foreign", "newer", "half", "no weights", "unknown builder"])
def test_damaged_and_foreign_folders(harm: str, tmp_path: Path) -> None:
    save_net(_tiny(), tmp_path)
    path = tmp_path / "net.json"
    spec = json.loads(path.read_text())
    texts = {
        "text": "hello",
        "foreign": '{"model": 1}',
        "newer": json.dumps({**spec, "version": 99}),
        "half": json.dumps({key: value for key, value in spec.items() if key != "heads"}),
        "unknown builder": json.dumps({**spec, "source": {"builder": "magic"}}),
    }
    if harm == "no weights":
        (tmp_path / "weights.safetensors").unlink()
    else:
        path.write_text(texts[harm])
    with pytest.raises(BackboneError if harm == "unknown builder" else ModelFileError):
        load_net(tmp_path)


def test_a_full_disk_leaves_the_older_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = _tiny(), _tiny()
    save_net(old, tmp_path)

    def full(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved, "_save_tensors", full)
    with pytest.raises(DiskFull, match="intact"):
        save_net(new, tmp_path)
    _equal(old, load_net(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_embedded_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved.resources, "files", lambda package: tmp_path)
    with pytest.raises(BackboneError, match="no embedded backbone"):
        build("embedded")
    net = _tiny()
    save_embedded(net, tmp_path, extra={"card": "..."})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedded.json", "embedded.safetensors"]
    _equal(net, build("embedded"))
    _equal(net, build(None))
