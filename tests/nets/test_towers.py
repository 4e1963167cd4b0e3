"""Networks of towers: what they answer, saved and rebuilt without code, counted against counts by hand, and refused."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.errors import BackboneError, ConfigError, ModelFileError
from headstart.nets.build import build
from headstart.nets.columns import COLUMNS
from headstart.nets.cost import activation_bytes, activation_elements, block_flops, parameters
from headstart.nets.fold import folded
from headstart.nets.grow import add_column
from headstart.nets.initialise import reinitialise
from headstart.nets.joined import join_heads
from headstart.nets.net import InputSpec, Net, single
from headstart.nets.parallel import side_by_side, tower_blocks, tower_parameters, units_of
from headstart.nets.rng import forked
from headstart.nets.saved import load_net, read_description, save_net
from headstart.nets.small import convnet8
from headstart.nets.sources import from_module, from_source
from headstart.nets.towers import add_tower, tower, towers, towers_from
from headstart.nets.vit import vit
from tests.conftest import random_states
from tests.engine.engine_toys import differing, perceptron, resnet, state

SPEC = InputSpec(12)


def small_module() -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["one"] = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    layers["two"] = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2))
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(layers)


def grown() -> Net:
    net = resnet()
    add_column(net, "layer3_0", start="fresh", seed=3)
    return net


def made_of_module() -> Net:
    with forked(3):
        return from_module(small_module(), SPEC, keep_classifier=False)[0]


def grown_module() -> Net:
    net = made_of_module()
    add_column(net, net.block_names[1])
    return net


KINDS: dict[str, Any] = {
    "resnet": resnet,
    "perceptron": perceptron,
    "convnet8": lambda: convnet8(16, 4),
    "vit": lambda: vit(size=8, patch=4, width=16, depth=2, heads=2),
    "grown": grown,
    "embedded": lambda: build(None),
    "timm": lambda: build("timm:resnet10t", pretrained=False, size=32, mean=(0.5,) * 3, std=(0.2,) * 3, seed=1),
    "module": made_of_module,
    "grown module": grown_module,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str) -> Net:
    with forked(2):
        net = KINDS[kind]()
    assert isinstance(net, Net)
    net.heads.clear()
    return net.eval()


def batch(net: Net, count: int = 3, seed: int = 0) -> Tensor:
    shape = (net.input.size,) if net.input.kind == "vector" else (len(net.input.mean), net.input.size, net.input.size)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def with_heads(net: Net, names: tuple[str, ...], **more: Any) -> Net:
    for number, name in enumerate(names):
        with forked(10 + number):
            nn.init.normal_(net.add_head(name, 3, **more).linear.weight)
    return net


def towered(
    kind: str = "resnet", shared: int | str = 1, stitch: tuple[str, ...] = (), tasks: str = "ab", **more: Any
) -> Net:
    return with_heads(towers(made(kind), tuple(tasks), shared=shared, stitch=stitch, **more), tuple(tasks))


def shaken(net: Net, seed: int = 0) -> Net:
    """Other weights and statistics in every block."""
    with torch.no_grad(), forked(seed):
        for one in (*net.blocks.parameters(), *(one for one in net.blocks.buffers() if one.is_floating_point())):
            one.add_(0.1 * torch.rand_like(one))
    return net


def last_of(kind: str) -> str:
    return made(kind).last


# --- answers ------------------------------------------------------------------------------------------------------------


@every_kind
def test_towers_begin_with_the_networks_weights_and_answer_as_it_does(kind: str) -> None:
    net, x = made(kind), batch(made(kind))
    before = state(net)
    found = towered(kind, shared=1, tasks="abc")
    assert not differing(before, state(net))
    with_heads(net, ("a", "b", "c"))
    with torch.no_grad():
        for name in "abc":
            assert torch.equal(found(x, name), net(x, name))
        once = found.run(x, taps=found.block_names)
        assert all(torch.equal(found.answer(once, name), net(x, name)) for name in "abc")


def test_a_block_is_a_tensor_before_the_towers_and_a_tuple_from_there_on() -> None:
    net = towered(shared="layer1_0", stitch=("layer2_0", "pool"))
    found = net.run(batch(net), taps=net.block_names)
    assert list(found) == ["stem", "layer1_0", "layer2_0", "layer2_0_stitch", "layer3_0", "pool", "pool_stitch"]
    assert [isinstance(value, tuple) for value in found.values()] == [False, False, True, True, True, True, True]
    assert all(len(value) == 2 for value in found.values() if isinstance(value, tuple))
    assert [net.info[name].towers for name in found] == [None, None, 2, 2, 2, 2, 2]
    again = net.run(found["layer2_0"], start="layer2_0")[net.last]
    assert all(torch.equal(one, other) for one, other in zip(again, found[net.last], strict=True))
    assert torch.equal(single(found, "stem"), single(net.run(batch(net), until="stem"), "stem"))
    with pytest.raises(ConfigError, match="'pool' gives 2 towers"):
        single(found, "pool")


def test_towers_share_no_weight_and_keep_statistics_of_their_own() -> None:
    net = towered(tasks="abc")
    assert [len(one) for one in tower_parameters(net)] == [18, 18, 18]
    every = [id(one) for parameters in tower_parameters(net) for one in parameters]
    assert len(set(every)) == len(every)
    for block in tower_blocks(net).values():
        one, *others = ({id(buffer) for buffer in part.buffers()} for part in block)
        assert all(not one & other for other in others)
    block = net.blocks["layer2_0"].train()
    block[0](torch.ones(2, 4, 6, 6))
    changed = [name for name, value in net.state_dict().items() if name.endswith("num_batches_tracked") and value]
    assert changed == ["blocks.layer2_0.0.bn1.num_batches_tracked", "blocks.layer2_0.0.bn2.num_batches_tracked"]


def test_a_block_that_works_in_place_spoils_no_other_tower() -> None:
    net = shaken(towered("module", shared=1))
    taken = net.run(batch(net), until=net.block_names[0])[net.block_names[0]]
    assert isinstance(taken, Tensor)
    kept = taken.clone()
    net.run(taken, start=net.block_names[0])
    assert torch.equal(taken, kept)


def test_one_tower_as_an_ordinary_network_answers_the_same() -> None:
    net = shaken(towered(shared=2, tasks="abc"))
    with_heads(net, ("low",), reads="stem")
    for number, name in enumerate("abc"):
        for which in (number, name):
            alone = tower(net, which)
            assert alone.towers is None
            assert sorted(alone.heads) == sorted([name, "low"])
            assert torch.equal(alone(batch(net), name), net(batch(net), name))
            assert torch.equal(alone(batch(net), "low"), net(batch(net), "low"))
        assert alone.source == resnet().source
    with pytest.raises(ConfigError, match=r"no tower 3; towers are 0 to 2, of the tasks a, b, c"):
        tower(net, 3)
    with pytest.raises(ConfigError, match="no tower 'd'"):
        tower(net, "d")
    with pytest.raises(ConfigError, match="no towers to take one of"):
        tower(resnet(), 0)
    with pytest.raises(ConfigError, match=r"units \['pool_stitch'\] mix the towers"):
        tower(towered(stitch=("pool",)), 0)


def test_towers_from_networks_trained_apart_answer_as_they_did() -> None:
    nets = [with_heads(shaken(resnet(), seed).eval(), ("a", "b")) for seed in (1, 2)]
    found = with_heads(towers_from(nets, ("a", "b")), ("a", "b"))
    x = batch(found)
    assert torch.equal(found(x, "a"), nets[0](x, "a"))
    assert torch.equal(found(x, "b"), nets[1](x, "b"))
    # A unit that keeps everything changes nothing.
    kept = with_heads(towers_from(nets, ("a", "b"), stitch=resnet().block_names, keep=1.0), ("a", "b"))
    torch.testing.assert_close(kept(x, "a"), nets[0](x, "a"))
    assert len(units_of(kept)) == 5


def test_networks_that_are_not_alike_are_refused() -> None:
    wider, shallower, other = resnet(width=6), perceptron(), resnet(16)
    with pytest.raises(ConfigError, match=r"network 1 is not built like network 0: .*BlockInfo"):
        towers_from([resnet(), wider], ["a", "b"])
    with pytest.raises(ConfigError, match="network 2 is not built like network 0: its blocks are"):
        towers_from([resnet(), resnet(), shallower], ["a", "b", "c"])
    with pytest.raises(ConfigError, match="network 1 is not built like network 0: it wants InputSpec"):
        towers_from([resnet(), other], ["a", "b"])
    with pytest.raises(ConfigError, match="1 networks for 2 tasks"):
        towers_from([resnet()], ["a", "b"])
    with pytest.raises(ConfigError, match="no networks"):
        towers_from([], ["a", "b"])
    one, another = resnet(), resnet()
    with torch.no_grad():
        next(another.blocks["stem"].parameters()).add_(1)
    with pytest.raises(ConfigError, match="block 'stem' is to be shared"):
        towers_from([one, another], ["a", "b"], shared=1)
    assert towers_from([one, another], ["a", "b"]).towers is not None


def test_fresh_towers_differ_and_follow_from_the_seed() -> None:
    net = resnet()
    one, same, other = (towers(net, "ab", shared=1, start="fresh", seed=seed) for seed in (1, 1, 2))
    assert not differing(state(one), state(same))
    assert differing(state(one), state(other))
    first, second = tower_parameters(one)
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True) if a.ndim > 1)
    assert not differing(state(net.blocks["stem"]), state(one.blocks["stem"]))


def test_drawn_anew_towers_differ_and_units_begin_again() -> None:
    net = shaken(towered(stitch=("pool",)))
    before = random_states()
    reinitialise(net, net.block_names, 5)
    assert random_states() == before
    first, second = tower_parameters(net)
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True) if a.ndim > 1)
    assert not differing(state(net.blocks["pool_stitch"]), state(towered(stitch=("pool",)).blocks["pool_stitch"]))


# --- heads --------------------------------------------------------------------------------------------------------------


def test_heads_read_their_tower() -> None:
    net = shaken(towered(shared=2, tasks="abc"))
    assert [net.head(name).tower for name in "abc"] == [0, 1, 2]
    given = with_heads(net, ("other",), tower=1)
    low = with_heads(net, ("low",), reads="layer1_0")
    both = with_heads(net, ("c",), reads=("layer1_0", "layer3_0"))
    assert (given.head("other").tower, low.head("low").tower, both.head("c").tower) == (1, None, 2)
    x = batch(net)
    taken = net.run(x, taps=net.block_names)
    top = taken["pool"]
    assert torch.equal(net(x, "other"), net.head("other").linear(top[1]))
    expected = net.head("c").linear(
        torch.cat([single(taken, "layer1_0").mean((2, 3)), taken["layer3_0"][2].mean((2, 3))], 1)
    )
    torch.testing.assert_close(net(x, "c"), expected)


def test_a_head_without_its_tower_is_refused() -> None:
    net = towered()
    with pytest.raises(ConfigError, match=r"head 'z' reads pool, of which there are 2 towers \(they belong to a, b\)"):
        net.add_head("z", 3)
    for number in (2, -1):
        with pytest.raises(ConfigError, match=rf"tower={number}; this network has towers 0 to 1"):
            net.add_head("z", 3, tower=number)
    with pytest.raises(ConfigError, match="tower=0; this network has no towers"):
        resnet().add_head("z", 3, tower=0)
    with pytest.raises(ConfigError, match="block 'pool' gives 2 towers"):
        net.pooled("pool", net.run(batch(net))["pool"])
    assert "z" not in net.heads


def test_heads_of_one_tower_are_joined_and_those_of_several_are_not() -> None:
    net = with_heads(towered(), ("more",), tower=1)
    join_heads(net, ["b", "more"], "together")
    x = batch(net)
    torch.testing.assert_close(net(x, "together"), torch.cat([net(x, "b"), net(x, "more")], 1))
    with pytest.raises(ConfigError, match="read several towers"):
        join_heads(net, ["a", "b"], "both")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tasks": ["a"]}, "two or more different names"),
        ({"tasks": ["a", "a"]}, "two or more different names"),
        ({"shared": 5}, "shared=5 leaves no block"),
        ({"shared": -1}, "shared=-1 leaves no block"),
        ({"shared": "pool"}, "shared='pool' leaves no block"),
        ({"shared": "layer9"}, r"shared='layer9' is no block; there are \['stem', 'layer1_0'"),
        ({"stitch": ["layer9"]}, r"stitch=\['layer9'\] are no blocks"),
        ({"stitch": ["stem"]}, r"stitch=\['stem'\] are shared"),
        ({"keep": 1.1}, "keep=1.1"),
        ({"start": "cold"}, "start='cold'"),
    ],
)
def test_towers_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        towers(resnet(), **{"tasks": ["a", "b"], "shared": 1, **given})


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as told:
        towers(resnet(), ["a"], shared="none", keep=-1)
    assert all(words in str(told.value) for words in ("two or more", "shared='none'", "keep=-1"))


def test_towers_do_not_grow_and_get_no_towers() -> None:
    net = towered()
    with pytest.raises(ConfigError, match="has towers already, of the tasks a, b"):
        towers(net, ["c", "d"])
    with pytest.raises(ConfigError, match="grow it before it gets them"):
        add_column(net, "layer3_0")


# --- on disk ------------------------------------------------------------------------------------------------------------


@every_kind
def test_saved_and_loaded_it_is_the_same_to_the_bit(kind: str, tmp_path: Path) -> None:
    middle = made(kind).block_names[1]
    net = shaken(towered(kind, shared=1, stitch=(middle, last_of(kind)), tasks="abc", keep=0.7))
    with_heads(net, ("low",), reads=net.block_names[0])
    with_heads(net, ("other",), tower=2)
    save_net(net, tmp_path)
    found = load_net(tmp_path, made_of_module if "module" in kind else None)
    assert not differing(state(net), state(found))
    assert (found.towers, found.info, found.source, found.block_names) == (net.towers, net.info, net.source, net.block_names)
    assert {name: found.head(name).spec() for name in found.heads} == {name: net.head(name).spec() for name in net.heads}
    x = batch(net)
    with torch.no_grad():
        assert all(torch.equal(found(x, name), net(x, name)) for name in net.heads)
    copied = copy.deepcopy(found)
    assert copied.towers == net.towers


def test_a_module_with_towers_needs_its_builder_which_may_make_the_towers_too(tmp_path: Path) -> None:
    net = shaken(towered("module", stitch=(last_of("module"),)))
    save_net(net, tmp_path)
    with pytest.raises(ModelFileError, match="given as a Python module"):
        load_net(tmp_path)
    assert not differing(state(net), state(load_net(tmp_path, lambda: towered("module", stitch=(last_of("module"),)))))


def test_a_description_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    net = towered()
    save_net(net, tmp_path)
    source = read_description(tmp_path)["source"]
    assert source == {
        "builder": "towers",
        "of": resnet().source,
        "tasks": ["a", "b"],
        "shared": 1,
        "stitch": [],
        "keep": 0.9,
    }
    with pytest.raises(BackboneError, match="do not fit"):
        from_source({**source, "shared": 7})
    with pytest.raises(BackboneError, match="do not fit"):
        side_by_side([resnet()], from_source(source).towers)  # type: ignore[arg-type]


# --- costs and copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_costs_are_those_of_a_count_by_hand(count: int) -> None:
    """K towers on n shared blocks cost the shared ones once and the others K times; a unit C numbers for every pair."""
    net = made("resnet")
    one, found = block_flops(net), towers(net, [f"task{k}" for k in range(count)], shared=2, stitch=["layer2_0", "pool"])
    flops = block_flops(found)
    assert flops == {
        "stem": one["stem"],
        "layer1_0": one["layer1_0"],
        "layer2_0": count * one["layer2_0"],
        "layer2_0_stitch": count * count * 8 * 6 * 6,
        "layer3_0": count * one["layer3_0"],
        "pool": 0,
        "pool_stitch": count * count * 16,
    }
    lower = parameters(net, "stem") + parameters(net, "layer1_0")
    assert parameters(found) == lower + count * (parameters(net) - lower) + count * count * (8 + 16)
    assert parameters(found, "layer2_0_stitch") == count * count * 8
    assert activation_elements(found, "layer1_0") == activation_elements(net, "layer1_0")
    assert activation_elements(found, "layer3_0") == count * activation_elements(net, "layer3_0") == count * 16 * 9
    assert activation_bytes(found, "pool_stitch") == 4 * count * 16


def test_nothing_shared_costs_as_much_as_networks_apart() -> None:
    net = made("convnet8")
    found = towers(net, ["a", "b", "c"])
    assert sum(block_flops(found).values()) == 3 * sum(block_flops(net).values())
    assert parameters(found) == 3 * parameters(net)


@pytest.mark.parametrize("kind", ["resnet", "embedded", "module", "grown"])
def test_folded_towers_answer_alike(kind: str) -> None:
    net = shaken(towered(kind, stitch=(last_of(kind),)))
    x: Any = batch(net)
    expected = net.run(x)[net.last]
    for block in folded(net, net.block_names).values():
        x = block(x)
    assert not any(
        isinstance(part, nn.BatchNorm2d) for block in folded(net, net.block_names).values() for part in block.modules()
    )
    for one, other in zip(x, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_convolutions_of_towers_lie_in_channels_last_memory() -> None:
    net = towered()
    weights = [one for parameters in tower_parameters(net) for one in parameters if one.ndim == 4]
    assert weights
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
    assert COLUMNS not in net.blocks


@pytest.mark.parametrize("stitch", [(), ("layer1_0", "layer2_0", "pool")], ids=["apart", "mixed"])
def test_a_tower_more_changes_no_answer_and_answers_as_the_one_it_copies(stitch: tuple[str, ...], tmp_path: Path) -> None:
    net = towers(build("headstart:resnet8", size=16, seed=1), ["a", "b"], shared=1, stitch=stitch)
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number, one in enumerate(net.blocks.parameters()):
            one.add_(0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(number)))
        for name in ("a", "b"):
            nn.init.normal_(net.add_head(name, 3).linear.weight, generator=torch.Generator().manual_seed(7))
        before = {name: net(x, name) for name in ("a", "b")}
        add_tower(net, "c", "b")
        net.add_head("c", 3).linear.load_state_dict(net.head("b").linear.state_dict())
        for name, logits in before.items():
            assert torch.equal(net(x, name), logits)
        assert torch.allclose(net(x, "c"), before["b"], atol=1e-5)
        save_net(net, tmp_path / "net")
        again = load_net(tmp_path / "net")
        assert again.towers == net.towers
        assert torch.equal(again(x, "c"), net(x, "c"))
    net.train()
    net(x, "c").square().sum().backward()
    assert all(one.grad is not None for name, one in net.blocks.named_parameters() if "_stitch" in name or ".2." in name)


def test_a_tower_that_cannot_be_added_says_why() -> None:
    net = build("headstart:resnet8", size=16, seed=1)
    with pytest.raises(ConfigError, match="no towers to add one to"):
        add_tower(net, "c", 0)
    split = towers(net, ["a", "b"])
    with pytest.raises(ConfigError, match="'b' has a tower already"):
        add_tower(split, "b", 0)
    with pytest.raises(ConfigError, match="there is no tower 'z'"):
        add_tower(split, "c", "z")
