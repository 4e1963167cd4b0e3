"""Columns beside a network: old answers to the bit, saved and rebuilt without code, and drawn anew where asked."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.store import store_of
from headstart.engine.features import FeatureBank
from headstart.errors import BackboneError, ConfigError, ModelFileError
from headstart.nets.columns import COLUMNS, columns_of, growth, regrow
from headstart.nets.cost import block_flops
from headstart.nets.grow import add_column, default_first
from headstart.nets.initialise import reinitialise
from headstart.nets.net import InputSpec, Net
from headstart.nets.rng import forked
from headstart.nets.saved import load_net, save_net
from headstart.nets.small import convnet8
from headstart.nets.sources import from_module, from_source
from tests.conftest import images, random_states
from tests.engine.engine_toys import differing, perceptron, resnet, state

SPEC = InputSpec(12)


def small_module() -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["one"] = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    layers["two"] = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(inplace=True))
    layers["three"] = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True))
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(layers)


def a_net(kind: str) -> Net:
    """With a head `old` on its last block whose weights say something."""
    with forked(3):
        if kind == "module":
            net = from_module(small_module(), SPEC, keep_classifier=False)[0]
        else:
            net = {"images": resnet, "vectors": perceptron, "convnet": lambda: convnet8(16, 4)}[kind]()
    with forked(4):
        nn.init.normal_(net.add_head("old", 3).linear.weight)
    return net.eval()


def batch(net: Net, seed: int = 0) -> Tensor:
    draw = np.random.default_rng(seed)
    shape = (7, net.input.size) if net.input.kind == "vector" else (7, 3, net.input.size, net.input.size)
    return torch.from_numpy(draw.normal(size=shape).astype(np.float32))


KINDS = ["images", "vectors", "module", "convnet"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("start", ["copy", "fresh"])
def test_old_answers_stay_to_the_bit_however_often_it_grows(kind: str, start: str) -> None:
    net = a_net(kind)
    x = batch(net)
    before = net(x, "old").detach()
    first = default_first(net)
    width = net.info[net.last].channels
    assert add_column(net, first, start=start, seed=5) == "columns.1"  # type: ignore[arg-type]
    assert torch.equal(net(x, "old"), before)
    with forked(6):
        nn.init.normal_(net.add_head("new", 4).linear.weight)
    second = net(x, "new").detach()
    assert add_column(net, first, start=start, seed=7) == "columns.2"  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in net.blocks[COLUMNS].get_submodule("2").parameters():
            parameter.add_(1.0)
    assert torch.equal(net(x, "old"), before)
    assert torch.equal(net(x, "new"), second)
    assert net.head("new").linear.in_features == 2 * width
    assert net.add_head("newest", 2).linear.in_features == 3 * width
    assert net.info[net.last].channels == 3 * width == net.run(x)[net.last].shape[1]


def test_a_copy_gives_the_same_features_and_a_fresh_column_others() -> None:
    net = a_net("images")
    add_column(net, "layer3_0")
    add_column(net, "layer3_0", start="fresh", seed=1)
    found = net.run(batch(net))[COLUMNS]
    first, second, third = found.chunk(3, 1)
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)


@every_kind
def test_fresh_columns_follow_the_seed_and_leave_the_global_generators_alone(kind: str) -> None:
    made = {}
    before = random_states()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        net = a_net(kind)
        add_column(net, default_first(net), start="fresh", seed=seed)
        made[name] = state(net)
    assert random_states() == before
    assert not differing(made["a"], made["b"])
    assert differing(made["a"], made["c"])


@every_kind
@pytest.mark.parametrize("times", [1, 2])
def test_saved_and_loaded_it_is_the_same_to_the_bit(kind: str, times: int, tmp_path: Path) -> None:
    net = a_net(kind)
    first = default_first(net)
    for number in range(times):
        add_column(net, first, start="fresh" if number else "copy", seed=number)
        with forked(8 + number):
            nn.init.normal_(net.add_head(f"new{number}", 4).linear.weight)
    with torch.no_grad(), forked(9):
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    save_net(net, tmp_path)
    again = load_net(tmp_path, builder=small_module if kind == "module" else None)
    assert not differing(state(net), state(again))
    assert growth(again) == growth(net) == [{"kind": "column", "first": first}] * times
    assert again.info == net.info
    assert again.source == net.source
    x = batch(net)
    for name in net.heads:
        assert torch.equal(again(x, name), net(x, name))
        assert again.head(name).spec() == net.head(name).spec()
    add_column(again, first)  # and it grows on
    assert torch.equal(again(x, "old"), net(x, "old"))


def test_a_module_that_grew_needs_what_makes_it(tmp_path: Path) -> None:
    net = a_net("module")
    add_column(net, default_first(net))
    save_net(net, tmp_path)
    with pytest.raises(ModelFileError, match="builder"):
        load_net(tmp_path)


def test_built_again_from_its_source_every_column_is_drawn_for_itself() -> None:
    net = a_net("images")
    add_column(net, "layer3_0")
    assert net.source is not None
    again, same = from_source(net.source, 3), from_source(net.source, 3)
    assert not differing(state(again), state(same))
    one, other = (again.blocks[COLUMNS].get_parameter(f"{k}.layer3_0.conv1.weight") for k in (0, 1))
    assert not torch.equal(one, other)
    reinitialise(net, [COLUMNS], 3)
    assert not differing(state(net.blocks[COLUMNS]), state(from_source(net.source, 3).blocks[COLUMNS]))


def test_grown_features_folded_in_the_bank_equal_those_run() -> None:
    net = a_net("images")
    add_column(net, "layer2_0", start="fresh", seed=1)
    pixels, _ = images(9, 3, 12)
    store = store_of(pixels)
    found = FeatureBank().get(net, store, np.arange(9), [COLUMNS])[COLUMNS]
    from headstart.engine.step import present

    with torch.no_grad():
        wanted = net.run(present(torch.from_numpy(pixels), net.input))[COLUMNS].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_its_cost_is_that_of_what_was_and_as_much_again_for_the_column() -> None:
    net = a_net("images")
    before = block_flops(net)
    upper = sum(before[name] for name in ("layer3_0", "pool"))
    add_column(net, "layer3_0")
    after = block_flops(net)
    assert after[COLUMNS] == 2 * upper
    assert sum(after.values()) == sum(before.values()) + upper


def test_a_head_on_a_lower_block_and_one_on_some_channels_read_what_they_read() -> None:
    net = a_net("images")
    with forked(1):
        nn.init.normal_(net.add_head("low", 3, "layer1_0").linear.weight)
        nn.init.normal_(net.add_head("both", 3, ("layer1_0", "pool")).linear.weight)
        nn.init.normal_(net.add_head("some", 3, channels=(2, 5)).linear.weight)
    x = batch(net)
    before = {name: net(x, name).detach() for name in net.heads}
    add_column(net, "layer2_0")
    for name, value in before.items():
        assert torch.equal(net(x, name), value), name
    assert net.head("low").reads == ("layer1_0",)
    assert net.head("some").channels == (2, 5)


@pytest.mark.parametrize(
    ("change", "first", "named"),
    [
        ("none", "layer9", "no block 'layer9'"),
        ("inside", "layer2_0", "grow from a block above"),
        ("order", "layer2_0", "last block before others"),
        ("grown", "layer2_0", "grown columns from block 'layer3_0' on"),
        ("start", "layer3_0", "start='other'"),
    ],
)
def test_what_cannot_grow_says_so_and_stays_as_it_is(change: str, first: str, named: str) -> None:
    net = a_net("images")
    if change == "inside":
        net.add_head("deep", 3, "layer2_0")
    if change == "order":
        net.add_head("deep", 3, ("pool", "layer1_0"))
    if change == "grown":
        add_column(net, "layer3_0")
    before, names = state(net), net.block_names
    with pytest.raises(ConfigError, match=named):
        add_column(net, first, start="other" if change == "start" else "copy")  # type: ignore[arg-type]
    assert not differing(state(net), before)
    assert net.block_names == names


def test_growth_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BackboneError, match="does not know"):
        regrow(resnet(), [{"kind": "row", "first": "layer3_0"}])
    with pytest.raises(BackboneError, match="no block 'layer9'"):
        regrow(resnet(), [{"kind": "column", "first": "layer9"}])


def test_a_deep_copy_grows_on_its_own() -> None:
    net = a_net("images")
    add_column(net, "layer3_0")
    other = copy.deepcopy(net)
    add_column(other, "layer3_0")
    grown = [columns_of(one) for one in (net, other)]
    assert [len(one) for one in grown if one is not None] == [2, 3]
    assert len(growth(net)) == 1
    assert net.source is not None
    assert len(net.source["grown"]) == 1
