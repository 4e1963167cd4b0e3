"""What is on this machine already: nothing is downloaded, and nothing is said to be there that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from headstart.nets.local import cached_networks, local_networks, saved_below
from headstart.nets.saved import save_net
from headstart.nets.small import mlp
from headstart.nets.timm_nets import timm_weights_cached
from headstart.nets.torchvision_nets import torchvision_weights_cached


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    place = tmp_path / "caches"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(place / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "models"))
    return place


def test_without_caches_and_runs_there_is_the_embedded_one(tmp_path: Path) -> None:
    assert local_networks(tmp_path / "runs") == ["embedded"]


def test_saved_models_are_found_and_other_folders_are_not(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("b", "a/deep"):
        save_net(mlp(4, (3,)), runs / name / "model")
        (runs / name / "model" / "card.json").write_text("{}")
    (runs / "half").mkdir()
    (runs / "half" / "card.json").write_text("{}")
    assert saved_below(runs) == [str(runs / "a/deep/model"), str(runs / "b/model")]
    assert local_networks(runs)[1:] == saved_below(runs)


def test_weights_that_torch_keeps(empty_caches: Path) -> None:
    from torchvision.models import ResNet18_Weights

    assert not torchvision_weights_cached("resnet18")
    kept = empty_caches / "hub" / "checkpoints" / ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert torchvision_weights_cached("resnet18")
    assert not torchvision_weights_cached("resnet34")
    assert not torchvision_weights_cached("nothing")
    assert "torchvision:resnet18" in cached_networks()


def test_weights_that_the_hub_keeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def keeps(repository: str, filename: str, **_: object) -> str | None:
        return str(tmp_path / filename) if repository == "timm/resnet18.a1_in1k" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", keeps)
    assert timm_weights_cached("resnet18.a1_in1k")
    assert not timm_weights_cached("resnet34.a1_in1k")
    assert not timm_weights_cached("nothing.at_all")
    assert cached_networks() == []  # the cache's folders are empty, so the libraries are not asked
