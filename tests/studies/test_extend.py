"""Extending a saved model: in a new process, the old data deleted, again and again; what is measured, refused and kept."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.continual import METHODS, FineTuneConfig
from headstart.catalog.extend import ExtendConfig
from headstart.cli.main import main
from headstart.engine.answering import ALL
from headstart.engine.model import Ancestor, Card, Model
from headstart.errors import ConfigError, DataError, Interrupted
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.studies.extend import ExtendResult, config_class
from headstart.studies.extend import extend as study

SIZE = 8
USED: dict[str, Any] = {"epochs": 2, "batch_size": 16, "mirror": False, "device": "cpu", "lr": 0.05}


def write(place: Path, digits: tuple[int, ...], *, first: int = 0, train: int = 14, test: int = 8, name: str = "{}") -> Path:
    """So many pictures of each digit below train/ and test/."""
    found = load_digits()
    for digit in digits:
        rows = np.flatnonzero(found.target == digit)[first:]
        for number, row in enumerate(rows[: train + test]):
            split = "train" if number < train else "test"
            path = place / split / name.format(digit) / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((found.images[row] * 15).astype(np.uint8)).save(path)
    return place


def fresh() -> Net:
    with forked(1):
        return cifar_resnet(8, 8, SIZE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("digits")
    write(place / "low", (0, 1, 2))
    write(place / "mid", (3, 4, 5))
    write(place / "high", (6, 7))
    write(place / "again", (0, 1, 2), first=30)
    write(place / "all", (0, 1, 2, 3, 4, 5))
    return place


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows 0, 1 and 2, saved as `adapt` saves one: without a past."""
    out = tmp_path_factory.mktemp("base")
    found = headstart.extend(
        fresh(), data / "low", out=out / "first", method="fine_tune", **{**USED, "epochs": 8, "scale": 1.0, "norm": "train"}
    )
    model = Model.load(found.folder)
    card = Card("low", model.classes, "squash", (Ancestor("low", "full", "low", "0"),), "0")
    return Model(model.net, card).save(out / "model")


@pytest.fixture(scope="module")
def result(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> ExtendResult:
    config = ExtendConfig(
        str(base),
        (str(data / "mid"),),
        out=tmp_path_factory.mktemp("runs") / "run",
        old=(str(data / "low"),),
        bounds=True,
        seeds=2,
        **USED,
    )
    return study(config)


def test_five_requirements_are_measured_and_bounds_stand_beside(result: ExtendResult) -> None:
    summary = result.summary
    assert [(arm["name"], arm["role"]) for arm in summary["arms"]] == [
        ("lwf", "method"),
        ("fine_tune", "lower"),
        ("joint", "upper"),
    ]
    for arm in summary["arms"]:
        assert np.array(arm["matrix"], object).shape == (2, 2)
        assert arm["matrix"][0][1] is None
        assert 0 <= arm["new"]["accuracy"]["mean"] <= 1
        assert arm["old"]["change"]["low"] <= arm["old"]["change"]["mean"] <= arm["old"]["change"]["high"]
        assert arm["flops"]["training"] == pytest.approx(sum(arm["flops"]["parts"].values()))
        assert arm["stored"]["bytes"] == sum(arm["stored"][name] for name in ("network", "heads", "state", "memory"))
        assert arm["curves"][-1]["points"][-1]["accuracy"].keys() == {"low", "mid"}
    needed = {arm["name"]: arm["old_data"] for arm in summary["arms"]}
    assert needed["lwf"] == needed["fine_tune"] == {"what": "none", "images": 0, "bytes": 0}
    assert needed["joint"]["bytes"] == 42 * SIZE * SIZE * 3
    assert len(summary["requirements"]) == 5
    pairs = [("lwf", "fine_tune"), ("lwf", "joint"), ("fine_tune", "joint")]
    assert {(gap["a"], gap["b"], gap["what"]) for gap in summary["differences"]} == {
        (*pair, what) for pair in pairs for what in ("new", "old", "average")
    }
    assert "lower bound" in str(result)
    assert json.loads(json.dumps(summary)) == summary


def test_the_command_it_tells_makes_the_same_run_again(result: ExtendResult, tmp_path: Path) -> None:
    words = shlex.split(result.summary["reproduce"])
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main(words[1:]) == 0
    again = json.loads((tmp_path / "again" / "summary.json").read_text())
    for one, other in zip(again["arms"], result.summary["arms"], strict=True):
        assert one["matrix"] == other["matrix"]
        assert one["flops"] == other["flops"]


def _answers(model: Model, folder: Path, **how: Any) -> list[list[str]]:
    return [row.labels for row in model.predict([folder], **how).rows]


@pytest.mark.parametrize(
    ("scenario", "method"),
    [("task", "lwf"), ("class", "replay"), ("domain", "lwf"), ("class", "icarl"), ("task", "packnet"), ("task", "expand")],
)
def test_again_and_again_with_the_old_data_deleted(scenario: str, method: str, base: Path, tmp_path: Path) -> None:
    """Each on the result of the last, read from disk, while nothing of what came before is left."""
    where = str(base)
    if method in ("packnet", "icarl"):  # these have to teach the first task too
        first = write(tmp_path / "low", (0, 1, 2))
        where = str(headstart.extend(fresh(), first, out=tmp_path / "run", scenario=scenario, method=method, **USED).folder)
    sets = [(3, 4, 5), (6, 7)] if scenario != "domain" else [(0, 1, 2), (0, 1, 2)]
    before: list[list[str]] | None = None
    old = write(tmp_path / "old", (0, 1, 2), train=1, test=8) if scenario == "task" else None
    for number, digits in enumerate(sets):
        new = write(tmp_path / f"new{number}", digits, first=30 * number)
        found = headstart.extend(
            where, new, out=tmp_path / f"run{number}", scenario=scenario if not number else None, method=method, **USED
        )
        if Path(where) != base:
            shutil.rmtree(where)
        where = str(found.folder)
        model = Model.load(where)
        assert model.past is not None
        assert len(model.past.tasks) == number + 2
        if old is not None and method in ("packnet", "expand"):  # what these promise of old tasks, to the bit
            said = _answers(model, old, task="low")
            assert before is None or method == "packnet" or said == before
            before = said
        shutil.rmtree(new)
    names = [one.name for one in model.past.tasks]
    assert names == ["low", "new0", "new1"]
    if scenario == "class":
        assert model.classes == ("0", "1", "2", "3", "4", "5", "6", "7")
        assert model.card.head == ALL
        assert model.net.head(ALL).num_classes == 8
    assert len(model.card.ancestors) == 3


def test_task_known_inferred_and_one_list(data: Path, base: Path, tmp_path: Path) -> None:
    found = headstart.extend(base, data / "mid", out=tmp_path / "t", **USED)
    model = Model.load(found.folder)
    known = model.predict([data / "low" / "test"], task="low", top_k=8)
    assert {label for row in known.rows for label in row.labels} == {"0", "1", "2"}
    free = model.predict([data / "low" / "test"])
    assert all(row.tasks is not None and set(row.tasks) <= {"low", "mid"} for row in free.rows)
    assert free.to_csv().startswith("path,task,label_1")
    with pytest.raises(ConfigError, match="it knows low, mid"):
        model.predict([data / "low" / "test"], task="cars")
    listed = headstart.extend(base, data / "mid", out=tmp_path / "c", scenario="class", method="fine_tune", **USED)
    one = Model.load(listed.folder)
    assert len(one.classes) == 6
    assert {label for row in one.predict([data / "mid" / "test"], top_k=6).rows for label in row.labels} == set("012345")
    samples = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    assert np.allclose(one.answered(samples).probabilities, one.probabilities(samples), atol=1e-6)


def test_one_data_set_cut_into_increments(data: Path, tmp_path: Path) -> None:
    found = headstart.extend(
        fresh(), data / "all", out=tmp_path / "run", increments=3, scenario="class", method="derpp", capacity=12, **USED
    )
    tasks = found.summary["tasks"]
    assert [one["classes"] for one in tasks] == [["0", "1"], ["2", "3"], ["4", "5"]]
    arm = found.summary["arms"][0]
    assert arm["forgetting"] is not None
    assert arm["confusion"]["labels"] == list("012345")
    assert np.sum(arm["confusion"]["counts"]) == 48
    assert arm["old_data"]["what"] == "stored samples"
    assert arm["old_data"]["images"] == 12


def test_a_killed_run_goes_on_to_the_same_bits(data: Path, base: Path, tmp_path: Path) -> None:
    def config(name: str, **more: Any) -> ExtendConfig:
        folders = (str(data / "mid"), str(data / "high"))
        return ExtendConfig(str(base), folders, method="ewc", old=(str(data / "low"),), out=tmp_path / name, **USED, **more)

    whole = study(config("whole"))
    seen: list[int] = []

    def stop(line: dict[str, Any]) -> None:
        if line["event"] == "epoch":
            seen.append(1)
            if len(seen) == 3:  # in the second task
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        study(config("cut"), listeners=(stop,))
    resumed = study(config("cut", resume=True))
    for one, other in zip(resumed.summary["arms"], whole.summary["arms"], strict=True):
        assert one["matrix"] == other["matrix"]
    a, b = (Model.load(found.folder) for found in (resumed, whole))
    assert a.past is not None
    assert b.past is not None
    for (name, one), other in zip(a.net.state_dict().items(), b.net.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert repr(a.past.state) == repr(b.past.state)


def test_a_new_process_extends_what_another_one_saved(data: Path, result: ExtendResult, tmp_path: Path) -> None:
    words = ["-m", "headstart", "extend", str(result.folder), str(data / "high"), "--out", str(tmp_path / "run")]
    words += ["--epochs", "1", "--device", "cpu", "--no-mirror", "--json"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [one["name"] for one in summary["tasks"]] == ["low", "mid", "high"]
    assert any("--old" in text for text in summary["warnings"])


def test_every_method_has_its_settings_and_limits() -> None:
    for name, method in METHODS.items():
        assert config_class(name)() is not None
        assert method.limits
        assert method.scenarios


def _refused(model: Any, data: Any, said: str, kind: type[Exception] = ConfigError, **settings: Any) -> None:
    with pytest.raises(kind, match=said):
        headstart.extend(model, data, **{**USED, **settings})


def test_what_cannot_be_is_said_and_the_old_model_is_untouched(data: Path, base: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    out = tmp_path / "run"
    _refused(base, data / "again", "give --scenario domain", DataError, out=out)
    _refused(base, data / "again", "give --scenario domain", DataError, out=out, scenario="class")
    _refused(base, data / "mid", "Domain-incremental tasks ask the same", DataError, out=out, scenario="domain")
    _refused(base, data / "mid", "learns from the old tasks' images again", out=out, method="joint")
    _refused(base, data / "mid", "data of all earlier tasks", out=out, method="ewc")
    _refused(base, data / "mid", "cannot work class-incrementally", out=out, method="new_head", scenario="class")
    _refused(base, data / "mid", "did you mean lwf", out=out, method="lfw")
    _refused(base, data / "mid", "did you mean temperature", out=out, settings=("temprature=2",))
    _refused(base, data / "mid", "the model has learned 1 task: low", out=out, old=[str(data / "low"), str(data / "mid")])
    _refused(base, data / "mid", "is not the data of task", DataError, out=out, old=[str(data / "high")])
    _refused(base, data / "mid", "stays as it is", out=base)
    _refused(base, data / "mid", "what a task is called that the model knows", out=out, names=("low",))
    _refused(base, (np.zeros((20, 5), np.float32), np.arange(20) % 2), "vectors", Exception, out=out)
    _refused(base, data / "mid", "max_bytes|memory", out=out, method="replay", max_memory="1kB")
    _refused(base, data / "mid", "no exemplars of low", out=out, method="icarl", scenario="class")
    _refused(base, [data / "mid", data / "mid"], "known already", DataError, out=out)
    _refused(tmp_path / "nothing", data / "mid", "nothing", Exception, out=out)
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    assert not (out / "model").exists()


def test_class_incrementally_the_list_counts(data: Path, base: Path, tmp_path: Path) -> None:
    """Fine-tuning forgets the list's old half, which heads judged one by one would not show."""
    found = headstart.extend(
        base,
        data / "mid",
        out=tmp_path / "run",
        scenario="class",
        method="fine_tune",
        old=data / "low",
        beside=("feature_extraction",),
        **{**USED, "epochs": 10, "scale": 1.0},
    )
    arm = found.summary["arms"][0]
    lost = arm["agnostic_old"]["change"]["mean"]
    assert lost < -0.5
    assert f"{100 * lost:+.1f}" in str(found)
    assert "accuracies over the one list of all classes" in str(found)
    assert f"{arm['agnostic_old']['after']['mean']:.1%}" in found.summary["requirements"][1]
    assert all(gap["known"] is False for gap in found.summary["differences"])
    page = (found.folder / "report.html").read_text()
    assert "one list of all classes" in page


def test_what_was_given_from_python_stays_as_it_was(data: Path, base: Path, tmp_path: Path) -> None:
    listed = headstart.extend(base, data / "mid", out=tmp_path / "c", scenario="class", method="fine_tune", **USED)
    model, samples = Model.load(listed.folder), np.zeros((2, SIZE, SIZE, 3), np.uint8)
    before = model.probabilities(samples)
    headstart.extend(model, data / "high", out=tmp_path / "more", method="fine_tune", **USED)
    assert np.array_equal(model.probabilities(samples), before)
    net = fresh()
    net.add_head("mine", 2)
    headstart.extend(net, data / "high", out=tmp_path / "net", method="fine_tune", **USED)
    assert list(net.heads) == ["mine"]


def test_a_list_of_means_is_made_anew_or_goes(data: Path, tmp_path: Path) -> None:
    """Another method after iCaRL answers by its own heads, all classes, the new ones too."""
    how: dict[str, Any] = {**USED, "epochs": 6, "norm": "train", "scale": 1.0}
    first = headstart.extend(
        fresh(), [data / "low", data / "mid"], out=tmp_path / "i", scenario="class", method="icarl", capacity=30, **how
    )
    arm = first.summary["arms"][0]
    assert arm["matrix"][-1][0]["mean"] > arm["agnostic"][-1][0]["mean"] - 1e-9  # told the task, its classifier is no worse
    more = headstart.extend(first.folder, data / "high", out=tmp_path / "f", method="fine_tune", **how)
    model = Model.load(more.folder)
    assert model.past is not None
    assert model.past.one_list is None
    assert model.past.memory is None
    assert any("keeps no samples" in text for text in more.summary["warnings"])
    assert len(model.classes) == model.net.head(ALL).num_classes == 8
    assert more.summary["arms"][0]["new"]["agnostic"]["mean"] > 0.5


def test_importances_that_are_lacking_are_found_when_the_old_data_are_given(data: Path, base: Path, tmp_path: Path) -> None:
    old = [data / "low"]
    a = headstart.extend(base, data / "mid", out=tmp_path / "a", method="ewc", old=old, **USED)
    assert a.summary["arms"][0]["old_data"]["what"] == "old data"
    b = headstart.extend(a.folder, data / "high", out=tmp_path / "b", method="lwf", **USED)
    write(tmp_path / "nine", (8, 9))
    with pytest.raises(ConfigError, match="'high'"):
        headstart.extend(b.folder, tmp_path / "nine", out=tmp_path / "c", method="ewc", **USED)
    old = [data / "low", data / "mid", data / "high"]
    c = headstart.extend(b.folder, tmp_path / "nine", out=tmp_path / "c", method="ewc", old=old, **USED)
    assert Model.load(c.folder).past.state["ewc"]["tasks"] == ["low", "mid", "high", "nine"]  # type: ignore[union-attr]


def test_an_increment_sees_no_image_of_another(data: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    original = headstart.CONTINUAL["fine_tune"]

    def watched(net: Any, task: Any, cfg: Any = None, *, past: Any) -> Any:
        seen.append(len(task.store))
        return original(net, task, cfg, past=past)

    watched.__annotations__ = original.__annotations__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(headstart.CONTINUAL, "fine_tune", watched)
        patch.setattr("headstart.studies.extend.config_class", lambda name: FineTuneConfig)
        headstart.extend(fresh(), data / "all", out=tmp_path / "run", increments=2, method="fine_tune", **USED)
    assert set(seen) == {16, 42}  # some in a rehearsal; three digits, fourteen pictures each


def test_work_not_done_is_not_counted(data: Path, base: Path, tmp_path: Path) -> None:
    def trained(name: str, **more: Any) -> float:
        found = headstart.extend(base, data / "mid", out=tmp_path / name, method="fine_tune", **{**USED, **more})
        return float(found.summary["arms"][0]["flops"]["parts"]["samples"])

    whole = trained("whole", epochs=30)
    early = trained("early", epochs=30, settings=("patience=1",))
    assert early < 0.8 * whole


def test_bounds_start_from_the_same_warm_up(result: ExtendResult) -> None:
    stages = {arm["name"]: [one["stage"] for one in arm["curves"]] for arm in result.summary["arms"]}
    assert all(names[0] == "warm_up" for names in stages.values())
