"""Groups and patterns of networks; the settings of the choice and what follows from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart.catalog.groups import GROUPS, matching
from headstart.catalog.models import known_models
from headstart.catalog.select import Candidate, SelectConfig


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_network_of_a_group_is_known_and_named_once(group: str) -> None:
    known = {model.name for model in known_models()}
    assert set(GROUPS[group]) <= known
    assert len(set(GROUPS[group])) == len(GROUPS[group]) > 3


def test_small_is_smaller_than_medium() -> None:
    params = {model.name: model.params or 0 for model in known_models()}
    assert max(params[name] for name in GROUPS["small"]) < 11e6
    assert max(params[name] for name in GROUPS["medium"]) < 35e6


def test_patterns_fit_with_and_without_prefix() -> None:
    with_prefix, without = matching("timm:resnet18*"), matching("resnet18*")
    assert with_prefix
    assert all(name.startswith("timm:resnet18") for name in with_prefix)
    assert set(without) == {*with_prefix, "torchvision:resnet18"}
    assert matching("RESNET18") == ["torchvision:resnet18"]
    assert matching("nothing-is-called-so*") == []


def test_names_of_candidates() -> None:
    assert str(Candidate("embedded")) == "embedded"
    assert str(Candidate("timm:resnet18", weights=Path("a/w.pt"))) == "timm:resnet18@w.pt"
    assert str(Candidate(object())) == "object"
    assert str(Candidate("embedded", "mine")) == "mine"


def test_the_adaptation_that_follows() -> None:
    config = SelectConfig("photos", out=Path("runs/photos"), seed=3, mirror=False, folds=4)
    one = Candidate("timm:resnet18", weights=Path("w.pt"), args=("pad_type=same",), size=96, mean=(0.5,) * 3, std=(0.5,) * 3)
    follow = config.followed(one)
    assert (follow.data, follow.out, follow.seed, follow.mirror, follow.folds) == (
        "photos",
        Path("runs/photos-adapted"),
        3,
        False,
        4,
    )
    assert follow.network.backbone == "timm:resnet18"
    assert (follow.network.weights, follow.network.backbone_args, follow.network.size) == (
        Path("w.pt"),
        ("pad_type=same",),
        96,
    )
    assert SelectConfig("photos").followed(one).out == Path("runs/adapt")


def test_no_torch() -> None:
    script = "import sys, headstart.catalog.select, headstart.cli.select; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
