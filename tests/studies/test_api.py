"""Working from Python: reading data, driving a strategy by hand, adapting in a thread, settings by their own names."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart import api
from headstart.catalog.adapt import AdaptConfig, BackboneConfig
from headstart.catalog.durations import parse_seconds
from headstart.catalog.extend import ExtendConfig
from headstart.catalog.given import configured
from headstart.catalog.strategies import GradualConfig
from headstart.engine.fit import FitResult
from headstart.engine.interrupt import STOP
from headstart.engine.run import Drive
from headstart.engine.solve import SolveResult
from headstart.errors import ConfigError, DataError
from headstart.stage import Solve
from headstart.studies.arms import all_arms, base_recipe, pick
from headstart.studies.records import name_of
from tests.conftest import images
from tests.engine.engine_toys import RECIPE, Case, differing, resnet, state


def test_data_are_read_once_into_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    x, y = images(12, 3, 10)
    data = headstart.read((x, y), size=8, fit="pad")
    assert data.task().store.array.shape == (12, 8, 8, 3)
    assert data.task().name == "main"
    assert np.array_equal(data.labels, y)
    made = list((tmp_path / "cache" / "headstart" / "data").iterdir())
    assert made
    headstart.read((x, y), size=8, cache=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere").is_dir()
    assert list((tmp_path / "cache" / "headstart" / "data").iterdir()) == made
    with pytest.raises(DataError):
        headstart.read((x, y[:3]), size=8)
    with pytest.raises(ConfigError):
        headstart.read((x, y), size=8, fit="stretch")


def test_the_users_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert api.user_cache() == tmp_path / ".cache" / "headstart"


@pytest.mark.parametrize("strategy", ["lpft", "gradual", "svm"])
def test_driven_by_hand_a_strategy_ends_with_the_same_bits(strategy: str) -> None:
    """`for stage in strategy(net, task): fit(net, stage)`: an optimiser's memory is kept for a stage that carries it."""
    case = Case(strategy, "images")
    whole, by_hand = case.net(), case.net()
    expected = Drive(whole, seed=5).run(case.stages(whole))
    results = []
    for stage in case.stages(by_hand):
        results.append(headstart.fit(by_hand, stage, seed=5))
        assert isinstance(results[-1], SolveResult if isinstance(stage, Solve) else FitResult)
    assert not differing(state(by_hand), state(whole))
    assert [result.trained for result in results] == [result.trained for result in expected]


@pytest.mark.parametrize("epochs", [1, 3])
def test_by_hand_nothing_is_carried_from_an_earlier_strategy(epochs: int) -> None:
    """With fewer epochs than stages the first stage of gradual unfreezing is not the one of number nought."""
    earlier, case = Case("full", "images"), Case("gradual", "images")
    plain, again = case.net(), case.net()
    begun = {name: value.clone() for name, value in again.blocks.state_dict().items()}
    for stage in earlier.stages(again):
        headstart.fit(again, stage)
    again.blocks.load_state_dict(begun)
    config = GradualConfig(replace(RECIPE, epochs=epochs), stages=3)
    for net in (plain, again):
        for stage in headstart.STRATEGIES["gradual"](net, case.task(), config):
            headstart.fit(net, stage, seed=5)
    assert not differing(state(plain), state(again))


def test_settings_find_their_place() -> None:
    found = configured(AdaptConfig("photos"), {"budget": "1m", "size": 64, "group_column": "patient", "fit": "pad"})
    assert (found.budget, found.network.size, found.images.group_column, found.images.fit) == ("1m", 64, "patient", "pad")
    for name in ("network", "images", "nonsense"):
        with pytest.raises(ConfigError, match=f"adapt\\(\\) has no setting '{name}'"):
            configured(AdaptConfig("photos"), {name: None})
    with pytest.raises(ConfigError, match=r"extend\(\) has no setting 'backbone'"):
        configured(ExtendConfig("model", ("photos",)), {"backbone": "embedded"})


@pytest.mark.parametrize("strategies", ["probe,partial_1", ("probe, partial_1",), ("probe", "partial_1")])
def test_a_budget_may_be_a_number_and_strategies_may_have_commas(strategies: Any) -> None:
    every = all_arms(resnet(), base_recipe(resnet(), 60, mirror=False, class_weights=False), seed=0)
    assert [one.name for one in pick(every, strategies)] == ["probe", "partial_1"]
    assert parse_seconds(90) == parse_seconds("1m30s") == 90


def test_adapting_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[Any] = []

    def work() -> None:
        torch.set_num_threads(1)
        usual: Any = {"budget": "1h", "folds": 2, "device": "cpu", "strategies": ("probe",)}
        found.append(headstart.adapt(images(30, 3, 12), Case("probe", "images").net(), out=tmp_path / "run", **usual))
        assert signal.getsignal(signal.SIGINT) is before

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert found
    assert found[0].report.exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert not STOP.requested


def test_a_network_is_called_by_what_tells_its_weights_or_as_it_was_named() -> None:
    for named, told in (
        ("headstart:resnet8", "headstart:resnet8"),
        ("timm:resnet10t", "resnet10t"),
        ("embedded", "embedded"),
    ):
        net = headstart.build(named, pretrained=named == "embedded")
        assert name_of(BackboneConfig(named), net) == told
    assert name_of(BackboneConfig(), resnet()) == "cifar_resnet"
