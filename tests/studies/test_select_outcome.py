"""Who is chosen and what is said about it, from made-up scores and trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headstart.studies.race import Standing
from headstart.studies.scored import Scored
from headstart.studies.selected import (
    MEASURES,
    agreement_records,
    as_text,
    choose,
    disagreements,
    probe_standing,
    sentence_of,
    summarise,
)
from tests.studies.toys import answers, arm, folds_of, standing

FOLDS = folds_of(3, 100)


def scored(name: str, right: int, *, flops: int = 100, **scores: float) -> Scored:
    """A candidate whose probe got so many of 300 images right."""
    correct = answers(right, 300, len(name) + right)
    found = {"probe": right / 300, "size": float(flops), **scores}
    return Scored(
        name=name,
        fingerprint=name,
        parameters=flops,
        bytes=4 * flops,
        flops=flops,
        input_size=32,
        feature_width=8,
        feature_bytes=800,
        seconds={"load": 1.0, "pass": 2.0, "scores": 3.0},
        scores={key: {"value": value, "interval": [value - 0.05, value + 0.05]} for key, value in found.items()},
        why_missing={"leep": "no source classes known"},
        depth=[{"block": "b", "accuracy": right / 300, "interval": [0.1, 0.9]}],
        peak="b",
        correct=correct.astype(int).tolist(),
    )


def raced(name: str, right: Sequence[int]) -> Standing:
    return standing(arm(name), right, images=100, folds=3)


def test_without_a_race_the_probe_chooses() -> None:
    found = choose([scored("a", 150), scored("b", 270), scored("c", 200)], [], FOLDS, 0)
    assert found.order == ["b", "c", "a"]
    assert (found.by, found.decided, found.against) == ("probe", True, "c")
    assert found.differences["c"].mean == pytest.approx(70 / 300)


def test_near_equals_are_not_decided_and_the_cheaper_leads_a_tie() -> None:
    found = choose([scored("a", 200, flops=9), scored("b", 200, flops=3)], [], FOLDS, 0)
    assert found.chosen == "b"
    assert not found.decided


def test_the_race_overrules_the_probe_where_fine_tuning_pays() -> None:
    some = [scored("a", 220), scored("b", 210), scored("c", 100)]
    found = choose(some, [raced("a", [75, 75, 75]), raced("b", [95, 96, 97])], FOLDS, 0)
    assert (found.order, found.by) == (["b", "a", "c"], "race")
    assert found.differences["a"].mean == pytest.approx(0.21)


def test_the_probe_stands_where_fine_tuning_harms() -> None:
    some = [scored("a", 290), scored("b", 270)]
    found = choose(some, [raced("a", [50, 50, 50]), raced("b", [60, 60, 60])], FOLDS, 0)
    assert (found.order, found.by) == (["a", "b"], "probe")


def test_an_early_leaver_is_ranked_by_how_far_it_was_behind() -> None:
    """It fine-tuned well above its probe before it left, so it comes before one that is between the two."""
    some = [scored("a", 200), scored("b", 100), scored("c", 180)]
    found = choose(some, [raced("a", [95, 90, 91]), raced("b", [90])], FOLDS, 0)
    assert found.order == ["a", "b", "c"]


def test_one_that_diverged_keeps_its_probe() -> None:
    some, lost = [scored("a", 280), scored("b", 270)], raced("a", [10])
    lost.status = "diverged"
    found = choose(some, [lost, raced("b", [50, 50, 50])], FOLDS, 0)
    assert found.order == ["a", "b"]


def test_nothing_to_compare_with() -> None:
    found = choose([scored("a", 10)], [], FOLDS, 0)
    assert (found.order, found.decided, found.against) == (["a"], False, None)
    assert "only candidate" in sentence_of(found, {"a": scored("a", 10)})


def test_a_probe_as_trials_is_the_same_answers_fold_by_fold() -> None:
    """Also where folds are interleaved, and where only a validation split is judged."""
    draw = np.random.default_rng(0)
    every = draw.permutation(300)
    mixed = [(np.setdiff1d(every, part), part) for part in np.split(every, 3)]
    one = scored("a", 123)
    right = np.array(one.correct, bool)
    found = probe_standing(one, mixed)
    for (_, valid), trial in zip(mixed, found.trials.values(), strict=True):
        assert (trial.correct == right[valid]).all()
    split = [(np.arange(300), np.arange(300, 600))]
    assert (probe_standing(one, split).trials[0].correct == right).all()


def summary(some: list[Scored], standings: list[Standing]) -> dict[str, Any]:
    choice = choose(some, standings, FOLDS, 0)
    made = summarise(
        choice, some, standings, FOLDS, epochs=4, unavailable=[{"name": "x", "reason": "lost"}], absent={"c": "far"}
    )
    data = {"num_images": 400, "num_classes": 3, "splits": {"train": 300, "test": 100}}
    return {**made, "data": data, "next": "headstart adapt photos --backbone b"}


def test_the_records() -> None:
    some = [scored("a", 220, logme=0.5), scored("b", 210, logme=0.7), scored("c", 100)]
    found = summary(some, [raced("a", [75, 75, 75]), raced("b", [95, 96, 97])])
    assert found["chosen"] == "b"
    assert found["decided"]
    first, second, third = found["candidates"]
    assert [one["rank"] for one in found["candidates"]] == [1, 2, 3]
    assert first["scores"]["probe"]["rank"] == 2
    assert set(first["scores"]) == set(MEASURES)
    assert third["scores"]["logme"] is None
    assert [round["accuracy"] for round in first["race"]["rounds"]] == pytest.approx([0.95, 0.955, 0.96])
    assert first["race"]["rounds"][0] | {"accuracy": 0, "interval": 0} == {
        "images": 200,
        "epochs": 4,
        "accuracy": 0,
        "interval": 0,
    }
    assert second["race"]["status"] == "finished"
    assert (third["race"]["status"], third["race"]["reason"]) == ("not raced", "far")
    assert first["seconds"] == {"load": 1.0, "pass": 2.0, "scores": 3.0, "race": 3.0, "all": 9.0}
    assert found["baselines"] == {"bigger_is_better": "b", "logme": "b", "probe": "a"}
    assert found["comparison"]["against"] == "a"
    assert {measure["name"] for measure in found["measures"]} == {"probe", "logme", "size"}


def test_agreement_and_disagreement() -> None:
    some = [scored("a", 220, logme=0.5), scored("b", 210, logme=0.7), scored("c", 100, logme=0.1)]
    found = summary(some, [raced("a", [75, 75, 75]), raced("b", [95, 96, 97])])
    taus = {(one["a"], one["b"]): one["tau"] for one in agreement_records(found["candidates"])}
    assert taus["probe", "logme"] == pytest.approx(1 / 3)
    assert taus["logme", "race"] == pytest.approx(1)
    assert taus["probe", "race"] == pytest.approx(-1)
    assert ("probe", "size") not in taus
    said = disagreements(found["candidates"])
    assert "LogME prefers b, the probe a: by the probe 3.3 points better." in said
    assert "The race prefers b, the probe a: frozen, a is 3.3 points better." in said


def test_as_text() -> None:
    found = summary([scored("a", 220, logme=0.5), scored("bigger", 210, flops=10**9)], [])
    said = as_text(found)
    assert "2 networks, looked at on the same 300 training images" in said
    assert "could not be used:\n  x: lost" in said
    assert "not decided" in said
    assert said.endswith("headstart adapt photos --backbone b")


def test_an_undecided_sentence_names_what_could_be_told() -> None:
    some = [scored("a", 212, flops=1000), scored("b", 210, flops=100)]
    said = sentence_of(choose(some, [], FOLDS, 0), {one.name: one for one in some})
    assert "it is not decided: b is 0.7 points behind" in said
    assert "the smallest difference these images can show is" in said
    assert "b needs 0.1 of the work per image" in said


def test_equals_are_called_level() -> None:
    some = [scored("a", 210, logme=0.2), scored("b", 210, logme=0.4, flops=900)]
    found = summary(some, [])
    assert "b is level with it" in found["sentence"]
    assert "LogME prefers b, the probe a: by the probe they are level." in found["disagreements"]
    assert "-0.0" not in as_text(found)


def test_who_ran_out_of_time_well_ahead_is_chosen() -> None:
    """Two folds of three, far above everything: the clock must not hand the choice to another one's probe."""
    some = [scored("a", 150), scored("b", 140)]
    found = choose(some, [raced("a", [40, 45, 40]), raced("b", [90, 88])], FOLDS, 0)
    assert (found.chosen, found.by) == ("b", "race")


def test_easy_folds_are_no_merit() -> None:
    """The last fold is hard for everybody; who left before it is not better for that."""
    some = [scored("a", 150), scored("b", 150)]
    for one in some:
        one.correct[:] = [1] * 190 + [0] * 10 + [0] * 100
    found = choose(some, [raced("a", [100, 100, 60]), raced("b", [98, 98])], FOLDS, 0)
    assert found.chosen == "a"
