"""One network for several tasks as a job: what is compared, chosen, kept, resumed and refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.multitask import MultitaskConfig
from headstart.cli.main import main
from headstart.engine.model import Model
from headstart.errors import ConfigError, DataError, Interrupted, TrainingError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.studies.multitask import MultitaskResult
from headstart.studies.multitask import multitask as study
from headstart.studies.peak_memory import PeakMemory

USED: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 0.05, "scale": 1.0, "device": "cpu"}
TASKS = ("digit", "odd", "ink", "strokes")


def fresh() -> Net:
    with forked(3):
        return mlp(64, (24, 16))


def arrays(count: int = 240, missing: float = 0.3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Digits as vectors, with a class, a yes/no question as classes, a number, and two questions at once."""
    found = load_digits()
    images, digits = (found.data[:count] / 16).astype(np.float32), found.target[:count]
    draw = np.random.default_rng(0)
    ink = images.mean(1).astype(np.float32)
    several = np.stack([images[:, :32].mean(1) > 0.3, images[:, 32:].mean(1) > 0.3], 1).astype(np.int64)
    odd = np.where(draw.random(count) < missing, -1, digits % 2)
    ink[draw.random(count) < missing] = np.nan
    several[draw.random((count, 2)) < missing] = -1
    return images, {"digit": digits, "odd": odd, "ink": ink, "strokes": several}


def run(out: Path, data: Any = None, **settings: Any) -> MultitaskResult:
    return headstart.multitask(arrays() if data is None else data, fresh(), out=out, **{**USED, **settings})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> MultitaskResult:
    return run(tmp_path_factory.mktemp("multitask") / "run", weighting=("sum", "dwa"), main="digit")


def test_every_task_alone_the_plain_sum_and_those_asked_for_are_compared(done: MultitaskResult):
    arms = {arm["name"]: arm for arm in done.summary["arms"]}
    alone = [f"only {name}" for name in TASKS]
    assert list(arms) == [*alone, "sum", "dwa", "without odd", "without ink", "without strokes"]
    assert [arms[name]["role"] for name in ("only digit", "sum", "dwa", "without ink")] == [
        "single",
        "asked",
        "asked",
        "without",
    ]
    for arm in arms.values():
        assert set(arm["measures"]) == set(arm["tasks"])
    assert arms["sum"]["delta_m"]["low"] <= arms["sum"]["delta_m"]["mean"] <= arms["sum"]["delta_m"]["high"]
    assert arms["only digit"]["delta_m"] is None


def test_measures_are_those_of_the_kind_of_question(done: MultitaskResult):
    arm = next(arm for arm in done.summary["arms"] if arm["name"] == "sum")
    assert set(arm["measures"]["digit"]) == {"accuracy", "balanced_accuracy"}
    assert set(arm["measures"]["strokes"]) == {"average_precision", "auc", "balanced_accuracy"}
    assert set(arm["measures"]["ink"]) == {"mean_absolute_error", "root_mean_squared_error", "r2"}
    for measures in arm["measures"].values():
        for one in measures.values():
            assert one["low"] <= one["mean"] <= one["high"]


def test_the_main_tasks_helpers_are_judged_with_a_paired_test(done: MultitaskResult):
    rows = done.summary["helpers"]
    assert [(one["helper"], one["task"]) for one in rows] == [("odd", "digit"), ("ink", "digit"), ("strokes", "digit")]
    assert all({"mean", "low", "high", "p_value", "decided", "detectable"} <= set(one) for one in rows)
    assert {one["comparisons"] for one in rows} == {3}


def test_one_network_is_counted_against_one_for_each(done: MultitaskResult):
    arms = {arm["name"]: arm for arm in done.summary["arms"]}
    apart = done.summary["apart"]
    assert apart["networks"] == 4
    assert apart["parameters"] == sum(arms[f"only {name}"]["parameters"] for name in TASKS)
    backbone = 64 * 24 + 24 + 24 * 16 + 16
    assert arms["sum"]["parameters"] == backbone + 17 * (10 + 2 + 1 + 2)
    assert apart["parameters"] == 4 * backbone + 17 * (10 + 2 + 1 + 2)
    one, other = done.summary["inference"]["together"], done.summary["inference"]["apart"]
    macs = 64 * 24 + 24 * 16
    assert one["flops"] == 2 * (macs + 16 * 15)
    assert other["flops"] == 2 * (4 * macs + 16 * 15)
    assert one["ms_low"] <= one["ms"] <= one["ms_high"]


def test_all_networks_take_as_many_steps(done: MultitaskResult):
    lines = [json.loads(line) for line in (done.folder / "log.jsonl").read_text().splitlines()]
    learned, batch = done.summary["data"]["learned_from"], USED["batch_size"]
    assert {arm["flops"]["training"] > 0 for arm in done.summary["arms"]} == {True}
    memory = {arm["name"]: arm["memory"] for arm in done.summary["arms"]}
    assert all(taken > 3 * 4 * arm["parameters"] for arm, taken in zip(done.summary["arms"], memory.values(), strict=True))
    assert done.summary["apart"]["memory"] == max(taken for name, taken in memory.items() if name.startswith("only"))
    epochs = {}
    for line in lines:
        if line["event"] == "epoch":
            epochs[line["run"]] = line["epoch"]
    assert epochs["sum-0"] == 2
    assert epochs["only ink-0"] >= 2  # fewer of its samples have labels, so that it passes over them oftener
    assert learned > batch


def test_the_model_is_the_one_chosen_and_answers_as_it_was_judged(done: MultitaskResult):
    model = Model.load(done.folder)
    assert model.card.scenario == "multitask"
    assert [one["kind"] for one in model.card.tasks] == ["classes", "classes", "number", "several"]
    assert done.summary["chosen"] in ("sum", "dwa")
    assert sorted(model.net.heads) == sorted(TASKS)
    assert float(model.net.head("ink").spread) != 1.0


def test_weights_and_gradients_are_kept_for_the_page(done: MultitaskResult):
    arm = next(arm for arm in done.summary["arms"] if arm["name"] == "dwa")
    first = arm["curves"][0]
    assert set(first["weights"]) == set(TASKS)
    assert first["weight_sum"] == pytest.approx(4)
    assert first["balance"]["norm/digit"] == 0  # heads begin at zero, which lets no gradient through
    assert {"norm/digit", "cosine/digit/odd"} <= set(arm["curves"][1]["balance"])


def test_it_prints_as_a_table_and_is_json(done: MultitaskResult):
    text = str(done)
    assert "a network each (4)" in text
    assert "sum" in text
    assert "One seed only" in text
    json.dumps(done.summary, allow_nan=False)


@pytest.mark.parametrize("stop", [pytest.param(3, marks=pytest.mark.slow), 12, pytest.param(30, marks=pytest.mark.slow)])
def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path, stop: int):
    from headstart.engine.interrupt import STOP

    settings = {"weighting": ("gradnorm",), "alone": False, "epochs": 3}
    whole = run(tmp_path / "whole", **settings)
    seen = 0

    def listen(line: dict[str, Any]) -> None:
        nonlocal seen
        if line["event"] == "tick" and line.get("what") == "multitask":
            seen += 1
            if seen == stop:
                STOP.requested = True

    config = MultitaskConfig((), out=tmp_path / "stopped", **{**USED, **settings})
    try:
        with pytest.raises(Interrupted):
            study(config, data=arrays(), backbone=fresh(), listeners=(listen,))
    finally:
        STOP.requested = False
    again = study(
        MultitaskConfig((), out=tmp_path / "stopped", resume=True, **{**USED, **settings}), data=arrays(), backbone=fresh()
    )
    for one, other in zip(whole.summary["arms"], again.summary["arms"], strict=True):
        assert one["measures"] == other["measures"]
        assert [c["weights"] for c in one["curves"]] == [c["weights"] for c in other["curves"]]
    first, second = (Model.load(tmp_path / name).net.state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_towers_begin_as_the_tasks_own_networks_for_cross_stitch_and_as_copies_for_soft_sharing(tmp_path: Path):
    two = (arrays()[0], {name: values for name, values in arrays()[1].items() if name in ("digit", "odd")})
    found = run(tmp_path / "run", two, sharing=("soft", "cross_stitch"), pull=0.5, leave_out=True)
    arms = {arm["name"]: arm for arm in found.summary["arms"]}
    assert list(arms) == ["only digit", "only odd", "sum", "soft", "cross-stitch"]
    # Of two tasks one less is a task alone, which there is already.
    rows = [(one["helper"], one["task"], one["a"], one["b"]) for one in found.summary["helpers"]]
    assert rows == [("odd", "digit", "soft", "only digit"), ("digit", "odd", "soft", "only odd")]
    less = run(tmp_path / "partly", two, sharing=("partly",), shared=1, alone=False, main="digit")
    _, partly, without = less.summary["arms"]
    assert (without["name"], without["tasks"]) == ("without odd", ["digit"])
    assert [(one["helper"], one["task"], one["b"]) for one in less.summary["helpers"]] == [("odd", "digit", "without odd")]
    assert any("odd" in text and "digit" in text for text in less.summary["sentences"])
    assert arms["sum"]["parameters"] < partly["parameters"] < arms["soft"]["parameters"]
    assert arms["soft"]["parameters"] > 1.9 * arms["sum"]["parameters"]
    assert arms["cross-stitch"]["stitch"]
    assert arms["cross-stitch"]["parameters"] > arms["soft"]["parameters"]
    assert "pull" in arms["soft"]["curves"][0]["losses"]

    # Cross-stitch needs the networks that it begins as: they are among its costs.
    begun, alone = arms["cross-stitch"]["before"], [arms["only digit"], arms["only odd"]]
    assert begun["networks"] == ["only digit", "only odd"]
    assert begun["flops"] == sum(one["flops"]["training"] for one in alone)
    assert begun["seconds"] == pytest.approx(sum(one["seconds"] for one in alone))
    own = arms["cross-stitch"]["flops"]["parts"]["samples"]
    assert own > arms["soft"]["flops"]["training"]  # units besides the towers
    assert arms["cross-stitch"]["flops"]["training"] == own + begun["flops"]
    assert arms["cross-stitch"]["seconds"] > begun["seconds"]
    assert all(arms[name]["before"] is None for name in ("sum", "soft", "only digit"))

    # Copies part, and not far where they are pulled; networks trained apart begin with hardly anything in common.
    distance = {name: arms[name]["distance"] for name in arms}
    assert distance["sum"] is None
    assert distance["soft"]["begin"] == 0
    assert distance["soft"]["end"] > 0
    assert distance["cross-stitch"]["begin"] > distance["soft"]["end"]
    assert f"its towers ended {100 * distance['soft']['end']:.2g} % of their weights away" in str(found).replace("\n  ", " ")
    free = run(tmp_path / "free", two, sharing=("soft",), pull=0.0, alone=False).summary["arms"][1]
    assert distance["soft"]["end"] < 0.8 * free["distance"]["end"]


def test_tasks_on_data_of_their_own(tmp_path: Path):
    images, labels = arrays(missing=0.0)
    data = {"digit": (images[:140], labels["digit"][:140]), "odd": (images[140:], labels["odd"][140:])}
    for per in ("batch", "sample"):
        found = run(tmp_path / per, data, sampling="round_robin", per=per, alone=False)
        assert found.summary["data"]["sources"] == {"digit": 140, "odd": 100}
        assert found.summary["apart"] is None
        assert found.summary["inference"]["apart"] is None
        assert found.summary["arms"][0]["delta_m"] is None
    same = {name: (images[:140], labels[name][:140]) for name in data}
    found = run(tmp_path / "same", same, sampling="sqrt", alone=False, epochs=1)
    assert found.summary["data"]["sources"] == {"digit+odd": 140}
    assert any("--sampling sqrt had nothing to choose between" in text for text in found.summary["warnings"])


def table(place: Path, rows: int = 60) -> Path:
    """A table of labels with pictures beside it."""
    found = load_digits()
    place.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(rows):
        Image.fromarray((found.images[number] * 15).astype(np.uint8)).save(place / f"{number}.png")
        digit = int(found.target[number])
        lines.append(
            {"path": f"{number}.png", "odd": ("no", "yes")[digit % 2], "size": digit, "low": ("no", "yes")[int(digit < 5)]}
        )
    with (place / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    return place / "labels.csv"


def test_from_the_command_line_with_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = table(tmp_path / "data")
    lines = path.read_text().splitlines()
    lines[3] = "2.png,,,yes"
    path.write_text("\n".join(lines) + "\n")
    words = [
        "--epochs",
        "1",
        "--no-alone",
        "--backbone",
        "embedded",
        "--out",
        str(tmp_path / "run"),
        "--json",
        "--device",
        "cpu",
    ]
    assert main(["multitask", str(path), "--tasks", "odd", "size:number", *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["kind"]) for one in summary["tasks"]] == [("odd", "yes_no"), ("size", "number")]
    assert summary["data"]["num_images"] == 59
    assert any(note.startswith("1 image of 60 was left out") for note in summary["data"]["notes"])
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "thumbnails.npz").exists()
    assert summary["reproduce"].startswith("headstart multitask ")
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"main": "colour"}, "--main colour is none of the tasks"),
        ({"weighting": ("gradnrm",)}, "did you mean gradnorm"),
        ({"sharing": ("hard", "soften")}, "'soften' is unknown"),
        ({"shared": 1}, "add --sharing partly, soft or cross_stitch"),
        ({"sharing": ("partly",)}, "needs --shared N"),
        ({"stitch": ("fc1",)}, "units are part of --sharing cross_stitch"),
        ({"sharing": ("cross_stitch",), "stitch": ("nowhere",)}, "--stitch nowhere"),
        ({"sharing": ("soft",), "shared": 40}, "the last cannot be shared"),
        ({"sharing": ("soft",), "pull": 300.0}, r"pull 300: at a rate of 0.05 .* it must be below 27.1"),
        ({"weighting": ("schedule",)}, "needs --task-weights"),
        ({"weighting": ("schedule",), "task_weights": ("digit=1 / (epoch - 1)",)}, "(?s)digit.*zero"),
        ({"weighting": ("schedule",), "task_weights": ("digit=1 - epoch",)}, "negative"),
        ({"weighting": ("schedule",), "task_weights": ("digits=2",)}, "did you mean 'digit'"),
        ({"weighting": ("schedule",), "task_weights": ("digit=import os",)}, "digit"),
        ({"task_weights": ("digit=much",)}, "a number is needed"),
        ({"task_weights": ("colour=2",)}, "'colour' is no task"),
        ({"weighting": ("dwa",), "task_weights": ("digit=2",)}, "go with --weighting sum or schedule"),
        ({"weighting": ("dwa",), "settings": ("temperatur=3",)}, "did you mean temperature"),
        ({"task_weights": ("digit=nan",)}, "not a finite number"),
        ({"task_weights": ("odd=-3",)}, "not a finite number"),
        ({"weighting": ("gradnorm",), "settings": ("rate=-1",)}, "rate=-1.0 must be a positive number"),
        ({"weighting": ("dwa", "gradnorm"), "settings": ("alpha=1", "tau=3")}, "'tau' is unknown"),
        ({"normalise": True}, "--normalise scales"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch_size": 1}, "--batch-size 1"),
        ({"seeds": 0}, "--seeds 0"),
        ({"test_fraction": 0.7, "validation_fraction": 0.4}, "leave nothing to learn from"),
        ({"tasks": ("digit",)}, "--tasks digit: there is one task only; headstart adapt learns one task"),
        ({"sampling": "sqrt"}, "--sampling sqrt is a choice between data sets, and there is one only; leave it out"),
        ({"per": "batch", "sampling": "round_robin"}, "(?s)--sampling round_robin is.*--per batch is"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(settings: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises((ConfigError, DataError), match=said):
        run(tmp_path / "run", **settings)
    assert not list(tmp_path.glob("run/work/runs/*"))


def test_one_task_only_is_said_before_the_table_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = table(tmp_path / "data", 6)
    path.write_text(path.read_text() + "gone.png,,,\n")
    assert main(["multitask", str(path), "--tasks", "odd", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "--tasks odd: there is one task only" in said
    assert "gone.png" not in said
    lone = (arrays(20)[0], {"digit": arrays(20)[1]["digit"]})
    with pytest.raises(ConfigError, match="one task only, digit"):
        run(tmp_path / "lone", lone)


def test_faults_of_a_table_come_together_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = table(tmp_path / "data", 30)
    lines = path.read_text().splitlines()
    lines[4] = "3.png,no,three,yes"
    lines[7] = "gone.png,yes,1,yes"
    lines[9] = "8.png,,,"
    path.write_text("\n".join(lines) + "\n")
    assert main(["multitask", str(path), "--tasks", "odd", "size:number", "low", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("three", "line 5", "gone.png", "line 8", "line 10")), said


def test_peak_memory_sees_what_was_in_use_inside():
    with PeakMemory("cpu") as seen:
        held = torch.ones(40_000_000)
        del held
    assert seen.bytes is None or seen.bytes > 100_000_000


def test_a_way_that_ends_in_no_number_is_left_out_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from headstart.balance.dwa import DynamicWeightAverage

    usual = DynamicWeightAverage.backward

    def breaking(self: Any, losses: Any, groups: Any, step: int) -> Any:
        return usual(self, {name: loss * float("nan") if step > 3 else loss for name, loss in losses.items()}, groups, step)

    monkeypatch.setattr(DynamicWeightAverage, "backward", breaking)
    found = run(tmp_path / "run", weighting=("sum", "dwa"), alone=False)
    assert [arm["name"] for arm in found.summary["arms"]] == ["sum"]
    assert any("dwa was left out" in text for text in found.summary["warnings"])
    with pytest.raises(TrainingError, match="dwa: "):
        run(tmp_path / "alone", weighting=("dwa",), alone=False)


def test_a_table_per_task_with_the_column_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one, other = table(tmp_path / "one", 40), table(tmp_path / "other", 30)
    words = [
        "--tasks",
        "parity=odd",
        "small=low",
        "--epochs",
        "1",
        "--no-alone",
        "--backbone",
        "embedded",
        "--device",
        "cpu",
    ]
    assert main(["multitask", str(one), str(other), *words, "--out", str(tmp_path / "run"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [(task["name"], task["classes"]) for task in summary["tasks"]] == [
        ("parity", ["no", "yes"]),
        ("small", ["no", "yes"]),
    ]
    wrong = ["--tasks", "parity=odd:number", "small=nothing"]
    assert main(["multitask", str(one), str(other), *wrong, "--out", str(tmp_path / "wrong")]) == 2
    said = capsys.readouterr().err
    assert "every task is about classes" in said
    assert "'nothing'" in said


def test_each_of_several_weightings_takes_what_is_its_own(tmp_path: Path):
    weights = {"task_weights": ("digit=1 - t / 2",), "settings": ("alpha=1", "temperature=3")}
    found = run(tmp_path / "run", weighting=("sum", "schedule", "dwa", "gradnorm", "dwa"), alone=False, epochs=1, **weights)
    settings = {arm["name"]: arm["settings"] for arm in found.summary["arms"]}
    assert list(settings) == ["sum", "schedule", "dwa", "gradnorm"]
    assert settings["dwa"]["temperature"] == 3
    assert settings["gradnorm"]["alpha"] == 1
    assert settings["schedule"]["schedule"]["digit"] == "1 - t / 2"
    more = {arm["name"]: arm["flops"]["training"] - arm["flops"]["parts"]["samples"] for arm in found.summary["arms"]}
    # Every task's gradient by the last shared block, through its own head; the others take one backward pass a step.
    by_hand = 2 * found.summary["data"]["learned_from"] * (4 * 24 * 16 + 16 * (10 + 2 + 1 + 2))
    assert more == {"sum": 0, "schedule": 0, "dwa": 0, "gradnorm": pytest.approx(by_hand)}
