"""Distillations that cannot be: said in one message before anything is trained, and nothing is left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headstart.nets.small import cifar_resnet
from headstart.studies import distill_runs
from tests.failures.conftest import SIZE, Run, refused
from tests.studies.distill_toys import saved, write

SETTINGS: list[tuple[list[str], tuple[str, ...]]] = [
    (["--temperature", "0"], ("--temperature 0 must be more than 0",)),
    (["--temperature", "-4"], ("--temperature -4 must be more than 0",)),
    (["--temperature", "inf"], ("--temperature inf must be more than 0",)),
    (["--temperature", "warm"], ("--temperature 'warm' is no number", "or auto")),
    (["--share", "1.5"], ("--share 1.5 must lie between 0 (labels alone) and 1",)),
    (["--share", "nan"], ("--share nan must lie between 0",)),
    (["--target-entropy", "1"], ("--target-entropy 1.0 must lie between 0 and 1",)),
    (
        ["--losses", "hint", "atention"],
        ("'hint' is unknown, did you mean hints", "'atention' is unknown, did you mean attention"),
    ),
    (["--losses", "decoupled", "--kind", "hard"], ("--losses decoupled needs the teacher's probabilities",)),
    (["--losses", "decoupled", "standardise"], ("two ways of the same term",)),
    (["--token", "--share", "0"], ("--token learns from the teacher alone",)),
    (["--teacher-weights", "1", "2"], ("that is 2 for 1 teachers",)),
    (["--teacher-weights", "0"], ("one must be positive",)),
    (["--views", "-1", "--epochs", "0", "--seeds", "0"], ("--views -1", "--epochs 0", "--seeds 0")),
    (["--batch-size", "1", "--lr", "0", "--top-k", "0"], ("--batch-size 1", "--lr 0.0", "--top-k 0")),
    (["--born-again", "-1"], ("--born-again -1",)),
    (["--size", "2"], ("--size 2 must be at least 4 pixels",)),
    (["--device", "gpu"], ("--device 'gpu' is unknown",)),
    (["--average", "votes"], ("--average", "votes")),
]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("master"))


@pytest.fixture
def distill(run: Run, digits: Path, master: Path, tmp_path: Path) -> Run:
    """`headstart distill digits` with a teacher and a student, unless the test names others."""

    def _distill(*words: Any, data: Any = digits) -> Any:
        usual = {"--teacher": master, "--student": "headstart:resnet8", "--out": tmp_path / "run", "--device": "cpu"}
        usual |= {"--epochs": 1, "--seeds": 1, "--batch-size": 16}
        missing = [item for flag, value in usual.items() if flag not in words for item in (flag, value)]
        return run("distill", data, *missing, *words)

    return _distill


@pytest.fixture(autouse=True)
def _nothing_is_trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "too_high" not in request.node.name:
        monkeypatch.setattr(distill_runs.Runs, "carry_out", lambda *a: pytest.fail("something was trained before"))


@pytest.mark.parametrize(("words", "parts"), SETTINGS, ids=[" ".join(words) for words, _ in SETTINGS])
def test_settings_that_cannot_be(distill: Run, tmp_path: Path, words: list[str], parts: tuple[str, ...]) -> None:
    said = distill(*words)
    assert said.code == 2
    assert "Traceback" not in said.err
    spoken = re.sub(r"[│\s]+", " ", said.err)
    assert all(part in spoken for part in parts), said.err
    assert not (tmp_path / "run").exists()


def test_a_teacher_or_student_that_is_missing_or_unknown(
    run: Run, distill: Run, digits: Path, master: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    refused(run("distill", digits, "--student", "headstart:resnet8", "--out", out), "--teacher is missing")
    refused(run("distill", digits, "--teacher", master, "--out", out), "--student is missing", "headstart:resnet8")
    refused(distill("--student", "headstart:resnett8"), "no network is called 'headstart:resnett8'", "headstart:resnet8")
    refused(distill("--student", "mobilnetv3_small_100"), "Did you mean", "mobilenetv3_small_100")
    refused(distill("--teacher", "embeded"), "no network is called 'embeded'", "embedded")
    refused(distill("--teacher", "headstart:resnet20"), "weights drawn at random", "headstart:resnet20@WEIGHTFILE")
    refused(distill("--teacher", "headstart:resnet20@"), "lacks the weight file")
    refused(distill("--teacher", tmp_path / "lost" / "model"), "lost")
    assert not out.exists()


def test_a_teacher_file_of_another_architecture(distill: Run, tmp_path: Path) -> None:
    path = tmp_path / "resnet8.safetensors"
    save_file({name: value.contiguous() for name, value in cifar_resnet(8, 16, SIZE).state_dict().items()}, path)
    refused(
        distill("--teacher", f"headstart:resnet20@{path}"),
        "resnet8.safetensors does not fit headstart:",
        "missing in the file",
    )
    torch.save(cifar_resnet(8, 16, SIZE), tmp_path / "whole.pt")
    refused(distill("--teacher", f"headstart:resnet8@{tmp_path / 'whole.pt'}"), "whole.pt: refused", "state_dict()")
    refused(distill("--teacher", f"headstart:resnet8@{path}"), "has no classifier")
    assert not (tmp_path / "run").exists()


def test_classes_of_another_set_are_offered_a_mapping(distill: Run, digits: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    for split in ("train", "test"):
        for old, new in (("digit 0", "round"), ("digit 1", "digit 1"), ("digit 2", "digits 2")):
            (others / split / new).mkdir(parents=True)
            for file in (digits / split / old).iterdir():
                (others / split / new / file.name).write_bytes(file.read_bytes())
    refused(
        distill(data=others),
        "answers 3 classes (digit 0, digit 1, digit 2), and the data have 3: it has none called digits 2, round",
        "--map-classes FILE",
        "teacher,data\n  digit 1,digit 1\n  digit 2,digits 2\n  digit 0,round",
    )
    (tmp_path / "map.csv").write_text("digit 0,round\n")
    refused(
        distill("--map-classes", tmp_path / "map.csv", data=others), "no class of the teacher stands for digit 1, digits 2"
    )
    refused(
        distill("--map-classes", tmp_path / "lost.csv", data=others), "lost.csv cannot be read", "teacher class,data class"
    )
    refused(distill("--map-classes", "names"), "--map-classes names is not needed")
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_teach(distill: Run, tmp_path: Path) -> None:
    (tmp_path / "one" / "only").mkdir(parents=True)
    for n in range(4):
        Image.fromarray(np.full((8, 8, 3), 40 * n, np.uint8)).save(tmp_path / "one" / "only" / f"{n}.png")
    refused(distill(data=tmp_path / "one"), "only one class")
    refused(distill("--unlabelled", tmp_path / "nowhere"), "nowhere does not exist; give a folder of images without labels")
    (tmp_path / "empty").mkdir()
    refused(distill("--unlabelled", tmp_path / "empty"), "holds no image")
    assert not (tmp_path / "run").exists()


def test_places_that_cannot_be(distill: Run, digits: Path, master: Path) -> None:
    refused(distill("--out", digits / "run"), "lies in the folder of the images, DATA")
    refused(distill("--out", master), f"--teacher {master} lies in the run folder", "choose another --out")
    assert (master / "card.json").is_file()
    assert not (digits / "run").exists()


def test_a_student_without_a_token_is_refused_before_anything_is_trained(distill: Run) -> None:
    refused(distill("--token"), "no distillation token", "headstart:vit")


def test_a_temperature_that_no_entropy_reaches(distill: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.studies.distill_audit.Live.of", lambda self, samples: torch.zeros(len(samples), 3))
    refused(distill("--temperature", "auto"), "--temperature auto: no temperature gives", "--target-entropy")


def test_a_learning_rate_that_is_too_high_keeps_what_was_done(distill: Run, tmp_path: Path) -> None:
    said = distill("--lr", "1e30", "--json")
    assert said.code == 4
    told = json.loads(said.out)["error"]
    assert told["kind"] == "NonFiniteLoss"
    assert "too high" in told["message"]
    assert (tmp_path / "run" / "config.json").is_file()
