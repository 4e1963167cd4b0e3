"""`headstart predict` on a real, small saved model."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.engine.model import Ancestor, Card, Model
from headstart.nets.build import build

CLASSES = ("ant, red", "bee", "cat")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a model in it: a network drawn at random, three classes."""
    net = build("headstart:cifar_resnet8", seed=1)
    net.heads.clear()
    net.add_head("main", len(CLASSES))
    run = tmp_path_factory.mktemp("runs") / "tiny"
    card = Card("main", CLASSES, "squash", (Ancestor("tiny", "probe", "photos", "abc", accuracy=0.5),), "0.1.0")
    Model(net, card).save(run / "model")
    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images in two folders, and a file that only claims to be one."""
    generator = np.random.default_rng(0)
    for name in ("a.png", "deep/b ü.png", "deep/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    return tmp_path / "photos"


def _good(photos: Path) -> Path:
    (photos / "broken.jpg").unlink()
    return photos


def test_the_device_is_chosen_as_in_adapt(run: Any, saved: Path, photos: Path) -> None:
    _good(photos)
    assert run("predict", saved, photos, "--device", "cpu").out == run("predict", saved, photos).out
    said = run("predict", saved, photos, "--device", "tpu")
    assert said.code == 2
    assert "give cpu, cuda, cuda:1 or auto" in said.err


def test_table_names_every_image_and_unreadable_ones_apart(run: Any, saved: Path, photos: Path) -> None:
    said = run("predict", saved, photos, "--top-k", "2")
    assert said.code == 1
    assert [line.split("  ")[0] for line in said.out.splitlines()] == [
        "photos/a.png",
        "photos/deep/b ü.png",
        "photos/deep/c.png",
    ]
    assert all(re.fullmatch(r".+\.png +\S.* 0\.\d{3}  \S.* 0\.\d{3}", line) for line in said.out.splitlines())
    assert "broken.jpg" not in said.out
    assert "unreadable: photos/broken.jpg" in said.err


def test_run_folder_and_model_folder_are_the_same(run: Any, saved: Path, photos: Path) -> None:
    assert run("predict", saved, photos) == run("predict", saved / "model", photos)


def test_formats_agree_with_python(run: Any, saved: Path, photos: Path, tmp_path: Path) -> None:
    expected = Model.load(saved).predict(_good(photos), top_k=3)
    found = json.loads(run("predict", saved, photos, "--format", "json").out)
    assert found["unreadable"] == []
    assert json.loads(run("predict", saved, photos, "--json").out) == found
    assert [row["labels"] for row in found["predictions"]] == [row.labels for row in expected.rows]
    for row, one in zip(found["predictions"], expected.rows, strict=True):
        assert row["probabilities"] == one.probabilities  # nothing is rounded in JSON
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
    rows = list(csv.DictReader(run("predict", saved, photos, "--format", "csv").out.splitlines()))
    assert [row["path"] for row in rows] == [row.path for row in expected.rows]
    assert [row["label_1"] for row in rows] == [row.labels[0] for row in expected.rows]
    assert [float(row["probability_3"]) for row in rows] == pytest.approx(
        [r.probabilities[2] for r in expected.rows], abs=1e-6
    )


def test_a_result_in_a_file(run: Any, saved: Path, photos: Path, tmp_path: Path) -> None:
    printed = run("predict", saved, _good(photos), "--format", "csv").out
    said = run("predict", saved, photos, "--format", "csv", "--out", tmp_path / "new.csv")
    assert (said.code, said.out) == (0, "")
    assert (tmp_path / "new.csv").read_text(encoding="utf-8") == printed
    assert "new.csv" in said.err
    run("predict", saved, photos, "--out", tmp_path / "named.csv", "--format", "json")
    assert len(json.loads((tmp_path / "named.csv").read_text())["predictions"]) == 3, (
        "what is asked for goes before the name"
    )


@pytest.mark.parametrize("model", ["saved", "many"])
def test_a_file_is_written_as_its_name_says(
    run: Any, model: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _good(photos)
    for name, words in (("a.csv", ["--format", "csv"]), ("a.JSON", ["--format", "json"]), ("a.txt", []), ("plain", [])):
        said = run("predict", request.getfixturevalue(model), photos, "--out", tmp_path / name)
        assert (said.code, said.out) == (0, "")
        printed = run("predict", request.getfixturevalue(model), photos, *words).out
        assert (tmp_path / name).read_text(encoding="utf-8") == printed


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["{saved}"], "IMAGES"),
        (["{saved}", "{photos}", "--top-k", "0"], "--top-k 0"),
        (["{saved}", "{photos}", "--out", "{photos}"], "is a folder"),
        (["{saved}", "{photos}", "--out", "{photos}/no/where.csv"], "--out"),
        (["{saved}", "{photos}", "--out", "new.xlsx"], "ends in .csv, .json or .txt, or give --format"),
        (["{photos}/a.png", "{photos}"], "is a file"),
        (["{photos}/nothing", "{photos}"], "does not exist"),
        (["{photos}", "{photos}"], "not a saved model"),
        (["{saved}", "{saved}"], "no images"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_done(
    run: Any, saved: Path, photos: Path, words: list[str], hint: str
) -> None:
    said = run("predict", *(word.format(saved=saved, photos=photos) for word in words))
    assert said.code == 2
    assert said.out == ""
    assert hint in said.err
    assert "Traceback" not in said.err


def test_two_formats_cannot_be_had(run: Any, saved: Path, photos: Path) -> None:
    said = run("predict", saved, photos, "--json", "--format", "csv")
    assert said.code == 2
    assert "--json and --format csv" in json.loads(said.out)["error"]["message"]


def test_a_missing_image_is_named(run: Any, saved: Path, photos: Path) -> None:
    said = run("predict", saved, photos / "gone.png", photos / "a.png")
    assert said.code == 1
    assert len(said.out.splitlines()) == 1
    assert "gone.png" in said.err


def test_the_first_image_of_a_fresh_process_is_read_too(saved: Path, photos: Path) -> None:
    """Libraries that set themselves up on first use once lost it."""
    command = [sys.executable, "-m", "headstart", "predict", str(saved), str(_good(photos)), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 3
    assert done.stderr == ""


def test_saved_models_are_listed_with_where_they_came_from(run: Any, saved: Path) -> None:
    found = json.loads(run("models", "--kind", "saved", "--runs", saved.parent, "--json").out)
    weights = sum(weight.numel() for weight in Model.load(saved).net.parameters())
    assert found == [
        {
            "name": str(saved / "model"),
            "kind": "saved",
            "params": pytest.approx(weights, rel=1e-3),  # counted from the file, which also holds a head's calibration
            "input_size": 32,
            "note": "3 classes of photos by probe, accuracy 0.500",
        }
    ]


def test_a_damaged_saved_model_is_listed_and_said_to_be_damaged(run: Any, tmp_path: Path) -> None:
    for name, card in (("a", "{"), ("b", "[]"), ("c", '{"ancestors": []}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(card)
        (tmp_path / name / "net.json").write_text("{}")
    found = json.loads(run("models", "--kind", "saved", "--runs", tmp_path, "--json").out)
    assert [Path(model["name"]).name for model in found] == ["a", "b", "c"]
    assert all(model["note"].startswith("damaged") for model in found)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with a class, and with a number, about every image."""
    net = build("headstart:cifar_resnet8", seed=1)
    net.heads.clear()
    net.add_head("kind", 3)
    net.add_head("age", 1, kind="number").learn_unit(torch.tensor([10.0, 20.0]))
    tasks = (
        {"name": "kind", "head": "kind", "classes": list(CLASSES), "kind": "classes"},
        {"name": "age", "head": "age", "classes": [], "kind": "number"},
    )
    card = Card("kind", CLASSES, "squash", (Ancestor("many", "sum", "table", "abc"),), "0.1.0", None, "multitask", tasks)
    return Model(net, card).save(tmp_path_factory.mktemp("many") / "model")


def test_all_questions_are_answered_about_every_image(run: Any, many: Path, photos: Path) -> None:
    lines = run("predict", many, _good(photos), "--top-k", "1").out.splitlines()
    assert lines[0].split() == ["kind", "age"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["photos/a.png", "photos/deep/b ü.png", "photos/deep/c.png"]
    rows = list(csv.DictReader(run("predict", many, photos, "--format", "csv").out.splitlines()))
    assert [row["age"] for row in rows] == ["15"] * 3  # an empty head says the mean
    found = json.loads(run("predict", many, photos, "--task", "age", "--format", "json").out)
    assert found["predictions"][0]["tasks"] == {"age": {"kind": "number", "value": 15.0}}


def test_an_unknown_question_is_named(run: Any, many: Path, photos: Path) -> None:
    said = run("predict", many, _good(photos), "--task", "age,colour")
    assert said.code == 2
    assert "'colour' is none that this model answers; it knows kind, age" in said.err
