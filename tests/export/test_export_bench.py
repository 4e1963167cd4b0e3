"""Models side by side: one table of costs and, on the same images, of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.catalog.device import BenchConfig
from headstart.engine.model import Card, Model
from headstart.errors import ConfigError, ModelFileError, RunFolderMismatch
from headstart.export.bench import BenchResult, bench
from headstart.export.export import Exported
from headstart.export.parity import answers
from headstart.export.pictures import Wanted, pictures
from headstart.export.runners import of_model
from headstart.metrics.intervals import wilson
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from tests.conftest import images
from tests.export.toys import SIZE, taught

Made = Callable[[str], Exported]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of half the width for pictures of 12 px, whose classes come in another order."""
    with forked(1):
        net = cifar_resnet(8, 4, 12)
    pixels, labels = images(150, 3, 12, 1)
    model = taught(net, pixels, 2 - labels, ("cow", "bée", "ant"))
    return model.save(tmp_path_factory.mktemp("other") / "small")


@pytest.fixture(scope="module")
def result(saved: Path, other: Path, made: Made, album: Path, tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    models = (saved, other, made("torch-export").path)
    out = tmp_path_factory.mktemp("bench") / "run"
    return bench(BenchConfig(models, out=out, images=str(album), seconds=0.3, threads=1))


def test_costs_of_every_model(result: BenchResult, saved: Path, model: Model) -> None:
    first, small, traced = result.summary["models"]
    assert [one["kind"] for one in (first, small, traced)] == ["headstart", "headstart", "torch-export"]
    assert first["bytes"] == sum((saved / name).stat().st_size for name in ("weights.safetensors", "net.json", "card.json"))
    assert first["parameters"] == sum(p.numel() for p in model.net.parameters()) == traced["parameters"]
    assert first["flops"] == traced["flops"] > small["flops"]
    for one in (first, small, traced):
        assert 0 < one["latency"]["median"] <= one["latency"]["p95"] < 1
        assert one["latency"]["batch"] == 1
        assert one["throughput"]["batch"] in [by["batch"] for by in one["throughput"]["by"]]
        assert one["throughput"]["images_per_second"] > 0


def test_answers_to_the_same_images(result: BenchResult, model: Model, album: Path, tmp_path: Path) -> None:
    first, small, traced = result.summary["models"]
    shown = pictures(album, Wanted(model.net.input, "squash", 1000, 0, 0), cache=tmp_path)
    guess = answers(of_model(model), shown.check, model.net.input)[0].argmax(1)
    right = int((guess == shown.labels).sum())
    assert first["accuracy"] == traced["accuracy"] == right / 60
    assert first["interval"] == [wilson(right, 60).low, wilson(right, 60).high]
    assert small["accuracy"] > 0.5
    assert (first["agreement"], first["difference"]) == (None, None)
    assert traced["agreement"] == 1.0
    assert traced["difference"]["estimate"] == 0
    assert not traced["difference"]["decided"]
    assert small["difference"]["estimate"] == pytest.approx(small["accuracy"] - first["accuracy"])
    assert result.summary["images"] == 60


def test_the_run_says_what_it_was(result: BenchResult) -> None:
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary == result.summary
    assert summary["command"] == "bench"
    assert summary["machine"]["threads"] == 1
    assert {"python", "torch", "headstart", "numpy"} <= set(summary["machine"]["versions"])
    assert summary["reproduce"].startswith("headstart bench ")
    assert "--seconds 0.3" in summary["reproduce"]
    assert not (result.folder / "work").exists()
    text = str(result)
    assert "1 thread of" in text
    assert "on 60 images of" in text
    assert text.count("\n") >= 5


def test_without_images_only_costs(saved: Path, tmp_path: Path, rng_guard: None, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    found = bench(BenchConfig((saved,), out=tmp_path / "run", seconds=0.1, threads=2)).summary
    assert counts == [2, torch.get_num_threads()]
    assert found["images"] is None
    (one,) = found["models"]
    assert (one["accuracy"], one["interval"], one["agreement"]) == (None, None, None)
    with pytest.raises(RunFolderMismatch, match="already holds a run"):
        bench(BenchConfig((saved,), out=tmp_path / "run", seconds=0.1))
    bench(BenchConfig((saved,), out=tmp_path / "run", seconds=0.1, overwrite=True))


def test_classes_that_only_some_have(saved: Path, model: Model, album: Path, tmp_path: Path) -> None:
    card = model.card
    fewer = Card("main", ("ant", "bée", "dog"), "squash", card.ancestors, card.version)
    none = Card("main", ("x", "y", "z"), "squash", card.ancestors, card.version)
    places = (saved, Model(model.net, fewer).save(tmp_path / "fewer"), Model(model.net, none).save(tmp_path / "none"))
    found = bench(BenchConfig(places, out=tmp_path / "run", images=str(album), seconds=0.1)).summary
    full, some, strange = found["models"]
    assert full["accuracy"] == some["accuracy"]
    assert strange["accuracy"] is None
    assert strange["agreement"] == 0
    assert some["agreement"] == pytest.approx(1 - _share_of_cows(model, album, tmp_path))
    assert f"{tmp_path / 'none'} has none of the classes of {album}" in found["warnings"][-2]
    assert found["warnings"][-1].startswith("20 images of classes that not all models have")


def _share_of_cows(model: Model, album: Path, cache: Path) -> float:
    shown = pictures(album, Wanted(model.net.input, "squash", 1000, 0, 0), cache=cache)
    return float((answers(of_model(model), shown.check, model.net.input)[0].argmax(1) == 2).mean())


def test_a_busy_machine_is_told(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.export.bench.waited", lambda models: 0.6)
    found = bench(BenchConfig((saved,), out=tmp_path / "run", seconds=0.1)).summary
    assert found["machine"]["waited"] == 0.6
    assert "stood still for 60 % of the time" in found["warnings"][0]


def test_what_cannot_be_measured(saved: Path, album: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none given") as found:
        bench(BenchConfig((), threads=0, seconds=0, limit=0))
    assert all(word in str(found.value) for word in ("--threads 0", "--seconds 0", "--limit 0"))
    with pytest.raises(ConfigError, match="is named more than once"):
        bench(BenchConfig((saved, saved)))
    with pytest.raises(ConfigError, match="which the run would replace"):
        bench(BenchConfig((saved,), out=saved.parent, overwrite=True))
    with pytest.raises(ConfigError, match="lies in the folder of the images"):
        bench(BenchConfig((saved,), out=album / "run", images=str(album)))
    for name, said in (("nothing", "does not exist"), ("a.txt", "neither a folder with a saved model nor")):
        (tmp_path / "a.txt").touch()
        with pytest.raises(ModelFileError, match=said):
            bench(BenchConfig((tmp_path / name,), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_size_of_the_models_input_counts(other: Path) -> None:
    assert SIZE != 12
    assert np.isfinite(Model.load(other).probabilities(images(3, 3, 12)[0])).all()
