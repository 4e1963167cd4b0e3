"""Two processes do what one does: gradients, weights, statistics and losses to rounding, and the same in both to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.engine import distributed
from headstart.engine.checkpoint import load_state
from tests.engine import together
from tests.engine.engine_toys import differing

Found = dict[str, Any]


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    folder = tmp_path_factory.mktemp("together")
    in_two(together.process, folder)
    return load_state(folder / "0.safetensors"), load_state(folder / "1.safetensors")


@pytest.mark.parametrize("name", together.STAGES)
def test_two_processes_equal_one(name: str, both: tuple[Found, Found], tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = together.carry_out(name, tmp_path_factory.mktemp("alone"))
    first, second = both[0][name], both[1][name]
    assert not differing(first["net"], second["net"])
    assert first["steps"] == second["steps"] == alone["steps"]
    for key, value in alone["net"].items():
        torch.testing.assert_close(
            first["net"][key], value, rtol=2e-4, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert second["losses"] == []


@pytest.mark.parametrize("name", together.STRATEGIES)
def test_a_strategy_ends_the_same_in_both(
    name: str, both: tuple[Found, Found], tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = together.strategy(name, tmp_path_factory.mktemp("alone"))["net"]
    assert not differing(both[0][name]["net"], both[1][name]["net"])
    for key, value in alone.items():
        torch.testing.assert_close(both[0][name]["net"][key], value, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("total", range(9))
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_parts_of_a_batch_are_a_partition(total: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    parts = []
    for rank in range(processes):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(list(range(total))[distributed.my_slice(total)])
    assert [place for part in parts for place in part] == list(range(total))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_what_fails_in_the_first_process_fails_in_all(in_two: Callable[..., None], tmp_path: Path) -> None:
    in_two(together.failures, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in (0, 1))
    for found in (first, second):
        assert found["value"] == [0]
        assert found["nested"] == [2, "alone"]
        assert found["stop"][0] == "Interrupted"
        assert found["after"] == 0
    assert first["settings"] == ["RunFolderMismatch", "of another run", 3, False]
    assert second["settings"] == ["RunFolderMismatch", "of another run", 3, True]
    assert first["defect"] == ["ZeroDivisionError", "by nought"]
    assert second["defect"] == ["HeadstartError", "the first process failed by ZeroDivisionError: by nought", 70, True]
    assert first["lost"][0] == "TrainingError"
    assert "another process of this run has ended" in first["lost"][1]


def test_alone_every_operation_leaves_things_as_they_are() -> None:
    values = [torch.arange(3.0)]
    distributed.sum_over_processes(values)
    distributed.from_first(values)
    distributed.barrier()
    assert distributed.share("x") == "x"
    assert distributed.first(lambda: "y") == "y"
    with pytest.raises(ZeroDivisionError):
        distributed.first(lambda: 1 // 0)
    assert values[0].tolist() == [0, 1, 2]
    assert (distributed.rank(), distributed.world_size(), distributed.is_first()) == (0, 1, True)
