"""The whole choice on digits: what it leaves, that it is repeatable and resumable, and what wrong input is told."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import headstart
from headstart.catalog.select import Candidate, SelectConfig
from headstart.cli.main import COMMANDS
from headstart.errors import BackboneError, ConfigError, DataError, InputError, Interrupted, RunFolderMismatch
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.saved import save_net
from headstart.nets.small import cifar_resnet
from headstart.studies import halving, scored
from headstart.studies.halving import Finalist, Plan
from headstart.studies.select import SelectResult
from tests.engine.engine_toys import perceptron

SIZE = 8
USUAL: dict[str, Any] = {"folds": 2, "mirror": False, "device": "cpu"}


def small_net(seed: int = 1, width: int = 4, size: int = SIZE) -> Net:
    with forked(seed):
        return cifar_resnet(8, width, size)


def digits(count: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = load_digits(n_class=3)
    return (found.images * 15).astype(np.uint8)[:count], found.target[:count].astype(np.int64)


def three() -> list[Candidate]:
    return [Candidate(small_net(seed, width), name) for seed, width, name in ((1, 4, "a"), (2, 6, "b"), (3, 4, "c"))]


def without_times(summary: Any) -> Any:
    """The same without what differs between equal runs."""
    if isinstance(summary, dict):
        left_out = ("seconds", "seconds_by_phase", "reproduce", "next")
        return {key: without_times(value) for key, value in summary.items() if key not in left_out}
    return [without_times(item) for item in summary] if isinstance(summary, list) else summary


@pytest.fixture(autouse=True, scope="module")
def _two_epochs() -> Iterator[None]:
    """Races as short as can be, whatever the machine's speed; where there is no time at all, the real plan says so."""
    real = halving.plan

    def plan(finalists: Sequence[Finalist], folds: Any, strategy: str, *, budget: float, mirror: bool) -> Plan:
        if budget < 1:
            return real(finalists, folds, strategy, budget=budget, mirror=mirror)
        return Plan(len(finalists), 2, {one.name: 0.1 for one in finalists})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("headstart.studies.select.plan", plan)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("digits")
    for number, (picture, label) in enumerate(zip(*digits(), strict=True)):
        path = place / f"digit {label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return place


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SelectResult:
    return headstart.select(str(folder), three(), out=tmp_path_factory.mktemp("runs") / "select", budget="1h", **USUAL)


def test_what_it_leaves(result: SelectResult) -> None:
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "config.json",
        "env.json",
        "inspection.json",
        "log.jsonl",
        "report.html",
        "summary.json",
    ]
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    assert "<html" in result.report.read_text("utf-8")


def test_what_it_says(result: SelectResult) -> None:
    told = result.summary
    assert {one["name"] for one in told["candidates"]} == {"a", "b", "c"}
    assert [one["rank"] for one in told["candidates"]] == [1, 2, 3]
    assert result.chosen == told["candidates"][0]["name"]
    for one in told["candidates"]:
        assert one["input_size"] == SIZE
        assert one["scores"]["leep"] is None
        assert one["why_missing"]["leep"]
        assert one["bytes"] >= 4 * one["parameters"] > 0
        assert one["flops"] > 0
        assert one["feature_bytes"] > 0
        low, high = one["scores"]["probe"]["interval"]
        assert low <= one["scores"]["probe"]["value"] <= high
        assert max(point["accuracy"] for point in one["depth"]) == pytest.approx(one["scores"]["probe"]["value"])
        seconds = one["seconds"]
        assert seconds["all"] == pytest.approx(sum(value for name, value in seconds.items() if name != "all"))
    raced = [one for one in told["candidates"] if one["race"]["rounds"]]
    assert len(raced) >= 2
    assert told["comparison"]["against"] in {"a", "b", "c"} - {result.chosen}
    assert told["sentence"].startswith(result.chosen)
    assert told["next"].startswith("headstart.adapt(backbone") or "backbone" in told["next"]
    assert result.chosen in str(result)


def test_the_same_again_from_other_places(folder: Path, result: SelectResult, tmp_path: Path) -> None:
    """The order in which candidates are named and what else happened change no number."""
    again = headstart.select(str(folder), three(), out=tmp_path / "again", budget="1h", **USUAL)
    assert without_times(again.summary) == without_times(result.summary)


def test_an_interrupted_run_goes_on(
    folder: Path, result: SelectResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the third candidate; the two that were measured are not measured again."""
    real, measured = scored.score, []

    def counting(name: str, *args: Any, **more: Any) -> Any:
        measured.append(name)
        if len(measured) == 3:
            raise Interrupted("everything finished so far is saved")
        return real(name, *args, **more)

    monkeypatch.setattr("headstart.studies.select.score", counting)
    with pytest.raises(Interrupted):
        headstart.select(str(folder), three(), out=tmp_path / "run", budget="1h", **USUAL)
    again = headstart.select(str(folder), three(), out=tmp_path / "run", budget="1h", resume=True, **USUAL)
    assert measured == ["a", "b", "c", "c"]
    assert without_times(again.summary) == without_times(result.summary)
    once_more = headstart.select(str(folder), three(), out=tmp_path / "run", budget="1h", resume=True, **USUAL)
    assert once_more.summary == again.summary


def test_other_weights_are_not_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Any) -> Any:
        raise Interrupted("stopped")

    with monkeypatch.context() as patched:
        patched.setattr("headstart.studies.select._Job._race", stop)
        with pytest.raises(Interrupted):
            headstart.select(str(folder), three(), out=tmp_path / "run", **USUAL)
    other = [Candidate(small_net(9), "a"), *three()[1:]]
    with pytest.raises(RunFolderMismatch, match="a has other weights"):
        headstart.select(str(folder), other, out=tmp_path / "run", resume=True, **USUAL)


def test_the_test_images_are_not_looked_at(tmp_path: Path) -> None:
    """With other test images everything said of the candidates is the same to the last digit."""
    pictures, labels = digits()
    told = []
    for seed in (0, 1):
        draw = np.random.default_rng(seed)
        noise = [draw.integers(0, 256, (8, 8)).astype(np.uint8) for _ in range(12)]
        place = tmp_path / f"data {seed}"
        for split, some, truth in (("train", pictures, labels), ("test", noise, draw.integers(0, 3, 12))):
            for number, (picture, label) in enumerate(zip(some, truth, strict=True)):
                path = place / split / f"digit {label}" / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
        found = headstart.select(str(place), three()[:2], out=tmp_path / f"run {seed}", race=False, **USUAL).summary
        told.append([{key: one[key] for key in ("name", "scores", "depth")} for one in found["candidates"]])
    assert told[0] == told[1]


def test_no_race(folder: Path, tmp_path: Path) -> None:
    told = headstart.select(str(folder), three(), out=tmp_path / "run", race=False, **USUAL).summary
    assert told["by"] == "probe"
    assert {one["race"]["status"] for one in told["candidates"]} == {"not raced"}
    values = [one["scores"]["probe"]["value"] for one in told["candidates"]]
    assert values == sorted(values, reverse=True)
    short = headstart.select(str(folder), three(), out=tmp_path / "short", budget="0.001s", **USUAL).summary
    assert "do not reach" in short["candidates"][0]["race"]["reason"]


def test_sizes_and_what_cannot_be_loaded(folder: Path, tmp_path: Path) -> None:
    """Candidates of several input sizes are compared on the same images; what cannot be had is named and skipped."""
    (tmp_path / "empty").mkdir()
    kept = small_net(4)
    kept.add_head("main", 3)
    save_net(kept, tmp_path / "kept")
    bad = small_net(5)
    with_nan = next(bad.parameters())
    with_nan.data.fill_(float("nan"))
    some = [
        Candidate(small_net(1), "small"),
        Candidate(small_net(1, size=12), "twelve"),
        Candidate(small_net(1), "small again"),
        Candidate(str(tmp_path / "kept"), "kept"),
        Candidate(bad, "broken"),
        Candidate(perceptron(), "for vectors"),
        str(tmp_path / "empty"),
        "embeded",
        f"headstart:cifar_resnet8@{tmp_path}/lost.pt",
    ]
    told = headstart.select(str(folder), some, out=tmp_path / "run", race=False, **USUAL).summary
    assert {one["name"]: one["input_size"] for one in told["candidates"]} == {"small": 8, "twelve": 12, "kept": 8}
    kept_record = next(one for one in told["candidates"] if one["name"] == "kept")
    assert kept_record["scores"]["leep"] is not None
    assert kept_record["scores"]["nce"] is not None
    reasons = {one["name"]: one["reason"] for one in told["unavailable"]}
    assert reasons["small again"] == "the same network with the same weights as small"
    assert "no finite numbers" in reasons["broken"]
    assert "the data are images" in reasons["for vectors"]
    assert "holds no saved headstart model" in reasons[str(tmp_path / "empty")]
    assert "Did you mean embedded" in reasons["embeded"]
    assert "lost.pt" in reasons["headstart:cifar_resnet8@lost.pt"]


def test_a_thousand_pixels(folder: Path, tmp_path: Path) -> None:
    """Far larger than the images: slow, but right."""
    module = nn.Sequential(nn.Conv2d(3, 4, 25, 25), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    big = Candidate(module, "big", size=1000, mean=(0.5,) * 3, std=(0.5,) * 3)
    few = (digits(18)[0], digits(18)[1])
    told = headstart.select(few, [big, three()[0]], out=tmp_path / "run", race=False, **USUAL).summary
    assert {one["name"]: one["input_size"] for one in told["candidates"]} == {"big": 1000, "a": 8}


def test_vectors(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = (draw.normal(size=(60, 6)) + 3 * np.eye(6)[labels]).astype(np.float32)
    some = [Candidate(perceptron(), "fits"), Candidate(perceptron(5), "of five"), "embedded"]
    told = headstart.select((vectors, labels), some, out=tmp_path / "run", race=False, **USUAL).summary
    assert told["chosen"] == "fits"
    assert "only candidate" in told["sentence"]
    assert {one["name"] for one in told["unavailable"]} == {"of five", "embedded"}
    with pytest.raises(BackboneError, match=r"(?s)none of the candidates can be used.*vectors of 6 numbers"):
        headstart.select((vectors, labels), ["embedded"], out=tmp_path / "none", **USUAL)
    assert not (tmp_path / "none").exists()


def test_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class"):
        headstart.select((digits()[0], np.zeros(60, np.int64)), ["embedded"], out=tmp_path / "run", **USUAL)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"folds": 1}, ConfigError, "--folds 1"),
        ({"budget": "soon"}, ConfigError, "soon"),
        ({"finalists": 1}, ConfigError, "--finalists 1"),
        ({"at_most": 1}, ConfigError, "--at-most 1"),
        ({"test_fraction": 1.5}, ConfigError, "--test-fraction 1.5"),
        ({"device": "tpu"}, ConfigError, "--device 'tpu'"),
        ({"epochs": 3}, ConfigError, r"select\(\) has no setting 'epochs'; see headstart.SelectConfig"),
        ({"candidates": "zzz*"}, ConfigError, "no network's name fits"),
        ({"candidates": "nets.txt"}, BackboneError, "There is no file nets.txt"),
        ({"candidates": ["smal", "embeded"]}, BackboneError, "(?s)group small.*Did you mean embedded"),
        ({"candidates": []}, ConfigError, "names no network"),
        ({"label_column": "kind"}, InputError, "label"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, tmp_path: Path, settings: dict[str, Any], error: Any, said: str) -> None:
    settings = {"candidates": "embedded,headstart:cifar_resnet8", **USUAL, **settings}
    with pytest.raises(error, match=said):
        headstart.select(str(folder), out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_places_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the folder of the images"):
        headstart.select(str(folder), "embedded", out=folder / "out", **USUAL)
    save_net(small_net(), tmp_path / "run" / "model")
    with pytest.raises(ConfigError, match="would be replaced by the run"):
        headstart.select(str(folder), str(tmp_path / "run" / "model"), out=tmp_path / "run", **USUAL)


def test_the_command_that_follows_is_understood(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "nets.txt"
    path.write_text("embedded size=16\n")
    told = headstart.select(str(folder), str(path), out=tmp_path / "digits", race=False, **USUAL).summary
    words = shlex.split(told["next"])
    assert words[:2] == ["headstart", "adapt"]
    config = SelectConfig(str(folder), (), tmp_path / "digits", folds=2, mirror=False, device="cpu")
    assert COMMANDS["adapt"].parse(words[2:]) == config.followed(Candidate("embedded", size=16))
    assert told["candidates"][0]["scores"]["leep"] is not None
    words = shlex.split(told["reproduce"])
    again = COMMANDS["select"].parse(words[2:])
    assert (again.candidates, again.race, again.out) == ((str(path),), False, tmp_path / "digits")
