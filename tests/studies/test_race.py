"""The race: successive halving under a budget, by made-up trials; then a real one, killed, continued and diverging."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.catalog.strategies import FullConfig, PartialConfig, ProbeConfig, Recipe
from headstart.data.splits import folds as make_folds
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import Interrupted, NonFiniteLoss
from headstart.studies.elapsed import Elapsed
from headstart.studies.race import Arm, Race, Standing, Trial
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet
from tests.studies.toys import answers, arm, folds_of

IMAGES = 40


class MadeUp(Race):
    """A race whose trials are taken from a table: arm -> images right on any fold, and the seconds that takes."""

    table: Mapping[str, tuple[float, float]]
    tried: list[tuple[str, int]]

    def _carry_out(self, arm: Arm, fold: int, clock: Elapsed) -> Trial:
        right, seconds = self.table[arm.name]
        self.tried.append((arm.name, fold))
        trial = Trial(arm.name, fold, answers(round(right), IMAGES, fold), seconds, 10)
        self._store(trial)
        return trial


def race(
    table: Mapping[str, tuple[float, float]],
    *,
    frozen: tuple[str, ...] = (),
    folds: int = 5,
    budget: float = 1e6,
    advised: str = "",
    estimate: float = 1.0,
    folder: Path | None = None,
    log: RunLog | None = None,
) -> MadeUp:
    arms = [arm(name, frozen=name in frozen) for name in table]
    task: Any = None
    made = MadeUp(
        resnet(),
        task,
        arms,
        folds_of(folds, IMAGES),
        advised or arms[0].name,
        budget,
        {one.name: estimate for one in arms if not one.frozen},
        folder=folder,
        log=log or RunLog(),
    )
    made.table, made.tried = table, []
    return made


def run(made: MadeUp) -> dict[str, Standing]:
    return {standing.arm.name: standing for standing in made.run()}


EIGHT = {f"arm{n}": (10.0 + 2 * n, 1.0) for n in range(8)}


def test_the_better_half_goes_on_until_two_share_every_fold() -> None:
    made = race(EIGHT, advised="arm7")
    found = run(made)
    assert {name: len(s.trials) for name, s in found.items()} == {
        **{f"arm{n}": 1 for n in range(4)},
        "arm4": 2,
        "arm5": 2,
        "arm6": 5,
        "arm7": 5,
    }
    assert Counter(fold for _, fold in made.tried) == {0: 8, 1: 4, 2: 2, 3: 2, 4: 2}
    assert {name for name, s in found.items() if s.status == "finished"} == {"arm6", "arm7"}
    assert found["arm5"].reason == "in the lower half after fold 2"
    assert found["arm0"].round == 1


def test_the_advised_arm_goes_on_even_as_the_worst() -> None:
    found = run(race(EIGHT, advised="arm0"))
    assert len(found["arm0"].trials) == 5
    assert found["arm0"].status == "finished"
    assert {n for n, s in found.items() if len(s.trials) == 5} == {"arm0", "arm6", "arm7"}


def test_two_arms_are_never_halved() -> None:
    assert all(s.status == "finished" for s in run(race({"a": (10, 1), "b": (40, 1)})).values())


@pytest.mark.parametrize(
    ("frozen", "budget", "trials"),
    # ten trials of two arms take eleven seconds; the frozen arm costs nothing
    [(("p",), 11.0, {"p": 5, "a": 5, "b": 5}), (("p",), 10.0, {"p": 5, "a": 1, "b": 5}), ((), 10.0, {"a": 4, "b": 5})],
)
def test_short_time_is_spent_on_one_finalist_that_has_frozen_rivals(
    frozen: tuple[str, ...], budget: float, trials: dict[str, int]
) -> None:
    table = {"p": (5.0, 0.0), "a": (10.0, 1.1), "b": (30.0, 1.1)}
    found = run(
        race({name: table[name] for name in trials}, frozen=frozen, budget=budget, advised=frozen[0] if frozen else "b")
    )
    assert {name: len(standing.trials) for name, standing in found.items()} == trials


def test_frozen_arms_run_on_every_fold() -> None:
    found = run(race({"probe": (5, 0.1), "svm": (4, 0.1), **EIGHT}, frozen=("probe", "svm"), advised="probe"))
    assert all(len(found[name].trials) == 5 for name in ("probe", "svm"))


def test_slow_frozen_arms_take_half_of_the_time_at_most_save_the_first_and_the_advised_one() -> None:
    frozen = ("probe", "svm", "early")
    table = {"probe": (20.0, 20.0), "svm": (30.0, 20.0), "early": (25.0, 20.0), "full": (35.0, 1.0)}
    found = run(race(table, frozen=frozen, budget=100, advised="early"))
    assert {name: len(found[name].trials) for name in frozen} == {"probe": 5, "svm": 0, "early": 5}
    assert found["svm"].status == "skipped"
    assert "half of the 100 s" in found["svm"].reason


def test_time_ends_the_race_and_says_so() -> None:
    made = race({"a": (10, 10), "b": (20, 10), "c": (30, 10)}, budget=45, estimate=10.0, advised="c")
    found = run(made)
    assert made.spent <= 45
    assert len(made.tried) == 4
    assert found["b"].status == "eliminated"
    assert "fold 3 no longer fitted into the 45 s kept for comparing" in found["c"].reason


def test_the_advised_arm_runs_once_even_when_it_alone_takes_longer() -> None:
    made = race({"a": (10, 1), "b": (20, 500)}, budget=100, advised="b", estimate=500.0)
    found = run(made)
    assert found["b"].trials.keys() == {0}
    assert found["a"].status == "skipped"


def test_estimates_are_corrected_by_what_trials_really_took() -> None:
    """Planned at 1 s each, the first trial takes 40: the second is then expected to take 40 too, and does not fit."""
    made = race({"a": (10, 40), "b": (20, 40)}, budget=50, estimate=1.0)
    assert run(made)["b"].status == "skipped"
    assert made.spent == 40


def test_finished_trials_are_loaded_and_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    first = race(EIGHT, folder=tmp_path / "trials")
    before = run(first)
    again = race(dict.fromkeys(EIGHT, (0, 99.0)), folder=tmp_path / "trials")
    after = run(again)
    assert not again.tried
    assert again.spent == first.spent
    for name, standing in before.items():
        assert (after[name].status, after[name].mean) == (standing.status, standing.mean)
        for fold, trial in standing.trials.items():
            assert np.array_equal(after[name].trials[fold].correct, trial.correct)


def test_a_trial_file_that_cannot_be_read_is_run_again(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"correct": [1, 0]}', json.dumps({"correct": [1], "seconds": 1, "trained": 1})):
        (tmp_path / "arm0-0.json").write_text(content)
        made = race(EIGHT, folder=tmp_path)
        run(made)
        assert ("arm0", 0) in made.tried
        for path in tmp_path.iterdir():
            path.unlink()


tables = st.dictionaries(
    st.sampled_from([f"a{n}" for n in range(9)]),
    st.tuples(st.integers(0, IMAGES), st.floats(0.1, 50)),
    min_size=1,
)


@settings(max_examples=80, deadline=None)
@given(tables, st.integers(1, 5), st.floats(1, 400), st.integers(0, 8), st.integers(0, 3))
def test_what_holds_for_every_race(
    table: dict[str, tuple[int, float]], folds: int, budget: float, advised: int, frozen: int
) -> None:
    names = list(table)
    made = race(
        table, folds=folds, budget=budget, advised=names[advised % len(names)], frozen=tuple(names[:frozen]), estimate=5.0
    )
    found = run(made)
    assert list(found) == names
    assert len(set(made.tried)) == len(made.tried)
    assert any(standing.trials for standing in found.values())
    assert made.spent == pytest.approx(sum(table[name][1] for name, _ in made.tried))
    for standing in found.values():
        ran = len(standing.trials)
        assert sorted(standing.trials) == list(range(ran))
        assert standing.status == ("finished" if ran == folds else "eliminated" if ran else "skipped")
        assert bool(standing.reason) == (ran < folds)
    advised_arm = found[made.advised]
    assert advised_arm.trials
    dropped = [s for s in found.values() if s.reason.startswith("in the lower half")]
    assert advised_arm not in dropped


# ---- real trials


RECIPE = Recipe(epochs=2, batch_size=16, mirror=False)
ARMS = (
    Arm("probe", "probe", ProbeConfig((1e-2,), 2), "Probe", "a probe", frozen=True),
    Arm("full", "full", FullConfig(RECIPE), "Full", "all of it", cost=2.0),
    Arm("top", "partial", PartialConfig(RECIPE, 1), "Top", "the top", cost=1.0),
)


def real(folder: Path | None, arms: tuple[Arm, ...] = ARMS, log: RunLog | None = None) -> Race:
    task = make_image_task(36, size=12)
    folds = list(make_folds(task.targets, None, 2, 0))
    estimate = {one.name: 1.0 for one in arms if not one.frozen}
    machine = Machine(checkpoint_every=0.0)
    return Race(resnet(), task, arms, folds, "probe", 1e6, estimate, machine=machine, folder=folder, log=log or RunLog())


def outcomes(standings: list[Standing]) -> dict[tuple[str, int], list[bool]]:
    return {(s.arm.name, fold): trial.correct.tolist() for s in standings for fold, trial in s.trials.items()}


def stop_when(test: Callable[[Mapping[str, Any]], bool]) -> RunLog:
    """A log that asks to stop, as Ctrl-C would, at the first event that fulfils `test`."""

    def listen(line: Mapping[str, Any]) -> None:
        if test(line):
            STOP.requested = True

    return RunLog(None, (listen,))


def test_a_race_stopped_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = outcomes(real(tmp_path / "whole").run())
    assert len(whole) == 6
    stops: list[Callable[[Mapping[str, Any]], bool]] = [
        lambda line: line["event"] == "trial" and line["arm"] == "probe" and line["fold"] == 1,
        lambda line: line["event"] == "tick" and line.get("arm") == "full" and line["fold"] == 1 and line["done"] == 2,
        lambda line: line["event"] == "trial" and line["arm"] == "top" and line["fold"] == 0,
    ]
    for stop in stops:
        try:
            with pytest.raises(Interrupted):
                real(tmp_path / "parts", log=stop_when(stop)).run()
        finally:
            STOP.requested = False
    assert outcomes(real(tmp_path / "parts").run()) == whole


def test_a_trial_that_was_stopped_costs_the_seconds_before_too(tmp_path: Path) -> None:
    """What an earlier process spent on it is in a file beside its checkpoints."""
    (tmp_path / "probe-0").mkdir()
    (tmp_path / "probe-0" / "seconds.json").write_text('{"trial": 100.0}')
    made = real(tmp_path, ARMS[:1])
    (standing,) = made.run()
    assert standing.trials[0].seconds > 100
    assert standing.trials[1].seconds < 100
    assert made.spent > 100


def test_finished_trials_leave_no_weights_behind(tmp_path: Path) -> None:
    """Fifteen arms on five folds of a network of 100 MB would fill a disk."""
    real(tmp_path).run()
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        f"{name}-{fold}.json" for name in ("probe", "full", "top") for fold in range(2)
    )


WILD = replace(RECIPE, lr=1e30, warmup=0.0, epochs=6)


def test_an_arm_that_diverges_is_dropped_and_the_others_race_on(tmp_path: Path) -> None:
    wild = replace(ARMS[1], config=FullConfig(WILD, scale=1.0))
    events: list[dict[str, Any]] = []
    found = {s.arm.name: s for s in real(tmp_path, (ARMS[0], wild, ARMS[2]), RunLog(None, (events.append,))).run()}
    assert not found["full"].trials
    assert found["full"].status == "diverged"
    assert "loss 'supervised' is" in found["full"].reason
    assert {found["probe"].status, found["top"].status} == {"finished"}
    assert any(line["event"] == "warning" and "Full" in line["text"] for line in events)


def test_a_divergence_is_remembered_with_the_time_it_took(tmp_path: Path) -> None:
    wild = replace(ARMS[1], config=FullConfig(WILD, scale=1.0))
    first = real(tmp_path, (ARMS[0], wild, ARMS[2]))
    before = {s.arm.name: s for s in first.run()}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # no weights of it are left
    ticks: list[dict[str, Any]] = []
    again = real(tmp_path, (ARMS[0], wild, ARMS[2]), RunLog(None, (ticks.append,)))
    after = {s.arm.name: s for s in again.run()}
    assert (after["full"].status, after["full"].reason) == (before["full"].status, before["full"].reason)
    assert not [line for line in ticks if line["event"] == "tick"]
    assert any(line["event"] == "warning" and "Full diverged" in line["text"] for line in ticks)
    assert again.spent == pytest.approx(first.spent)


def test_when_every_arm_diverges_the_race_says_why() -> None:
    wild = replace(ARMS[1], config=FullConfig(WILD, scale=1.0))
    with pytest.raises(NonFiniteLoss, match=r"(?s)stage 'fine_tune.*step \d+: loss 'supervised' is (nan|inf).*--strategies"):
        real(None, (wild,)).run()


def test_validation_accuracy_is_watched_on_the_first_fold_only_and_changes_nothing() -> None:
    events: list[dict[str, Any]] = []
    real(None, ARMS, RunLog(None, (events.append,))).run()
    looked = {(e["arm"], e["fold"]) for e in events if e["event"] == "epoch" and "valid_accuracy" in e}
    assert looked == {("full", 0), ("top", 0)}
    assert math.isfinite(sum(e["valid_accuracy"] for e in events if "valid_accuracy" in e))
