"""`headstart study layers` from one end to the other, on pictures that take no time."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart
from headstart.catalog.study import LayersConfig
from headstart.cli.main import COMMANDS, main
from headstart.errors import BackboneError, ConfigError, DataError, Interrupted, RunFolderMismatch
from headstart.nets.small import mlp
from headstart.studies import layers as study
from headstart.studies import layers_runs
from headstart.studies.layers import LayersResult
from tests.studies.layers_toys import pictures

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 16, "workers": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LayersResult:
    out = tmp_path_factory.mktemp("runs") / "layers"
    return headstart.study_layers(str(folder), out=out, cuts=(1, 7), target_images=(8,), **QUICK)


def test_what_it_leaves(result: LayersResult) -> None:
    names = sorted(path.name for path in result.folder.iterdir())
    assert names == ["config.json", "env.json", "inspection.json", "log.jsonl", "report.html", "report_data", "summary.json"]
    assert json.loads((result.folder / "summary.json").read_text(encoding="utf-8")) == result.summary
    with np.load(result.folder / result.summary["filters"]) as filters:
        assert sorted(filters) == ["base", "random"]
        assert filters["base"].shape == (16, 3, 3, 3)
        assert filters["base"].dtype == np.float32
        assert not np.array_equal(filters["base"], filters["random"])


def test_what_the_summary_says(result: LayersResult) -> None:
    said = result.summary
    assert said["command"] == "study layers"
    assert said["halves"] == "like"
    assert [(cut["n"], cut["block"], cut["label"]) for cut in said["cuts"]] == [(1, "conv1", "conv1"), (7, "fc7", "fc7")]
    assert said["cuts"][0]["parameters"] == 3 * 16 * 9 + 32
    assert said["cuts"][1]["parameters"] == said["backbone"]["parameters"]
    (split,) = said["splits"]
    assert sorted(split["A"] + split["B"]) == [f"kind {label}" for label in range(4)]
    assert len(said["runs"]) == 2 + 2 * 2 * (5 + 2)
    assert {run["images"] for run in said["runs"]} == {8, 25, 26}  # four fifths of twice sixteen, rounded for each class
    assert {row["kind"] for row in said["curves"]} == {"base", "selffer", "transfer", "selffer+", "transfer+", "random"}
    assert len(said["answers"]) == 3
    assert len(said["claims"]) == 5
    assert len(said["overtaking"]) == 4
    assert said["failed"] == []
    assert set(said["seconds_by_phase"]) == {"network", "data", "runs", "answers"}


def test_it_prints_and_can_be_repeated(result: LayersResult, folder: Path) -> None:
    assert "How general or specific is each layer?" in str(result)
    assert "fc7" in str(result)
    words = shlex.split(result.summary["reproduce"])
    assert words[:3] == ["headstart", "study", "layers"]
    again = COMMANDS["study layers"].parse(words[3:])
    assert again == LayersConfig(data=str(folder), out=result.folder, cuts=(1, 7), target_images=(8,), **QUICK)


def test_it_is_finished(result: LayersResult, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_runs, "one", None)
    again = headstart.study_layers(str(folder), out=result.folder, cuts=(1, 7), target_images=(8,), resume=True, **QUICK)
    assert again.summary == result.summary
    with pytest.raises(RunFolderMismatch, match="epochs was 1, now 2"):
        headstart.study_layers(
            str(folder), out=result.folder, cuts=(1, 7), target_images=(8,), resume=True, **{**QUICK, "epochs": 2}
        )


def _stop_after(count: int, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Any]:
    done, one = list[Any](), layers_runs.one

    def counted(setup: Any, run: Any, cache: Any = None) -> Any:
        if len(done) == count:
            raise error
        done.append(run)
        return one(setup, run, cache)

    monkeypatch.setattr(layers_runs, "one", counted)
    return done


def test_an_interrupted_study_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"cuts": (7,), **QUICK}
    whole = headstart.study_layers(str(folder), out=tmp_path / "whole", **asked)
    with monkeypatch.context() as patch:
        first = _stop_after(5, patch, Interrupted("stopped"))
        with pytest.raises(Interrupted):
            headstart.study_layers(str(folder), out=tmp_path / "parts", **asked)
    with monkeypatch.context() as patch:
        rest = _stop_after(100, patch, Interrupted("stopped"))
        parts = headstart.study_layers(str(folder), out=tmp_path / "parts", resume=True, **asked)
    assert len(first) == 5
    assert not set(first) & set(rest)
    assert parts.summary["curves"] == whole.summary["curves"]
    key = ("kind", "n", "target", "accuracy")
    assert sorted(tuple(map(str, (run[k] for k in key))) for run in parts.summary["runs"]) == sorted(
        tuple(map(str, (run[k] for k in key))) for run in whole.summary["runs"]
    )


def test_what_fails_is_reported_and_tried_again_on_resume(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = layers_runs.one

    def failing(setup: Any, run: Any, cache: Any = None) -> Any:
        if run.kind == "base" and run.target == "A":
            raise headstart.NonFiniteLoss("the loss is nan")
        return one(setup, run, cache)

    asked: dict[str, Any] = {"cuts": (7,), **QUICK}
    with monkeypatch.context() as patch:
        patch.setattr(layers_runs, "one", failing)
        found = headstart.study_layers(str(folder), out=tmp_path / "out", **asked).summary
    reasons = {row["run"]: row["reason"] for row in found["failed"]}
    assert reasons["baseA like split 0 seed 0"] == "the loss is nan"
    assert len(reasons) == 5  # with all that start from it
    assert reasons["AnB n=7 like split 0 seed 0"] == "it needs baseA like split 0 seed 0, which failed"
    assert len(found["runs"]) == 12 - 5
    mended = headstart.study_layers(str(folder), out=tmp_path / "out", resume=True, **asked).summary
    assert mended["failed"] == []
    assert len(mended["runs"]) == 12


def test_unlike_and_like_halves_together(folder: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"group_a": ("kind 3,kind 1",), "halves": ("like", "unlike"), "cuts": (7,), **QUICK}
    said = headstart.study_layers(str(folder), out=tmp_path / "out", **asked).summary
    assert said["halves"] == "like and unlike"
    unlike = next(split for split in said["splits"] if split["halves"] == "unlike")
    assert (unlike["A"], unlike["B"]) == (["kind 1", "kind 3"], ["kind 0", "kind 2"])
    assert {row["halves"] for row in said["curves"]} == {"like", "unlike"}
    assert len(said["claims"]) == 6


def test_two_data_sets(folder: Path, tmp_path: Path) -> None:
    other = pictures(tmp_path / "other", classes=3, each=8)
    said = headstart.study_layers(str(folder), out=tmp_path / "out", source=str(other), cuts=(2,), **QUICK).summary
    assert said["halves"] == "given"
    assert (len(said["splits"][0]["A"]), len(said["splits"][0]["B"])) == (3, 4)
    assert len(said["runs"]) == 2 + 10
    told = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    warnings = [line["text"] for line in told if line["event"] == "warning"]
    assert any(text.startswith("3 of the classes are in both data sets: kind 0, kind 1, kind 2.") for text in warnings)
    assert any("pictures are in both data sets" in text or "picture is in both data sets" in text for text in warnings)


def test_a_data_set_is_no_other_one(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    with pytest.raises(ConfigError, match="holds the same images and classes"):
        headstart.study_layers(str(folder), out=tmp_path / "out", source=str(again), cuts=(2,), **QUICK)
    assert not (tmp_path / "out").exists()


def test_kinds_from_a_column(folder: Path, tmp_path: Path) -> None:
    rows = [
        f"{path},{path.parent.name},{'a' if path.parent.name < 'kind 2' else 'b'}" for path in sorted(folder.rglob("*.png"))
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,family", *rows]), encoding="utf-8")
    asked: dict[str, Any] = {"half_column": "family", "cuts": (7,), "seeds": 1, **QUICK}
    said = headstart.study_layers(str(table), out=tmp_path / "out", **asked).summary
    assert said["splits"][0]["A"] == ["kind 0", "kind 1"]
    table.write_text("\n".join(["path,label,family", *rows, f"{folder / 'kind 0' / '00.png'},kind 3,a"]), encoding="utf-8")
    with pytest.raises((ConfigError, DataError)):
        headstart.study_layers(str(table), out=tmp_path / "torn", **asked)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"workers": 99}, ConfigError, "only 12 pieces of work"),
        ({"workers": 0}, ConfigError, "--workers 0 must be at least 1"),
        ({"seeds": 0, "epochs": 0}, ConfigError, "--seeds 0"),
        ({"group_a": ("kind 9",)}, ConfigError, "'kind 9': did you mean kind"),
        ({"cuts": (8,)}, ConfigError, "after layers 1 to 7"),
        ({"classes": 3}, DataError, "--classes 3"),
        ({"target_images": (500,)}, ConfigError, "--target-images must be fewer"),
        ({"size": 9}, ConfigError, "multiple of 4"),
        ({"half_column": "x"}, ConfigError, "is no CSV manifest"),
        ({"source": "nowhere"}, DataError, "nowhere"),
        ({"backbone_args": ("a=b",)}, ConfigError, "need --backbone"),
        ({"device": "tpu"}, ConfigError, "--device 'tpu' is unknown"),
    ],
)
def test_bad_input(folder: Path, tmp_path: Path, settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        headstart.study_layers(str(folder), out=tmp_path / "out", **{**QUICK, "cuts": (7,), **settings})
    assert not (tmp_path / "out").exists()


def test_too_little_of_anything(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 classes|one class"):
        headstart.study_layers(str(pictures(tmp_path / "one", classes=1)), out=tmp_path / "out", **QUICK)
    with pytest.raises(DataError, match="at most 1 each"):
        headstart.study_layers(str(pictures(tmp_path / "three", classes=3)), out=tmp_path / "out", **QUICK)
    vectors = (np.zeros((8, 6), np.float32), np.arange(8) % 4)
    with pytest.raises(ConfigError, match="no default network"):
        headstart.study_layers(vectors, out=tmp_path / "out", **QUICK)
    with pytest.raises(BackboneError, match="cannot be cut"):
        headstart.study_layers(vectors, mlp(6, (4,)), out=tmp_path / "out", **QUICK)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[LayersConfig] = []

    def fake(config: LayersConfig, **rest: Any) -> Any:
        asked.append(config)
        raise Interrupted("stopped")

    monkeypatch.setattr("headstart.jobs.run_study_layers", fake)
    assert main(["study", "layers", "photos", "--seeds", "3", "--group-a", "cat,dog", "--ray"]) == 130
    assert asked == [LayersConfig(data="photos", seeds=3, group_a=("cat,dog",), ray=True)]
    resume = capsys.readouterr().err.split("continue with: ")[1].strip()
    assert resume == "headstart study layers photos --seeds 3 --group-a cat,dog --ray --resume"


def test_ray_that_is_missing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match="Ray is not installed"):
        headstart.study_layers(str(folder), out=tmp_path / "out", ray=True, **QUICK)
    assert study.SIDES == (8, 64)


@pytest.mark.slow
def test_ray_through_the_command_line(folder: Path, tmp_path: Path) -> None:
    """On a local cluster of two processes, in a process of its own as a user has it: the numbers of one worker."""
    pytest.importorskip("ray", reason="Ray is an optional extra")
    found = {}
    for name, words in (("ray", ("--ray", "--workers", "2")), ("alone", ("--workers", "1"))):
        out = tmp_path / name
        command = [sys.executable, "-m", "headstart", "study", "layers", str(folder), "--out", str(out), *words]
        command += ["--cuts", "2", "7", "--epochs", "1", "--batch-size", "16"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        (told,) = (line for line in log if line["event"] == "grid")
        assert (told["ray"], told["workers"]) == (name == "ray", 2 if name == "ray" else 1)
    assert found["ray"]["failed"] == []
    assert found["ray"]["curves"] == found["alone"]["curves"]
    assert found["ray"]["claims"] == found["alone"]["claims"]


@pytest.mark.slow
def test_ray_missing_through_the_command_line(folder: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ray.py").write_text("raise ImportError('no ray')\n", encoding="utf-8")
    command = [sys.executable, "-m", "headstart", "study", "layers", str(folder), "--ray", "--out", str(tmp_path / "out")]
    paths = os.pathsep.join([str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": paths}
    )
    assert done.returncode == 2
    assert "error: --ray: Ray is not installed. Install it by `pip install 'headstart[ray]'`" in done.stderr
    assert not (tmp_path / "out").exists()
