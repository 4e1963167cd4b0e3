"""A model for several questions as one file: an output per question, each as `predict` gives it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from headstart.catalog.asked import parse_tasks
from headstart.catalog.device import BenchConfig, ExportConfig
from headstart.data.labelled import prepare_labelled
from headstart.data.labelled_sources import open_labelled
from headstart.data.task import UNKNOWN
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.multi_answers import Question, values_of
from headstart.errors import BackboneError, ConfigError
from headstart.export import export as job
from headstart.export.bench import bench
from headstart.export.calls import export_model
from headstart.export.deployed import facts_of
from headstart.export.export import Exported, export
from headstart.export.runners import open_runner
from headstart.export.task_parity import task_loss, task_parity
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.nets.towers import add_tower, towers
from tests.conftest import images
from tests.export.conftest import needs_onnx
from tests.export.toys import CLASSES, SIZE

# One is called like the file's input, one like an operator of the graph.
TASKS = (
    {"name": "kind", "head": "kind", "classes": list(CLASSES), "kind": "classes"},
    {"name": "relu", "head": "relu", "classes": ["no", "yes"], "kind": "yes_no"},
    {"name": "marks", "head": "marks", "classes": ["dot", "bar"], "kind": "several"},
    {"name": "images", "head": "images", "classes": [], "kind": "number"},
)
OUTPUTS = ["kind", "relu", "marks", "images_answer"]


def model(stitch: tuple[str, ...] | None = None) -> Model:
    """Four heads drawn at random, on one backbone, or with `stitch` on towers."""
    names = [str(one["name"]) for one in TASKS]
    with forked(0):
        net: Net = cifar_resnet(8, 8, SIZE)
        net = net if stitch is None else towers(net, names, shared=1, stitch=stitch, start="fresh")
        for one in TASKS:
            head = net.add_head(str(one["name"]), max(1, len(one["classes"])), kind=one["kind"])  # type: ignore[arg-type]
            nn.init.normal_(head.linear.weight)
            if one["kind"] == "number":
                head.learn_unit(torch.tensor([30.0, 50.0]))
    made = (Ancestor("toy", "sum", "table", "abc"),)
    return Model(net.eval(), Card("kind", CLASSES, "squash", made, "0.1.0", None, "multitask", TASKS))


@pytest.fixture(scope="module")
def given() -> Model:
    return model()


@pytest.fixture(scope="module")
def run(given: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the model and the table that it was, so to say, taught from; some answers unknown."""
    root = tmp_path_factory.mktemp("multi")
    pixels, labels = images(80, 3, SIZE, 5)
    (root / "photos").mkdir()
    with (root / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "sort", "relu", "dot", "bar", "images"])
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            Image.fromarray(picture).save(root / "photos" / f"{number}.png")
            yes = "" if number % 5 == 0 else ("no", "yes")[label % 2]
            dots = [("no", "yes")[number // k % 2] for k in (1, 2)]
            writer.writerow([f"photos/{number}.png", CLASSES[label], yes, *dots, f"{20 + number / 7:.3f}"])
    given.save(root / "run" / "model")
    words = ["kind=sort", "relu", "marks=dot+bar", "images"]
    shares = {"fit": "squash", "test_fraction": 0.25, "validation_fraction": 0.15}
    config = {"command": "multitask", "data": [str(root / "table.csv")], "tasks": words, "images": shares, "seed": 3}
    (root / "run" / "config.json").write_text(json.dumps(config))
    return root / "run"


@pytest.fixture(scope="module")
def written(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(ExportConfig(run, to="torch-export", out=tmp_path_factory.mktemp("pt2") / "a.pt2"))


def expected(given: Model, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    return list(values_of(given.net, given.card.questions, pixels).values())


def test_the_file_says_what_predict_says(given: Model, written: Exported, pixels: NDArray[np.uint8]) -> None:
    runner = open_runner(written.path)
    assert runner.facts.tasks == given.card.questions
    assert list(runner.facts.outputs) == OUTPUTS
    for count in (1, 5):
        for mine, theirs in zip(runner.answer(pixels[:count]), expected(given, pixels[:count]), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def aside(run: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int64]:
    """Rows that `headstart multitask` would test on."""
    source = open_labelled(run.parent / "table.csv", parse_tasks(["kind=sort", "relu", "marks=dot+bar", "images"]))
    data = prepare_labelled(source, size=SIZE, cache=tmp_path_factory.mktemp("aside"))
    return data.split(3, val_fraction=0.15, test_fraction=0.25).test


def test_it_is_checked_on_the_images_that_its_run_set_aside(run: Path, written: Exported, aside: NDArray[np.int64]) -> None:
    assert (written.parity.images, written.parity.where) == (len(aside), str(run.parent / "table.csv"))
    assert written.parity.holds
    said = str(written)
    assert "relu: float32 [batch, 2], probabilities; yes or no" in said
    assert "images_answer: float32 [batch]; a number" in said
    json.dumps(written.summary)
    assert written.summary["outputs"] == OUTPUTS
    alone = facts_of(Model(model().net, Card("kind", CLASSES, "squash", (), "0")), "x")
    assert written.facts.flops - alone.flops == 2 * 32 * (2 + 2 + 1)
    assert written.facts.parameters - alone.parameters == 33 * (2 + 2 + 1)


@needs_onnx
@pytest.mark.parametrize("stitch", [None, pytest.param(("layer2_0", "pool"), marks=pytest.mark.slow)])
def test_onnx_has_an_output_by_name_for_every_question(
    stitch: tuple[str, ...] | None, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    import onnxruntime

    given = model(stitch)
    made = export_model(given, out=tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == OUTPUTS
    assert [one.shape for one in session.get_outputs()] == [["batch", 3], ["batch", 2], ["batch", 2], ["batch"]]
    names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert names == {one["name"]: one["classes"] for one in TASKS}
    for mine, theirs in zip(session.run(OUTPUTS, {"images": pixels}), expected(given, pixels), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch-export", pytest.param("onnx", marks=needs_onnx)])
@pytest.mark.parametrize("stitch", [(), ("layer2_0",)], ids=["soft", "cross-stitch"])
def test_towers_are_exported_too(stitch: tuple[str, ...], kind: Any, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    """On a shared lower block; a tower that was added afterwards is one like the others."""
    given = model(stitch)
    add_tower(given.net, "late", "marks")
    head = given.net.add_head("late", 3)
    with forked(2):
        nn.init.normal_(head.linear.weight)
    late = {"name": "late", "head": "late", "classes": ["x", "y", "z"], "kind": "classes"}
    given = Model(given.net, replace(given.card, tasks=(*given.card.tasks, late)))
    made = export_model(given, kind, out=tmp_path / ("a.onnx" if kind == "onnx" else "a.pt2"))
    for mine, theirs in zip(open_runner(made.path).answer(pixels), expected(given, pixels), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_onnx
def test_int8_keeps_every_head_and_tells_what_each_question_loses(run: Path, tmp_path: Path) -> None:
    import onnx

    config = ExportConfig(run, quantize="int8", out=tmp_path / "a.onnx", max_loss=0.9)
    found = export(config)
    assert found.loss is not None
    costs = {one["task"]: one for one in found.summary["int8"]["tasks"]}
    assert list(costs) == [one["name"] for one in TASKS]
    assert costs["kind"]["measure"] == "accuracy"
    assert costs["kind"]["lost"] == pytest.approx(costs["kind"]["before"] - costs["kind"]["after"])
    assert found.loss.lost == max(one["lost"] for one in costs.values())
    graph = onnx.load(str(found.path)).graph
    heavy = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
    plain = {one.name for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    assert sum(bool(plain & set(node.input)) for node in heavy) == len(TASKS)
    with pytest.raises(ConfigError, match=r"int8 is not written: int8 on \d+ images loses: kind"):
        export(ExportConfig(run, quantize="int8", out=tmp_path / "b.onnx", max_loss=0.0))


def test_an_answer_that_differs_is_not_kept(given: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that computes one head's unit a little otherwise."""
    plain = job.traced

    def off(deployed: Any, name: str) -> Any:
        deployed.net.head("images").spread.mul_(1.01)
        return plain(deployed, name)

    monkeypatch.setattr(job, "traced", off)
    with pytest.raises(BackboneError, match=r"images by .* \(of "):
        export_model(given, "torch-export", out=tmp_path / "a.pt2")
    assert not (tmp_path / "a.pt2").exists()


def test_bench_measures_every_question(run: Path, written: Exported, aside: NDArray[np.int64], tmp_path: Path) -> None:
    config = BenchConfig((run, written.path), images=str(run.parent / "table.csv"), seconds=0.2, out=tmp_path / "bench")
    found = bench(config)
    first, second = found.summary["models"]
    assert found.summary["images"] == len(aside)
    assert [one["measure"] for one in first["tasks"]] == [
        "accuracy",
        "balanced_accuracy",
        "average_precision",
        "mean_absolute_error",
    ]
    for one, other in zip(first["tasks"], second["tasks"], strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-4)
        assert one["agreement"] is None
        assert other["agreement"] == (None if one["kind"] == "number" else 1.0)
    assert second["accuracy"] is None
    assert "balanced accuracy" in str(found)


def test_bench_on_images_without_labels_compares_answers(run: Path, written: Exported, tmp_path: Path) -> None:
    photos = str(run.parent / "photos")
    found = bench(BenchConfig((run, written.path), images=photos, seconds=0.2, limit=9, out=tmp_path / "bench"))
    tasks = found.summary["models"][1]["tasks"]
    assert [(one["value"], one["agreement"]) for one in tasks] == [(None, 1.0)] * 3 + [(None, None)]


def test_models_of_one_and_of_several_questions_are_compared_by_costs(
    run: Path, saved: Path, album: Path, tmp_path: Path
) -> None:
    found = bench(BenchConfig((saved, run), images=str(album), seconds=0.2, limit=9, out=tmp_path / "bench"))
    assert any("one question and others several" in one for one in found.summary["warnings"])
    with pytest.raises(ConfigError, match="answers one question, and the images are a table"):
        bench(BenchConfig((saved, run), images=str(run.parent / "table.csv"), out=tmp_path / "other"))


QUESTIONS = (
    Question("a", "a", ("x", "y"), "classes"),
    Question("b", "b", ("p", "q"), "several"),
    Question("c", "c", (), "number"),
)


def test_parity_looks_at_every_question() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    numbers = np.array([1000.0, 1010.0], np.float32)
    before = (p, p, numbers)
    assert task_parity(QUESTIONS, before, before, None).holds
    sure = np.array([[1 - 1e-6, 1e-6], [0.2, 0.8]], np.float32)
    almost = np.array([[1 - 3e-6, 3e-6], [0.2, 0.8]], np.float32)
    for place, (ours, theirs) in enumerate([(sure, almost), (p, p + 0.02), (numbers, numbers + 0.1)]):
        one, other = list(before), list(before)
        one[place], other[place] = ours, theirs
        found = task_parity(QUESTIONS, tuple(one), tuple(other), "here")
        assert not found.holds
        assert [gap.holds for gap in found.tasks] == [n != place for n in range(3)]
    assert not task_parity(QUESTIONS, before, (p, p * np.nan, numbers), None).holds


def test_losses_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], np.float32)
    q = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], np.float32)
    n = np.array([0.0, 2.0, 0.0, 2.0], np.float32)
    blind = task_loss(QUESTIONS, (p, p, n), (q, q, n + 0.5), None)
    assert [one.lost for one in blind.tasks] == pytest.approx([0.25, 0.25, 0.5])
    truths = {"a": np.array([0, 1, 0, UNKNOWN]), "c": np.array([0, 2, np.nan, 2], np.float32)}
    told = task_loss(QUESTIONS, (p, p, n), (q, q, n + 0.5), truths)
    assert (told.tasks[0].before, told.tasks[0].after) == (1.0, pytest.approx(2 / 3))
    assert (told.tasks[2].before, told.tasks[2].after) == (0.0, 0.5)
