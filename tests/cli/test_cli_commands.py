"""Each command: parse, call, print. The rooms behind have tests of their own; the heavy ones are stand-ins here."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.cli import models, speak
from headstart.cli.demo import DemoConfig, settings
from headstart.cli.main import COMMANDS


class _Result(SimpleNamespace):
    def __str__(self) -> str:
        return "arm    accuracy\nprobe      0.91"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of four images, one more that is text, in a folder with a difficult name."""
    root = tmp_path / "Käfer [bold] & co"
    for shade, name in ((40, "ants"), (200, "bees")):
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((12, 12, 3), shade + 5 * number, np.uint8)
            pixels[number, :] = 255 - shade
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "bees" / "text.jpg").write_text("no picture")
    return root


def test_adapt_prints_the_verdict_and_where_the_report_is(run: Any, fake_adapt: Any, tmp_path: Path) -> None:
    calls = fake_adapt(lambda config, listeners: _Result(summary={}, report=tmp_path / "report.html"))
    said = run("adapt", "photos", "--out", tmp_path, "--budget", "45s")
    assert said.code == 0
    assert said.out == f"arm    accuracy\nprobe      0.91\nreport: {tmp_path / 'report.html'}\n"
    assert (calls[0].data, calls[0].out, calls[0].budget) == ("photos", tmp_path, "45s")


def test_demo_writes_the_digits_and_adapts_to_them(run: Any, fake_adapt: Any, tmp_path: Path) -> None:
    calls = fake_adapt(lambda config, listeners: _Result(summary={}, report=tmp_path / "report.html"))
    said = run("demo", "--out", tmp_path / "demo", "--seed", "3")
    assert said.code == 0
    assert said.out.endswith("report.html\n")
    config = calls[0]
    assert (config.mirror, config.seed, config.network.backbone) == (False, 3, "embedded")
    assert Path(config.data) == tmp_path / "demo-data"
    assert len(list(Path(config.data).glob("*/*/*.png"))) == 1797


def test_demo_replaces_its_own_run_and_no_other(tmp_path: Path) -> None:
    mine = DemoConfig(out=tmp_path / "demo")
    assert not settings(mine).overwrite
    (tmp_path / "demo").mkdir()
    config = tmp_path / "demo" / "config.json"
    for text, own in (
        (json.dumps({"data": str(tmp_path / "demo-data")}), True),
        (json.dumps({"data": "photos"}), False),
        ("[]", False),
        ("{", False),
    ):
        config.write_text(text)
        assert settings(mine).overwrite is own


def test_inspect_prints_what_was_found(run: Any, folder: Path) -> None:
    said = run("inspect", folder)
    assert said.code == 0
    assert "ants" in said.out
    assert "text.jpg" in said.out
    found = json.loads(run("inspect", folder, "--json").out)
    assert found["num_images"] == 8
    assert [Path(bad["path"]).name for bad in found["set_aside"]] == ["text.jpg"]


def test_inspect_hands_on_every_setting(run: Any, folder: Path) -> None:
    """A column that a folder cannot have is refused, so it has reached the reader."""
    for column in ("path", "label", "group", "split"):
        said = run("inspect", folder, f"--{column}-column", "thing")
        assert said.code == 2
        assert "thing" in said.err


def test_inspect_of_nothing(run: Any, tmp_path: Path) -> None:
    said = run("inspect", tmp_path / "nothing", "--json")
    assert said.code == 2
    assert "nothing" in said.err
    assert json.loads(said.out)["error"]["kind"] == "DataError"


def test_report_prints_the_page_and_names_what_is_no_run(run: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"command": "adapt", "data": "photos"}))
    said = run("report", tmp_path)
    assert (said.code, said.out) == (0, f"report: {tmp_path / 'report.html'}\n")
    assert (tmp_path / "report.html").exists()
    assert json.loads(run("report", tmp_path, "--json").out) == {"report": str(tmp_path / "report.html")}
    missing = run("report", tmp_path / "elsewhere")
    assert missing.code == 3
    assert "elsewhere" in missing.err


# ---- models


def test_models_lists_names_without_loading_them(run: Any, tmp_path: Path) -> None:
    said = run("models", "resnet18", "--runs", tmp_path)
    names = [line.split()[0] for line in said.out.splitlines()[1:]]
    assert "torchvision:resnet18" in names
    assert all("resnet18" in name for name in names)


def test_models_as_json_and_by_kind(run: Any, tmp_path: Path) -> None:
    found = json.loads(run("models", "--kind", "embedded", "--json", "--runs", tmp_path).out)
    assert [model["name"] for model in found] == ["embedded"]
    assert set(found[0]) == {"name", "kind", "params", "input_size", "note"}


def test_models_offers_the_nearest_when_nothing_fits(run: Any, tmp_path: Path) -> None:
    said = run("models", "resnt18", "--runs", tmp_path)
    assert said.code == 2
    assert "resnet18" in said.err
    assert run("models", "--kind", "saved", "--runs", tmp_path).code == 2


@pytest.mark.parametrize(
    ("name", "patterns", "fits"),
    [
        ("timm:resnet18.a1_in1k", [], True),
        ("timm:resnet18.a1_in1k", ["ResNet18"], True),
        ("timm:resnet18.a1_in1k", ["resnet*"], True),
        ("timm:resnet18.a1_in1k", ["timm:*"], True),
        ("timm:resnet18.a1_in1k", ["resnet18"], True),
        ("timm:resnet18.a1_in1k", ["resnet1?"], False),
        ("timm:seresnet18", ["resnet*"], False),
        ("timm:seresnet18", ["vit", "resnet"], True),
        ("embedded", ["emb*"], True),
    ],
)
def test_patterns(name: str, patterns: list[str], fits: bool) -> None:
    assert models.matches(name, patterns) is fits


# ---- words


def test_tables_are_as_wide_as_they_need_to_be() -> None:
    assert speak.table(("name", "n"), [["a", "10"], ["lon\x07ger", "9"]], right=(1,)) == (
        "name         n\na           10\nlon\\x07ger   9"
    )


@pytest.mark.parametrize(
    ("words", "json_wanted"),
    [
        (["adapt", "x", "--json"], True),
        (["predict", "m", "--format", "json"], True),
        (["predict", "m", "--format=json"], True),
        (["predict", "m", "--format", "csv", "json"], False),
        ([], False),
    ],
)
def test_json_is_recognised_before_parsing(words: list[str], json_wanted: bool) -> None:
    assert speak.wants_json(words) is json_wanted


def test_json_holds_no_number_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    value = {1: [float("nan"), np.float32(2), np.array([1.0, np.inf])], "p": Path("a"), "t": (True, None, "ü")}
    speak.say_json(value)
    said = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert said == {"1": [None, 2.0, [1.0, None]], "p": "a", "t": [True, None, "ü"]}
    with pytest.raises(TypeError):
        speak.say_json(object())


def test_csv_of_the_standard_library_reads_what_predict_writes() -> None:
    from headstart.cli.predict import as_text
    from headstart.engine.predictions import Prediction, Predictions

    result = Predictions([Prediction('a,"b".png', ["x, y", "z"], [0.75, 0.25])], [])
    rows = list(csv.DictReader(io.StringIO(as_text(result, "csv"))))
    assert rows[0]["path"] == 'a,"b".png'
    assert rows[0]["label_1"] == "x, y"
    assert float(rows[0]["probability_2"]) == 0.25


def test_commands_are_named_as_they_are_typed() -> None:
    assert all(name == command.name for name, command in COMMANDS.items())
