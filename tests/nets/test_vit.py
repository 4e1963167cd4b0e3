"""The small vision transformer, heads on some of the channels, and names of our own networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.errors import BackboneError, ConfigError
from headstart.nets.build import build
from headstart.nets.cost import block_flops
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net, count_parameters
from headstart.nets.rng import forked
from headstart.nets.saved import load_net, save_net
from headstart.nets.vit import Layer, has_two_tokens, patch_for, vit, waves
from tests.conftest import random_states


def small(size: int = 8) -> Net:
    with forked(2):
        return vit(size, 2, width=12, depth=2, heads=3).eval()


def images(size: int, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_shapes_block_by_block() -> None:
    net = small()
    found = net.run(images(8), taps=net.block_names)
    assert {name: tuple(x.shape[1:]) for name, x in found.items()} == {
        "embed": (2 + 16, 12),
        "layer0": (2 + 16, 12),
        "layer1": (2 + 16, 12),
        "tokens": (24,),
    }
    assert [net.info[name].layout for name in net.block_names] == ["nlc", "nlc", "nlc", "nc"]
    assert net.info["tokens"].channels == 24
    assert has_two_tokens(net)
    assert not has_two_tokens(build("headstart:resnet8", args={"width": 4}))


def test_a_layer_is_the_published_one() -> None:
    """Against PyTorch's own encoder layer, pre-norm, with the same weights."""
    with forked(1):
        ours = Layer(12, 3).double().eval()
    theirs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
    pairs = {
        "self_attn.in_proj_weight": ours.attention.qkv.weight,
        "self_attn.in_proj_bias": ours.attention.qkv.bias,
        "self_attn.out_proj.weight": ours.attention.out.weight,
        "self_attn.out_proj.bias": ours.attention.out.bias,
        "linear1.weight": ours.mlp[0].weight,
        "linear1.bias": ours.mlp[0].bias,
        "linear2.weight": ours.mlp[2].weight,
        "linear2.bias": ours.mlp[2].bias,
        "norm1.weight": ours.norm1.weight,
        "norm1.bias": ours.norm1.bias,
        "norm2.weight": ours.norm2.weight,
        "norm2.bias": ours.norm2.bias,
    }
    theirs.load_state_dict(pairs)
    x = torch.randn(2, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours(x), theirs(x), atol=1e-12)


def test_patches_are_read_row_by_row_and_the_special_tokens_come_first() -> None:
    net, x = small(), images(8)
    embed = net.blocks["embed"]
    tokens = embed(x)
    weight, bias = embed.project.weight, embed.project.bias
    for number, (row, column) in enumerate(np.ndindex(4, 4)):
        patch = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        expected = torch.einsum("ncij,dcij->nd", patch, weight) + bias + embed.position[0, 2 + number]
        assert torch.allclose(tokens[:, 2 + number], expected, atol=1e-5)
    assert torch.allclose(tokens[:, :2], (embed.special + embed.position[:, :2]).expand(3, -1, -1))


def test_the_last_block_holds_both_tokens_side_by_side() -> None:
    net, x = small(), images(8)
    found = net.run(x, taps=("layer1", "tokens"))
    for place in (0, 1):
        token = F.layer_norm(found["layer1"][:, place], (12,))
        assert torch.allclose(found["tokens"][:, 12 * place : 12 * (place + 1)], token, atol=1e-5)
    assert not torch.allclose(found["tokens"][:, :12], found["tokens"][:, 12:])


def test_every_weight_gets_a_gradient_through_a_head_on_both() -> None:
    net = small()
    nn.init.ones_(net.add_head("toy", 3).linear.weight[:, ::2])
    F.cross_entropy(net(images(8)), torch.tensor([0, 1, 2])).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_places_begin_as_waves_of_row_and_column() -> None:
    found = waves(3, 8)
    assert found.shape == (9, 8)
    for place, (row, column) in enumerate(np.ndindex(3, 3)):
        for number, rate in enumerate((1.0, 1e-4)):
            expected = [np.sin(row * rate), np.cos(row * rate), np.sin(column * rate), np.cos(column * rate)]
            assert np.allclose(found[place, number::2], expected, atol=1e-6)
    net = small()
    assert torch.allclose(net.blocks["embed"].position[0, 2:], waves(4, 12))
    assert not net.blocks["embed"].position[0, :2].any()


@pytest.mark.parametrize(
    ("size", "patch"), [(8, 1), (12, 2), (28, 4), (32, 4), (48, 6), (64, 8), (96, 12), (128, 16), (224, 16), (31, 1), (4, 1)]
)
def test_patches_by_size(size: int, patch: int) -> None:
    assert patch_for(size) == patch
    assert size % patch == 0


def test_settings_that_cannot_be() -> None:
    for wrong in ({"size": 30, "patch": 4}, {"width": 10, "heads": 3}, {"depth": 0}, {"size": 0}, {"patch": -4}):
        with pytest.raises(ValueError, match="the patch must divide the size"):
            vit(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "convnet8", "vit"])
def test_own_names_build_for_the_size_asked_and_from_a_seed(name: str, tmp_path: Path) -> None:
    before = random_states()
    net, same, other = (build(f"headstart:{name}", size=16, seed=seed) for seed in (3, 3, 4))
    assert random_states() == before
    assert net.input.size == 16
    x = images(16)
    net.add_head("toy", 4)
    save_net(net, tmp_path)
    again = load_net(tmp_path)
    assert torch.equal(net.run(x)[net.last], same.run(x)[net.last])
    assert torch.equal(net.run(x)[net.last], again.run(x)[net.last])
    assert not torch.equal(net.run(x)[net.last], other.run(x)[net.last])
    reinitialise(same, same.block_names, 5)
    assert not torch.equal(net.run(x)[net.last], same.run(x)[net.last])
    assert sum(block_flops(net).values()) > 0
    assert count_parameters(net) == count_parameters(again)


def test_own_names_take_options_and_are_refused_clearly() -> None:
    assert build("headstart:vit", args={"width": 12, "depth": 1}).info["tokens"].channels == 24
    assert build("headstart:resnet14", args={"width": 4}).info["pool"].channels == 16
    with pytest.raises(BackboneError, match=r"depth=18.*6n\+2"):
        build("headstart:resnet18")
    with pytest.raises(BackboneError, match="patch must divide"):
        build("headstart:vit", args={"patch": 5})
    with pytest.raises(BackboneError, match=r"no network is called .headstart:vitt..*headstart:vit"):
        build("headstart:vitt")


def test_a_head_on_some_channels_reads_no_others(tmp_path: Path) -> None:
    net, x = small(), images(8)
    head = net.add_head("late", 3, channels=(12, 24))
    nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(0))
    assert head.linear.in_features == 12
    features = net.run(x)["tokens"]
    assert torch.equal(net(x, "late"), head.linear(features[:, 12:]))
    assert torch.equal(net.answer({"tokens": features.index_fill(1, torch.arange(12), 7.0)}, "late"), net(x, "late"))
    save_net(net, tmp_path)
    again = load_net(tmp_path)
    assert again.head("late").channels == (12, 24)
    assert torch.equal(again(x, "late"), net(x, "late"))
    for wrong in ((0, 25), (-1, 5), (5, 5)):
        with pytest.raises(ConfigError, match="have 24 of them"):
            net.add_head("wrong", 3, channels=wrong)
    assert "channels" not in net.add_head("whole", 3).spec()
