"""A small network learns every question of a big one from a table of labels, or one of them like any classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.distill import DistillJobConfig
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import values_of
from headstart.errors import ConfigError, DataError
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.report import render
from headstart.studies.distill import distill

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
