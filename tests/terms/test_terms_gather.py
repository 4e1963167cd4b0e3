"""Two processes that gather have one process's embeddings and gradients; one process alone gathers nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from headstart.terms.gather import gathered, gathered_at, sizes_of
from tests.terms import gathering

Found = dict[str, Tensor]


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    folder = tmp_path_factory.mktemp("gathered")
    in_two(gathering.process, folder)
    return load_file(folder / "0.safetensors"), load_file(folder / "1.safetensors")


@pytest.mark.parametrize("name", gathering.PARTS)
def test_two_processes_have_what_one_has(name: str, both: tuple[Found, Found]) -> None:
    whole = gathering.batch().requires_grad_(True)
    (gradient,) = torch.autograd.grad(gathering.loss_of(whole, whole, 0), whole)
    for found in both:
        assert torch.equal(found[f"{name}/every"], whole.detach())
    assert [int(found[f"{name}/place"]) for found in both] == [0, gathering.PARTS[name][0]]
    torch.testing.assert_close(torch.cat([found[f"{name}/gradient"] for found in both]), gradient, rtol=1e-12, atol=1e-12)


def test_alone_nothing_is_gathered() -> None:
    z = gathering.batch()
    assert gathered(z) is z
    assert gathered_at(z)[1] == 0
    assert sizes_of(z) == [6]
