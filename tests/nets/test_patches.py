"""Encoders for contrastive methods: what each place sees, their maps, and that they are built and saved by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import BackboneError
from headstart.nets.build import build
from headstart.nets.net import count_parameters
from headstart.nets.patches import amdim_encoder, cpc_encoder
from headstart.nets.rng import forked
from headstart.nets.saved import load_net, save_net


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_map_is_what_its_patches_give_one_by_one(size: int) -> None:
    with forked(1):
        net = cpc_encoder(size, 8, 1).double()
    x = torch.rand(2, 3, size, size, dtype=torch.float64)
    patch, stride = size // 4, size // 8
    whole = net.run(x)[net.last]
    assert whole.shape == (2, 8, 7, 7)
    for row, column in ((0, 0), (2, 5), (6, 6)):
        top, left = row * stride, column * stride
        alone = net.run(x[:, :, top : top + patch, left : left + patch])[net.last]
        torch.testing.assert_close(alone[:, :, 0, 0], whole[:, :, row, column])
    assert not any(isinstance(part, _BatchNorm) for part in net.modules())


@pytest.mark.parametrize("size", [32, 64, 128])
def test_maps_of_seven_five_and_one(size: int) -> None:
    with forked(1):
        net = amdim_encoder(size, 2)
    found = net.eval().run(torch.rand(1, 3, size, size), taps=net.block_names)
    sides = [tuple(x.shape[2:]) for x in found.values()]
    assert sides[-4:] == [(7, 7), (5, 5), (3, 3), (1, 1)]
    for name, x in found.items():
        assert x.shape[1] == net.info[name].channels
        assert count_parameters(net.blocks[name])


@pytest.mark.parametrize("name", ["cpc_encoder", "amdim_encoder"])
def test_by_name_from_a_seed_and_saved(name: str, tmp_path: Path) -> None:
    net, same, other = (build(f"headstart:{name}", seed=seed) for seed in (3, 3, 4))
    x = torch.rand(2, 3, 32, 32)
    save_net(net, tmp_path)
    again = load_net(tmp_path)
    for one in (same, again):
        assert torch.equal(net.run(x)[net.last], one.run(x)[net.last])
    assert not torch.equal(net.run(x)[net.last], other.run(x)[net.last])
    assert build(f"headstart:{name}", size=64).input.size == 64
    with pytest.raises(BackboneError, match="a side of"):
        build(f"headstart:{name}", size=28)
