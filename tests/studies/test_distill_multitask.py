"""A small network learns every question of a big one from a table of labels, or one of them like any classifier."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart
from headstart.catalog.distill import DistillJobConfig
from headstart.data.labelled import prepare_labelled
from headstart.data.labelled_sources import open_labelled
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import values_of
from headstart.errors import ConfigError, DataError
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet, mlp
from headstart.report import render
from headstart.studies.distill import distill
from headstart.studies.table_run import of_card

TASKS = (
    {"name": "kind", "head": "kind", "classes": ["c", "a", "b"], "kind": "classes"},
    {"name": "odd", "head": "odd", "classes": ["no", "yes"], "kind": "yes_no"},
    {"name": "marks", "head": "marks", "classes": ["dot", "bar"], "kind": "several"},
    {"name": "size", "head": "size", "classes": [], "kind": "number"},
)
FAST: dict[str, Any] = {"epochs": 2, "seeds": 2, "batch_size": 32, "mirror": False, "views": 0, "device": "cpu"}


def vectors(seed: int, count: int = 160) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def teacher() -> Model:
    with forked(3), torch.no_grad():
        net = mlp(6, (24, 20))
        features = net.run(torch.from_numpy(vectors(8)))[net.last]
        assert isinstance(features, torch.Tensor)
        for one in TASKS:
            head = net.add_head(str(one["name"]), max(1, len(one["classes"])), kind=one["kind"])  # type: ignore[arg-type]
            torch.nn.init.normal_(head.linear.weight, std=3.0)
            head.linear.bias.copy_(-(features @ head.linear.weight.T).mean(0))
            if one["kind"] == "number":
                head.learn_unit(torch.tensor([3.0, 9.0]))
    made = (Ancestor("toy", "sum", "table", "ab12"),)
    return Model(net.eval(), Card("kind", ("c", "a", "b"), "squash", made, "0", None, "multitask", TASKS))


def table(teacher: Model, *names: str) -> tuple[Any, dict[str, Any]]:
    """What the teacher says about samples, its classes in another order, some unknown; only these questions."""
    x = vectors(8)
    said = values_of(teacher.net, teacher.card.questions, x)
    labels = {
        "kind": [None if n % 3 == 0 else ("c", "a", "b")[k] for n, k in enumerate(said["kind"].argmax(1))],
        "odd": said["odd"].argmax(1) == 1,
        "size": np.where(np.arange(len(x)) % 4 == 1, np.nan, said["size"]).astype(np.float32),
    }
    return x, {name: labels[name] for name in names or labels}


def run(teacher: Model, tmp_path: Path, data: Any, **more: Any) -> Any:
    config = DistillJobConfig("", out=tmp_path / "run", **{**FAST, **more})
    with forked(1):
        student = mlp(6, (12,))
    return distill(config, data=data, teachers=[teacher], student=student)


@pytest.fixture(scope="module")
def done(teacher: Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(teacher, tmp_path_factory.mktemp("taught"), table(teacher), epochs=25)


def test_every_question_is_measured_alone_and_taught(done: Any) -> None:
    summary = json.loads((done.folder / "summary.json").read_text())
    assert [one["name"] for one in summary["tasks"]] == ["kind", "odd", "size"]
    assert [one["measure"] for one in summary["tasks"]] == ["accuracy", "balanced_accuracy", "mean_absolute_error"]
    assert summary["taught_alone"] == ["marks"]
    for one in summary["tasks"]:
        perfect = 0.0 if one["kind"] == "number" else 1.0
        assert one["teacher"]["mean"] == pytest.approx(perfect, abs=1e-5), "the labels are what the teacher says"
        assert one["difference"]["low"] <= one["difference"]["mean"] <= one["difference"]["high"]
    kind, size = summary["tasks"][0], summary["tasks"][2]
    assert kind["distilled"]["mean"] > 0.6
    assert size["known"]["learned_from"] + size["known"]["test"] == 120
    assert summary["gain"]["low"] <= summary["gain"]["mean"] <= summary["gain"]["high"]
    assert any("marks: no label is known" in text for text in summary["warnings"])
    assert "Taught against alone" in str(done)
    assert render(done.folder).is_file()


def test_the_student_answers_all_that_its_teacher_does(done: Any, teacher: Model) -> None:
    made, x = Model.load(done.folder), vectors(9)
    assert [(one.name, one.classes, one.kind) for one in made.card.questions] == [
        (one.name, one.classes, one.kind) for one in teacher.card.questions
    ]
    ours, theirs = (values_of(one.net, one.card.questions, x) for one in (made, teacher))
    assert float((ours["kind"].argmax(1) == theirs["kind"].argmax(1)).mean()) > 0.6
    assert np.corrcoef(ours["size"], theirs["size"])[0, 1] > 0.6
    assert np.corrcoef(ours["marks"][:, 0], theirs["marks"][:, 0])[0, 1] > 0.3, "learned without a single label"


def test_a_second_call_trains_nothing(done: Any, teacher: Model) -> None:
    config = DistillJobConfig("", out=done.folder, resume=True, **{**FAST, "epochs": 25})
    again = distill(config, data=table(teacher), teachers=[teacher])
    assert again.summary["tasks"] == done.summary["tasks"]


def test_one_task_is_distilled_like_any_classifier(teacher: Model, tmp_path: Path) -> None:
    x = vectors(8)
    labels = np.array(["c", "a", "b"])[values_of(teacher.net, teacher.card.questions, x)["kind"].argmax(1)]
    found = run(teacher, tmp_path, (x, labels), task="kind")
    assert found.summary["command"] == "distill"
    assert found.summary["teachers"][0]["test_accuracy"] == pytest.approx(1.0)
    assert Model.load(found.folder).card.questions == ()


@pytest.mark.parametrize(
    ("task", "hint"),
    [("size", "answered with a number"), ("marks", "yes or no to each of dot, bar"), ("cars", "it knows kind, odd")],
)
def test_tasks_that_cannot_be_taught_alone(teacher: Model, tmp_path: Path, task: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        run(teacher, tmp_path, (vectors(8), np.arange(160) % 3), task=task)


def test_what_has_no_meaning_with_several_questions_is_said_together(teacher: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        run(teacher, tmp_path, (vectors(8), np.arange(160) % 3), losses=("hints",), kind="hard", temperature="auto")
    for part in ("--losses is for one question", "--kind hard", "--temperature auto", "give a table of labels"):
        assert part in str(error.value)
    alone = Model(teacher.net, Card("kind", ("c", "a", "b"), "squash", (), "0"))
    with pytest.raises(ConfigError, match="answers one question; leave --task out"):
        run(alone, tmp_path, (vectors(8), np.arange(160) % 3), task="kind")


def test_classes_that_the_teacher_does_not_know_are_named(teacher: Model, tmp_path: Path) -> None:
    x, labels = table(teacher, "kind", "odd")
    with pytest.raises(DataError, match="task 'kind' has classes that the teacher does not answer: z; it knows c, a, b"):
        run(teacher, tmp_path, (x, {**labels, "kind": ["z" if n < 20 else k for n, k in enumerate(labels["kind"])]}))


# --- a teacher that `headstart multitask` trained on pictures larger than the student's ---------------------------------


def pictures(folder: Path, count: int = 60) -> Path:
    """A table of 16 px pictures: fine stripes (lost at 8 px) of three kinds, and how bright one corner is."""
    draw = np.random.default_rng(0)
    lines = ["path,kind,light"]
    for n in range(count):
        light = int(draw.integers(0, 120))
        pixels = draw.normal(100, 30, (16, 16, 3))
        pixels += 60 * np.where(np.arange(16) % (n % 3 + 2) == 0, 1, 0)[None, :, None]
        pixels[:8, :8] += light
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
        lines.append(f"{n}.png,{'abc'[n % 3]},{light}.5")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run of a teacher at 16 px, its images divided by a seed that is not distillation's usual one."""
    folder = tmp_path_factory.mktemp("pictures")
    with forked(2):
        net = cifar_resnet(8, 8, 16)
    how = {"epochs": 3, "batch_size": 16, "alone": False, "seed": 5, "validation_fraction": 0.1, "device": "cpu"}
    return headstart.multitask(str(pictures(folder)), net, out=folder / "run", **how)


def learn_from(data: Any, teacher: Any, out: Path) -> Any:
    with forked(1):
        student = cifar_resnet(8, 4, 8)
    config = DistillJobConfig(str(data), out=out, **{**FAST, "epochs": 1, "seeds": 1, "views": 2})
    return distill(replace(config, teacher=(str(teacher),)), student=student)


def test_the_teacher_is_as_good_as_its_own_run_said(taught: Any, tmp_path: Path) -> None:
    folder = taught.folder
    found = learn_from(folder.parent / "table.csv", folder, tmp_path / "small").summary
    own = next(arm for arm in taught.summary["arms"] if arm["name"] == taught.summary["chosen"])
    for one in found["tasks"]:
        assert one["teacher"]["mean"] == own["measures"][one["name"]][one["measure"]]["mean"], one["name"]
        assert one["known"]["test"] == 12
    assert found["data"]["held_out_by_teacher"] is True
    assert not any("may have seen test images" in text for text in found["warnings"])


def test_of_another_table_only_what_the_teacher_set_aside_is_tested_on(taught: Any, tmp_path: Path) -> None:
    """One question less divides the images otherwise; copies under other names are the same images."""
    folder = taught.folder.parent
    lines = (folder / "table.csv").read_text().splitlines()
    for n in range(60):
        shutil.copy(folder / f"{n}.png", tmp_path / f"copy{n}.png")
    rows = [f"copy{line.rsplit(',', 1)[0]}" for line in lines[1:]]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,kind", *rows]) + "\n")
    found = learn_from(table, taught.folder, tmp_path / "small").summary
    own = next(arm for arm in taught.summary["arms"] if arm["name"] == taught.summary["chosen"])
    (one,) = found["tasks"]
    assert one["teacher"]["mean"] == own["measures"]["kind"]["accuracy"]["mean"]
    assert found["data"]["splits"] == {"train": 48, "test": 12}
    source = open_labelled(folder / "table.csv")
    parts = prepare_labelled(source, size=16, cache=tmp_path / "cache").split(5, val_fraction=0.1)
    learned = [rows[row] for row in parts.train.tolist()]
    table.write_text("\n".join(["path,kind", *learned]) + "\n")
    with pytest.raises(DataError, match=r"the teacher learned from 42 images of .* and set none of them aside"):
        learn_from(table, taught.folder, tmp_path / "none")


def test_a_model_without_its_folder_tells_how_its_images_were_divided(taught: Any) -> None:
    told = of_card(Model.load(taught.folder).card)
    assert (told.seed, told.fractions) == (5, (0.1, 0.2))
