"""The data-size study on small digits: what it leaves, that it resumes, that it fails in words, and what it says."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.data_size import WAYS, DataSizeConfig, Way, choose_ways
from headstart.cli.main import COMMANDS, main, named
from headstart.errors import ConfigError, DataError, InputError, NonFiniteLoss, TrainingError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.studies import curves, data_size, learners, pipeline
from headstart.studies.crossings import Crossing, Meeting
from headstart.studies.data_size import DataSizeResult
from headstart.studies.learners import Answered, Learners, Point, is_trained
from tests.engine.engine_toys import perceptron

SIZE = 8
USUAL: dict[str, Any] = {"mirror": False, "device": "cpu", "budget": "1h", "epochs": 2, "draws": 2}
SIZES = (8, 16, 32)


def small_net() -> Net:
    with forked(1):
        return cifar_resnet(8, 4, SIZE)


def digits(count: int = 90) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = load_digits(n_class=3)
    return (found.images * 15).astype(np.uint8)[:count], found.target[:count].astype(np.int64)


def vectors(count: int = 80) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 2
    return (labels[:, None] * 1.5 + draw.normal(0, 1, (count, 6))).astype(np.float32), labels.astype(np.int64)


def study(out: Path, **settings: Any) -> DataSizeResult:
    """A study of vectors, which takes a second."""
    chosen = {**USUAL, "ways": ("pipeline_logistic", "probe"), "sizes": SIZES, **settings}
    return headstart.study_data_size(vectors(), perceptron(), out=out, **chosen)


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "TREES", 3)
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DataSizeResult:
    out = tmp_path_factory.mktemp("runs") / "study"
    return headstart.study_data_size(digits(), small_net(), out=out, **{**USUAL, "sizes": (12, 40)})


def test_what_it_leaves(result: DataSizeResult) -> None:
    left = {path.name for path in result.folder.iterdir()}
    assert left == {"config.json", "env.json", "inspection.json", "log.jsonl", "report.html", "summary.json"}
    assert json.loads((result.folder / "summary.json").read_text()) == result.summary
    assert result.summary["command"] == "study data-size"
    assert result.summary["failed"] == []
    assert "<html" in result.report.read_text("utf-8")


def test_every_way_has_a_curve(result: DataSizeResult) -> None:
    ways = [way["name"] for way in result.summary["ways"]]
    assert ways == [way.name for way in WAYS if way.name not in ("full", "pipeline_intermediate")]
    assert {way["family"] for way in result.summary["ways"]} == {"pipeline", "end-to-end", "transfer"}
    rows = {(row["way"], row["images"]): row for row in result.summary["curves"]}
    assert set(rows) == {(way, size) for way in ways for size in (12, 40)}
    for row in rows.values():
        low, high = row["interval"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        assert row["draws"] == 2
        assert row["seconds"] > 0
        assert row["seconds_inference_per_image"] > 0
        assert row["parameters"] > 0
    for run in result.summary["runs"]:
        assert set(run) == {
            *("way", "images", "draw", "accuracy", "seconds_training", "seconds_inference_per_image", "parameters")
        }


def test_curves_are_means_of_their_runs(result: DataSizeResult) -> None:
    for row in result.summary["curves"]:
        runs = [one for one in result.summary["runs"] if (one["way"], one["images"]) == (row["way"], row["images"])]
        assert row["accuracy"] == pytest.approx(np.mean([one["accuracy"] for one in runs]))
        assert row["seconds"] == pytest.approx(np.mean([one["seconds_training"] for one in runs]))


def test_the_best_pipeline_is_one_of_them_and_costs_all(result: DataSizeResult) -> None:
    runs = {(one["way"], one["images"], one["draw"]): one for one in result.summary["runs"]}
    for images in (12, 40):
        for draw in (0, 1):
            parts = [runs[f"pipeline_{name}", images, draw] for name in ("logistic", "svm", "forest")]
            best = runs["pipeline", images, draw]
            assert best["accuracy"] in [one["accuracy"] for one in parts]
            each = [one["seconds_training"] for one in parts]
            assert max(each) < best["seconds_training"] < sum(each)


def test_the_best_pipeline_describes_the_images_once() -> None:
    ways = [way for way in WAYS if way.family == "pipeline" and way.name != "pipeline_intermediate"]
    right = np.ones(4, bool)
    found = [
        Answered(Point(way, 10, 0), right, 2.0 + number, 0.1, 5, 3.0, 0.5 + number / 10, None, 2.0)
        for number, way in enumerate(ways[1:])
    ]
    (best,) = curves.best_pipelines(ways, 1, found)
    assert best.training == pytest.approx(2.0 + 0 + 1 + 2)
    assert best.score == pytest.approx(0.7)


def test_as_text(result: DataSizeResult) -> None:
    said = str(result)
    assert "From scratch" in said
    assert "12       40  images" in said
    tested = result.summary["data"]["splits"]["test"]
    assert said.endswith(f"Judged on the same {tested} test images, on which nothing was chosen.")
    assert all(row["sentence"] in said for row in result.summary["crossings"] if row["headline"])
    rows = [{**row, "sentence": f"{row['sentence']} {curves.ONE_DRAW}"} for row in result.summary["crossings"]]
    few = curves.as_text({**result.summary, "crossings": rows})
    assert few.count("one draw") == 1
    assert "\nAll of these rest on one draw at some sizes: others could move it by more than that.\n" in few


def test_the_command_repeats_it(tmp_path: Path) -> None:
    found = study(tmp_path / "a").summary["reproduce"]
    assert found.startswith("headstart.study_data_size(data, backbone, out=")
    assert headstart.DataSizeConfig is DataSizeConfig
    words = shlex.split("headstart study data-size photos --out x --sizes 10 20 --draws 4 --ways pipeline probe")[1:]
    config = COMMANDS[named(words)].parse(words[2:])
    assert config == DataSizeConfig("photos", Path("x"), sizes=(10, 20), draws=4, ways=("pipeline", "probe"))


def test_it_repeats_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study killed and resumed ends with the accuracies of one that was not; what was finished is not run twice."""
    whole = study(tmp_path / "whole").summary
    runs, real = [], Learners._classical

    def killed(self: Learners, point: Point) -> Answered:
        runs.append(point.key)
        if len(runs) == 4:
            raise KeyboardInterrupt
        return real(self, point)

    monkeypatch.setattr(Learners, "_classical", killed)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "part")
    kept = sorted((tmp_path / "part" / "work" / "runs").glob("*.json"))
    assert len(kept) > 3
    next(file for file in kept if "logistic" in file.name).write_text("{")  # damaged: it is done again
    assert study(tmp_path / "part", resume=True).summary["curves"][0]["accuracy"] == whole["curves"][0]["accuracy"]
    resumed = json.loads((tmp_path / "part" / "summary.json").read_text())
    for name in ("crossings", "extrapolation"):
        assert resumed[name] == whole[name]
    assert [row["accuracy"] for row in resumed["runs"]] == [row["accuracy"] for row in whole["runs"]]
    assert len(runs) == len(set(runs)) + 2  # the one that was killed, and the damaged one


def test_a_finished_study_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = study(tmp_path / "a").summary
    monkeypatch.setattr(Learners, "run", lambda self, point: pytest.fail("ran again"))
    assert study(tmp_path / "a", resume=True).summary == before


def test_a_run_that_fails_is_reported_and_the_rest_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Learners._network

    def diverging(self: Learners, point: Point) -> Answered:
        if point.images == SIZES[1]:
            raise NonFiniteLoss("the loss is nan")
        return real(self, point)

    monkeypatch.setattr(Learners, "_network", diverging)
    found = study(tmp_path / "a")
    assert [one["run"] for one in found.summary["failed"]] == ["probe on 16 images, draw 1", "probe on 16 images, draw 2"]
    assert {(row["way"], row["images"]) for row in found.summary["curves"]} == {
        *(("pipeline_logistic", size) for size in SIZES),
        ("probe", 8),
        ("probe", 32),
    }
    assert "2 runs are missing: 2 the loss is nan" in str(found)
    monkeypatch.setattr(Learners, "_network", lambda self, point: (_ for _ in ()).throw(NonFiniteLoss("nan")))
    with pytest.raises(TrainingError, match="every run failed: probe on 8 images, draw 1: nan"):
        study(tmp_path / "b", ways=("probe",))


def test_all_images_are_learned_from_once_by_ways_without_a_seed(tmp_path: Path) -> None:
    found = study(tmp_path / "a", sizes=()).summary
    top = found["sizes"][-1]
    assert top == found["data"]["splits"]["train"] == found["all_images"]
    assert [run["draw"] for run in found["runs"] if run["images"] == top] == [0, 0]
    assert found["sizes"] == [round(top / 2**k) for k in (4, 3, 2, 1, 0)]
    assert {(row["way"], row["images"]) for row in found["extrapolation"]} == {
        (way, factor * top) for way in ("pipeline_logistic", "probe") for factor in (2, 4)
    }


def test_a_budget_that_is_too_short_leaves_runs_out_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners.time, "monotonic", iter(np.arange(0, 1e6, 2.0)).__next__)
    found = study(tmp_path / "a", budget="20s")
    assert found.summary["failed"]
    assert {one["reason"] for one in found.summary["failed"]} == {"no longer fitted into the budget of 20 s"}
    assert {run["way"] for run in found.summary["runs"]} == {"pipeline_logistic", "probe"}


def test_what_a_size_took_before_is_what_it_will_take_again() -> None:
    """A small run is mostly what every run costs; sixteen times that is not what sixteen times the images take."""
    way = next(way for way in WAYS if way.name == "probe")

    class Untimed:
        def estimate(self, point: Point) -> float:
            return 0.0

    clock = data_size._Clock(Untimed())  # type: ignore[arg-type]
    assert clock.expected(Point(way, 40, 0)) == 0
    for images, seconds in ((40, 2.0), (80, 2.1), (640, 3.0), (40, 2.2)):
        clock.took(Point(way, images, 0), seconds)
    assert clock.spent == pytest.approx(9.3)
    assert [clock.expected(Point(way, images, 1)) for images in (40, 80, 640)] == [2.2, 2.1, 3.0]
    assert clock.expected(Point(way, 320, 1)) == pytest.approx(1.5)  # half of what twice as many took


def test_draws_are_given_up_before_training_becomes_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three draws of 50 s at the usual length do not fit into nine tenths of 40 s; one does, at 0.72 of it."""
    monkeypatch.setattr(Learners, "estimate", lambda self, point: 25.0 * is_trained(point.way))
    real = Learners.run

    def timed(self: Learners, point: Point) -> Answered:
        found = real(self, point)
        assert isinstance(found, Answered)
        return replace(found, seconds=15.0)

    monkeypatch.setattr(Learners, "run", timed)
    found = study(tmp_path / "a", ways=("lpft",), sizes=(8, 32), draws=3, budget="40s", epochs=None).summary
    assert found["training"] == {"share": pytest.approx(0.72)}
    assert [(run["images"], run["draw"]) for run in found["runs"]] == [(8, 0), (32, 0)]
    assert len(found["failed"]) == 4
    assert {one["reason"].partition(",")[0] for one in found["failed"]} == {
        "no time was left for this draw of the ways that train"
    }


def test_vectors_have_no_pictures(tmp_path: Path) -> None:
    found = study(tmp_path / "a", ways=("pipeline", "end-to-end", "transfer"), sizes=(8, 32), draws=1)
    told = {way["name"]: way["description"] for way in found.summary["ways"]}
    assert told["pipeline"] == "the numbers, scaled, and the classical model that cross-validates best"
    assert found.summary["failed"] == []
    assert found.summary["crossings"]
    for row in found.summary["crossings"]:
        assert row["draws"] == 1
        assert row["sentence"].endswith(curves.ONE_DRAW)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    with open(tmp_path / "digits.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "shape"])
        for number, (picture, label) in enumerate(zip(*digits(), strict=True)):
            Image.fromarray(picture).save(tmp_path / f"{number}.png")
            writer.writerow([f"{number}.png", f"digit {label}", "straight" if label == 1 else "round"])
    return tmp_path / "digits.csv"


def test_by_way_of_an_intermediate_label(manifest: Path, tmp_path: Path) -> None:
    settings = {**USUAL, "ways": ("pipeline_intermediate", "probe"), "sizes": (12, 40), "intermediate": "shape"}
    found = headstart.study_data_size(str(manifest), small_net(), out=tmp_path / "out", **settings).summary
    about = found["intermediate"]
    assert about["column"] == "shape"
    assert about["labels"] == ["round", "straight"]
    assert [row["images"] for row in about["curve"]] == [12, 40]
    assert about["accuracy"] == about["curve"][-1]["accuracy"] > 0.6
    assert found["ways"][0]["description"].endswith("predicting shape first and then the class")
    assert "--intermediate shape" not in found["reproduce"]  # the network was given from Python
    assert "intermediate='shape'" in found["reproduce"]


def test_from_the_command_line(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command it names repeats the run: the same runs with the same accuracies."""
    out = tmp_path / "a"
    words = [*("study", "data-size", str(manifest), "--out", str(out), "--backbone", "embedded", "--size", "16", "--json")]
    words += [*("--ways", "pipeline_intermediate", "--intermediate", "shape", "--sizes", "12", "40", "--draws", "2")]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "summary.json").read_text())
    again = shlex.split(told["reproduce"])
    assert again[:3] == ["headstart", "study", "data-size"]
    assert main([*again[1:], "--overwrite", "--json"]) == 0
    repeated = json.loads(capsys.readouterr().out)
    assert [run["accuracy"] for run in repeated["runs"]] == [run["accuracy"] for run in told["runs"]]
    assert main(["study", "data-size", str(manifest), "--ways", "prob"]) == 2
    assert "did you mean probe" in capsys.readouterr().err


def test_intermediate_columns_that_cannot_be(manifest: Path, tmp_path: Path) -> None:
    def run(data: Any, column: str) -> None:
        headstart.study_data_size(data, small_net(), out=tmp_path / "out", **{**USUAL, "intermediate": column})

    with pytest.raises(DataError, match="--intermediate shpe is not one of its columns") as found:
        run(str(manifest), "shpe")
    assert "'shape'" in str(found.value)
    with pytest.raises(DataError, match="--intermediate shape names a column of a CSV manifest, and arrays is none"):
        run(digits(), "shape")
    with pytest.raises(DataError, match="--intermediate label is the class by another name"):
        run(str(manifest), "label")
    one = manifest.with_name("one.csv")
    one.write_text(manifest.read_text().replace("straight", "round"))
    with pytest.raises(DataError, match=r"(?s)--intermediate shape.*only one class, 'round'"):
        run(str(one), "shape")
    text = manifest.read_text().replace("0.png,digit 0,round", "0.png,digit 0,", 1)
    manifest.write_text(text)
    with pytest.raises(DataError, match=r"--intermediate shape is empty for 1 of 90 images, e\.g\. 0\.png"):
        run(str(manifest), "shape")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ways": ("pipelin", "prob")}, r"'pipelin', did you mean pipeline.*\n.*'prob', did you mean probe"),
        ({"ways": ("pipeline_intermediate",)}, "needs --intermediate COLUMN"),
        ({"ways": ("probe",), "intermediate": "shape"}, "is used by pipeline_intermediate only"),
        ({"draws": 0}, "--draws 0"),
        ({"epochs": 0}, "--epochs 0"),
        ({"sizes": (2, 5000)}, "5000 is more than the 64 images"),
        ({"budget": "soon"}, "budget"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        study(tmp_path / "a", **settings)


def test_data_that_cannot_be(tmp_path: Path) -> None:
    x, y = vectors()
    with pytest.raises(DataError, match="only one class"):
        headstart.study_data_size((x, y * 0), perceptron(), out=tmp_path / "a", **USUAL)
    with pytest.raises(DataError, match="there are 30 images to learn from and 10 classes") as found:
        headstart.study_data_size((x[:40], np.arange(40) % 10), perceptron(), out=tmp_path / "b", **USUAL)
    assert "Add images" in str(found.value)


def test_what_an_intermediate_label_brings_is_compared() -> None:
    names = [(a.name, b.name) for a, b in curves._pairs(choose_ways((), "kind"))]
    assert ("pipeline_logistic", "pipeline_intermediate") in names
    assert ("pipeline_svm", "pipeline_forest") not in names
    assert ("pipeline_svm", "probe") in names
    assert names[0] == ("pipeline", "pipeline_intermediate")


def test_families_and_names_choose_ways() -> None:
    assert [way.name for way in choose_ways(("end-to-end", "full"), None)] == ["scratch", "full"]
    assert len([way for way in choose_ways(("pipeline",), "kind") if way.family == "pipeline"]) == 5
    assert all("{" not in way.description for way in choose_ways((), "kind"))


BELOW = "Below about 390 images “{}” is ahead of “{}”, above it behind (95 %: "


@pytest.mark.parametrize(
    ("found", "later", "said"),
    [
        (Crossing(387.0, (250.0, 700.0), 1, 0.97), None, BELOW.format("a", "b") + "250 to 700)."),
        (
            Crossing(387.0, (250.0, None), -1, 0.9),
            None,
            BELOW.format("b", "a") + "from 250, perhaps beyond the largest number measured, 1,347).",
        ),
        (
            Crossing(387.0, (None, 700.0), 1, 0.9),
            None,
            BELOW.format("a", "b") + "up to 700, perhaps below the smallest number measured, 84).",
        ),
        (
            Crossing(387.0, (None, None), 1, 0.4),
            None,
            "“a” and “b” are too close to say: they crossed at about 390 images, but on other draws and test images it "
            "could be anywhere, or nowhere.",
        ),
        (
            Crossing(None, None, -1, 0.99),
            None,
            "“b” is ahead of “a” at every number measured between 84 and 1,347 images.",
        ),
        (
            Crossing(None, None, 1, 0.6),
            Meeting(2610.0, (1500.0, None), 5388),
            "“a” was ahead of “b” between 84 and 1,347 images as measured, but other draws and test images could let them "
            "cross. Should both go on as they run, “b” would catch up at about 2,600 images (95 %: from 1,500, perhaps "
            "not by 5,400): an extrapolation.",
        ),
        (
            Crossing(None, None, 1, 0.99),
            Meeting(2610.0, (1500.0, 3210.0), 5388),
            "“a” is ahead of “b” at every number measured between 84 and 1,347 images. Should both go on as they run, “b” "
            "would catch up at about 2,600 images (95 %: 1,500 to 3,200): an extrapolation.",
        ),
        (Crossing(None, None, 0, 0.1), None, "“a” and “b” are equal between 84 and 1,347 images."),
    ],
)
def test_sentences(found: Crossing, later: Meeting | None, said: str) -> None:
    assert curves.sentence(found, "a", "b", [84, 168, 1347], later) == said


def test_curves_that_cross_are_found_in_their_runs() -> None:
    """Made answers with known accuracies: the sentence names the crossing that was made."""
    ways = [Way("a", "pipeline", "A", "", True), Way("b", "end-to-end", "B", "", True)]
    draw, sizes = np.random.default_rng(0), [50, 100, 200, 400, 800]
    right = {"a": [0.7] * 5, "b": [0.5, 0.6, 0.7, 0.8, 0.9]}
    found = [
        Answered(Point(way, size, d), draw.random(2000) < right[way.name][k], 1.0, 0.1, 5, 1.0)
        for way in ways
        for k, size in enumerate(sizes)
        for d in range(3)
    ]
    grids = curves.grids(ways, sizes, 3, found)
    assert {key: grid.shape for key, grid in grids.items()} == {
        (way.name, size): (3, 2000) for way in ways for size in sizes
    }
    gaps = np.array([(grids["a", size] - grids["b", size]).mean() for size in sizes])
    assert np.sign(gaps[[0, 1, 3, 4]]).tolist() == [1, 1, -1, -1]


def test_config_error_of_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ConfigError("pipelines on images need scikit-image")

    monkeypatch.setattr("headstart.studies.data_size.image_tools", absent)
    with pytest.raises(ConfigError, match="need scikit-image"):
        headstart.study_data_size(digits(), small_net(), out=tmp_path / "a", **USUAL)
    found = headstart.study_data_size(
        digits(), small_net(), out=tmp_path / "b", **{**USUAL, "sizes": (12, 40), "ways": ("probe",), "draws": 1}
    )
    assert found.summary["crossings"] == []
