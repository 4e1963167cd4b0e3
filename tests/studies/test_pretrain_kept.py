"""What is kept where a loss came to be no number: the newest weights that are sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.engine.checkpoint import save_state
from headstart.engine.course import KEPT
from headstart.engine.model import Card, Model
from headstart.errors import NonFiniteLoss
from headstart.nets.net import Net
from headstart.studies.pretrain_kept import last_good
from tests.engine.engine_toys import resnet


def filled(value: float) -> Net:
    net = resnet()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


def kept(folder: Path, stages: dict[str, float]) -> NonFiniteLoss:
    for name, value in stages.items():
        save_state(folder / name / "finished.safetensors", {"net": filled(value).state_dict()})
    card = Card("", (), "squash", (), "0")
    return last_good(NonFiniteLoss(f"loss is nan. {KEPT}"), resnet(), folder, card, folder / "good")


def weight(folder: Path) -> float:
    return float(next(Model.load(folder / "good").net.parameters()).detach().flatten()[0])


def test_stages_are_counted_and_not_sorted_as_text(tmp_path: Path):
    assert "--start trained --backbone" in str(kept(tmp_path, {"99-clusters100": 0.5, "100-clusters101": 0.25}))
    assert weight(tmp_path) == 0.25


def test_a_stage_whose_weights_are_no_numbers_gives_way_to_the_one_before(tmp_path: Path):
    kept(tmp_path, {"00-one": 0.5, "01-two": float("nan")})
    assert weight(tmp_path) == 0.5


@pytest.mark.parametrize("stages", [{}, {"00-one": float("inf")}], ids=["none", "none sound"])
def test_where_nothing_is_kept_nothing_is_promised(stages: dict[str, float], tmp_path: Path):
    text = str(kept(tmp_path, stages))
    assert "so that no weights are kept" in text
    assert KEPT not in text
    assert not (tmp_path / "good").exists()
