"""Single runs of a study of layers: what is frozen, what is shared, what workers change (nothing), what is kept."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.store import store_of
from headstart.engine.checkpoint import load_state
from headstart.errors import ConfigError, NonFiniteLoss
from headstart.nets.small import convnet8
from headstart.studies import layers_runs, workers
from headstart.studies.layers_plan import Job, Run, cuts_of
from headstart.studies.layers_runs import Half, Setup, carry_out, filters_of, one, right_of, stored_half, write_filters
from headstart.studies.workers import Alone, Clock, OnRay, Outcome, Processes, attempt, outcomes, ray_or_complain
from tests.conftest import images
from tests.studies.layers_toys import net_of_three, run, setup_in


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    made = setup_in(tmp_path)
    for half in "AB":
        carry_out(made, Job((run("base", 0, half),)))
    return made


class Kept:
    """Nets as they were before and after training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: dict[str, torch.Tensor] = {}
        self.after: dict[str, torch.Tensor] = {}
        fit = layers_runs.fit

        def watched(net: Any, *args: Any, **settings: Any) -> Any:
            self.before = {name: value.clone() for name, value in net.state_dict().items()}
            found = fit(net, *args, **settings)
            self.after = {name: value.clone() for name, value in net.state_dict().items()}
            return found

        monkeypatch.setattr(layers_runs, "fit", watched)

    def moved(self) -> set[str]:
        """Blocks whose weights training moved."""
        changed = (name for name in self.before if not torch.equal(self.before[name], self.after[name]))
        return {name.split(".")[1] for name in changed if name.startswith("blocks.")}

    def block(self, name: str) -> dict[str, torch.Tensor]:
        return {key: value for key, value in self.before.items() if key.startswith(f"blocks.{name}.")}


def base(setup: Setup, half: str) -> dict[str, torch.Tensor]:
    return {f"blocks.{name}": value for name, value in load_state(setup.weights(run("base", 0, half)))["net"].items()}


def test_what_is_transferred_and_what_stays(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    drawn: dict[str, dict[str, torch.Tensor]] = {}
    for kind, source in (("selffer", "B"), ("transfer", "A"), ("selffer+", "B"), ("transfer+", "A"), ("random", None)):
        one(setup, run(kind, 2))  # type: ignore[arg-type]
        plus = kind.endswith("+")
        assert kept.moved() == ({"layer0", "layer1", "layer2"} if plus else {"layer2"})
        drawn[kind] = kept.block("layer2")
        for name, value in (kept.block("layer0") | kept.block("layer1")).items():
            same = {half: torch.equal(value, base(setup, half)[name]) for half in "AB"}
            assert same == {"A": source == "A", "B": source == "B"}, (kind, name)
    first = drawn["selffer"]
    assert all(torch.equal(values[name], first[name]) for values in drawn.values() for name in first)
    assert not any(torch.equal(value, base(setup, half)[name]) for name, value in first.items() for half in "AB")


def test_the_base_is_not_drawn_as_the_layers_learned_anew_are(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    one(setup, run("base", 0))
    start = kept.block("layer2")
    one(setup, run("selffer", 1))
    assert not any(torch.equal(value, kept.block("layer2")[name]) for name, value in start.items())


def test_random_layers_are_the_same_at_every_cut(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    one(setup, run("random", 1))
    first = kept.block("layer0")
    one(setup, run("random", 3))
    assert all(torch.equal(value, kept.block("layer0")[name]) for name, value in first.items())


@pytest.mark.parametrize("kind", ["selffer", "transfer", "random"])
def test_shared_activations_give_the_same_bits(
    setup: Setup, kind: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, cache = Kept(monkeypatch), tmp_path / "cache"
    for n in (1, 3):
        found, nets = [], []
        for share in (True, True, False):  # computed, found, not used
            found.append(one(replace(setup, share=share), run(kind, n), cache))
            nets.append(kept.after)
        assert found[0]["right"] == found[1]["right"] == found[2]["right"]
        assert all(torch.equal(nets[0][name], net[name]) for net in nets for name in nets[0])
    assert len(list(cache.glob("prefix-*.npy"))) == 4  # for each cut one of the training and one of the test images


def test_the_eight_layers_share_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, kept = convnet8(8, 4), Kept(monkeypatch)
    (x, y), rows = images(40, 2, 8), np.arange(40)
    half = Half(*(stored_half(tmp_path, store_of(x), rows, y, ("p", "q"), part) for part in ("train", "test")))
    cuts = {cut.n: cut.blocks for cut in cuts_of(net, ())}
    setup = setup_in(tmp_path, network=net.source, cuts=cuts, halves={"like 0 B": half})
    for n in (1, 4, 7):
        one(setup, run("random", n), tmp_path / "cache")
        shared = kept.after
        one(replace(setup, share=False), run("random", n))
        assert all(torch.equal(value, kept.after[name]) for name, value in shared.items()), n


def test_runs_on_fewer_images_use_the_same_cache(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    made, opened = [], layers_runs.fit

    def watched(*args: Any, machine: Any, **settings: Any) -> Any:
        found = opened(*args, machine=machine, **settings)
        made.append(sorted(path.name for path in machine.cache.glob("*.npy")))
        return found

    monkeypatch.setattr(layers_runs, "fit", watched)
    runs = (run("transfer", 2), run("transfer", 2, images=20), run("transfer", 2, images=30))
    records = carry_out(setup, Job(runs))
    assert [record["images"] for record in records] == [50, 20, 30]
    assert [record["epochs"] for record in records] == [2, 4, 4]  # as many steps: 8
    assert [len(names) for names in made] == [1, 2, 2]  # the test images come in after the first training
    assert set(made[0]) < set(made[1])
    assert made[1] == made[2]
    assert not (setup.folder / "cache").exists() or not list((setup.folder / "cache").iterdir())


def test_a_finished_run_is_not_done_again(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job((run("transfer", 1),))
    first = carry_out(setup, job)
    monkeypatch.setattr(layers_runs, "one", None)
    assert carry_out(setup, job) == first
    assert right_of(first[0]).mean() == first[0]["accuracy"]
    setup.record(job.runs[0]).write_text("{", encoding="utf-8")
    assert setup.done(job.runs[0]) is None
    setup.weights(run("base", 0)).unlink()
    assert setup.done(run("base", 0)) is None


def test_filters(setup: Setup, tmp_path: Path) -> None:
    assert filters_of(net_of_three()) is None
    assert not write_filters(setup, run("base", 0), tmp_path / "filters.npz")


# --- workers --------------------------------------------------------------------------------------------------------------


def jobs_of(*runs: Run) -> list[Job]:
    return [Job((one,), () if one.source is None else (run("base", 0, one.source),)) for one in runs]


GRID = jobs_of(
    run("base", 0, "A"), run("base", 0, "B"), run("selffer", 1), run("transfer", 1), run("transfer+", 2), run("random", 3)
)


def ended(setup: Setup, jobs: list[Job], hands: Any) -> dict[Run, str | None]:
    try:
        return {each.job.runs[0]: each.reason for each in outcomes(jobs, hands, (), lambda: None)}
    finally:
        hands.close()


def test_processes_give_the_same_bits_as_this_process_and_may_be_killed(tmp_path: Path) -> None:
    alone, together = setup_in(tmp_path / "alone"), setup_in(tmp_path / "together")
    threads = torch.get_num_threads()
    assert set(ended(alone, GRID, Alone(alone)).values()) == {None}
    assert torch.get_num_threads() == threads
    hands = Processes(together, 1)
    lost = hands._members[0].process
    lost.kill()
    lost.join()
    assert set(ended(together, GRID, hands).values()) == {None}
    assert lost not in [member.process for member in hands._members]
    for job in GRID:
        first, second = alone.done(job.runs[0]), together.done(job.runs[0])
        assert first is not None
        assert second is not None
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    weights = [load_state(each.weights(run("base", 0, "A")))["net"] for each in (alone, together)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not multiprocessing.active_children()


class Scripted:
    """Hands that do nothing: every job ends as `ends` says, in turn."""

    def __init__(self, ends: dict[Run, list[Outcome]]) -> None:
        self.ends, self.now, self.taken = ends, list[Job](), list[Job]()

    def free(self) -> int:
        return 2 - len(self.now)

    def submit(self, job: Job) -> None:
        self.now.append(job)
        self.taken.append(job)

    def wait(self) -> list[Outcome]:
        job = self.now.pop(0)
        script = self.ends.get(job.runs[0], [])
        return [script.pop(0) if script else Outcome(job)]

    def close(self) -> None:
        pass


def test_a_lost_worker_is_replaced_once_and_the_rest_stands() -> None:
    job, base_a = GRID[3], GRID[0]
    once = Scripted({job.runs[0]: [Outcome(job, "gone", died=True)]})
    assert set(ended(None, GRID, once).values()) == {None}  # type: ignore[arg-type]
    assert once.taken.count(job) == 2
    twice = Scripted({job.runs[0]: [Outcome(job, "gone", died=True)] * 2})
    found = ended(None, GRID, twice)  # type: ignore[arg-type]
    assert {one for one, reason in found.items() if reason} == {job.runs[0]}
    broken = Scripted({base_a.runs[0]: [Outcome(base_a, "no")]})
    found = ended(None, GRID, broken)  # type: ignore[arg-type]
    assert {one.name for one, reason in found.items() if reason} == {
        one.runs[0].name for one in GRID if one is base_a or base_a.runs[0] in one.needs
    }
    assert broken.taken.count(base_a) == 1  # what fails of itself fails again
    assert len(found) == len(GRID)


def test_bases_come_before_what_needs_them() -> None:
    hands = Scripted({})
    ended(None, GRID[::-1], hands)  # type: ignore[arg-type]
    for place, job in enumerate(hands.taken):
        assert all(need in [one.runs[0] for one in hands.taken[:place]] for need in job.needs)


def test_a_run_that_fails_says_why(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: Any, **settings: Any) -> Any:
        raise NonFiniteLoss("loss is nan")

    monkeypatch.setattr(workers, "carry_out", explode)
    assert attempt(setup, GRID[0]) == Outcome(GRID[0], "loss is nan")


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_use_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from tests.studies.layers_toys import run, setup_in\n"
        "from headstart.studies.layers_plan import Job\nfrom headstart.studies.workers import Processes, outcomes\n"
        "setup = setup_in(Path(sys.argv[1]))\nhands = Processes(setup, 1)\n"
        "print([o.reason for o in outcomes([Job((run('base', 0, 'A'),))], hands, (), lambda: None)])\nhands.close()\n",
        encoding="utf-8",
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("[None]\n", 0), done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_of_two_processes_gives_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an optional extra")
    alone, together = setup_in(tmp_path / "alone"), setup_in(tmp_path / "together")
    assert set(ended(alone, GRID, Alone(alone)).values()) == {None}
    assert set(ended(together, GRID, OnRay(together, 2)).values()) == {None}
    for job in GRID:
        first, second = alone.done(job.runs[0]), together.done(job.runs[0])
        assert first is not None
        assert second is not None
        assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_ray_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install 'headstart"):
        ray_or_complain()


def test_the_clock() -> None:
    clock = Clock(10.0)
    assert clock.left() is None
    clock.done, clock.began = 10.0, clock.began - 5
    assert clock.left() == 0
