"""What is said while a backbone learns: only what the looks tell, once, and the same after a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.engine.log import RunLog, read_lines
from headstart.studies.pretrain_watch import (
    Look,
    Watch,
    best_probe,
    left,
    looks_of,
    progress,
    remarks,
    slope,
    standing,
    worse,
)

LN4 = math.log(4)


def look(epoch: int, loss: float = 1.0, epochs: int = 50, **numbers: float) -> Look:
    chance = numbers.pop("chance", LN4)
    return Look("rotation", epoch, epochs, numbers.pop("seconds", 6.0 * epoch), loss, chance, numbers)


def keys(*looks: Look) -> list[str]:
    return [one.key for one in remarks(looks)]


def test_nothing_is_wrong_with_a_training_that_goes_well():
    good = [look(n, 1.3 - n / 100, knn=0.3 + n / 200, spread=0.8, rank=20.0) for n in range(5, 51, 5)]
    assert not any(remarks(good[: n + 1]) for n in range(len(good)))


@pytest.mark.parametrize(("numbers", "words"), [({"spread": 0.001, "rank": 30.0}, "same"), ({"rank": 1.1}, "direction")])
def test_collapse_is_said(numbers: dict[str, float], words: str):
    found = remarks([look(3, **{"spread": 0.9, **numbers})])
    assert [one.key for one in found] == ["collapse"]
    assert words in found[0].text
    assert found[0].text.startswith("collapsed")


def test_a_loss_at_chance_is_said_of_epochs_that_began_after_a_fifth_of_the_training():
    assert keys(look(10, LN4)) == []
    assert keys(look(11, LN4)) == ["chance"]
    assert keys(look(11, 0.9 * LN4)) == []
    assert keys(look(1, LN4, epochs=4)) == [], "a mean over the first epoch is one over the warm-up"
    assert keys(look(1, LN4, epochs=1)) == ["chance"], "there is no later one"
    assert keys(Look("x", 10, 50, 1.0, LN4, None, {})) == []


def test_what_is_over_at_the_end_of_its_stage_stands_no_longer():
    assert standing([look(11, LN4), look(50, 0.8)]) == set()
    other = Look("again", 2, 2, 1.0, LN4, LN4, {"rank": 1.1})
    assert standing([look(11, LN4), look(50, LN4), other]) == {
        ("rotation", "chance"),
        ("again", "collapse"),
        ("again", "chance"),
    }


def test_features_that_end_worse_than_they_began_are_told():
    def said(before: float, after: float, held: int) -> list[str]:
        return [one.text for one in worse({"knn": before}, look(50, knn=after), held)]

    (text,) = said(0.423, 0.269, 26)
    assert "ends at 26.9% and began at 42.3% on 26 held-out images; 26 images are too few to be sure" in text
    (sure,) = said(0.423, 0.269, 500)
    assert "too few" not in sure
    assert said(0.423, 0.5, 500) == []
    assert said(0.423, 0.422, 500) == [], "less than what another 500 images would change"
    assert list(worse({}, look(50, knn=0.1), 500)) == []


def test_a_training_of_several_stages_is_looked_at_as_one():
    lines = [
        {"event": "epoch", "stage": f"clusters{n + 1}", "epoch": 1, "before": n, "of": 50, "at": 2.0 * (n + 1), "loss": 3.0,
         "knn": 0.2 + 0.01 * n}
        for n in range(9)
    ]  # fmt: skip
    looks = looks_of(lines)
    assert {one.stage for one in looks} == {"clusters"}
    assert [one.epoch for one in looks] == list(range(1, 10))
    assert slope(looks) == pytest.approx(0.3)
    assert left(looks, 0.0) == pytest.approx(2.0 * 41)
    assert "clusters, epoch 9 of 50" in progress(looks).text


def test_a_plateau_is_said_when_neither_loss_nor_neighbours_gain():
    early = [look(n, 1.2 - n / 50, knn=0.3 + n / 100) for n in range(2, 21, 2)]
    flat = [look(n, 0.81, knn=0.5) for n in range(22, 33, 2)]
    assert keys(*early, *flat) == ["plateau"]
    better = [look(n, 0.81, knn=0.4 + n / 200) for n in range(22, 33, 2)]
    assert keys(*early, *better) == []
    assert keys(*early, *(look(n, 1.2 - n / 50, knn=0.5) for n in range(22, 33, 2))) == []
    without = [Look(one.stage, one.epoch, 50, one.seconds, one.loss, None, {}) for one in (*early, *flat)]
    assert "the loss has not" in remarks(without)[0].text


def test_the_slope_is_of_accuracy_per_minute():
    rising = [look(n, knn=0.2 + 0.01 * n, seconds=30.0 * n) for n in range(1, 9)]
    assert slope(rising) == pytest.approx(0.02)
    assert slope(rising[:2]) is None
    assert slope([look(n) for n in range(1, 9)]) is None


def test_time_left_is_that_of_the_stage():
    looks = [look(n, seconds=100.0 + 10.0 * n) for n in (5, 10)]
    assert left(looks, 100.0) == pytest.approx(400.0)


def test_whether_going_on_pays_is_said():
    rising = [look(n, knn=0.2 + 0.01 * n, seconds=30.0 * n) for n in range(1, 9)]
    assert "+2.00 points a minute: going on pays" in progress(rising).text
    flat = [look(n, knn=0.3 + 1e-5 * n, seconds=30.0 * n) for n in range(1, 9)]
    assert "going on brings little" in progress(flat).text
    done = [look(n, epochs=8, knn=0.2 + 0.01 * n, seconds=30.0 * n) for n in range(1, 9)]
    assert "half as long again would probably pay" in progress(done).text
    assert "left" not in progress(done).text


def test_a_slope_within_the_noise_is_called_that():
    noisy = [look(n, knn=0.3 + 0.02 * (n % 2), seconds=30.0 * n) for n in range(1, 12)]
    assert "which is within the noise" in progress(noisy).text
    assert "pays" not in progress(noisy).text


def test_the_best_probe_is_the_deepest_of_equals():
    assert best_probe({"probe a": 0.4, "probe b": 0.5, "probe c": 0.5, "knn": 0.9}) == ("c", 0.5)
    assert best_probe({"knn": 0.9}) is None


def told(path: Path, epochs: range) -> None:
    log = RunLog(path)
    watch = Watch(lambda: RunLog(path))
    for epoch in epochs:
        line: dict[str, Any] = {"stage": "s", "epoch": epoch, "of": 20, "at": 1.0 * epoch, "loss": LN4, "chance": LN4}
        watch.heard({"event": "epoch", **line, "spread": 0.001, "rank": 3.0, "probe stem": 0.5})
        log.event("epoch", **line, spread=0.001, rank=3.0)


def test_each_warning_is_said_once_and_a_run_that_goes_on_says_no_more(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    told(path, range(1, 11))
    told(path, range(11, 21))
    warned = [line["key"] for line in read_lines(path) if line["event"] == "warning"]
    assert sorted(warned) == ["chance", "collapse", "plateau"]
    assert sum(line["event"] == "note" for line in read_lines(path)) == 20


def test_epochs_without_a_look_and_numbers_of_others_are_left_alone(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    Watch(lambda: RunLog(path)).heard({"event": "epoch", "stage": "s", "epoch": 1, "loss": 1.0})
    assert not path.exists()
    lines = [{"event": "epoch", "stage": "s", "epoch": 1, "of": 2, "at": 0.5, "loss": 1.0, "lr": 0.1, "knn": 0.25}]
    (found,) = looks_of(json.loads(json.dumps(lines)))
    assert found.numbers == {"knn": 0.25}
    assert found.chance is None
    assert np.isclose(found.share, 0.5)
