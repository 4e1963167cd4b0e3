"""Strategies side by side: every one on every fold, measured alike; nothing dropped in silence, nothing chosen."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.compare import USUAL, CompareConfig
from headstart.cli.main import COMMANDS, main
from headstart.data.store import store_of
from headstart.engine.features import FeatureBank
from headstart.engine.interrupt import STOP
from headstart.engine.source_statistics import last_features
from headstart.errors import ConfigError, DataError, Interrupted
from headstart.nets.cost import block_flops
from headstart.nets.heads import LinearHead
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.studies import compare as study
from headstart.studies import source_task
from headstart.studies.arms import all_arms, base_recipe
from headstart.studies.compare import CompareResult, chosen
from headstart.studies.compare_plan import plan_trials
from headstart.studies.race import Arm, Divergence, Race, Trial

SIZE, CLASSES = 8, 3
USED: dict[str, Any] = {"folds": 3, "mirror": False, "device": "cpu", "budget": "1h"}
THREE = ("probe", "full", "partial_1")


def small_net(*, named: bool = False) -> Net:
    """A ResNet-8; `named`: with a head of its own, the nearest class mean of its features, for three classes by name."""
    with forked(1):
        net = cifar_resnet(8, 4, SIZE)
    if named:
        found = load_digits(n_class=CLASSES)
        pixels = np.repeat((found.images * 15).astype(np.uint8)[..., None], 3, axis=3)
        features = torch.from_numpy(last_features(net, store_of(pixels), np.arange(150)))
        means = torch.stack([features[found.target[:150] == n].mean(0) for n in range(CLASSES)])
        linear = net.add_head("source", CLASSES).linear
        linear.weight.data, linear.bias.data = means, -(means**2).sum(1) / 2
        net.source = {**(net.source or {}), "card": {"classes": [f"digit {n}" for n in range(CLASSES)]}}
    return net


def write(place: Path, count: int = 60, first: int = 0) -> Path:
    found = load_digits(n_class=CLASSES)
    for number in range(first, first + count):
        path = place / f"digit {found.target[number]}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((found.images[number] * 15).astype(np.uint8)).save(path)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("others"), 45, 200)


@pytest.fixture(scope="module", autouse=True)
def _a_known_pace() -> Any:
    """As if the machine were so slow that an hour reached for five epochs of `partial_1` and `full`, whatever it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "train_pace", lambda net, *_: pace_for(net, 5.5, 3600.0))
        yield


def pace_for(net: Net, epochs: float, budget: float) -> float:
    arms = all_arms(net, base_recipe(net, 32, mirror=False, class_weights=False), seed=0)
    some = [arm for arm in arms if arm.name in THREE and not arm.frozen]
    one = plan_trials(net, some, samples=1, trials=1, budget=1e9, pace=1.0)
    per_epoch = sum(one.needed.values()) / 4
    return budget / (per_epoch * epochs * 32 * 3)


def compare(data: Path, out: Path, backbone: Any = None, **settings: Any) -> CompareResult:
    settings = {"strategies": THREE, **USED, **settings}
    return headstart.compare(str(data), small_net() if backbone is None else backbone, out=out, **settings)


@pytest.fixture(scope="module")
def finished(folder: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    out = tmp_path_factory.mktemp("runs") / "side"
    return compare(folder, out, small_net(named=True), source=str(other))


def rows(result: CompareResult) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result.summary["strategies"]}


# ---- what a run leaves


def test_every_strategy_ran_on_every_fold(finished: CompareResult) -> None:
    summary = finished.summary
    assert json.loads((finished.folder / "summary.json").read_text()) == summary
    assert list(rows(finished)) == list(THREE)
    for row in rows(finished).values():
        assert (row["status"], row["reason"], row["folds"], len(row["accuracies"])) == ("finished", "", 3, 3)
        low, high = row["interval"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
        assert row["seconds"] > 0
        assert row["old_images_needed"] == 0
        assert len(row["limits"]) >= 4
    assert summary["epochs"] == 5
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        *("config.json", "env.json", "inspection.json", "log.jsonl", "report.html", "summary.json"),
    ]


def test_every_pair_is_told_once_and_hangs_together(finished: CompareResult) -> None:
    found, by_name = finished.summary["pairs"], rows(finished)
    assert [(one["a"], one["b"]) for one in found] == [("probe", "full"), ("probe", "partial_1"), ("full", "partial_1")]
    for one in found:
        gap = np.subtract(by_name[one["a"]]["accuracies"], by_name[one["b"]]["accuracies"]).mean()
        assert one["difference"] == pytest.approx(gap, abs=0.01)  # folds may differ by an image in size
        assert one["interval"][0] <= one["difference"] <= one["interval"][1]
        assert one["detectable"] > 0
        assert not one["decided"] or one["p_value"] < 0.05


def test_the_pass_over_the_backbone_is_charged_to_all_that_read_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only to the way that happens to come first."""
    real = FeatureBank._compute

    def slowly(*args: Any, **rest: Any) -> None:
        time.sleep(0.6)
        real(*args, **rest)

    monkeypatch.setattr(FeatureBank, "_compute", slowly)
    found = rows(compare(folder, tmp_path / "run", strategies=("probe", "svm")))
    seconds = {name: row["seconds"] for name, row in found.items()}
    assert min(seconds["probe"], seconds["svm"]) >= 0.59


def test_costs_are_those_of_the_strategies(finished: CompareResult) -> None:
    found, net = rows(finished), small_net()
    width = net.info[net.last].channels
    head = width * CLASSES + CLASSES
    assert found["probe"]["trained_parameters"] == found["probe"]["stored_parameters"] == head
    everything = sum(p.numel() for p in net.blocks.parameters()) + head
    assert found["full"]["trained_parameters"] == found["full"]["stored_parameters"] == everything
    assert head < found["partial_1"]["stored_parameters"] < everything
    assert found["probe"]["training_flops"] < found["partial_1"]["training_flops"] < found["full"]["training_flops"]
    blocks, images = sum(block_flops(net).values()), finished.summary["data"]["splits"]["train"]
    folds = finished.summary["folds"]
    assert found["probe"]["training_flops"] > 2 * blocks * (images * (folds - 1) / folds + 1)  # features, and solving
    assert len({row["inference_flops"] for row in found.values()}) == 1
    for row in found.values():
        assert row["bytes"] >= 4 * row["stored_parameters"]


def test_what_is_kept_of_the_source(finished: CompareResult, other: Path) -> None:
    found = {name: row["source_accuracy"] for name, row in rows(finished).items()}
    before = finished.summary["source"]["before"]
    assert finished.summary["source"] | {"path": "", "before": 0} == {
        **{"path": "", "images": 45, "split": "train", "before": 0, "reason": ""}
    }
    assert {one["before"] for one in found.values()} == {before}
    assert found["probe"]["after"] == before  # its backbone is as it was
    assert before > 0.6
    assert found["full"]["after"] < before
    names = {name: " ".join(row["limits"]) for name, row in rows(finished).items()}
    assert f"the backbone is as it was, {100 * before:.1f} % there" in names["probe"]
    assert f"became {100 * found['full']['after']:.1f} %" in names["full"]


def test_limits_rest_on_the_numbers(finished: CompareResult) -> None:
    for row in rows(finished).values():
        said = " ".join(row["limits"])
        assert f"{100 * row['training_accuracy']:.1f} % right on the images it learned from" in row["limits"][0]
        assert f"{100 * row['accuracy']:.1f} % on held-out ones" in row["limits"][0]
        assert f"over 3 folds from {100 * min(row['accuracies']):.1f} to {100 * max(row['accuracies']):.1f} %" in said
        assert ("as many as --budget 1h reached for" in said) == (row["name"] != "probe")
    assert "Each further task adds a head (51 parameters" in " ".join(rows(finished)["probe"]["limits"])


def test_nothing_is_chosen_and_the_test_images_are_not_looked_at(finished: CompareResult) -> None:
    assert not (finished.folder / "model").exists()
    assert "test" not in finished.summary
    assert finished.summary["data"]["splits"] == {"train": 48, "test": 12}
    assert finished.summary["next"].startswith("headstart.adapt('")


def test_as_text(finished: CompareResult) -> None:
    text = str(finished)
    assert all(name in text for name in THREE)
    assert "nan" not in text
    assert finished.summary["next"] in text
    assert finished.best is not None
    assert f"{finished.best} *" in text
    assert max(map(len, text.splitlines()[:-1])) < 130


def test_the_network_given_is_left_as_it_was(folder: Path, tmp_path: Path) -> None:
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    compare(folder, tmp_path / "run", net, strategies="probe,svm")
    assert not list(net.heads)
    assert all(before[name].equal(value) for name, value in net.state_dict().items())


def test_an_interrupted_run_goes_on_trial_by_trial(
    finished: CompareResult, folder: Path, other: Path, tmp_path: Path
) -> None:
    """Stopped in the middle of training and resumed it ends with the same answers, and tries nothing twice."""
    net, settings = small_net(named=True), {"source": str(other)}

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "trial" and (event["arm"], event["fold"]) == ("full", 1):
            STOP.requested = True

    def started(event: dict[str, Any]) -> None:
        if event["event"] == "phase" and event["name"] == "trial":
            begun.append((event["arm"], event["fold"]))

    begun: list[tuple[str, int]] = []
    config = CompareConfig(str(folder), tmp_path / "run", strategies=THREE, **USED, **settings)
    try:
        with pytest.raises(Interrupted):
            study.compare(config, backbone=net, listeners=(stop,))
    finally:
        STOP.requested = False
    again = CompareConfig(str(folder), tmp_path / "run", strategies=THREE, **USED, **settings, resume=True)
    done = study.compare(again, backbone=net, listeners=(started,))
    assert begun == [("partial_1", 1), ("full", 2), ("partial_1", 2)]
    for name, row in rows(done).items():
        whole = rows(finished)[name]
        for key in ("accuracies", "training_accuracy", "source_accuracy", "interval", "bytes", "training_flops"):
            assert row[key] == whole[key]
    assert done.summary["pairs"] == finished.summary["pairs"]
    assert study.compare(again, backbone=net).summary == done.summary  # a finished run is only read


def test_seeds_repeat_what_trains_on_the_same_folds(finished: CompareResult, folder: Path, tmp_path: Path) -> None:
    """The first seed's trials are those of a run with one seed."""
    twice = compare(folder, tmp_path / "run", strategies="probe,partial_1", seeds=2, budget="2h")
    found = rows(twice)
    assert all(row["folds"] == 6 for row in found.values())
    assert found["probe"]["accuracies"][:3] == rows(finished)["probe"]["accuracies"]
    assert "from seed to seed on the same fold" in " ".join(found["partial_1"]["limits"])
    assert twice.summary["pairs"][0]["method"] in ("hierarchical", "folds")


# ---- what does not fit


def test_what_does_not_fit_is_said(folder: Path, tmp_path: Path) -> None:
    """Half of the time: full would not reach its fewest epochs beside the cheaper one, and takes no part."""
    found = compare(folder, tmp_path / "run", budget="30m")
    late = rows(found)["full"]
    assert (late["status"], late["folds"], late["accuracy"], late["limits"]) == ("skipped", 0, None, [])
    assert "4 epochs in each of 3 trials would take it about" in late["reason"]
    assert "a longer --budget lets it take part" in str(found).replace("\n" + " " * 19, " ")
    assert [(one["a"], one["b"]) for one in found.summary["pairs"]] == [("probe", "partial_1")]
    assert found.summary["epochs"] >= 4


def test_too_little_time_for_two_is_an_error_before_anything_is_replaced(folder: Path, tmp_path: Path) -> None:
    kept = compare(folder, tmp_path / "run", strategies="probe,svm").summary
    with pytest.raises(ConfigError, match=r"--budget 1s is too little for two .* Give --budget \d+m or more"):
        compare(folder, tmp_path / "run", strategies="partial_1,full", budget="1s", overwrite=True)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == kept


def test_one_that_diverges_is_said_and_the_others_stand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = Race.trial, []

    def trial(race: Race, arm: Arm, fold: int) -> Trial | Divergence:
        tried.append((arm.name, fold))
        return Divergence("loss 'new' is nan", 0.1) if (arm.name, fold) == ("svm", 1) else real(race, arm, fold)

    monkeypatch.setattr(Race, "trial", trial)
    found = compare(folder, tmp_path / "run", strategies="probe,svm,early_probe")
    lost = rows(found)["svm"]
    assert (lost["status"], lost["reason"], lost["accuracy"], lost["folds"]) == ("diverged", "loss 'new' is nan", None, 1)
    assert ("svm", 2) not in tried
    assert [(one["a"], one["b"]) for one in found.summary["pairs"]] == [("probe", "early_probe")]
    assert "svm                diverged: loss 'new' is nan" in str(found)


# ---- which strategies


def test_a_strategy_of_several_ways_gives_one_of_them() -> None:
    net = small_net()
    every = all_arms(net, base_recipe(net, 32, mirror=False, class_weights=False), seed=0)
    names = [arm.name for arm in chosen(every, CompareConfig("x").wanted)]
    assert len(names) == len(USUAL)
    assert [name for name in names if name.startswith("partial")] == ["partial_1"] or "partial_2" in names
    assert {"probe", "svm", "early_probe", "full", "lpft", "retrain", "gradual"} < set(names)
    assert chosen(every, ["all"]) == every
    assert CompareConfig("x", strategies=("probe, full", "full,svm")).wanted == ("probe", "full", "svm")


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"strategies": "probe,lptf"}, ConfigError, "'lptf', did you mean lpft"),
        ({"strategies": "probe"}, ConfigError, "at least two different ones, e.g. --strategies probe,lpft"),
        ({"strategies": "full,full"}, ConfigError, "at least two different ones, e.g. --strategies full,probe"),
        ({"strategies": ","}, ConfigError, "--strategies"),
        ({"folds": 1}, ConfigError, "--folds 1"),
        ({"seeds": 0}, ConfigError, "--seeds 0"),
        ({"budget": "soon"}, ConfigError, "soon"),
        ({"source": "lost"}, DataError, "--source lost does not exist"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, tmp_path: Path, settings: dict[str, Any], error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        compare(folder, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_source_that_cannot_be_asked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"brings no head of its source task|answers have no names"):
        compare(folder, tmp_path / "run", source=str(folder))
    strange = write(tmp_path / "strange", 30)
    (strange / "digit 0").rename(strange / "nought")
    with pytest.raises(DataError, match=r"does not answer: nought; it answers digit 0, digit 1, digit 2"):
        compare(folder, tmp_path / "run", small_net(named=True), source=str(strange))
    assert not (tmp_path / "run" / "config.json").exists()


def test_names_of_imagenets_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of timm is made again with its head; folders may be called by WordNet id or by a word that means one."""
    made = small_net(named=True)
    made.heads["source"] = LinearHead((made.last,), made.info[made.last].channels, 1000)
    monkeypatch.setattr(source_task, "build", lambda name, **_: made if name == "timm:toy" else None)
    net = small_net()
    net.source = {"builder": "timm", "name": "toy"}
    own = source_task.own_head(net, BackboneConfig("timm:toy"))
    assert isinstance(own, source_task.OwnHead)
    names = ("n01440764_tench", "n01440764", "goldfish", "great white shark", "German_shepherd", "Tinca tinca")
    assert [own.place(name) for name in names] == [0, 0, 1, 2, 235, 0]
    assert [own.place(name) for name in ("crane", "n014407640", "n00000000_thing", "unicorn")] == [None] * 4  # two cranes


def test_one_class_cannot_be_compared(tmp_path: Path) -> None:
    place = write(tmp_path / "one", 60)
    for name in ("digit 1", "digit 2"):
        for path in (place / name).iterdir():
            path.unlink()
        (place / name).rmdir()
    with pytest.raises(DataError, match="class"):
        compare(place, tmp_path / "run")


def test_without_images_of_the_source_the_reason_is_told(folder: Path, tmp_path: Path) -> None:
    found = compare(folder, tmp_path / "run", small_net(named=True), strategies="probe,svm")
    assert [row["source_accuracy"] for row in found.summary["strategies"]] == [None, None]
    assert found.summary["source"]["reason"] == "no images of the source were given (--source)"
    assert found.summary["epochs"] is None  # nothing trains by gradient steps
    assert "Kept of the source: not known, as no images" in str(found)


def test_a_validation_split_takes_the_place_of_folds(tmp_path: Path) -> None:
    place = tmp_path / "data"
    write(place / "train", 45)
    write(place / "val", 30, 100)
    found = compare(place, tmp_path / "run", strategies="probe,svm")
    assert (found.summary["folds"], found.summary["seeds"]) == (1, 1)
    assert [row["folds"] for row in found.summary["strategies"]] == [1, 1]
    assert found.summary["pairs"][0]["method"] == "images"
    assert "judged on the val split" in str(found)
    assert "It varies" not in " ".join(found.summary["strategies"][0]["limits"])


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(folder), "--backbone", "embedded", "--strategies", "probe,svm", "--folds", "2"]
    words += ["--out", str(tmp_path / "run"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["backbone"]["name"], told["folds"]) == ("compare", "embedded", 2)
    again = COMMANDS["compare"].parse(shlex.split(told["reproduce"])[2:])
    assert again.wanted == ("probe", "svm")
    follow = COMMANDS["adapt"].parse(shlex.split(told["next"])[2:])
    assert follow.strategies == (told["suggested"],)
    assert main(words) == 3
    assert "--overwrite" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main([*words, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert main([*words[:5], "--strategies", "probe", "svn", "--json"]) == 2
    assert "did you mean svm" in json.loads(capsys.readouterr().out)["error"]["message"]
