"""Every option of a recipe, over every strategy that trains."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from headstart.engine.run import Drive
from headstart.strategies import STRATEGIES
from tests.engine.engine_toys import CONFIGS, Case, differing, state

TRAINING = [name for name in STRATEGIES if hasattr(CONFIGS[name], "recipe")]
OPTIONS: dict[str, Any] = {"smoothing": 0.2, "mixup": 0.4, "patience": 1, "average": 0.9, "class_weights": True}


def learned(strategy: str, **options: Any) -> dict[str, Tensor]:
    """The net after the strategy's toy with these options; its classes are of unlike sizes."""
    case = Case(strategy, "images")
    net = case.net()
    Drive(net).run(case.stages(net, **options))
    return state(net)


@pytest.mark.parametrize("strategy", TRAINING)
def test_every_option_changes_what_is_learned_and_repeats(strategy: str) -> None:
    plain = learned(strategy)
    for name, value in OPTIONS.items():
        found = learned(strategy, **{name: value})
        assert all(bool(one.isfinite().all()) for one in found.values() if one.is_floating_point()), name
        assert differing(found, plain), name
        assert not differing(found, learned(strategy, **{name: value})), name
    assert not differing(learned(strategy, **OPTIONS), learned(strategy, **OPTIONS))
