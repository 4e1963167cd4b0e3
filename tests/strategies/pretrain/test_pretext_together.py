"""Two processes ask what one asks: the same patches, orders and gradients, by batch statistics of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headstart.engine.checkpoint import load_state
from tests.engine.engine_toys import differing
from tests.strategies.pretrain import pretext_together


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("together")
    in_two(pretext_together.process, folder)
    return [load_state(folder / f"{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", pretext_together.METHODS)
def test_two_processes_equal_one(name: str, both: list[dict[str, Any]]) -> None:
    alone = pretext_together.gradients(name)
    for part in ("net", "term"):
        assert not differing(both[0][name][part], both[1][name][part])
        for key, value in alone[part].items():
            torch.testing.assert_close(both[0][name][part][key], value, rtol=2e-4, atol=2e-5, msg=f"{name} {key}")
