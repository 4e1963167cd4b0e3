"""Advice alone: what it leaves, that it looks at training images only, and that following it is what it says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.advise import AdviseConfig
from headstart.cli.main import COMMANDS, main
from headstart.errors import BackboneError, ConfigError, DataError, InputError, RunFolderMismatch
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.studies.advise import AdviseResult
from tests.engine.engine_toys import perceptron

SIZE = 8
USUAL: dict[str, Any] = {"folds": 2, "mirror": False, "device": "cpu", "budget": "1h"}


def small_net() -> Net:
    with forked(1):
        return cifar_resnet(8, 4, SIZE)


def digits(count: int = 90) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = load_digits(n_class=3)
    return (found.images * 15).astype(np.uint8)[:count], found.target[:count].astype(np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("digits")
    for number, (picture, label) in enumerate(zip(*digits(), strict=True)):
        path = place / f"digit {label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return place


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AdviseResult:
    return headstart.advise(str(folder), small_net(), out=tmp_path_factory.mktemp("runs") / "advise", **USUAL)


def test_what_it_leaves(result: AdviseResult) -> None:
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "config.json",
        "env.json",
        "inspection.json",
        "log.jsonl",
        "report.html",
        "summary.json",
    ]
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    for key in ("quadrant", "calibration", "advice", "forecast", "learning_curve", "depth", "next", "reproduce", "data"):
        assert key in result.summary
    assert result.strategy == result.summary["advice"]["arm"]
    assert "<html" in result.report.read_text("utf-8")


def test_as_text(result: AdviseResult) -> None:
    said = str(result)
    advice = result.summary["advice"]
    assert f"advice: {advice['arm']} ({advice['description']})" in said
    assert "expected of" in said
    assert f"expected accuracy {100 * advice['expected']['accuracy']:.1f} %" in said
    assert "what would change it:" in said
    assert result.summary["learning_curve"]["sentence"].split()[-1] in said
    assert said.endswith(result.summary["next"])
    assert max(map(len, said.splitlines()[:-1])) < 125


def test_nothing_is_learned_by_the_network(folder: Path, tmp_path: Path) -> None:
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    headstart.advise(str(folder), net, out=tmp_path / "a", **USUAL)
    assert all(before[name].equal(value) for name, value in net.state_dict().items())


def test_the_test_images_are_not_looked_at(tmp_path: Path) -> None:
    """With other test images the advice is the same to the last digit."""
    pictures, labels = digits(60)
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
        found = headstart.advise(str(place), small_net(), out=tmp_path / f"run {seed}", **USUAL).summary
        told.append({key: found[key] for key in ("quadrant", "forecast", "learning_curve", "depth")})
    assert told[0] == told[1]


def test_following_it_is_what_it_says(folder: Path, tmp_path: Path) -> None:
    """The command it names is understood, races the advised arm alone, and trains for as many epochs."""
    told = headstart.advise(str(folder), small_net(), out=tmp_path / "advise", **USUAL).summary
    done = headstart.adapt(str(folder), small_net(), out=tmp_path / "adapt", trust=True, **USUAL).summary
    assert [arm["name"] for arm in done["arms"]] == [told["advice"]["arm"]] == [done["advice"]["arm"]]
    assert done["advice"]["settings"] == told["advice"]["settings"]
    assert done["forecast"] == told["forecast"]


def test_the_command_that_follows_it_is_understood(folder: Path, tmp_path: Path) -> None:
    found = headstart.advise(str(folder), "embedded", out=tmp_path / "digits", **USUAL).summary["next"]
    words = shlex.split(found)
    assert words[:2] == ["headstart", "adapt"]
    network = BackboneConfig("embedded")
    config = AdviseConfig(str(folder), tmp_path / "digits", network, folds=2, mirror=False, device="cpu", budget="1h")
    assert COMMANDS["adapt"].parse(words[2:]) == config.followed()
    assert (config.followed().trust, config.followed().out) == (True, tmp_path / "digits-adapted")


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["advise", str(folder), "--backbone", "embedded", "--out", str(tmp_path / "run"), "--folds", "2", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["command"] == "advise"
    assert told["backbone"]["name"] == "embedded"
    assert shlex.split(told["reproduce"])[1:3] == ["advise", str(folder)]
    assert main(words) == 3
    assert "--overwrite" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main([*words, "--overwrite"]) == 0


def test_vectors_are_told_what_the_table_says(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = (draw.normal(size=(60, 6)) + 3 * np.eye(6)[labels]).astype(np.float32)
    told = headstart.advise((vectors, labels), perceptron(), out=tmp_path / "run", **USUAL)
    assert told.summary["forecast"] == []
    assert "past experiments do not reach here" in str(told)
    assert told.summary["reproduce"].startswith("headstart.advise(data, backbone, out=")
    assert told.summary["next"].startswith("headstart.adapt(data, backbone, out=")


def test_distances_to_the_source_are_told_where_it_is_known(result: AdviseResult, folder: Path, tmp_path: Path) -> None:
    """A network given from Python carries no statistics; images named as its source stand in for them."""
    assert result.summary["measures"]["similarity"] is None
    assert "distance to the source" not in str(result)
    near = headstart.advise(str(folder), small_net(), out=tmp_path / "near", source=str(folder), **USUAL)
    similar = near.summary["measures"]["similarity"]
    assert set(similar) == {"frechet", "transport", "domain"}
    assert similar["domain"]["value"] > 0.3  # the very images: no classifier tells them apart
    noise = tmp_path / "noise"
    noise.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8))):
        Image.fromarray(pixels.astype(np.uint8)).save(noise / f"{number}.png")
    far = headstart.advise(str(folder), small_net(), out=tmp_path / "far", source=str(noise), **USUAL)
    assert far.summary["measures"]["similarity"]["frechet"]["value"] > similar["frechet"]["value"]
    assert far.summary["measures"]["similarity"]["transport"] is None  # a folder without classes
    assert "distance to the source (the advice does not rest on it):" in str(far)
    assert near.summary["forecast"] == far.summary["forecast"] == result.summary["forecast"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"folds": 1}, ConfigError, "--folds 1"),
        ({"budget": "soon"}, ConfigError, "soon"),
        ({"test_fraction": 1.5}, ConfigError, "--test-fraction 1.5"),
        ({"size": 0}, ConfigError, "--size 0"),
        ({"device": "tpu"}, ConfigError, "--device 'tpu'"),
        ({"strategies": ("probe",)}, ConfigError, r"advise\(\) has no setting 'strategies'; see headstart.AdviseConfig"),
        ({"backbone": "embeded"}, BackboneError, "embedded"),
        ({"weights": "lost.pt", "backbone": "embedded"}, InputError, "lost.pt"),
        ({"label_column": "kind"}, InputError, "label"),
        ({"source": "lost"}, DataError, "--source lost does not exist"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, tmp_path: Path, settings: dict[str, Any], error: Any, said: str) -> None:
    settings = {"backbone": "embedded", **USUAL, **settings}
    with pytest.raises(error, match=said):
        headstart.advise(str(folder), out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_places_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the folder of the images"):
        headstart.advise(str(folder), "embedded", out=folder / "out", **USUAL)
    with pytest.raises(DataError, match="nowhere"):
        headstart.advise(str(tmp_path / "nowhere"), "embedded", out=tmp_path / "run", **USUAL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RunFolderMismatch, match="holds no run"):
        headstart.advise(str(folder), "embedded", out=tmp_path / "mine", **USUAL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
