"""Distillation as a job: what it leaves, that only the teacher tells student and student alone apart, that it goes on."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart.catalog.distill import DistillJobConfig
from headstart.cli.main import COMMANDS, main
from headstart.engine.interrupt import STOP
from headstart.engine.model import Model
from headstart.errors import ConfigError, Interrupted
from headstart.studies.distill import DistillResult
from headstart.studies.distill import distill as study
from tests.studies.distill_toys import CLASSES, NAMES, SIZE, USED, saved, student, teacher, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture(scope="module")
def result(
    folder: Path, model: Path, events: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> DistillResult:
    config = DistillJobConfig(str(folder), (str(model),), out=tmp_path_factory.mktemp("runs") / "run", born_again=1, **USED)
    return study(config, student=student(), listeners=(events.append,))


def rows(found: DistillResult, kind: str) -> list[dict[str, Any]]:
    return [row for row in found.summary["runs"] if row["kind"] == kind]


def numbers(found: DistillResult) -> dict[str, Any]:
    """Everything but times and places."""
    kept = {
        key: found.summary[key] for key in ("teachers", "temperature", "alone", "distilled", "born_again", "gain", "curves")
    }
    each = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found.summary["runs"]]
    return {**kept, "runs": each}


def test_what_it_leaves(result: DistillResult) -> None:
    there = sorted(path.name for path in result.folder.iterdir())
    assert there == [
        "config.json", "env.json", "inspection.json", "log.jsonl", "model", "report_data", "summary.json"
    ]  # fmt: skip
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    found = result.summary
    assert found["command"] == "distill"
    assert {(row["kind"], row["seed"]) for row in found["runs"]} == {
        (kind, seed) for kind in ("alone", "distilled", "born_again") for seed in (0, 1)
    }
    (told,) = found["teachers"]
    assert (told["mode"], told["order"], told["mapped"], told["worse_than_student"]) == ("eval", "same", False, False)
    assert told["test_interval"][0] <= told["test_accuracy"] <= told["test_interval"][1]
    assert found["student"]["parameters"] < told["parameters"]
    assert found["record"]["draws"] == 2
    assert found["record"]["bytes"] >= 2 * 60 * CLASSES * 4
    assert found["test"] == {"num_images": 36, "num_classes": CLASSES}
    with np.load(result.folder / "report_data" / "thumbnails.npz") as pictures:
        assert pictures["images"].shape[1:] == (SIZE, SIZE, 3)
        assert len(pictures["images"]) == len(found["examples"])


def test_the_numbers_hang_together(result: DistillResult) -> None:
    found = result.summary
    for kind in ("alone", "distilled", "born_again"):
        each = [row["accuracy"] for row in rows(result, kind)]
        assert found[kind]["accuracy"] == pytest.approx(np.mean(each))
        assert found[kind]["kl"] == pytest.approx(np.mean([row["kl"] for row in rows(result, kind)]))
    gain = found["gain"]
    assert gain["estimate"] == pytest.approx(found["distilled"]["accuracy"] - found["alone"]["accuracy"])
    assert gain["low"] <= gain["estimate"] <= gain["high"]
    assert gain["decided"] == (gain["low"] > 0 or gain["high"] < 0)
    assert ("Undecided" in gain["sentence"]) != gain["decided"]
    for curve in found["curves"]:
        epochs = 4 if curve["kind"] == "born_again" else 2
        assert [point["epoch"] for point in curve["points"]] == list(range(1, epochs + 1))
        assert all(0 <= point["agreement"] <= 1 and point["kl"] >= 0 for point in curve["points"])
        assert set(curve["points"][0]["losses"]) >= ({"hard", "soft"} if curve["kind"] == "distilled" else set())


def test_as_text(result: DistillResult) -> None:
    said = str(result)
    assert "T = 4 (as asked), lambda = 0.9, 2 epochs, 2 seeds" in said
    assert "distilled" in said
    assert "teachers' answers kept" in said
    assert max(map(len, said.splitlines())) < 125


def test_the_student_is_saved_with_its_teacher_as_ancestor(result: DistillResult, folder: Path) -> None:
    kept = Model.load(result.folder)
    assert kept.classes == NAMES
    assert [one.name for one in kept.card.ancestors] == ["toy", "run"]
    assert kept.card.ancestors[-1].strategy == "distilled"
    test = headstart.read(str(folder), size=SIZE, cache=result.folder / "cache").task(split="test")
    right = kept.probabilities(test.store.array[test.rows]).argmax(1) == test.targets
    shutil.rmtree(result.folder / "cache")
    assert right.mean() == pytest.approx(rows(result, "distilled")[0]["accuracy"])


def test_a_stopped_run_goes_on_with_equal_numbers(result: DistillResult, folder: Path, model: Path, tmp_path: Path) -> None:
    """Stopped in the middle of a training, and again after another."""
    config = DistillJobConfig(str(folder), (str(model),), out=tmp_path / "run", born_again=1, **USED)
    again = DistillJobConfig(str(folder), (str(model),), out=tmp_path / "run", born_again=1, resume=True, **USED)
    ticks = 0

    def in_the_middle(event: dict[str, Any]) -> None:
        nonlocal ticks
        ticks += event["event"] == "tick" and event.get("run") == "distilled-0" and event.get("what") == "distill"
        STOP.requested |= ticks == 5

    def after_one(event: dict[str, Any]) -> None:
        STOP.requested |= event["event"] == "run" and event["run"] == "alone-1"

    begun: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "phase" and event["name"] == "trial":
            begun.append(event["text"])

    try:
        for settings, listener in ((config, in_the_middle), (again, after_one)):
            with pytest.raises(Interrupted):
                study(settings, student=student(), listeners=(listener,))
            STOP.requested = False
    finally:
        STOP.requested = False
    done = study(again, student=student(), listeners=(note,))
    assert begun == ["distilled, seed 1", "born again, seed 1"]
    assert numbers(done) == numbers(result)
    assert study(again, student=student()).summary == done.summary  # a finished run is only read


def test_nothing_is_learned_from_the_test_images(result: DistillResult, model: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "data", noisy=True)
    config = DistillJobConfig(str(other), (str(model),), out=tmp_path / "run", temperature="4", **USED)
    found = study(config, student=student())
    assert found.summary["distilled"]["accuracy"] != result.summary["distilled"]["accuracy"]
    curves = [curve for curve in result.summary["curves"] if curve["kind"] != "born_again"]
    assert found.summary["curves"] == curves
    assert found.summary["temperature"] == result.summary["temperature"]


def test_alone_and_distilled_differ_in_the_teacher_only(folder: Path, tmp_path: Path) -> None:
    """With no weight on the soft term they are the same network to the bit; the teacher is untouched, bit by bit."""
    asked = teacher()
    before = {name: value.clone() for name, value in asked.state_dict().items()}
    config = DistillJobConfig(str(folder), out=tmp_path / "run", share=0.0, **{**USED, "seeds": 1})
    found = study(config, teachers=[asked], student=student())
    alone, distilled = (rows(found, kind)[0] for kind in ("alone", "distilled"))
    assert {k: v for k, v in alone.items() if k not in ("kind", "seconds", "seconds_per_epoch")} == {
        k: v for k, v in distilled.items() if k not in ("kind", "seconds", "seconds_per_epoch")
    }
    assert found.summary["gain"]["estimate"] == 0
    assert "One seed only" in found.summary["gain"]["sentence"]
    assert all(torch.equal(before[name], value) for name, value in asked.state_dict().items())


def test_a_teacher_worse_than_its_student_is_said_aloud(folder: Path, tmp_path: Path) -> None:
    bad = teacher(noise=30.0)
    config = DistillJobConfig(str(folder), out=tmp_path / "run", views=0, **{k: v for k, v in USED.items() if k != "views"})
    found = study(config, teachers=[bad, teacher()], student=student())
    names = [row["name"] for row in found.summary["teachers"]]
    assert names == ["toy #1", "toy #2"]
    assert found.summary["record"] is None  # drawn anew in every epoch: teachers answer live
    worse = [row["worse_than_student"] for row in found.summary["teachers"]]
    accuracies = [row["test_accuracy"] for row in found.summary["teachers"]]
    assert worse == [value < found.summary["alone"]["accuracy"] for value in accuracies]
    assert worse[0]
    assert any("less often than the student trained alone" in text for text in found.summary["warnings"])


def test_images_without_labels_teach_too(folder: Path, model: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", 20, 20, first=120)
    shutil.copy(next((folder / "test" / "digit 1").iterdir()), more / "copied.png")
    settings = {**USED, "seeds": 1}
    plain = study(DistillJobConfig(str(folder), (str(model),), out=tmp_path / "a", **settings), student=student())
    config = DistillJobConfig(str(folder), (str(model),), out=tmp_path / "b", unlabelled=str(more), **settings)
    found = study(config, student=student())
    assert found.summary["data"]["unlabelled"] == 40
    assert any("equal test images and are left out" in text for text in found.summary["warnings"])
    assert found.summary["curves"][0] == plain.summary["curves"][0]  # the student alone learns from labels
    assert found.summary["curves"][1] != plain.summary["curves"][1]


def test_a_val_split_is_learned_from(folder: Path, tmp_path: Path) -> None:
    every = tmp_path / "data"
    shutil.copytree(folder / "train", every / "train")
    shutil.copytree(folder / "test", every / "val")
    config = DistillJobConfig(str(every), out=tmp_path / "run", **{**USED, "seeds": 1, "epochs": 1})
    found = study(config, teachers=[teacher()], student=student())
    said = (found.folder / "log.jsonl").read_text()
    assert "nothing is chosen by the 36 images of the val split, which are learned from too" in said
    assert found.summary["data"]["splits"]["train"] + found.summary["data"]["splits"]["test"] == 96


def test_the_command_line(folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "distill",
        str(folder),
        "--teacher",
        str(model),
        "--teacher",
        str(model),
        "--student",
        "headstart:cifar_resnet8",
    ]
    words += ["--out", str(tmp_path / "run"), "--epochs", "1", "--seeds", "1", "--temperature", "auto", "--json"]
    words += ["--average", "probabilities", "--teacher-weights", "1", "3", "--device", "cpu", "--no-mirror"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["teachers"]) == 2
    assert told["temperature"]["automatic"]
    assert (tmp_path / "run" / "report.html").is_file()
    again = shlex.split(told["reproduce"])
    assert again[:2] == ["headstart", "distill"]
    asked = COMMANDS["distill"].parse(words[1:])
    assert COMMANDS["distill"].parse([*again[2:], "--json"]) == asked
    assert main(words) == 3
    assert "--overwrite" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_from_python(folder: Path, tmp_path: Path) -> None:
    found = headstart.distill(
        str(folder), teacher(), student(), out=tmp_path / "run", **{**USED, "seeds": 1, "epochs": 1}, temperature=2
    )
    assert found.summary["temperature"]["value"] == 2
    assert found.summary["reproduce"].startswith(f"headstart.distill({str(folder)!r}, teacher, student, out=")
    assert found.report.is_file()
    with pytest.raises(ConfigError, match=r"distill\(\) has no setting 'epoch'; see headstart\.DistillJobConfig"):
        headstart.distill(str(folder), teacher(), student(), out=tmp_path / "other", epoch=3)
