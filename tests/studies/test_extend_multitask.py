"""A model for several questions learns one more: its questions are the old tasks, and all are answered afterwards."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.continual import METHODS
from headstart.catalog.extend import ExtendConfig
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import values_of
from headstart.engine.past import Past
from headstart.errors import ConfigError
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.nets.towers import towers
from headstart.studies.extend import extend
from headstart.studies.extend_multitask import past_of

TASKS = (
    {"name": "kind", "head": "kind", "classes": ["a", "b", "c"], "kind": "classes"},
    {"name": "odd", "head": "odd", "classes": ["no", "yes"], "kind": "yes_no"},
    {"name": "marks", "head": "marks", "classes": ["dot", "bar"], "kind": "several"},
    {"name": "size", "head": "size", "classes": [], "kind": "number"},
)
FAST: dict[str, Any] = {"epochs": 3, "augment": False, "seed": 1}


def model(*names: str) -> Model:
    """A perceptron with heads drawn at random for the questions named, all of them if none is."""
    tasks = tuple(one for one in TASKS if not names or one["name"] in names)
    with forked(3), torch.no_grad():
        net = mlp(6, (12, 10))
        features = net.run(torch.from_numpy(vectors(8, 200)[0]))[net.last]
        assert isinstance(features, torch.Tensor)
        for one in tasks:
            head = net.add_head(str(one["name"]), max(1, len(one["classes"])), kind=one["kind"])  # type: ignore[arg-type]
            torch.nn.init.normal_(head.linear.weight, std=4.0)
            head.linear.bias.copy_(-(features @ head.linear.weight.T).mean(0))  # every answer is given to some
            if one["kind"] == "number":
                head.learn_unit(torch.tensor([3.0, 9.0]))
    made = (Ancestor("toy", "sum", "table", "ab12"),)
    return Model(net.eval(), Card("kind", ("a", "b", "c"), "squash", made, "0", None, "multitask", tasks))


def vectors(seed: int, count: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def table(given: Model, count: int = 80) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Samples with what the model itself says of them, half of one question unknown."""
    x = vectors(8, count)[0]
    said = values_of(given.net, given.card.questions, x)
    kinds = [None if n % 2 else ("a", "b", "c")[k] for n, k in enumerate(said["kind"].argmax(1))]
    labels = {"kind": kinds, "odd": said["odd"].argmax(1) == 1} if "odd" in said else {"kind": kinds}
    return x, {**labels, **({"size": said["size"]} if "size" in said else {})}


def run(given: Model, tmp_path: Path, method: str = "lwf", **more: Any) -> Any:
    old = more.pop("old", None)
    config = ExtendConfig("", (), out=tmp_path / "run", method=method, names=("left",), **{**FAST, **more})
    return extend(config, model=given, data=[vectors(4)], old=old)


def test_every_question_becomes_an_old_task() -> None:
    past = past_of(ExtendConfig("", ()), model(), "m")
    assert (past.scenario, past.together) == ("task", True)
    assert [(one.name, one.kind, one.classes) for one in past.tasks] == [
        (one["name"], one["kind"], tuple(one["classes"])) for one in TASKS
    ]
    with pytest.raises(ConfigError, match="--scenario class: m answers several questions"):
        past_of(ExtendConfig("", (), scenario="class"), model(), "m")


def test_it_is_kept_with_the_model(tmp_path: Path) -> None:
    past = past_of(ExtendConfig("", ()), model(), "m")
    past.save(tmp_path)
    assert Past.load(tmp_path) == past


def test_old_questions_and_the_new_one_are_answered_together(tmp_path: Path) -> None:
    given = model()
    before = copy.deepcopy(given.net.state_dict())
    found = run(given, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in given.net.state_dict().items())
    made = Model.load(found.folder)
    assert made.card.scenario == "multitask"
    x = vectors(9)[0]
    rows = made.predict(x).rows
    assert [one.kind for one in rows[0].answers or ()] == ["classes", "yes_no", "several", "number", "classes"]
    ours, theirs = values_of(made.net, made.card.questions, x), values_of(given.net, given.card.questions, x)
    for name, values in theirs.items():
        assert 0 < np.abs(ours[name] - values).mean() < 0.25 * max(values.std(), 0.1), name
    assert ours["left"].std(0).max() > 0
    again = extend(
        ExtendConfig("", (), out=tmp_path / "more", method="fine_tune", names=("right",), **FAST),
        model=made,
        data=[(vectors(5)[0], np.array(["up", "down"])[vectors(5)[1]])],
    )
    assert [one.name for one in Model.load(again.folder).card.questions][-2:] == ["left", "right"]


def test_lwf_keeps_numbers_and_several_answers_better_than_fine_tuning(tmp_path: Path) -> None:
    given, x = model(), vectors(4)[0]
    moved = {}
    for method in ("lwf", "fine_tune"):
        kept = run(given, tmp_path / method, method, epochs=20, scale=1.0)
        made = Model.load(kept.folder)
        now, then = (values_of(one.net, given.card.questions, x) for one in (made, given))
        moved[method] = {name: float(np.abs(now[name] - then[name]).mean()) for name in then}
    for name in ("marks", "size", "kind", "odd"):
        assert moved["lwf"][name] < 0.9 * moved["fine_tune"][name], name


@pytest.mark.parametrize("method", ["ewc", "mas", "replay", "der", "derpp", "agem", "joint"])
def test_a_method_that_cannot_keep_a_number_says_so_before_training(method: str, tmp_path: Path) -> None:
    given = model("kind", "odd", "size")
    with pytest.raises(ConfigError, match=r"not size \(a number\). Those that can: fine_tune") as error:
        run(given, tmp_path, method, old=[table(given)])
    assert "lwf" in str(error.value)


def test_with_the_table_old_questions_are_measured(tmp_path: Path) -> None:
    given = model("kind", "odd", "size")
    found = run(given, tmp_path, "feature_extraction", old=[table(given)], bounds=True)
    tasks = {one["name"]: one for one in found.summary["tasks"]}
    assert [tasks[name]["judged"] for name in ("kind", "odd", "size", "left")] == [True, True, False, True]
    assert tasks["kind"]["images"] + tasks["kind"]["test_images"] == 40
    rows = next(one for one in found.summary["arms"] if one["name"] == "feature_extraction")
    assert rows["old"]["after"]["mean"] == 1.0, "the labels are what the model said, and nothing old has changed"
    said = " ".join(found.summary["warnings"])
    assert "what is kept of size is not measured" in said
    assert "joint was left out: it keeps answers that are one class each" in said


@pytest.mark.parametrize("method", ["ewc", "replay", "joint"])
def test_questions_with_one_class_each_are_kept_by_methods_that_ask_for_old_data(method: str, tmp_path: Path) -> None:
    given = model("kind", "odd")
    found = run(given, tmp_path, method, old=[table(given)])
    assert found.summary["arms"][0]["old"]["after"]["mean"] > 0.5
    assert len(Model.load(found.folder).predict(vectors(9)[0]).rows[0].answers or ()) == 3


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give that table first"):
        run(model("kind"), tmp_path, old=[vectors(4)])


# --- a tower per task ------------------------------------------------------------------------------------------------------

TOWERS: dict[str, dict[str, Any]] = {
    "soft": {},
    "partly shared": {"shared": 1},
    "cross-stitch": {"stitch": ("layer0", "layer1")},
}
REFUSED = {
    "packnet": "use all weights",
    "si": "si",
    "icarl": "cannot work task-incrementally",
    "lwf_mc": "cannot work task-incrementally",
    "expand": "has towers, of the tasks kind, odd, left",
}
"""Methods that cannot extend such a model, and what they say."""


def split_model(sharing: str) -> Model:
    """Two towers that differ, with the heads of `model`."""
    given = model("kind", "odd")
    net = towers(given.net, ["kind", "odd"], **TOWERS[sharing])
    with forked(5), torch.no_grad():
        for one in net.blocks.parameters():
            one.add_(0.02 * torch.randn_like(one))
        for name in ("kind", "odd"):
            net.add_head(name, given.net.head(name).num_classes, kind=given.net.head(name).kind)
            net.head(name).linear.load_state_dict(given.net.head(name).linear.state_dict())
    return Model(net.eval(), given.card)


@pytest.mark.parametrize(
    "sharing", ["cross-stitch", *(pytest.param(one, marks=pytest.mark.slow) for one in ("soft", "partly shared"))]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_towers_is_extended_by_every_method_or_says_why_not(method: str, sharing: str, tmp_path: Path) -> None:
    given = split_model(sharing)
    if method in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[method]):
            run(given, tmp_path, method, epochs=1, old=[table(given)])
        assert not (tmp_path / "run" / "model").exists()
        return
    found = run(given, tmp_path, method, epochs=1, old=[table(given)])
    made, x = Model.load(found.folder), vectors(9)[0]
    assert made.net.towers is not None
    assert made.net.towers.tasks == ("kind", "odd", "left")
    ours, theirs = values_of(made.net, made.card.questions, x), values_of(given.net, given.card.questions, x)
    assert set(ours) == {"kind", "odd", "left"}
    assert ours["left"].std(0).max() > 0
    if method in ("new_head", "feature_extraction") or (sharing == "soft" and method == "fine_tune"):
        for name, values in theirs.items():
            assert np.array_equal(ours[name], values), f"{name}: nothing that it is answered by has trained"


def test_the_new_tower_begins_as_the_one_whose_features_suit_it_best(tmp_path: Path) -> None:
    """The new question is about the sum of the first two numbers: the tower of `kind` is blind to them."""
    given = split_model("soft")
    blind = given.net.blocks["layer0"].get_submodule("0.0").get_parameter("weight")
    with torch.no_grad():
        blind[:, :2] = 0.0
    found = run(given, tmp_path, "new_head", epochs=1)
    assert "left: a tower of its own, which begins as a copy of that of odd" in (found.folder / "log.jsonl").read_text()
    for name, value in Model.load(found.folder).net.blocks.named_parameters():
        if name.split(".")[1] == "2":
            assert torch.equal(value, given.net.blocks.get_parameter(name.replace(".2.", ".1.", 1))), name
