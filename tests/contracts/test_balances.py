"""Contracts that every weighting keeps in a real multi-task run: repeatable, resumed exactly, absent tasks missing, and the
same in two processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.catalog.weightings import WEIGHTINGS
from headstart.engine.checkpoint import load_state
from headstart.engine.interrupt import STOP
from headstart.errors import Interrupted
from tests.conftest import random_states
from tests.contracts import weighed
from tests.engine.engine_toys import differing, stopping_at

EXTRA = importlib.util.find_spec("torchjd") is not None
WITHOUT = "needs the extra: pip install 'headstart[torchjd]'"
TASKS = ("kind", "loud", "age")


def _marked(name: str) -> Any:
    needs = WEIGHTINGS[name].family == "by gradients" and not EXTRA
    return pytest.param(name, marks=pytest.mark.skipif(needs, reason=WITHOUT))


every_weighting = pytest.mark.parametrize("name", [_marked(name) for name in WEIGHTINGS])
_PLAIN: dict[str, Any] = {}


def plain(name: str) -> dict[str, Any]:
    """The undisturbed run, computed once."""
    if name not in _PLAIN:
        _PLAIN[name] = weighed.run(name)
    return _PLAIN[name]


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


@every_weighting
def test_same_seed_same_bits_and_no_global_random_numbers(name: str) -> None:
    before = random_states()
    first, again = plain(name), weighed.run(name)
    assert random_states() == before
    assert not differing(first["net"], again["net"])
    assert not differing(first["balance"], again["balance"])
    assert first["epochs"] == again["epochs"]
    assert differing(first["net"], weighed.run(name, seed=1)["net"])


@every_weighting
@pytest.mark.parametrize("step", [2, 7, 10])
def test_resumed_anywhere_it_ends_as_if_never_stopped(name: str, step: int, tmp_path: Path) -> None:
    """Inside the first epoch, inside the second, and between two; the log's lines too."""
    path = tmp_path / "log.jsonl"
    with pytest.raises(Interrupted):
        weighed.run(name, tmp_path / "run", stopping_at("multitask", step, path))
    STOP.requested = False
    rest = weighed.run(name, tmp_path / "run")
    want = plain(name)
    assert not differing(rest["net"], want["net"])
    assert not differing(rest["balance"], want["balance"])
    assert rest["epochs"] == want["epochs"][step // weighed.STEPS_AN_EPOCH :]


@every_weighting
def test_each_epoch_tells_weights_their_sum_and_gradients(name: str) -> None:
    epochs = plain(name)["epochs"]
    assert len(epochs) == weighed.EPOCHS
    for number, line in enumerate(epochs, 1):
        assert line["epoch"] == number
        assert set(line["weights"]) == set(TASKS)
        assert line["weight_sum"] == pytest.approx(sum(line["weights"].values()))
        assert {"norm/kind", "norm/age"} & set(line["balance"])
        assert all(0 <= weight < 1e3 for weight in line["weights"].values())


@pytest.mark.parametrize("name", ["dwa", "gradnorm"])
def test_weights_add_up_to_the_number_of_tasks(name: str) -> None:
    found = plain(name)
    assert found["epochs"][-1]["weight_sum"] == pytest.approx(3, abs=0.35)  # means over steps in which a task is there
    weights = {key.rpartition(".")[2]: value for key, value in found["balance"].items()}
    if name == "gradnorm":
        assert weights["weight"].sum().item() == pytest.approx(3)
        assert (weights["weight"] != 1).all()


def test_what_a_weighting_learns_trains_with_the_stage() -> None:
    """Also inside the balance that watches it; where a task is noisier its weight falls."""
    found = plain("uncertainty")
    learned = {key: value.item() for key, value in found["balance"].items() if "log_variance" in key}
    assert len(learned) == 3
    assert all(learned.values())
    told = {f"log_variance/{task}" for task in TASKS}
    last = found["epochs"][-1]["balance"]
    assert {key: last[key] for key in told} == pytest.approx(
        dict(zip(sorted(told, key=_place), learned.values(), strict=True))
    )


def _place(key: str) -> int:
    return TASKS.index(key.rpartition("/")[2])


def test_the_plain_sum_weighs_one() -> None:
    for line in plain("sum")["epochs"]:
        assert line["weights"] == dict.fromkeys(TASKS, 1.0)
        assert line["weight_sum"] == 3.0
        assert line["loss"] == pytest.approx(sum(line["losses"].values()))


@pytest.fixture(scope="module")
def both(in_two: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("weighed")
    which = [name for name in WEIGHTINGS if EXTRA or WEIGHTINGS[name].family != "by gradients"]
    in_two(weighed.process, folder, which)
    return load_state(folder / "0.safetensors"), load_state(folder / "1.safetensors")


@every_weighting
def test_two_processes_equal_one(name: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    alone, (first, second) = plain(name), (one[name] for one in both)
    assert not differing(first["net"], second["net"])
    assert not differing(first["balance"], second["balance"])
    for part in ("net", "balance"):
        for key, value in alone[part].items():
            torch.testing.assert_close(
                first[part][key], value, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}"
            )
    for told, line in zip(first["epochs"], alone["epochs"], strict=True):
        assert told["weights"] == pytest.approx(line["weights"], rel=1e-3)
        assert told["losses"] == pytest.approx(line["losses"], rel=1e-3)
        assert told["balance"] == pytest.approx(line["balance"], rel=1e-2, abs=1e-3)
    assert second["epochs"] == []
