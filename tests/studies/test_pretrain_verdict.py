"""The verdict: what is compared with what, within which time, and that it is not done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart
from headstart.catalog.data_size import WAYS
from headstart.engine.interrupt import STOP
from headstart.errors import Interrupted
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.studies.learners import Answered, Learners, Point
from headstart.studies.pretrain import PretrainResult
from headstart.studies.pretrain_judged import OURS, RANDOM, Unit, cell_of, gap_of
from headstart.studies.pretrain_records import as_text, left_out
from headstart.studies.pretrain_verdict import PROBE, SCRATCH, TUNE, _Jury, label_sizes
from tests.studies.pretrain_toys import run as run_images

CLASSES, FEATURES = 3, 8


def vectors(count: int = 150) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    centres = draw.normal(0, 1.2, (CLASSES, FEATURES))
    return (centres[labels] + draw.normal(0, 1, (count, FEATURES))).astype(np.float32), labels


def net() -> Net:
    with forked(1):
        return mlp(FEATURES, (16, 12))


def run(out: Path, **settings: Any) -> PretrainResult:
    used: dict[str, Any] = {"epochs": 3, "batch_size": 16, "device": "cpu", "budget": "10m", "draws": 2, "looks": 1}
    return headstart.pretrain(vectors(), "supervised", net(), out=out, **{**used, **settings})


@pytest.fixture(scope="module", autouse=True)
def _short():
    """Training as short as it gets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Jury, "_factor", lambda self, units: 0.01)
        yield


@pytest.fixture(autouse=True)
def _not_stopped():
    yield
    STOP.requested = False


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    return run(tmp_path_factory.mktemp("verdict") / "run")


def test_every_network_is_probed_and_fine_tuned_on_few_some_and_all_labels(done: PretrainResult):
    verdict = done.summary["verdict"]
    sizes = [one["images"] for one in verdict["shares"]]
    assert sizes == label_sizes(verdict["labels"], CLASSES)
    assert sizes[-1] == verdict["labels"] == done.summary["data"]["parts"]["labelled"]
    seen = {(one["images"], one["kind"], one["network"]): one for one in verdict["cells"]}
    assert set(seen) == {(size, kind, name) for size in sizes for kind in ("probe", "fine_tune") for name in (OURS, RANDOM)}
    for (size, kind, _), one in seen.items():
        assert one["interval"][0] <= one["accuracy"] <= one["interval"][1]
        assert one["draws"] == (1 if (size, kind) == (sizes[-1], "probe") else 2)
    assert not verdict["left_out"]


def test_differences_are_of_the_same_images_and_say_whether_they_decide(done: PretrainResult):
    verdict = done.summary["verdict"]
    seen = {(one["images"], one["kind"], one["network"]): one["accuracy"] for one in verdict["cells"]}
    assert len(verdict["differences"]) == 6
    for gap in verdict["differences"]:
        mine, theirs = (seen[gap["images"], gap["kind"], name] for name in (OURS, gap["than"]))
        assert gap["mean"] == pytest.approx(mine - theirs)
        assert gap["low"] <= gap["mean"] <= gap["high"]
        assert gap["adjusted_p"] >= gap["p_value"]
        assert {"decided", "detectable"} <= set(gap)


def test_the_text_holds_the_table_and_the_words(done: PretrainResult):
    text = as_text(done.summary)
    assert "this backbone" in text
    assert "(from scratch)" in text
    assert "100% (" in text
    assert f"use it: headstart adapt DATA --backbone {done.folder}" in text


def test_what_does_not_fit_into_the_time_is_left_out_and_named(tmp_path: Path):
    result = run(tmp_path / "run", budget="0.001s")
    verdict = result.summary["verdict"]
    assert {(one["kind"], one["draws"]) for one in verdict["cells"]} == {("probe", 1)}
    assert len({one["images"] for one in verdict["cells"]}) == 1
    assert {one["why"] for one in verdict["left_out"]} == {"no longer fitted into the budget of 0 s"}
    assert "of 1 ms: the first is always done" in as_text(result.summary)
    told = list(left_out(verdict["left_out"]))
    assert any(text.startswith("fine-tuning and training from scratch on 6 labels, draws 1, 2: no longer") for text in told)
    assert all(text in as_text(result.summary).replace("\n", " ") for text in told)


@pytest.mark.slow
def test_runs_that_were_finished_are_not_done_again(done: PretrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    carried: list[str] = []
    plain = Learners._network

    def counted(self: Learners, point: Point) -> Answered:
        carried.append(f"{self.folder.name} {point.key}")
        if len(carried) == 5:
            STOP.requested = True
        return plain(self, point)

    monkeypatch.setattr(Learners, "_network", counted)
    with pytest.raises(Interrupted):
        run(tmp_path / "run")
    STOP.requested = False
    first = list(carried)
    result = run(tmp_path / "run", resume=True)
    assert len(carried) == len(set(carried)) + (len(first) - len(set(first)))
    accuracies = [[one["accuracy"] for one in each.summary["verdict"]["cells"]] for each in (result, done)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.slow
def test_small_images_are_compared_with_the_embedded_network(tmp_path: Path):
    result = run_images(tmp_path / "run", budget="0.001s", epochs=1, looks=0)
    verdict = result.summary["verdict"]
    assert [one["label"] for one in verdict["networks"]] == ["this backbone", "random weights", "embedded"]
    assert {one["network"] for one in verdict["cells"]} == {"pretrained", "random", "against"}


def test_sizes_are_shares_with_two_images_of_every_class():
    assert label_sizes(8000, 10) == [80, 800, 8000]
    assert label_sizes(300, 10) == [20, 30, 300]
    assert label_sizes(20, 10) == [20]


def test_ways_of_the_verdict_are_those_of_other_studies():
    by_name = {way.name: way for way in WAYS}
    assert PROBE.name in by_name
    assert by_name[SCRATCH.name].strategy == SCRATCH.strategy
    assert by_name[TUNE.name].strategy == TUNE.strategy


def answered(point: Point, correct: list[int]) -> Answered:
    return Answered(point, np.array(correct, bool), 0.0, 0.0, 0, 0.0)


def test_draws_that_all_agree_still_have_an_interval():
    point = Point(PROBE, 10, 0)
    seen = {Unit("probe", 10, draw): {OURS: answered(point, [1] * 30)} for draw in range(3)}
    cell = cell_of(seen, "probe", 10, OURS, 0)
    assert cell is not None
    assert cell["accuracy"] == 1.0
    assert cell["interval"][0] < 0.95
    same = np.ones((3, 30))
    assert gap_of(same, same, 0).low < 0 < gap_of(same, same, 0).high


def test_few_draws_that_differ_do_not_leave_what_an_accuracy_can_be():
    """Two draws have one degree of freedom, whose quantile is 12.7 standard errors."""
    point = Point(PROBE, 10, 0)
    seen = {Unit("probe", 10, draw): {OURS: answered(point, [1] * n + [0] * (30 - n))} for draw, n in enumerate((9, 21))}
    cell = cell_of(seen, "probe", 10, OURS, 0)
    assert cell is not None
    assert cell["interval"] == [0.0, 1.0]
