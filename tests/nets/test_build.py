"""Builders: names, options, input sizes, what happens without a network, and what a source rebuilds."""

from __future__ import annotations

import copy
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.errors import BackboneError, ConfigError, ModelFileError
from headstart.nets import downloads
from headstart.nets.build import build, from_source, parse_args
from headstart.nets.saved import save_net
from tests.nets.toys import LooksAtValues, Plain, scramble

SMALL = {"block_config": (2, 2), "growth_rate": 8}


def _image(size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_own_network() -> None:
    net = build("headstart:cifar_resnet20")
    assert len(net.block_names) == 11
    assert build("cifar_resnet20").block_names == net.block_names
    assert build("headstart:cifar_resnet8", args={"width": 4}).info["pool"].channels == 16
    with pytest.raises(BackboneError, match="depth=21"):
        build("headstart:cifar_resnet21")


def test_timm_network_with_options_and_size() -> None:
    net = build("timm:vit_tiny_patch16_224", args={"depth": 2}, size=32, pretrained=False)
    assert net.block_names == ["stem", "blocks_0", "blocks_1", "pool"]
    assert net.input.size == 32
    assert net.input.mean == (0.5, 0.5, 0.5)
    assert not net.heads
    assert net.run(_image(32))["pool"].shape == (2, 192)
    assert not net.training
    assert all(weight.requires_grad for weight in net.parameters())


def test_two_classifiers_are_taken_off() -> None:
    net = build("timm:deit_tiny_distilled_patch16_224", args={"depth": 2}, size=32, pretrained=False)
    assert net.info[net.last].channels == 192


def test_torchvision_network() -> None:
    net = build("torchvision:squeezenet1_0", pretrained=False)
    assert net.info[net.last].channels == 512
    assert net.source is not None
    assert net.source["notes"] == ["the convolutional classifier classifier.1 was taken off"]
    assert net.input.size == 224


def test_weights_drawn_at_random_follow_the_seed() -> None:
    one, same, other = (build("timm:densenet121", args=SMALL, size=32, pretrained=False, seed=seed) for seed in (1, 1, 2))
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_global_generators_are_untouched() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    net = build("timm:vit_tiny_patch16_224", args={"depth": 1}, size=32, pretrained=False)
    assert net.source is not None
    from_source(net.source)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


@pytest.mark.parametrize(
    ("name", "args", "size"),
    [
        ("headstart:cifar_resnet8", {"width": 4}, None),
        ("timm:densenet121", SMALL, 64),
        ("timm:vit_tiny_patch16_224", {"depth": 2}, 32),
        ("torchvision:squeezenet1_1", {}, 64),
    ],
)
def test_source_rebuilds_the_architecture(name: str, args: dict[str, object], size: int | None) -> None:
    net = build(name, args=args, size=size, pretrained=False, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    twin = from_source(json.loads(json.dumps(net.source)))
    assert twin.block_names == net.block_names
    assert twin.info == net.info
    assert twin.input == net.input
    assert {k: (v.shape, v.stride()) for k, v in twin.state_dict().items()} == {
        k: (v.shape, v.stride()) for k, v in net.state_dict().items() if not k.startswith("heads.")
    }
    twin.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("heads.")})
    x = _image(net.input.size)
    assert torch.equal(twin.run(x)[twin.last], net.run(x)[net.last])


def test_unknown_source() -> None:
    with pytest.raises(BackboneError, match="'nonsense'"):
        from_source({"builder": "nonsense"})


# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("resnet81", "timm:resnet18"),
        ("timm:mobilnetv3_small", "timm:mobilenetv3_small"),
        ("torchvision:resnet19", "torchvision:resnet18"),
    ],
)
def test_unknown_names_offer_the_nearest(name: str, offered: str) -> None:
    with pytest.raises(BackboneError, match="no network is called") as caught:
        build(name)
    assert offered in str(caught.value)


def test_a_path_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="holds no saved headstart model"):
        build(tmp_path)
    with pytest.raises(ModelFileError, match="is no folder"):
        build(str(tmp_path / "absent"))


def test_a_saved_model_is_a_backbone(tmp_path: Path) -> None:
    net = build("headstart:cifar_resnet8", args={"width": 4})
    net.add_head("digits", 10)
    save_net(net, tmp_path)
    again = build(str(tmp_path))
    assert torch.equal(again(_image(32)), net(_image(32)))
    with pytest.raises(ConfigError, match="has its own weights"):
        build(tmp_path, args={"width": 4})


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_without_a_network_it_says_so_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SECONDS", 1.0)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("headstart.nets.timm_nets.cached_on_hub", lambda *given: None)
    for kind in ("timm_nets", "torchvision_nets"):
        monkeypatch.setattr(f"headstart.nets.{kind}.reachable", lambda url: downloads.reachable("http://127.0.0.1:9/x"))
    began = time.monotonic()
    with pytest.raises(BackboneError, match="cannot be downloaded") as caught:
        build(name)
    assert time.monotonic() - began < 5
    assert "--weights FILE" in str(caught.value)
    assert "embedded" in str(caught.value)


def test_offline_mode_of_the_hub_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not downloads.reachable("http://127.0.0.1:9")


def test_weights_in_the_hubs_cache_are_used_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    whole = timm.create_model("resnet10t").to(memory_format=torch.channels_last)
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / "model.safetensors")
    monkeypatch.setattr("headstart.nets.timm_nets.reachable", lambda url: False)
    monkeypatch.setattr("headstart.nets.timm_nets.cached_on_hub", lambda *given: tmp_path / "model.safetensors")
    net = build("timm:resnet10t", size=64)
    with torch.no_grad():
        assert torch.equal(net(_image(64), "source"), whole.eval()(_image(64)))
    assert net.source is not None
    assert net.source["weights"] == {"pretrained": "resnet10t.c3_in1k"}


def test_timm_without_pretrained_weights() -> None:
    pretrained = {name.split(".")[0] for name in timm.list_pretrained()}
    with pytest.raises(BackboneError, match="has no pretrained weights"):
        build(next(f"timm:{name}" for name in timm.list_models("vit*") if name not in pretrained))
    with pytest.raises(BackboneError, match=r"timm:resnet10t\.c3_in1k"):
        build("timm:resnet10t.nothing")


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18", "headstart:resnet8"])
def test_options_a_builder_does_not_take(name: str) -> None:
    with pytest.raises(BackboneError, match=f"^{name} has no option 'colour'; take it out of --backbone-args$"):
        build(name, args={"colour": "red"}, pretrained=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:vit_tiny_patch16_224", {"depth": -1}),
        ("timm:convnext_atto", {"drop_rate": "much"}),
        ("torchvision:resnet18", {"width_per_group": "wide"}),
        ("headstart:resnet8", {"width": "wide"}),
    ],
)
def test_values_a_builder_does_not_take(name: str, options: dict[str, Any]) -> None:
    ((key, value),) = options.items()
    with pytest.raises(BackboneError, match=f"^{name} cannot be built with --backbone-args {key}={value}; look at their"):
        build(name, args=options, pretrained=False)


# --- modules -----------------------------------------------------------------------------------------------------------


def test_a_module_is_copied_and_keeps_its_classifier() -> None:
    module = scramble(Plain()).eval().to(memory_format=torch.channels_last)
    net = build(module, size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert net.source is None
    with torch.no_grad():
        assert torch.equal(net(_image(16), "source"), module(_image(16)))
        for weight in net.parameters():
            weight.zero_()
    assert module.conv1.weight.abs().sum() > 0


def test_a_tag_of_weights_is_told_of_those_that_were_loaded() -> None:
    net = build("timm:resnet10t", pretrained=False)
    assert net.source is not None
    assert net.source["name"] == "resnet10t"


def test_a_module_without_input_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="--size --mean --std"):
        build(Plain())
    with pytest.raises(ConfigError, match="do not go together"):
        build(Plain(), size=16, mean=(0.5,), std=(0.5, 0.5))
    with pytest.raises(ConfigError, match="units of 0 to 255; divide"):
        build(Plain(), size=16, mean=(123.0, 116.0, 103.0), std=(58.0, 57.0, 57.0))
    with pytest.raises(ConfigError, match="not for a module"):
        build(Plain(), size=16, mean=(0.5,), std=(0.5,), args={"depth": 3})


def test_an_untraceable_module_still_works() -> None:
    module = LooksAtValues().eval()
    net = build(module, size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert net.block_names == ["backbone"]
    with torch.no_grad():
        # The same to the bit as the module where images lie in memory as a net has them.
        expected = copy.deepcopy(module).to(memory_format=torch.channels_last)
        assert torch.equal(net(_image(16), "source"), expected(_image(16).contiguous(memory_format=torch.channels_last)))
    assert isinstance(module.fc, nn.Linear)


def test_parse_args() -> None:
    given = ["pad_type=same", "drop_path_rate=0.1", "depth=3", "qkv_bias=true", "img_size=[224, 288]", "norm=none", "a=b=c"]
    assert parse_args(given) == {
        "pad_type": "same",
        "drop_path_rate": 0.1,
        "depth": 3,
        "qkv_bias": True,
        "img_size": [224, 288],
        "norm": None,
        "a": "b=c",
    }
    with pytest.raises(ConfigError, match="key=value"):
        parse_args(["same"])
