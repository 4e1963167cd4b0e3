"""The whole job on a few handwritten digits: what it leaves, what it accepts, and that it goes on where it was stopped."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

import headstart
from headstart.data.prepare import prepare
from headstart.data.sources import open_source
from headstart.engine.interrupt import STOP
from headstart.engine.log import SILENT
from headstart.engine.model import Model
from headstart.errors import ConfigError, Interrupted, RunFolderMismatch
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.studies import adapt as job
from headstart.studies import arms, opening
from headstart.studies.adapt import AdaptResult
from headstart.studies.splitting import split
from headstart.studies.verdict import Verdict, judge
from tests.engine.engine_toys import perceptron

SIZE, CLASSES = 8, 3
Settings = dict[str, Any]
USUAL: Settings = {"budget": "1h", "folds": 2, "mirror": False, "device": "cpu", "strategies": ("probe", "partial_1")}
"""An hour is more than enough for every arm's full length of training: the plan does not depend on the machine's speed."""


def small_net() -> Net:
    with forked(1):
        return cifar_resnet(8, 4, SIZE)


def digits(count: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`[N, 8, 8]` handwritten zeros, ones and twos."""
    found = load_digits(n_class=CLASSES)
    return (found.images * 15).astype(np.uint8)[:count], found.target[:count].astype(np.int64)


def write_digits(folder: Path, count: int = 60, split: Callable[[int], str] = lambda n: "") -> list[Path]:
    """The digits as files below one folder per class, below one per split where `split` names one."""
    paths = []
    for place, (picture, label) in enumerate(zip(*digits(count), strict=True)):
        path = folder / split(place) / f"digit {label}" / f"{place:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        paths.append(path)
    return paths


def adapt(data: Any, out: Path, backbone: Any = None, **settings: Any) -> AdaptResult:
    return headstart.adapt(data, small_net() if backbone is None else backbone, out=out, **{**USUAL, **settings})


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """What trains does so for ten epochs, not sixty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "_enough_epochs", lambda *_: 10)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("digits")
    write_digits(place)
    return place


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AdaptResult:
    return adapt(str(folder), tmp_path_factory.mktemp("runs") / "digits")


# ---- what a run leaves


def test_the_summary_has_what_was_promised(finished: AdaptResult) -> None:
    def no_such_number(word: str) -> None:
        pytest.fail(f"{word} in summary.json")

    summary = json.loads((finished.folder / "summary.json").read_text("utf-8"), parse_constant=no_such_number)
    assert summary == finished.summary
    assert set(summary) >= {
        *("command", "data", "quadrant", "advice", "arms", "chosen", "decided", "regret", "test", "seconds"),
        *("backbone", "best", "comparison", "depth", "classes", "cost", "reproduce", "version"),
    }
    assert summary["command"] == "adapt"
    assert set(summary["data"]) >= {"fingerprint", "num_images", "num_classes", "set_aside"}
    assert (summary["data"]["num_images"], summary["data"]["num_classes"]) == (60, CLASSES)
    assert summary["quadrant"]["number"] in (1, 2, 3, 4)
    assert (summary["quadrant"]["size"], summary["quadrant"]["similarity"]) == {
        1: ("large", "low"),
        2: ("large", "high"),
        3: ("small", "low"),
        4: ("small", "high"),
    }[summary["quadrant"]["number"]]
    assert isinstance(summary["decided"], bool)
    assert set(summary["test"]) >= {"accuracy", "interval", "balanced_accuracy", "per_class"}
    assert len(summary["test"]["per_class"]) == CLASSES


def test_arms_have_means_intervals_costs_and_weights(finished: AdaptResult) -> None:
    arms = {arm["name"]: arm for arm in finished.summary["arms"]}
    assert {"probe", "partial_1", finished.summary["advice"]["arm"]} == set(arms)
    assert {finished.summary["chosen"], finished.summary["best"]} <= set(arms)
    for arm in arms.values():
        low, high = arm["accuracy_interval"]
        assert 0 <= low <= arm["accuracy_mean"] <= high <= 1
        assert arm["seconds"] > 0
        assert (arm["status"], arm["folds_run"]) == ("finished", 2)
    assert arms["probe"]["trained_parameters"] == 16 * CLASSES + CLASSES
    assert arms["partial_1"]["trained_parameters"] > arms["probe"]["trained_parameters"]


def test_images_are_counted_once(finished: AdaptResult) -> None:
    splits = finished.summary["data"]["splits"]
    assert splits["train"] + splits["test"] == 60
    assert splits["test"] == finished.summary["test"]["num_images"] == 12
    assert sum(row["support"] for row in finished.summary["test"]["per_class"]) == 12
    confusion = np.array(finished.summary["test"]["confusion"])
    assert confusion.sum() == 12
    assert np.trace(confusion) / 12 == pytest.approx(finished.summary["test"]["accuracy"])


def test_the_result_prints_as_a_table(finished: AdaptResult) -> None:
    text = str(finished)
    assert re.search(r"^60 images, 3 classes; quadrant \d", text)
    assert all(arm["name"] in text for arm in finished.summary["arms"])
    assert "test, read once: accuracy" in text
    assert "nan" not in text


def test_the_folder_holds_records_and_no_leavings(finished: AdaptResult) -> None:
    there = {path.name for path in finished.folder.iterdir()}
    assert there == {
        *("config.json", "env.json", "log.jsonl", "summary.json", "inspection.json", "report.html"),
        *("model", "report_data"),
    }
    events = [json.loads(line)["event"] for line in (finished.folder / "log.jsonl").read_text("utf-8").splitlines()]
    assert {"phase", "plan", "trial", "round", "epoch"} <= set(events)
    assert "tick" not in events
    assert finished.report.read_text("utf-8").startswith("<!doctype html>")


def test_test_images_are_answered_by_the_saved_model(finished: AdaptResult, folder: Path, tmp_path: Path) -> None:
    """The card's accuracy is that of the model that was saved, on the images that were set aside: read once, at the end."""
    model = Model.load(finished.folder)
    used = json.loads((finished.folder / "config.json").read_text("utf-8"))
    data = prepare(open_source(folder), size=SIZE, cache=tmp_path)
    fraction, folds = used["images"]["test_fraction"], used["folds"]
    aside = split(data, test_fraction=fraction, folds=folds, seed=used["seed"], log=SILENT).test
    names = [folder / data.names[row] for row in aside.rows]
    rows = model.predict(names, top_k=1).rows
    right = [row.labels[0] == Path(row.path).parent.name for row in rows]
    assert len(right) == finished.summary["test"]["num_images"]
    assert np.mean(right) == pytest.approx(finished.summary["test"]["accuracy"])
    phases = [line["name"] for line in log_of(finished) if line["event"] == "phase"]
    assert phases.count("test") == 1
    assert phases.index("test") > max(place for place, name in enumerate(phases) if name in ("trial", "verify", "refit"))
    assert model.classes == tuple(finished.summary["classes"]) == ("digit 0", "digit 1", "digit 2")


def test_the_model_answers_files_folders_and_arrays_alike(finished: AdaptResult, folder: Path) -> None:
    model = Model.load(finished.folder / "model")
    first = sorted((folder / "digit 1").iterdir())[:4]
    by_file = model.predict(first, top_k=3)
    by_folder = model.predict(folder / "digit 1", top_k=3)
    by_array = model.predict(np.stack([np.asarray(Image.open(path)) for path in first]), top_k=3)
    assert not by_file.unreadable
    assert len(by_folder.rows) == len(list((folder / "digit 1").iterdir()))
    for one, two, three in zip(by_file.rows, by_folder.rows, by_array.rows, strict=False):
        assert one.labels == two.labels == three.labels
        assert one.probabilities == pytest.approx(two.probabilities, abs=1e-5)
        assert one.probabilities == pytest.approx(three.probabilities, abs=1e-5)
        assert sum(one.probabilities) == pytest.approx(1, abs=1e-5)


def test_a_network_given_from_python_is_left_as_it_was(folder: Path, tmp_path: Path) -> None:
    net = small_net()
    net.add_head("mine", 7)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    result = adapt(str(folder), tmp_path / "run", net, strategies=("probe",))
    assert list(net.heads) == ["mine"]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert result.summary["reproduce"].startswith(f"headstart.adapt({str(folder)!r}, backbone, out=")
    assert "strategies=('probe',)" in result.summary["reproduce"]


def test_a_model_knows_all_its_ancestors(finished: AdaptResult, folder: Path, tmp_path: Path) -> None:
    again = adapt(str(folder), tmp_path / "second", str(finished.folder), strategies=("probe",), class_weights=True)
    first, second = finished.model.card.ancestors, again.model.card.ancestors
    assert len(first) == 2
    assert second[:2] == first
    assert [one.name for one in second] == ["cifar_resnet", "digits", "second"]
    assert second[2].strategy == again.summary["chosen"]
    assert second[2].fingerprint == first[1].fingerprint == again.summary["data"]["fingerprint"]
    assert again.summary["backbone"]["name"] == str(finished.folder)
    card = (again.folder / "model" / "MODEL_CARD.md").read_text("utf-8")
    assert card.index("cifar_resnet") < card.index("**digits**") < card.index("**second**")


# ---- what it accepts


def log_of(result: AdaptResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "log.jsonl").read_text("utf-8").splitlines()]


def test_trusted_advice_runs_alone_and_has_no_regret(folder: Path, tmp_path: Path) -> None:
    result = adapt(str(folder), tmp_path / "run", trust=True, strategies=())
    advised = result.summary["advice"]["strategy"]
    assert [arm["strategy"] for arm in result.summary["arms"]] == [advised]
    assert result.summary["regret"] is None
    assert result.summary["decided"] is False
    assert result.summary["comparison"] is None
    assert "the only arm asked for" in str(result)
    assert "trust=True" in result.summary["reproduce"]
    with pytest.raises(ConfigError, match="--trust follows the advice alone"):
        adapt(str(folder), tmp_path / "other", trust=True, strategies=("probe",))


def test_given_splits_are_respected(tmp_path: Path) -> None:
    """Of every five digits three are for training, one for validation and one for the test."""
    write_digits(tmp_path / "data", split=lambda n: ("train", "train", "val", "train", "test")[n % 5])
    result = adapt(str(tmp_path / "data"), tmp_path / "run", strategies=("probe",))
    assert result.summary["data"]["splits"] == {"train": 48, "test": 12}
    assert any(line["event"] == "note" and "12 images of the val split" in line["text"] for line in log_of(result))
    page = result.report.read_text("utf-8")
    assert "shared folds" not in page
    trials = [line for line in log_of(result) if line["event"] == "trial"]
    assert {line["fold"] for line in trials} == {0}
    assert {round(12 * line["accuracy"], 6) % 1 for line in trials} == {0.0}
    assert all(arm["folds_run"] == 1 and arm["status"] == "finished" for arm in result.summary["arms"])


def test_copies_saved_anew_stay_together_in_splits_that_are_made(tmp_path: Path) -> None:
    """Every picture is there as PNG and, smaller, as JPEG: never learned from in one and checked on in the other."""
    draw = np.random.default_rng(0)
    for place in range(40):
        folder = tmp_path / f"kind {place % 2}"
        folder.mkdir(exist_ok=True)
        picture = Image.fromarray(draw.integers(0, 256, (8, 8)).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(folder / f"{place}.png")
        picture.resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"{place}.jpg", quality=80)
    data = prepare(open_source(str(tmp_path)), size=32, cache=tmp_path / "cache")
    assert len(data.inspection.near) == 40
    splits = split(data, test_fraction=0.2, folds=5, seed=0, log=SILENT)
    of = np.array([name.partition(".")[0] for name in data.names])
    train, test = of[splits.train.rows], of[splits.test.rows]
    assert len(test) >= 12
    assert not set(train) & set(test)
    for learned, checked in splits.folds:
        assert not set(train[learned]) & set(train[checked])


def test_a_manifest_with_groups(tmp_path: Path) -> None:
    paths = write_digits(tmp_path / "images")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "what", "writer"])
        for place, path in enumerate(paths):
            writer.writerow([path.relative_to(tmp_path), path.parent.name, f"w{place // 2}"])
    result = adapt(
        str(tmp_path / "list.csv"),
        tmp_path / "run",
        strategies=("probe",),
        path_column="file",
        label_column="what",
        group_column="writer",
    )
    assert result.summary["data"]["num_images"] == 60
    words = result.summary["reproduce"]
    assert "group_column='writer'" in words


@pytest.mark.parametrize("as_dict", [False, True])
def test_arrays(tmp_path: Path, as_dict: bool) -> None:
    x, y = digits()
    data = (
        {"images_train": x[:45], "labels_train": y[:45], "images_test": x[45:], "labels_test": y[45:]} if as_dict else (x, y)
    )
    result = adapt(data, tmp_path / "run", strategies=("probe",), class_weights=as_dict)
    assert result.summary["test"]["num_images"] == (15 if as_dict else 12)
    assert result.summary["test"]["accuracy"] > 0.7
    assert result.summary["reproduce"].startswith("headstart.adapt(data, backbone, out=")
    assert result.model.predict(x[:2]).rows[0].labels[0] in ("0", "1", "2")


class Digits(Dataset[tuple[Any, int]]):
    """A map-style data set, with names for its classes."""

    classes = ("zero", "one", "two")

    def __init__(self) -> None:
        self.x, self.y = digits()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return Image.fromarray(self.x[place]), int(self.y[place])


class Vectors(Digits):
    """Six numbers per digit, no two alike."""

    def __getitem__(self, place: int) -> tuple[Any, int]:
        halves = self.x[place].reshape(4, 2, 8).mean((1, 2)), self.x[place].mean(0)[[2, 5]]
        return torch.from_numpy(np.concatenate(halves).astype(np.float32)), int(self.y[place])


def test_a_dataset(tmp_path: Path) -> None:
    result = adapt(Digits(), tmp_path / "run", strategies=("probe",))
    assert result.summary["classes"] == ["zero", "one", "two"]


def test_vectors_with_a_perceptron(tmp_path: Path) -> None:
    result = adapt(Vectors(), tmp_path / "run", perceptron(), strategies=("probe", "full"), budget="3s")
    assert result.summary["backbone"]["input_size"] == 6
    assert not (result.folder / "report_data").exists()
    assert result.report.exists()
    assert len(Model.load(result.folder).predict(np.stack([Vectors()[n][0].numpy() for n in range(5)])).rows) == 5


def test_a_module_given_from_python(folder: Path, tmp_path: Path) -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 4)
    )
    scale = {"size": SIZE, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    result = adapt(str(folder), tmp_path / "run", module, strategies=("probe",), **scale)
    kept = Model.load(result.folder, builder=lambda: module)
    assert kept.predict(folder / "digit 0").rows
    with pytest.raises(ConfigError, match="--size --mean --std"):
        adapt(str(folder), tmp_path / "none", module)


def test_unknown_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'bugdet'"):
        headstart.adapt(digits(), small_net(), out=tmp_path / "run", bugdet="1m")


# ---- stopped and continued


@pytest.fixture
def trained_arm_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is learned again on all images is learned by gradient steps, which can be stopped in the middle."""

    def always(*given: Any) -> Verdict:
        return replace(judge(*given), chosen="partial_1")

    monkeypatch.setattr(job, "judge", always)


@pytest.fixture
def stops() -> Iterator[list[Callable[[Mapping[str, Any]], bool]]]:
    yield []
    STOP.requested = False


def stopping(when: Callable[[Mapping[str, Any]], bool]) -> Callable[[dict[str, Any]], None]:
    def listen(line: dict[str, Any]) -> None:
        if when(line):
            STOP.requested = True

    return listen


def timeless(value: Any) -> Any:
    """A summary without its times."""
    if isinstance(value, dict):
        apart = ("seconds", "seconds_by_phase", "reproduce")
        return {key: timeless(item) for key, item in value.items() if key not in apart}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def step_of(fold: Any, step: int) -> Callable[[Mapping[str, Any]], bool]:
    """The moment after so many steps of fine-tuning on a fold (`all`: on all images)."""
    return lambda line: (line.get("what"), line.get("fold"), line.get("done")) == ("fine_tune_top", fold, step)


MOMENTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "measuring": lambda line: line["event"] == "phase" and line["name"] == "measure",
    "between trials": lambda line: line["event"] == "trial" and (line["arm"], line["fold"]) == ("probe", 0),
    "in a trial": step_of(1, 7),
    "in the last training": step_of("all", 9),
}


def test_stopped_anywhere_a_run_goes_on_to_the_same_summary_and_the_same_bits(
    folder: Path, tmp_path: Path, trained_arm_wins: None, stops: Any
) -> None:
    config = job.AdaptConfig(
        str(folder), tmp_path / "whole", strategies=USUAL["strategies"], folds=2, budget="1h", mirror=False, device="cpu"
    )
    whole = job.adapt(config, backbone=small_net())
    parts = replace(config, out=tmp_path / "parts", resume=True)
    for name, when in MOMENTS.items():
        with pytest.raises(Interrupted):
            job.adapt(parts, backbone=small_net(), listeners=(stopping(when),))
        STOP.requested = False
        assert not (parts.out / "summary.json").exists(), name
    before = json.loads((parts.out / "work" / "phases.json").read_text())
    done = job.adapt(parts, backbone=small_net())
    assert done.summary["seconds"] > before["all"] > before["verify"] > 0  # of all processes together
    assert timeless(done.summary) == timeless(whole.summary)
    assert done.summary["chosen"] == "partial_1"
    for name in ("weights.safetensors", "net.json"):
        assert (done.folder / "model" / name).read_bytes() == (whole.folder / "model" / name).read_bytes()
    assert sum(line["event"] == "resumed" for line in log_of(done)) >= 2


def test_a_finished_run_is_returned_and_not_run_again(
    finished: AdaptResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "choose", lambda *a, **k: pytest.fail("nothing is to be done"))
    before = (finished.folder / "summary.json").stat().st_mtime_ns
    finished.report.unlink()
    again = adapt(str(folder), finished.folder, resume=True)
    assert again.summary == finished.summary
    assert again.report.exists()
    assert (finished.folder / "summary.json").stat().st_mtime_ns == before


def test_a_run_is_not_resumed_with_other_images_or_another_network(tmp_path: Path, stops: Any) -> None:
    write_digits(tmp_path / "data")
    config = job.AdaptConfig(
        str(tmp_path / "data"), tmp_path / "run", strategies=("probe",), folds=2, device="cpu", resume=True
    )
    with pytest.raises(Interrupted):
        job.adapt(config, backbone=small_net(), listeners=(stopping(MOMENTS["measuring"]),))
    STOP.requested = False
    kept = {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()}
    other = small_net()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(RunFolderMismatch, match="begun with other network"):
        job.adapt(config, backbone=other)
    bent = small_net()
    next(m for m in bent.modules() if isinstance(m, torch.nn.BatchNorm2d)).eps = 1e-2
    with pytest.raises(RunFolderMismatch, match="begun with other network"):
        job.adapt(config, backbone=bent)
    (tmp_path / "data" / "digit 1" / "001.png").unlink()
    with pytest.raises(RunFolderMismatch, match="begun with other images,"):
        job.adapt(config, backbone=small_net())
    for path, content in kept.items():
        assert path.parent.name == "data" or path.read_bytes() == content
