"""`headstart extend`, `compare extend` and `predict --task` on small digits, from words to words."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from headstart.engine.model import Ancestor, Card, Model
from headstart.nets.rng import forked
from tests.studies.test_extend import fresh, write

QUICK = ("--epochs", "1", "--batch-size", "16", "--device", "cpu", "--no-mirror")
BESIDE = ("fine_tune", "new_head", "replay")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`low` and `mid` digits, `empty` and `notes` without a picture, and in `runs/low` a model."""
    found = tmp_path_factory.mktemp("extend")
    write(found / "low", (0, 1, 2))
    write(found / "mid", (3, 4, 5))
    for name in ("empty", "notes", "runs/nothing"):
        (found / name).mkdir(parents=True)
    (found / "notes" / "a.txt").write_text("no picture")
    (found / "runs/cut").mkdir()
    (found / "runs/cut/config.json").write_text("{}")
    lines = [f"{one.relative_to(found)},{one.parent.name},{one.parent.parent.name}" for one in found.glob("mid/*/*/*.png")]
    (found / "mid.csv").write_text("\n".join(["path,label,split", *lines]))
    net = fresh()
    net.heads.clear()
    with forked(2):
        net.add_head("low", 3)
    card = Card("low", ("0", "1", "2"), "squash", (Ancestor("low", "full", "low", "0"),), "0")
    Model(net, card).save(found / "runs/low/model")
    return found


@pytest.fixture(scope="module")
def compared(place: Path) -> Path:
    """The run of a comparison of four ways."""
    from headstart.cli.main import main

    out = place / "runs/compared"
    words = ["compare", "extend", place / "runs/low", place / "mid", "--old", place / "low", "--beside", ",".join(BESIDE)]
    assert main([str(word) for word in [*words, "--out", out, *QUICK]]) == 0
    return out


def test_ways_are_compared(compared: Path, run: Any) -> None:
    summary = json.loads((compared / "summary.json").read_text(encoding="utf-8"))
    assert [arm["name"] for arm in summary["arms"]] == ["lwf", *BESIDE]
    assert {(gap["a"], gap["b"]) for gap in summary["differences"]} >= {("lwf", "replay"), ("fine_tune", "new_head")}
    assert all(gap["corrected"] for gap in summary["differences"])
    assert summary["method"] == "lwf"
    assert (compared / "report.html").exists()
    assert run("report", compared).code == 0


def test_the_words_and_the_json_of_a_run(place: Path, run: Any) -> None:
    words = ("extend", place / "runs/low", place / "mid", "--method", "fine_tune", "--out", place / "runs/again", *QUICK)
    said = run(*words)
    assert said.code == 0
    assert "low (1 task before) learned mid (3 classes, 42 images)" in said.out
    assert "Old tasks: no test images of theirs were given (--old)." in said.out
    assert said.out.splitlines()[-1] == f"report: {place / 'runs/again/report.html'}"
    again = run(*words, "--resume", "--json")
    assert again.code == 0
    assert json.loads(again.out)["tasks"][1]["name"] == "mid"


def test_answers_with_the_task_known(compared: Path, place: Path, run: Any) -> None:
    images = place / "mid/test/3"
    for task, classes in (("mid", {"3", "4", "5"}), ("low", {"0", "1", "2"})):
        found = json.loads(run("predict", compared, images, "--task", task, "--format", "json").out)["predictions"]
        assert len(found) == 8
        assert all(set(row["labels"]) == classes and "tasks" not in row for row in found)
        assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in found)
    table = run("predict", compared, images, "--task", "mid", "--top-k", "1")
    assert (table.code, len(table.out.splitlines())) == (0, 8)
    assert "mid:" not in table.out
    rows = list(csv.DictReader(run("predict", compared, images, "--task", "mid", "--format", "csv").out.splitlines()))
    assert "task" not in rows[0]
    assert {row["label_1"] for row in rows} <= {"3", "4", "5"}


def test_answers_with_the_task_inferred(compared: Path, place: Path, run: Any) -> None:
    images = place / "low/test"
    found = json.loads(run("predict", compared, images, "--format", "json").out)["predictions"]
    told = {"low": {"0", "1", "2"}, "mid": {"3", "4", "5"}}
    assert all(set(row["labels"]) <= told[row["tasks"][0]] for row in found)
    table = run("predict", compared, images).out.splitlines()
    assert all(f"  {row['tasks'][0]}: {row['labels'][0]} " in line for row, line in zip(found, table, strict=True))
    rows = list(csv.DictReader(run("predict", compared, images, "--format", "csv").out.splitlines()))
    assert [row["task"] for row in rows] == [row["tasks"][0] for row in found]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["extend", "{at}/runs/low"], "DATA is missing"),
        (["extend", "{at}/runs/none", "{at}/mid"], "runs/none"),
        (["extend", "{at}/runs/low", "{at}/none"], "does not exist"),
        (["extend", "{at}/runs/low", "{at}/empty"], "empty"),
        (["extend", "{at}/runs/low", "{at}/notes"], "notes"),
        (["extend", "{at}/runs/low", "{at}/low"], "give --scenario domain"),
        (["extend", "{at}/runs/low", "{at}/mid", "--scenario", "domain"], "--scenario class, or task"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "joint"], "--old"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "lfw"], "did you mean lwf"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "packnet"], "learn the first task with packnet too"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "icarl"], "or give --scenario class"),
        (["extend", "{at}/runs/low", "{at}/mid", "--size", "64"], "goes on so"),
        (["extend", "{at}/runs/low", "{at}/mid", "--capacity", "9", "--beside", "fine_tune"], "none of these methods keeps"),
        (["extend", "{at}/runs/low", "{at}/mid", "--max-memory", "1MB"], "lwf keeps no samples"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "replay", "--max-memory", "1kB"], "(--max-memory) allows 4"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "new_head", "--settings", "top=2"], "makes no use of it"),
        (["extend", "{at}/runs/low", "{at}/mid", "--settings"], "--settings needs a value"),
        (["extend", "{at}/runs/low", "{at}/mid", "--old", "--bounds"], "--old needs a value"),
        (
            ["extend", "{at}/runs/low", "{at}/mid", "--settings", "temprature=3"],
            "There are warmup_epochs, joint_epochs, temp",
        ),
        (["extend", "{at}/runs/low", "{at}/mid", "--settings", "epochs=3"], "give --epochs"),
        (["extend", "{at}/runs/low", "{at}/mid", "--settings", "temperature=3", "temperature=2"], "given 2 times"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "LWF"], "did you mean lwf"),
        (["extend", "{at}/runs/low", "{at}/mid", "--resume", "--overwrite"], "give one of them"),
        (["extend", "{at}/runs/low", "{at}/mid", "--names", "train"], "means something to a network"),
        (["extend", "{at}/runs/nothing", "{at}/mid"], "a folder without card.json"),
        (["extend", "{at}/runs/low/model/net.json", "{at}/mid"], "give the folder it lies in"),
        (["extend", "{at}/runs/cut", "{at}/mid"], "is not finished"),
        (["extend", "{at}/mid", "{at}/runs/low"], "the model first"),
        (["extend", "{at}/runs/low", "{at}/low", "--scenario", "domain", "--old", "{at}/low"], "given for two tasks"),
        (["extend", "{at}/runs/low", "{at}/mid.csv", "--out", "{at}/mid/test/3/run"], "a folder with images of"),
        (["extend", "{at}/runs/low", "{at}/mid", "--old", "{at}/low", "{at}/mid"], "--old names 2"),
        (["extend", "{at}/runs/low", "{at}/mid", "--capacity", "100"], "lwf keeps no samples"),
        (["extend", "{at}/runs/low", "{at}/mid", "--increments", "50"], "at most 1"),
        (["extend", "{at}/runs/low", "{at}/mid", "--increments", "1"], "two tasks at least"),
        (["extend", "{at}/runs/low", "{at}/mid", "--names", "low"], "knows already"),
        (["extend", "{at}/runs/low", "{at}/mid", "--names", "a", "b"], "2 for 1 new tasks"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "replay", "--max-memory", "lots"], "500kB"),
        (["extend", "{at}/runs/low", "{at}/mid", "--method", "replay", "--max-memory", "1kB"], "allows 4"),
        (["extend", "{at}/runs/low", "{at}/mid", "--settings", "temprature=3"], "did you mean temperature"),
        (["extend", "{at}/runs/low", "{at}/mid", "--settings", "temperature=-3"], "a temperature is a positive number"),
        (["extend", "{at}/runs/low", "{at}/mid", "--out", "{at}/runs/low"], "stays as it is"),
        (["extend", "{at}/runs/low", "{at}/mid", "--out", "{at}/mid/run"], "choose a folder outside"),
        (["compare", "extend", "{at}/runs/low", "{at}/mid", "--beside", "lfw"], "did you mean lwf"),
        (["predict", "{at}/runs/low", "{at}/mid", "--task", "mid"], "none called 'mid'"),
        (["predict", "{run}", "{at}/mid", "--task", "cars"], "it knows low, mid"),
    ],
)
def test_what_cannot_be_is_said_with_what_to_do(
    place: Path, compared: Path, tmp_path: Path, run: Any, words: list[str], hint: str
) -> None:
    given = [word.format(at=place, run=compared) for word in words]
    if "--out" not in given and given[0] != "predict":
        given += ["--out", str(tmp_path / "run")]
    said = run(*given)
    assert said.code in (2, 3)
    assert said.out == ""
    assert hint in said.err
    assert said.err.count("error: ") == 1
    assert "Traceback" not in said.err
    assert "warning" not in said.err, "what may be wrong with a run is said when there is one"


def test_what_is_probably_not_meant_is_said(place: Path, tmp_path: Path, run: Any) -> None:
    """A flag of no use, methods in one word, names of classes, a folder whose name a network uses for itself."""
    for split in ("train", "test"):
        for name, other in (("3", "Four"), ("4", "four")):
            shutil.copytree(place / "mid" / split / name, tmp_path / "items" / split / other)
    words = ["extend", place / "runs/low", tmp_path / "items", "--scenario", "class", "--method", "feature_extraction"]
    first = run(*words, "--top", "1", "--beside", "fine_tune replay", "--out", tmp_path / "a", "--json", *QUICK)
    found = json.loads(first.out)
    assert [arm["name"] for arm in found["arms"]] == ["feature_extraction", "fine_tune", "replay"]
    assert [one["name"] for one in found["tasks"]] == ["low", "task_items"]
    assert any("feature_extraction: --top is of no use to it" in text for text in found["warnings"])
    shutil.rmtree(tmp_path / "items")
    for split in ("train", "test"):
        for name, other in (("3", "FOUR"), ("4", "5")):
            shutil.copytree(place / "mid" / split / name, tmp_path / "items" / split / other)
    again = run("extend", tmp_path / "a", tmp_path / "items", "--names", "b", "--out", tmp_path / "b", "--json", *QUICK)
    assert any("differ in capital letters" in text for text in json.loads(again.out)["warnings"])


def test_a_network_that_learned_nothing_should_not_keep_its_statistics(place: Path, tmp_path: Path, run: Any) -> None:
    words = ("extend", "headstart:resnet8", place / "mid", "--size", "8", "--method", "fine_tune", "--json", *QUICK)
    found = json.loads(run(*words, "--out", tmp_path / "a").out)
    assert any("give --norm train" in text for text in found["warnings"])
    assert not json.loads(run(*words, "--norm", "train", "--out", tmp_path / "b").out)["warnings"]
