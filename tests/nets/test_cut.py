"""Cutting: prefix then suffix is the whole, to the bit, in eval and in training mode."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.nets.cut import Cut, cut, cut_network
from headstart.nets.net import InputSpec, Net
from tests.nets.toys import (
    CarriesBatchSize,
    LooksAtShapes,
    LooksAtValues,
    Plain,
    SharesALayer,
    Tokens,
    Wrapped,
    WritesIntoInput,
    scramble,
    through,
)

# Small members of the families, at the smallest size they take, so that the whole list stays within seconds.
FAMILIES: list[tuple[str, dict[str, Any], int]] = [
    ("resnet18", {}, 32),
    ("convnext_atto", {"depths": (1, 2, 1, 1)}, 32),
    ("vit_tiny_patch16_224", {"img_size": 32, "depth": 3}, 32),
    ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2}, 32),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "depths": (2, 2), "num_heads": (3, 6), "window_size": 7}, 56),
    ("efficientnet_lite0", {}, 32),
    ("mobilenetv3_small_050", {}, 32),
    ("mobilenetv4_conv_small_050", {}, 32),
    ("densenet121", {"block_config": (2, 2)}, 32),
    ("vgg11_bn", {"mlp_ratio": 0.02}, 32),
    ("regnety_002", {}, 32),
]
SLOW = [
    "resnet50", "convnext_atto", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_ns_224", "efficientnet_b0", "mobilenetv3_small_100", "mobilenetv4_conv_small", "densenet121", "vgg11_bn",
    "dm_nfnet_f0", "eca_nfnet_l0",
    "coatnet_nano_rw_224", "maxvit_tiny_tf_224", "hrnet_w18_small", "regnety_002", "mobilenetv2_100",
    "mixer_s32_224", "xcit_nano_12_p16_224", "poolformer_s12", "edgenext_xx_small", "ghostnet_100", "inception_v3",
]  # fmt: skip


def _made(name: str, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return scramble(timm.create_model(name, **options)).eval()


def _full(found: Cut, x: Tensor) -> Tensor:
    features = through(found.blocks, x)
    return features if found.classifier is None else found.classifier(features)


def _check(whole: nn.Module, size: int) -> Cut:
    """Cut a copy; compare every split into prefix and suffix with the whole, and who owns which parameter."""
    module = copy.deepcopy(whole)
    theirs = {id(weight) for weight in module.parameters()}
    found = cut_network(module, (3, size, size))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = whole(x)
        kept, y = [x], x
        for name, block in found.blocks.items():
            y = block(kept[-1])
            kept.append(y.clone())
            assert torch.equal(y, kept[-1])
            assert y.dim() == {"nchw": 4, "nhwc": 4, "nlc": 3, "nc": 2}[found.info[name].layout]
            assert y.shape[1 if found.info[name].layout == "nchw" else -1] == found.info[name].channels
        assert torch.equal(_full(found, x), expected)
        names = list(found.blocks)
        for place in range(1, len(names)):  # from the stored activation, unchanged by what ran since
            suffix = {name: found.blocks[name] for name in names[place:]}
            assert torch.equal(through(suffix, kept[place]), kept[-1])
    assert found.info[names[-1]].layout == "nc"
    owned = [id(weight) for block in found.blocks.values() for weight in block.parameters()]
    owned += [id(weight) for weight in found.classifier.parameters()] if found.classifier is not None else []
    assert len(owned) == len(set(owned))
    assert set(owned) == theirs
    return found


@pytest.mark.parametrize(("name", "options", "size"), FAMILIES, ids=[name for name, _, _ in FAMILIES])
def test_prefix_then_suffix_is_the_whole(name: str, options: dict[str, Any], size: int) -> None:
    whole = _made(name, options)
    if name.startswith("deit"):  # two classifiers, averaged: taken off by timm's own means before cutting
        whole.reset_classifier(0)
    found = _check(whole, size)
    assert not found.notes
    assert len(found.blocks) >= 4
    assert (found.classifier is None) == name.startswith("deit")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_prefix_then_suffix_is_the_whole_at_full_size(name: str) -> None:
    whole = _made(name, {})
    if name.startswith("deit"):
        whole.reset_classifier(0)
    found = _check(whole, whole.pretrained_cfg["input_size"][-1])
    assert len(found.blocks) >= 4


@pytest.mark.parametrize(
    ("name", "options", "size", "blocks"),
    [
        ("resnet18", {}, 64, "stem layer1_0 layer1_1 layer2_0 layer2_1 layer3_0 layer3_1 layer4_0 layer4_1 pool"),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 3}, 32, "stem blocks_0 blocks_1 blocks_2 pool"),
        (
            "convnext_atto",
            {"depths": (1, 2, 1, 1)},
            64,
            "stem stages_0_blocks_0 stages_1_downsample stages_1_blocks_0 stages_1_blocks_1 stages_2_downsample "
            "stages_2_blocks_0 stages_3_downsample stages_3_blocks_0 pool",
        ),
        (
            "densenet121",
            {"block_config": (2, 2)},
            64,
            "stem features_denseblock1 features_transition1 features_denseblock2 pool",
        ),
    ],
)
def test_blocks_are_the_networks_own_units(name: str, options: dict[str, Any], size: int, blocks: str) -> None:
    assert list(cut_network(_made(name, options), (3, size, size)).blocks) == blocks.split()


def _train_once(run: Any, weights: nn.Module, x: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(5)  # dropout and stochastic depth draw from the global generator
    run(x).square().mean().backward()
    return {name: weight.grad.clone() for name, weight in weights.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("resnet18", {"drop_rate": 0.2, "drop_path_rate": 0.2}, 32),
        (
            "vit_tiny_patch16_224",
            {"img_size": 32, "depth": 3, "drop_rate": 0.1, "attn_drop_rate": 0.2, "drop_path_rate": 0.2},
            32,
        ),
        ("mobilenetv3_small_050", {"drop_rate": 0.2, "drop_path_rate": 0.2}, 32),
        ("densenet121", {"block_config": (2, 2), "drop_rate": 0.2}, 32),
    ],
)
def test_training_mode_is_the_wholes(name: str, options: dict[str, Any], size: int) -> None:
    """Gradients and statistics equal those of the whole, dropout and stochastic depth included: no flag is baked in."""
    whole = _made(name, options)
    module = copy.deepcopy(whole)
    found = cut_network(module, (3, size, size))
    whole.train()
    for block in (*found.blocks.values(), found.classifier):
        assert block is not None
        block.train()
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = _train_once(whole, whole, x)
    grads = _train_once(lambda given: _full(found, given), module, x)
    assert set(grads) == set(expected)
    assert all(torch.equal(grads[key], expected[key]) for key in expected)
    buffers = dict(module.named_buffers())
    assert all(torch.equal(buffers[key], value) for key, value in whole.named_buffers())


@pytest.mark.parametrize("kind", [Plain, WritesIntoInput, CarriesBatchSize, SharesALayer, Wrapped])
def test_awkward_modules(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    found = _check(scramble(kind()).eval(), 16)
    assert len(found.blocks) >= 3


def test_functional_dropout_follows_the_mode() -> None:
    found = cut_network(Plain().train(), (3, 16, 16))
    x = torch.randn(64, 3, 16, 16)
    pool = found.blocks["pool"]
    features = through({k: b for k, b in found.blocks.items() if k != "pool"}, x)
    assert pool.training
    assert (pool(features) == 0).float().mean() > 0.2
    assert not (pool.eval()(features) == 0).any()


def test_batch_size_is_read_off_the_crossing_tensor() -> None:
    """A number read off the input's shape at the start and used at the end follows the suffix's own input."""
    found = cut_network(CarriesBatchSize().eval(), (3, 16, 16))
    for batch in (1, 5, 16):
        x = torch.randn(batch, 3, 16, 16)
        assert through(found.blocks, x).shape == (batch, 6)
    larger = torch.randn(2, 3, 24, 24)
    assert through(found.blocks, larger).shape == (2, 6)


def test_a_shared_layer_is_not_split() -> None:
    found = cut_network(SharesALayer().eval(), (3, 16, 16))
    assert [name for name in found.blocks if name.startswith("twice")] == ["twice"]


def test_an_untraceable_network_is_one_block() -> None:
    whole = LooksAtValues().eval()
    found = _check(whole, 16)
    assert list(found.blocks) == ["backbone"]
    assert found.classifier is not None
    assert "cannot be cut into blocks" in found.notes[0]
    assert "control flow" in found.notes[0]


@pytest.mark.parametrize("size", [16, 17, 20, 23])
def test_control_flow_that_looks_at_shapes_goes_the_way_of_the_given_size(size: int) -> None:
    """Padded by one on either side, on one side only, and not at all."""
    whole = scramble(LooksAtShapes()).eval()
    before = copy.deepcopy(whole.state_dict())
    found = _check(whole, size)
    assert list(found.blocks) == ["stem", "layers_1", "layers_2", "pool"]
    assert not found.notes
    assert not found.flexible
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    with torch.no_grad():
        for images in (1, 2, 3, 7):
            x = torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(2))
            assert torch.equal(_full(found, x), whole(x))


def test_control_flow_that_looks_at_the_number_of_images_is_not_followed() -> None:
    found = _check(scramble(LooksAtShapes("images")).eval(), 16)
    assert list(found.blocks) == ["backbone"]
    assert "looks at the number of images" in found.notes[0]


def test_tokens_are_averaged_at_the_end() -> None:
    whole = Tokens().eval()
    found = cut_network(copy.deepcopy(whole), (3, 16, 16))
    assert list(found.blocks) == ["stem", "layers_0", "layers_1", "layers_2", "pool"]
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(through(found.blocks, x), whole(x).mean(1))


def test_the_classifier_can_be_kept() -> None:
    whole = Plain().eval()
    found = cut_network(copy.deepcopy(whole), (3, 16, 16), keep_classifier=True)
    x = torch.randn(2, 3, 16, 16)
    assert found.classifier is None
    with torch.no_grad():
        assert torch.equal(through(found.blocks, x), whole(x))


def test_layouts_of_swin_are_channels_last() -> None:
    options = {"img_size": 56, "depths": (2, 2), "num_heads": (3, 6)}
    found = cut_network(_made("swin_tiny_patch4_window7_224", options), (3, 56, 56))
    assert {info.layout for name, info in found.info.items() if "blocks" in name} == {"nhwc"}


def test_cut_takes_an_example() -> None:
    blocks, info = cut(Plain(), torch.zeros(1, 3, 16, 16))
    net = Net(blocks, InputSpec(16), info, None)
    assert net.add_head("task", 4).linear.in_features == 12


def test_the_module_keeps_its_modes() -> None:
    module = Plain()
    module.bn1.eval()
    cut_network(module, (3, 16, 16))
    assert module.training
    assert module.bn2.training
    assert not module.bn1.training


def test_a_copy_of_a_cut_network_is_its_own() -> None:
    found = cut_network(Plain().eval(), (3, 16, 16))
    blocks = nn.ModuleDict(found.blocks)
    twin = copy.deepcopy(blocks)
    x = torch.randn(2, 3, 16, 16)
    before = through(dict(blocks.items()), x)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    assert torch.equal(through(dict(blocks.items()), x), before)


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        return x, x.mean((2, 3))


def test_several_outputs_are_refused() -> None:
    with pytest.raises(BackboneError, match="several values"):
        cut_network(_Two(), (3, 8, 8))


def test_an_input_that_does_not_fit_is_named() -> None:
    with pytest.raises(BackboneError, match=r"does not take inputs \[N, 4, 16, 16\]"):
        cut_network(Plain(), (4, 16, 16))
