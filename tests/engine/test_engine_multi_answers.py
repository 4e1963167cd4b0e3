"""A model for several questions answers all of them in one pass, each in its own kind."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import Question
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.towers import towers
from tests.engine.engine_toys import perceptron

TASKS = (
    {"name": "digit", "head": "digit", "classes": ["0", "1", "2"], "kind": "classes"},
    {"name": "odd", "head": "odd", "classes": ["no", "yes"], "kind": "yes_no"},
    {"name": "marks", "head": "marks", "classes": ["dot", "bar"], "kind": "several"},
    {"name": "ink", "head": "ink", "classes": [], "kind": "number"},
)
NAMES = [one["name"] for one in TASKS]


def with_heads(net: Net) -> Net:
    with forked(7):
        for one in TASKS:
            head = net.add_head(str(one["name"]), max(1, len(one["classes"])), kind=one["kind"])  # type: ignore[arg-type]
            torch.nn.init.normal_(head.linear.weight)
            torch.nn.init.normal_(head.linear.bias)
            if one["kind"] == "number":
                head.offset.fill_(40.0)
                head.spread.fill_(5.0)
            else:
                head.calibration.copy_(torch.tensor([0.8, 0.1]))
    return net.eval()


def model(net: Net | None = None) -> Model:
    made = with_heads(perceptron() if net is None else net)
    card = Card("digit", ("0", "1", "2"), "pad", (Ancestor("toy", "sum", "table", "ab"),), "0", None, "multitask", TASKS)
    return Model(made, card)


def samples(count: int = 9) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(count, 6)).astype(np.float32)


def logits(net: Net, head: str, x: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.no_grad():
        found: NDArray[np.float64] = net(torch.from_numpy(x), head).double().numpy()
    return found


STITCHED = {"shared": 1, "stitch": ("layer1",)}


@pytest.mark.parametrize("how", [None, {"shared": 1}, STITCHED])
def test_every_question_is_answered_in_its_kind(how: dict[str, object] | None) -> None:
    given = model(None if how is None else towers(perceptron(), NAMES, **how))  # type: ignore[arg-type]
    x = samples()
    rows = given.predict(x, top_k=9).rows
    z = {name: logits(given.net, str(name), x) for name in NAMES}
    scaled = {name: 0.8 * z[name] + 0.1 for name in ("digit", "odd", "marks")}
    for number, row in enumerate(rows):
        assert row.answers is not None
        digit, odd, marks, ink = row.answers
        for said, one in ((digit, TASKS[0]), (odd, TASKS[1])):
            e = np.exp(scaled[str(one["name"])][number])
            want = dict(zip(one["classes"], e / e.sum(), strict=True))
            assert said.probabilities == sorted(said.probabilities, reverse=True)
            assert dict(zip(said.labels, said.probabilities, strict=True)) == pytest.approx(want, abs=1e-5)
        yes = 1 / (1 + np.exp(-scaled["marks"][number]))
        assert marks.labels == ["dot", "bar"]
        assert marks.probabilities == pytest.approx(yes, abs=1e-5)
        assert marks.yes == [name for name, p in zip(marks.labels, yes, strict=True) if p > 0.5]
        assert ink.value == pytest.approx(40 + 5 * z["ink"][number, 0], abs=1e-3)
        assert ink.labels == []


def test_one_pass_of_the_backbone_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    given, passes, run = model(), [], Net.run
    monkeypatch.setattr(Net, "run", lambda self, x, **how: (passes.append(len(x)), run(self, x, **how))[1])
    given.predict(samples(5))
    assert passes == [5]


def test_table_json_and_csv_say_the_same() -> None:
    found = model().predict(samples(), top_k=1)
    kept = json.loads(json.dumps(found.to_json()))["predictions"]
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert list(rows[0]) == ["path", "digit", "digit_probability", "odd", "odd_probability", "marks_dot", "marks_bar", "ink"]
    for one, line, said in zip(kept, rows, str(found).splitlines()[1:], strict=True):
        tasks = one["tasks"]
        assert list(tasks) == NAMES
        assert line["digit"] == tasks["digit"]["labels"][0]
        assert float(line["odd_probability"]) == pytest.approx(tasks["odd"]["probabilities"][0], abs=1e-6)
        assert float(line["marks_bar"]) == pytest.approx(tasks["marks"]["probabilities"][1], abs=1e-6)
        assert float(line["ink"]) == pytest.approx(tasks["ink"]["value"], rel=1e-6)
        assert [name for name in ("dot", "bar") if name in said] == tasks["marks"]["yes"]
        assert f"{tasks['digit']['labels'][0]} " in said


def test_only_the_tasks_asked_for_are_answered_in_their_order() -> None:
    found = model().predict(samples(2), task=["ink", "odd"])
    assert [one.task for one in found.rows[0].answers or ()] == ["ink", "odd"]
    assert found.to_csv().splitlines()[0] == "path,ink,odd,odd_probability"
    with pytest.raises(ConfigError, match="'cars' is none that this model answers; it knows digit, odd, marks, ink"):
        model().predict(samples(2), task="cars")


def test_one_question_with_classes_can_be_asked_for_its_probabilities() -> None:
    given, x = model(), samples()
    found = given.answered(x, "odd")
    assert (found.classes, found.tasks) == (("no", "yes"), ("odd", "odd"))
    e = np.exp(0.8 * logits(given.net, "odd", x) + 0.1)
    np.testing.assert_allclose(found.probabilities, e / e.sum(1, keepdims=True), atol=1e-5)
    for name, hint in (("ink", "a number"), ("marks", "yes or no to each of dot, bar")):
        with pytest.raises(ConfigError, match=hint):
            given.answered(x, name)
    with pytest.raises(ConfigError, match=r"say which \(task=\): digit, odd$"):
        given.answered(x)


def test_saved_and_loaded_it_answers_the_same_and_the_card_lists_the_questions(tmp_path: Path) -> None:
    given, x = model(), samples()
    again = Model.load(given.save(tmp_path / "model"))
    assert again.predict(x) == given.predict(x)
    told = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    for line in (
        "Answers 4 questions about an image in one pass:",
        "- `digit` (classes): one of 0, 1, 2",
        "- `odd` (yes/no): yes or no",
        "- `marks` (several): yes or no to each of dot, bar",
        "- `ink` (number): a number",
    ):
        assert line in told


def test_a_model_of_one_task_takes_no_more_than_one() -> None:
    net = perceptron()
    net.add_head("toy", 2)
    one = Model(net, Card("toy", ("no", "yes"), "pad", (), "0"))
    assert one.predict(samples(1), task=["toy"]).rows[0].answers is None
    with pytest.raises(ConfigError, match="tasks toy, more"):
        one.predict(samples(1), task=["toy", "more"])


def test_none_of_several_is_said_so() -> None:
    answer = Question("marks", "marks", ("dot", "bar"), "several").answer(np.array([0.5, 0.2]), 1)
    assert (answer.yes, str(answer)) == ([], "none")
