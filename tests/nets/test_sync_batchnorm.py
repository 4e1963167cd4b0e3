"""BatchNorm over two processes with unequal batches equals one process on the whole batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

from headstart.nets.sync_batchnorm import sync_batchnorm, synchronised

SPLIT = (5, 3)


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3, momentum=None, affine=False),
        nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5),
    ).double()  # fmt: skip


def _data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    size = sum(SPLIT)
    # Far from zero, where a variance from the sum of squares alone would be lost in float32.
    x = torch.randn(size, 2, 6, 6, generator=draw, dtype=torch.float64) + 30
    return x, torch.randn(size, 5, generator=draw, dtype=torch.float64)


def _two_steps(net: nn.Module, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Outputs, summed gradients and buffers after two passes; the loss is this process's share of a sum over samples."""
    for _ in range(2):
        out = net(x)
        net.zero_grad()
        (out * target).pow(3).sum().backward()
    found = {"out": out.detach()}
    found |= {f"grad.{name}": weight.grad.clone() for name, weight in net.named_parameters() if weight.grad is not None}
    return found | {f"buffer.{name}": value.clone() for name, value in net.named_buffers()}


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    x, target = _data()
    mine = slice(0, SPLIT[0]) if rank == 0 else slice(SPLIT[0], None)
    net = _network().train()
    with sync_batchnorm(net):
        assert type(net[1]).__name__ == "SynchronisedBatchNorm2d"
        twin = copy.deepcopy(net)
        assert _two_steps(twin, x[mine], target[mine])["out"].shape == (SPLIT[rank], 5)
        found = _two_steps(net, x[mine], target[mine])
    assert type(net[1]) is nn.BatchNorm2d
    net.eval()
    with sync_batchnorm(net):
        found["eval"] = net(x[mine]).detach()
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(
    in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    in_two(_process, str(folder))
    return torch.load(folder / "0.pt"), torch.load(folder / "1.pt")


def test_outputs_gradients_and_buffers(both: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    x, target = _data()
    net = _network().train()
    expected = _two_steps(net, x, target)
    expected["eval"] = net.eval()(x).detach()
    for key, value in expected.items():
        if key in ("out", "eval"):
            found = torch.cat([both[0][key], both[1][key]])
        elif key.startswith("grad"):
            found = both[0][key] + both[1][key]
        else:
            found = both[0][key]
            assert torch.equal(found, both[1][key])
        torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 2, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_one_process_is_ordinary_batchnorm(shape: tuple[int, ...], affine: bool) -> None:
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    ours = kind(3, affine=affine).double()
    theirs = copy.deepcopy(ours)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = x.detach().clone().requires_grad_(True)
    out, expected = synchronised(ours, x), theirs(y)
    torch.testing.assert_close(out, expected)
    out.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for (_, a), (_, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_gradcheck() -> None:
    norm = nn.BatchNorm1d(2, track_running_stats=False).double()
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: synchronised(norm, given), (x,))


def test_float32_far_from_zero_keeps_its_variance() -> None:
    x = torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1 + 1000
    out = synchronised(nn.BatchNorm2d(1), x)
    assert out.std().item() == pytest.approx(1, abs=0.01)


def test_without_processes_nothing_changes() -> None:
    net = _network()
    with sync_batchnorm(net):
        assert type(net[1]) is nn.BatchNorm2d
