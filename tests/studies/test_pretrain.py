"""The pretraining job: what it reads, judges, keeps, resumes and refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart
from headstart.catalog.pretrain import PretrainConfig, check_settings
from headstart.cli.main import main
from headstart.engine.interrupt import STOP
from headstart.engine.model import Model
from headstart.errors import ConfigError, DataError, Interrupted, ModelFileError, NonFiniteLoss
from headstart.jobs import run_pretrain
from headstart.nets.build import build
from headstart.nets.cost import block_flops
from headstart.strategies.pretrain import PRETRAIN
from headstart.studies.pretrain import PretrainResult
from headstart.studies.pretrain_watch import Remark
from tests.conftest import images, make_image_task, random_states
from tests.engine.engine_toys import differing, resnet, state
from tests.studies.pretrain_toys import ABOUT, COUNT, arrays, flipped, run


@pytest.fixture(autouse=True)
def _not_stopped():
    yield
    STOP.requested = False


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    return run(tmp_path_factory.mktemp("pretrain") / "run")


def test_it_is_judged_while_it_learns(done: PretrainResult):
    summary = done.summary
    assert [look["epoch"] for look in summary["looks"]] == [1, 2, 3, 4]
    for look in summary["looks"]:
        assert look["chance"] == pytest.approx(math.log(2))
        assert look["of_chance"] == pytest.approx(look["loss"] / math.log(2))
        probes = {name for name in look if name.startswith("probe ")}
        assert probes == {"probe stem", "probe layer1_0", "probe layer2_0", "probe pool"}
        assert {"knn", "spread", "rank", "uniformity", "alignment"} <= set(look)
        assert 0 <= look["knn"] <= 1
        assert look["rank"] >= 1
    assert summary["start"]["knn"] == pytest.approx(summary["start"]["knn"])
    assert summary["end"]["epoch"] == 4
    assert len(summary["losses"]) == 4
    assert [stage["name"] for stage in summary["stages"]] == ["flipped"]
    images, epochs = summary["data"]["parts"]["pool"], summary["method"]["settings"]["school"]["epochs"]
    assert summary["method"]["renderings"] == images * epochs, "one view"
    assert summary["method"]["view_passes"] == round(ABOUT.passes * images * epochs)


def test_parts_are_set_aside_and_told(done: PretrainResult):
    parts = done.summary["data"]["parts"]
    assert parts["pool"] + parts["held"] + parts["test"] == COUNT
    assert parts["labelled"] == parts["pool"]
    assert done.summary["verdict"]["why"].startswith("there is no verdict: --budget 0")


def test_the_result_is_a_backbone_for_other_commands(done: PretrainResult, tmp_path: Path):
    model = Model.load(done.folder)
    assert model.card.head == ""
    assert not model.net.heads
    assert differing(state(model.net), state(resnet()))
    assert model.card.ancestors[-1].strategy == "pretrained by flipped"
    assert "without a head" in (done.folder / "model" / "MODEL_CARD.md").read_text()
    result = headstart.adapt(
        arrays(), str(done.folder), out=tmp_path / "adapted", budget="1s", strategies=("probe",), device="cpu", folds=2
    )
    adapted = Model.load(result.folder)
    assert [one.strategy for one in adapted.card.ancestors][-2] == "pretrained by flipped"
    assert len(adapted.classes) == 3


def test_a_backbone_answers_nothing_and_says_so(done: PretrainResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = Model.load(done.folder)
    for ask in (model.predict, model.probabilities, model.answered):
        with pytest.raises(ModelFileError, match="has not learned to answer anything yet"):
            ask(np.zeros((1, 12, 12, 3), np.uint8))
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / "one.png")
    assert main(["predict", str(done.folder), str(tmp_path / "one.png")]) == 2
    assert "headstart adapt LABELLED_IMAGES --backbone" in capsys.readouterr().err


def test_the_pictures_are_of_own_images_under_the_views(done: PretrainResult):
    with np.load(done.folder / "report_data" / "renderings.npz") as found:
        assert found["one"].dtype == np.uint8
        assert found["one"].ndim == 3
    assert done.summary["method"]["views"] == {"one": "shift(0.125) flip(0.5)"}


def test_looking_changes_no_weight_and_the_seed_decides(done: PretrainResult, tmp_path: Path):
    torch.manual_seed(3)
    before = random_states()
    blind = run(tmp_path / "blind", looks=0)
    assert random_states() == before
    assert not differing(state(Model.load(blind.folder).net), state(Model.load(done.folder).net))
    assert blind.summary["looks"] == []
    other = run(tmp_path / "other", looks=0, seed=1)
    assert differing(state(Model.load(other.folder).net), state(Model.load(done.folder).net))


def test_stopped_it_goes_on_to_the_same_bits(done: PretrainResult, tmp_path: Path):
    seen = 0

    def listen(line: dict[str, Any]) -> None:
        nonlocal seen
        seen += line["event"] == "tick" and line.get("what") == "flipped"
        if seen == 9:
            STOP.requested = True

    config = PretrainConfig("tuple", tmp_path / "run", method="flipped", device="cpu", budget="0", looks=4)
    how: dict[str, Any] = {"data": arrays(), "backbone": resnet(), "method": (flipped, ABOUT)}
    with pytest.raises(Interrupted):
        run_pretrain(config, listeners=(listen,), **how)
    STOP.requested = False
    assert not (tmp_path / "run" / "summary.json").exists()
    result = run(tmp_path / "run", resume=True)
    assert not differing(state(Model.load(result.folder).net), state(Model.load(done.folder).net))
    times = {"seconds", "looks", "end", "sentences", "pretraining_seconds", "looking_seconds", "seconds_by_phase"}
    timeless = [{k: v for k, v in one.summary.items() if k not in {*times, "saved", "reproduce"}} for one in (result, done)]
    assert timeless[0] == timeless[1]
    for mine, theirs in zip(result.summary["looks"], done.summary["looks"], strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


def test_without_labels_there_is_no_verdict_and_the_rest_is_told(tmp_path: Path):
    result = run(tmp_path / "run", arrays(labelled=False), budget="1m")
    assert result.summary["data"]["parts"] == {"pool": COUNT, "labelled": 0, "held": 0, "test": 0}
    look = result.summary["looks"][-1]
    assert {"spread", "rank", "uniformity", "alignment", "chance"} <= set(look)
    assert "knn" not in look
    assert "the images have no labels" in result.summary["verdict"]["why"]
    ignored = run(tmp_path / "ignored", labels=False, budget="1m")
    assert "--no-labels" in ignored.summary["verdict"]["why"]
    assert ignored.summary["data"]["parts"]["pool"] == COUNT


def test_a_loss_that_is_no_number_leaves_the_last_good_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from headstart.studies import pretrain as job

    plain = job.Machine
    monkeypatch.setattr(job, "Machine", lambda **how: plain(checkpoint_every=0.0, **how))
    with pytest.raises(NonFiniteLoss, match="--start trained --backbone") as told:
        run(tmp_path / "run", settings=("poison=true",))
    place = tmp_path / "run" / "work" / "last_good"
    assert str(place) in str(told.value)
    net = Model.load(place).net
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
    assert differing(state(net), state(resnet()))


def test_it_can_go_on_from_trained_weights(done: PretrainResult, tmp_path: Path):
    result = run(tmp_path / "more", backbone=str(done.folder), start="trained", epochs=1, looks=1)
    assert [one.strategy for one in Model.load(result.folder).card.ancestors][-2:] == ["pretrained by flipped"] * 2
    fresh = run(tmp_path / "fresh", backbone=str(done.folder), epochs=1, looks=1)
    assert result.summary["start"]["rank"] != fresh.summary["start"]["rank"]
    assert fresh.summary["backbone"]["start"] == "random"
    (text,) = [one for one in fresh.summary["warnings"] if one.startswith("--start random")]
    assert f"all weights of {done.folder} are drawn anew" in text
    assert not any(one.startswith("--start random") for one in (*result.summary["warnings"], *done.summary["warnings"]))
    assert "all its weights drawn anew, learned from" in fresh.summary["sentences"][0]
    assert "drawn anew" not in result.summary["sentences"][0]


def test_what_chunks_mean_for_batch_normalisation_is_said_by_the_run(tmp_path: Path):
    result = run(tmp_path / "run", None, "simclr", epochs=1, looks=0, batch_size=16, settings=("chunk=8",))
    assert any("batch normalisation in" in text and "chunks of 8" in text for text in result.summary["warnings"])
    logged = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "warning" and "chunks of 8" in line["text"] for line in logged) == 1


def test_clusterings_are_one_training_that_is_looked_at_as_often_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from headstart.engine.run_folder import RunFolder

    compared: list[tuple[Any, ...]] = []

    def worse(*seen: Any) -> list[Remark]:
        compared.append(seen)
        return [Remark("warning", "worse", "worse than before")]

    monkeypatch.setattr("headstart.studies.pretrain.worse", worse)
    memos: list[str] = []
    monkeypatch.setattr(RunFolder, "clean", lambda self: memos.extend(one.name for one in self.work.rglob("memo-*")))
    result = run(tmp_path / "run", None, "deepcluster", epochs=4, looks=2, batch_size=16, settings=("clusters=4",))
    assert len(memos) == 4, "the first clustering too is kept with the run"
    ((first, last, held),) = compared
    assert (first["knn"], last.epoch, held) == (result.summary["start"]["knn"], 4, result.summary["data"]["parts"]["held"])
    assert "worse than before" in result.summary["warnings"]
    assert [(one["stage"], one["epoch"], one["epochs"]) for one in result.summary["looks"]] == [
        ("clusters", 2, 4),
        ("clusters", 4, 4),
    ]
    assert [one["name"] for one in result.summary["stages"]] == [f"clusters{n}" for n in (1, 2, 3, 4)]
    notes = (result.folder / "log.jsonl").read_text()
    assert "clusters, epoch 2 of 4" in notes
    assert "left" in notes
    assert result.summary["method"]["renderings"] == 4 * result.summary["data"]["parts"]["pool"]


def test_weights_are_drawn_anew_from_the_seed(tmp_path: Path):
    given = resnet()
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.fill_(0.5)
    result = run(tmp_path / "run", backbone=given, lr=1e-6, epochs=1, looks=0)
    net = Model.load(result.folder).net
    assert all(float(parameter.detach().std()) > 0 for parameter in net.parameters() if parameter.ndim > 1)
    assert torch.equal(next(given.parameters()), torch.full_like(next(given.parameters()), 0.5))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"method": "simclear"}, ConfigError, "--method 'simclear' is unknown"),
        ({"epochs": 0, "lr": -1.0, "looks": -1}, ConfigError, "--epochs 0 must be at least 1"),
        ({"settings": ("posion=true",)}, ConfigError, "did you mean poison"),
        ({"views": "crop(2.0) spin()"}, ConfigError, "--views"),
        ({"batch_size": 90}, DataError, "too few for batches of 90"),
        ({"start": "trained"}, ConfigError, "--start trained goes on from a network's weights"),
        ({"budget": "soon"}, ConfigError, "is not a time"),
        ({"against": "timm:no_such_net", "budget": "1m"}, headstart.BackboneError, "no_such_net"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_is_said_before_training(settings: dict[str, Any], error: Any, words: str, tmp_path: Path):
    settings = {"epochs": 1, "looks": 0, **settings}
    with pytest.raises(error, match=words):
        run(tmp_path / "run", **settings)


def test_labels_are_asked_for_where_they_are_learned_from(tmp_path: Path):
    for method in ("supervised", "greedy"):
        with pytest.raises(ConfigError, match="learns from labels, and these images have none"):
            run(tmp_path / method, arrays(labelled=False), method, batch_size=16)
    assert not (tmp_path / "greedy").exists()


def test_a_network_nothing_has_trained_cannot_go_on(tmp_path: Path):
    with pytest.raises(ConfigError, match="has weights drawn at random"):
        run(tmp_path / "run", backbone="headstart:resnet8", start="trained", size=12)


def test_own_views_replace_those_of_the_method(tmp_path: Path):
    result = run(tmp_path / "run", views="flip(1.0)", epochs=1, looks=0)
    assert result.summary["method"]["views"] == {"one": "flip(1.0)"}


def test_names_of_methods_are_checked_by_name():
    with pytest.raises(ConfigError, match="did you mean greedy"):
        check_settings(PretrainConfig("x", method="greddy"))


@pytest.mark.parametrize("method", ["supervised", "greedy"])
def test_methods_by_name_on_the_command_line(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pixels, labels = arrays(60)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "photos" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    words = ["pretrain", str(tmp_path / "photos"), "--method", method, "--backbone", "headstart:resnet8", "--size", "8"]
    words += [
        "--epochs",
        "1",
        "--batch-size",
        "12",
        "--budget",
        "0",
        "--looks",
        "1",
        "--out",
        str(tmp_path / "pre"),
        "--json",
    ]
    words += ["--settings", "together=1", "renderings=1"] if method == "greedy" else []
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["method"]["labels"] is True
    assert len(summary["stages"]) == (1 if method == "supervised" else 5)
    net = build(tmp_path / "pre" / "model")
    assert net.block_names == ["stem", "layer1_0", "layer2_0", "layer3_0", "pool"]
    each, images = block_flops(net), summary["data"]["parts"]["pool"]
    learning = 3 * sum(each.values()) * (1 if method == "supervised" else 2)  # greedily each block once, then all together
    assert summary["method"]["renderings"] == images * len(summary["stages"]), "each block, and all together, for an epoch"
    frozen = sum(each[name] for name in net.block_names[:3]) if method == "greedy" else 0
    counted = sum(stage["flops"] for stage in summary["stages"])
    assert counted == pytest.approx(2 * images * (learning + frozen), rel=0.01)
    assert (tmp_path / "pre" / "report.html").exists()


class Photos(torch.utils.data.Dataset[tuple[Any, int]]):
    """Images of noise, some of them wider than high."""

    def __init__(self, sizes: list[tuple[int, int]]):
        draw = np.random.default_rng(0)
        self.images = [draw.integers(0, 255, (high, wide, 3)).astype(np.uint8) for wide, high in sizes]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place: int):
        return Image.fromarray(self.images[place]), place % 2


def oblong(count: int) -> Photos:
    return Photos([(20, 12) if place < count else (12, 12) for place in range(80)])


def test_cropped_to_squares_images_can_be_turned(tmp_path: Path):
    found = run(tmp_path / "run", oblong(80), "rotation", fit="crop", epochs=1, batch_size=16, looks=0)
    assert found.summary["method"]["name"] == "rotation"


@pytest.mark.parametrize("method", ["cpc", "mae", "amdim"])
def test_the_network_that_a_refusal_names_is_taken(method: str, tmp_path: Path):
    pixels, size = images(8, 3, 32)[0], 32
    with pytest.raises(ConfigError) as refused:
        run(tmp_path / "run", pixels, method, batch_size=2, size=size, backbone="headstart:resnet8")
    (named,) = set(re.findall(r"--backbone ([\w:]+)", str(refused.value)))
    net = build(named, size=size, pretrained=False)
    assert next(PRETRAIN[method](net, make_image_task(8, size=size))).name == method


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("cpc", {}, "batch normalisation"),
        ("mae", {}, "transformer"),
        ("rotation", {"fit": "pad", "data": "wide"}, "80 images are not square.*padded to squares.*--fit crop"),
        ("rotation", {"data": "one wide"}, "1 image is not square.*squeezed to squares.*--fit crop"),
        ("greedy", {"data": "one wide", "settings": ("objective=rotation",)}, "1 image is not square"),
        ("jigsaw", {}, "px"),
        ("swav", {"settings": ("prototypes=0",)}, "prototypes=0"),
        ("byol", {"batch_size": 16, "settings": ("momentum=2",)}, "momentum=2"),
        ("simclr", {"views": "crop(0.2, 1.0, size=8) | crop(0.2, 1.0)"}, "view 'one' is cropped to 8 px.* shown 12 px"),
        ("swav", {"settings": ("local=2",), "views": "crop(size=8) | crop"}, "view 'one' is cropped to 8 px"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_methods_that_cannot_do_as_asked_say_so_and_leave_nothing(
    method: str, settings: dict[str, Any], words: str, tmp_path: Path
):
    used: dict[str, Any] = {"batch_size": 16, **settings}
    if data := used.pop("data", None):
        used["data"] = oblong(80 if data == "wide" else 1)
    with pytest.raises((ConfigError, DataError), match=words):
        run(tmp_path / "run", used.pop("data", None), method, **used)
    assert not (tmp_path / "run").exists()
