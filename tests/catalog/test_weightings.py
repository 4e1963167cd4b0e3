"""The list of weightings, and the balance each name stands for."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from headstart.balance.base import Balance
from headstart.balance.dwa import DynamicWeightAverage
from headstart.balance.fixed import Fixed
from headstart.balance.gradnorm import GradNorm
from headstart.balance.jacobian import Jacobian
from headstart.balance.named import balance_for
from headstart.balance.schedule import Schedule
from headstart.balance.uncertainty import Uncertainty
from headstart.catalog.settings import with_settings
from headstart.catalog.weightings import (
    WEIGHTINGS,
    CaGrad,
    Dwa,
    GradNormWeighting,
    Scheduled,
    Sum,
    UncertaintyWeighting,
    check_extra,
    weighting,
    without_extra,
)
from headstart.errors import ConfigError

EXTRA = importlib.util.find_spec("torchjd") is not None
TASKS = ("a", "b")
CLASSES = {
    "sum": Fixed,
    "schedule": Schedule,
    "dwa": DynamicWeightAverage,
    "uncertainty": Uncertainty,
    "gradnorm": GradNorm,
}


def made(name: str, config: Any = None) -> Balance:
    config = Scheduled({"a": "1 - t", "b": 1}) if name == "schedule" and config is None else config
    return balance_for(name, config, TASKS, {"a": "number", "b": "classes"}, nn.Linear(2, 2).parameters())


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_every_name_is_a_balance_that_knows_its_tasks(name: str) -> None:
    if WEIGHTINGS[name].family == "by gradients" and not EXTRA:
        pytest.skip("needs the extra: pip install 'headstart[torchjd]'")
    balance = made(name)
    assert type(balance) is CLASSES.get(name, Jacobian)
    assert balance.tasks == TASKS
    assert WEIGHTINGS[name].summary
    assert WEIGHTINGS[name].paper or name in ("sum", "schedule")


def test_settings_reach_the_balance() -> None:
    gradnorm = made("gradnorm", GradNormWeighting(alpha=0.5, rate=0.1, floor=0.01))
    assert isinstance(gradnorm, GradNorm)
    assert (gradnorm.alpha, gradnorm.rate, gradnorm.floor) == (0.5, 0.1, 0.01)
    dwa = made("dwa", Dwa(temperature=5.0))
    assert isinstance(dwa, DynamicWeightAverage)
    assert dwa.temperature == 5.0
    uncertain = made("uncertainty", UncertaintyWeighting(variance=1.0))
    assert isinstance(uncertain, Uncertainty)
    assert uncertain._factor == [0.5, 1.0]
    plain = made("sum", Sum({"a": 0.25}))
    assert isinstance(plain, Fixed)
    assert plain.weights == {"a": 0.25}
    assert with_settings(WEIGHTINGS["gradnorm"].config, ["alpha=0.12"]).alpha == 0.12


@pytest.mark.skipif(not EXTRA, reason="needs the extra: pip install 'headstart[torchjd]'")
def test_settings_of_a_method_of_torchjd_reach_it() -> None:
    balance = made("cagrad", CaGrad(c=0.7, normalise=True))
    assert isinstance(balance, Jacobian)
    assert (balance.settings, balance.normalise) == ({"c": 0.7}, True)


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("gradnrom", None, "weighting 'gradnrom' is unknown; there are sum, schedule, dwa"),
        ("dwa", Sum(), "has settings of the class Dwa, not Sum"),
        ("sum", Sum({"c": 1.0, "a": -1.0}), r"(?s)'c' has a weight but is no task.*task 'a': weight -1.0"),
        ("sum", Sum({"a": 0.0, "b": 0.0}), "every weight is 0"),
        ("sum", Sum({"a": float("nan")}), "task 'a': weight nan"),
        ("schedule", Scheduled(), "there is no schedule"),
        ("schedule", Scheduled({"a": "1"}), "task 'b' has no weight"),
        ("dwa", Dwa(temperature=0.0), "temperature=0.0 must be a positive number"),
        ("uncertainty", UncertaintyWeighting(variance=-1.0), "variance=-1.0 must be"),
        ("gradnorm", GradNormWeighting(alpha=-1.0, rate=0.0), r"(?s)rate=0.0 must be.*alpha=-1.0 must be"),
    ],
)
def test_what_cannot_be_is_refused(name: str, config: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        balance_for(name, config, TASKS)


def test_tasks_have_to_be_there_once() -> None:
    with pytest.raises(ConfigError, match="there are no tasks"):
        balance_for("dwa", None, ())
    with pytest.raises(ConfigError, match="task 'a' is there twice"):
        balance_for("dwa", None, ("a", "a"))


def test_a_missing_extra_is_told_with_the_command_and_what_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in WEIGHTINGS:
        if name in without_extra():
            check_extra(name)
            made(name)
        else:
            with pytest.raises(
                ConfigError, match=r"(?s)needs TorchJD.*pip install 'headstart\[torchjd\]'.*are sum, schedule"
            ):
                made(name)


def test_configs_are_frozen_and_the_extra_is_declared() -> None:
    for one in WEIGHTINGS.values():
        assert replace(one.config) == one.config
        with pytest.raises(AttributeError):
            one.config.nothing = 1
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'torchjd = ["torchjd[full]' in project
    assert weighting("sum").family == "fixed"
