"""Answers kept on disk: the same as live ones, for the recorded samples alone, in bounded memory."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.data.views import PLAIN, Rendering, View, standard_view
from headstart.engine.answer_format import Format, marks
from headstart.engine.inputs import view_seed
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.record import Recorded, record, recordable
from headstart.engine.step import render
from headstart.errors import ConfigError, Interrupted
from headstart.nets.rng import forked
from headstart.strategies.teaching import Shown as TeacherSees
from headstart.terms.teacher import Live
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet, state

FIXED = standard_view(12, draws=3)


def teacher(classes: int = 3, kind: str = "images") -> Live:
    net = resnet() if kind == "images" else perceptron()
    head = net.add_head("toy", classes)
    with forked(3):
        torch.nn.init.normal_(head.linear.weight)
    return Live(net, "toy")


@dataclass
class Shown:
    """One step: which samples of a task, in which rendering."""

    task: Task
    rows: np.ndarray
    how: Rendering

    @property
    def ids(self) -> Tensor:
        return torch.from_numpy(self.rows)

    def rendering(self, view: str = "main") -> Rendering:
        return self.how

    def samples(self, view: str = "main") -> Tensor:
        device = torch.device("cpu")
        return render(self.task.store, self.rows, self.how.view, seed=self.how.seed, draw=self.how.draw, device=device)


def step(task: Task, rows: Any, view: View = PLAIN, *, run_seed: int = 0, draw: int = 0, mixed: bool = False) -> Any:
    seed = 0 if view.is_plain else view_seed(view, run_seed, 0, "main")
    return Shown(task, np.asarray(rows, np.int64), Rendering(view, seed, draw, mixed))


@pytest.mark.parametrize("on_disk", [True, False], ids=["file", "memory"])
def test_plain_float32_equals_live_to_the_bit(on_disk: bool, tmp_path: Path) -> None:
    task, live = make_image_task(40, size=12), teacher()
    kept = record(live, task, PLAIN, run_seed=0, folder=tmp_path if on_disk else None, width=8)
    for rows in np.random.default_rng(0).permutation(40).reshape(5, 8):
        assert torch.equal(kept.logits(step(task, rows)), live.logits(step(task, rows)))
    assert kept.bytes == 40 * (8 + 3 * 4)
    assert bool(list(tmp_path.iterdir())) == on_disk


def test_where_products_round_by_a_samples_place_in_the_batch_it_equals_live_to_rounding() -> None:
    task, live = make_vector_task(40), teacher(kind="vectors")
    kept = record(live, task, PLAIN, run_seed=0, width=8)
    for rows in np.random.default_rng(0).permutation(40).reshape(5, 8):
        assert (kept.logits(step(task, rows)) - live.logits(step(task, rows))).abs().max() < 1e-5


def test_every_rendering_of_a_fixed_view_equals_live_to_the_bit(tmp_path: Path) -> None:
    task, live = make_image_task(16, size=12), teacher()
    kept = record(live, task, FIXED, run_seed=5, folder=tmp_path, width=8)
    seen = []
    for draw in range(3):
        now = step(task, [3, 1, 4, 15, 9, 2, 6, 5], FIXED, run_seed=5, draw=draw)
        assert torch.equal(kept.logits(now), live.logits(now))
        seen.append(kept.logits(now))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_half_precision_is_off_by_half_a_unit_of_its_last_place() -> None:
    task, live = make_image_task(16, size=12), teacher()
    kept = record(live, task, PLAIN, run_seed=0, dtype="float16", width=8)
    exact = live.logits(step(task, range(8)))
    assert (kept.logits(step(task, range(8))) - exact).abs().max() <= 2.0**-11 * exact.abs().max()
    assert kept.bytes < record(live, task, PLAIN, run_seed=0, width=8).bytes


def test_the_largest_and_an_even_rest_are_a_distribution() -> None:
    logits = torch.randn(5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 4
    form = Format(top_k=6)
    packed = form.pack(logits, torch.zeros(5, 3, dtype=torch.uint8))
    got = form.unpack(packed, 40, torch.device("cpu")).double().exp()
    wanted = logits.softmax(1)
    assert torch.allclose(got.sum(1), torch.ones(5, dtype=torch.float64), atol=5e-3)
    for n in range(5):
        order = np.argsort(-logits[n].numpy())
        assert set(packed["classes"][n]) == set(order[:6])
        assert np.allclose(got[n, order[:6]], wanted[n, order[:6]], rtol=5e-3)
        assert np.allclose(got[n, order[6:]], wanted[n, order[6:]].mean(), rtol=1e-4)
    # At another temperature the kept classes keep their ratios.
    soft = (form.unpack(packed, 40, torch.device("cpu")).double() / 4).softmax(1)
    first, second = packed["classes"][0][:2].tolist()
    assert float(soft[0, first] / soft[0, second]) == pytest.approx(
        float(((logits[0, first] - logits[0, second]) / 4).exp()), rel=2e-3
    )


def test_as_many_as_there_are_keeps_all_and_certainty_stays_finite() -> None:
    logits = torch.tensor([[500.0, -500.0, 0.0], [0.0, 0.0, 0.0]])
    samples = torch.zeros(2, 4, dtype=torch.uint8)
    whole = Format(top_k=3)
    assert whole.keeps(3) is None
    assert torch.equal(whole.unpack(whole.pack(logits, samples), 3, torch.device("cpu")), logits)
    one = Format(top_k=1)
    got = one.unpack(one.pack(logits, samples), 3, torch.device("cpu"))
    assert got.isfinite().all()
    assert torch.allclose(got[1].exp(), torch.full((3,), 1 / 3), rtol=1e-3)


def _refused(kept: Recorded, now: Any, words: str, view: str = "main") -> None:
    with pytest.raises(ConfigError, match=words):
        kept.logits(now, view)


def test_a_step_that_shows_anything_else_is_refused() -> None:
    task = make_image_task(16, size=12)
    fixed = record(teacher(), task.take(np.arange(8)), FIXED, run_seed=0, width=8)
    rows = np.arange(4)
    assert fixed.logits(step(task, rows, FIXED, draw=2)).shape == (4, 3)
    _refused(fixed, step(task, rows, FIXED, run_seed=1), "random numbers are another run's")
    _refused(fixed, step(task, rows, FIXED, draw=3), "rendering 3 of 3")
    _refused(fixed, step(task, rows), "the step shows view 'main'")
    _refused(fixed, step(task, rows, standard_view(12, draws=4)), "the step shows view")
    _refused(fixed, step(task, rows, FIXED), "the step shows view 'other'", view="other")
    _refused(fixed, step(task, rows, FIXED, mixed=True), "mixes samples")
    _refused(fixed, step(task, [3, 12], FIXED), "lack samples of this batch")
    _refused(fixed, step(make_image_task(16, size=12, seed=9), rows, FIXED), "sample 0 is not the one")


def test_a_view_drawn_anew_and_odd_formats_are_refused() -> None:
    task = make_image_task(8, size=12)
    assert not recordable(standard_view(12))
    assert recordable(FIXED)
    assert not recordable(FIXED, mixup=0.2)
    with pytest.raises(ConfigError, match="drawn anew every epoch"):
        record(teacher(), task, standard_view(12), run_seed=0)
    with pytest.raises(ConfigError, match="top_k=0"):
        record(teacher(), task, PLAIN, run_seed=0, top_k=0)
    with pytest.raises(ConfigError, match="float32 or float16"):
        record(teacher(), task, PLAIN, run_seed=0, dtype="bf16")  # type: ignore[arg-type]


def test_answers_that_cannot_be_kept_are_refused() -> None:
    task, live = make_image_task(8, size=12), teacher()
    with torch.no_grad():
        live.net.head("toy").linear.bias.fill_(1e5)
    with pytest.raises(ConfigError, match="does not fit into float16"):
        record(live, task, PLAIN, run_seed=0, dtype="float16")
    with torch.no_grad():
        live.net.head("toy").linear.bias.fill_(float("nan"))
    with pytest.raises(ConfigError, match="not finite"):
        record(live, task, PLAIN, run_seed=0)


def _counting(live: Live) -> list[int]:
    """Sizes of the passes from now on."""
    sizes: list[int] = []
    ask = live.of

    def of(samples: Tensor) -> Tensor:
        sizes.append(len(samples))
        return ask(samples)

    object.__setattr__(live, "of", of)
    return sizes


def test_only_what_is_missing_is_computed_in_passes_of_one_width(tmp_path: Path) -> None:
    task, live = make_image_task(20, size=12), teacher()
    sizes = _counting(live)
    record(live, task.take(np.arange(10)), FIXED, run_seed=0, folder=tmp_path, epochs=2, width=8)
    assert sizes == [8] * (1 + 2 * 2)  # one to see how many classes there are, two renderings of ten samples
    sizes.clear()
    kept = record(live, task, FIXED, run_seed=0, folder=tmp_path, width=8)
    assert sizes == [8] * (2 * 2 + 3)
    sizes.clear()
    again = record(live, task, FIXED, run_seed=0, folder=tmp_path, width=8)
    assert not sizes
    assert again.filled.all()
    assert np.array_equal(again.array, kept.array)


def _other_weight(live: Live) -> Live:
    with torch.no_grad():
        live.net.head("toy").linear.bias[0] += 1
    return live


def _unheard(live: Live) -> Live:
    """By a way of which torch does not hear."""
    live.net.head("toy").linear.bias.data[0] += 1
    return live


def _other_layers(live: Live) -> Live:
    live.net.blocks["stem"].relu = torch.nn.Tanh()
    return live


def _other_statistics(live: Live) -> Live:
    with torch.no_grad():
        live.net.get_buffer("blocks.stem.bn1.running_mean")[0] += 1
    return live


def _other_input(live: Live) -> Live:
    live.net.input = replace(live.net.input, mean=(0.5, 0.5, 0.5))
    return live


def _other_order(live: Live) -> Live:
    return Live(live.net, "toy", order=(1, 0, 2))


@pytest.mark.parametrize("change", [_other_weight, _unheard, _other_layers, _other_statistics, _other_input, _other_order])
def test_another_teacher_is_never_served_what_was_kept(change: Callable[[Live], Live], tmp_path: Path) -> None:
    task, live = make_image_task(8, size=12), teacher()
    first = record(live, task, PLAIN, run_seed=0, folder=tmp_path, width=8)
    changed = change(live)
    other = record(changed, task, PLAIN, run_seed=0, folder=tmp_path, width=8)
    assert other.path != first.path
    now = step(task, range(8))
    assert torch.equal(other.logits(now), changed.logits(step(task, range(8))))
    assert not torch.equal(other.logits(now), first.logits(now))


def test_other_settings_have_files_of_their_own(tmp_path: Path) -> None:
    task, live = make_image_task(8, size=12), teacher()
    usual: dict[str, Any] = {"run_seed": 0, "folder": tmp_path, "width": 8}
    paths = [record(live, task, PLAIN, **usual).path]
    paths += [record(live, task, FIXED, **{**usual, "run_seed": seed}).path for seed in (0, 1)]
    paths += [record(live, task, FIXED, view_name="second", **usual).path]
    paths += [
        record(live, task, PLAIN, **{**usual, **more}).path for more in ({"width": 4}, {"dtype": "float16"}, {"top_k": 2})
    ]
    paths += [record(live, make_image_task(8, size=12, seed=2), PLAIN, **usual).path]
    assert len(set(paths)) == len(paths)
    assert record(live, task, PLAIN, **{**usual, "run_seed": 7}).path == paths[0]  # a plain view has no random numbers


def test_an_interrupted_record_goes_on_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    task, live = make_image_task(20, size=12), teacher()
    whole = record(live, task, PLAIN, run_seed=0, width=4)

    def stop(line: Any) -> None:
        STOP.requested = line.get("done") == 2

    with pytest.raises(Interrupted):
        record(live, task, PLAIN, run_seed=0, folder=tmp_path, width=4, log=RunLog(None, (stop,)))
    STOP.requested = False
    sizes = _counting(live)
    kept = record(live, task, PLAIN, run_seed=0, folder=tmp_path, width=4)
    assert sizes == [4] * 3
    assert np.array_equal(kept.array, whole.array)
    marked = next(tmp_path.glob("*.filled.safetensors"))
    marked.write_bytes(marked.read_bytes()[:-3])
    said: list[Any] = []
    again = record(live, task, PLAIN, run_seed=0, folder=tmp_path, width=4, log=RunLog(None, (said.append,)))
    assert "computed anew" in next(line["text"] for line in said if line["event"] == "warning")
    assert np.array_equal(again.array, whole.array)


def test_the_teacher_is_left_as_it_was(tmp_path: Path, rng_guard: None) -> None:
    task, live = make_image_task(20, size=12), teacher()
    before = copy.deepcopy(state(live.net))
    live.train()
    record(live, task, FIXED, run_seed=0, folder=tmp_path)
    after = state(live.net)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in live.net.parameters())


def test_marks_tell_samples_apart_and_do_not_depend_on_the_batch() -> None:
    draw = np.random.default_rng(0)
    samples = torch.from_numpy(draw.integers(0, 256, (50, 5, 5, 3), np.uint8))
    found = marks(samples)
    assert len(np.unique(found.numpy())) == 50
    assert torch.equal(marks(samples[7:9]), found[7:9])
    changed = samples.clone()
    for n in range(50):
        place = tuple(draw.integers(0, (5, 5, 3)))
        changed[(n, *place)] += 1
    assert (marks(changed) != found).all()
    assert marks(torch.rand(4, 3, generator=torch.Generator().manual_seed(0))).shape == (4,)


_MANY = """
import sys, numpy as np, torch
from pathlib import Path
from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.data.views import PLAIN
from headstart.engine.record import record
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.terms.teacher import Live

def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024

torch.set_num_threads(1)
with forked(0):
    net = mlp(6, (8,))
    head = net.add_head("toy", 100_000)
    torch.nn.init.normal_(head.linear.weight)
live = Live(net, "toy")
vectors = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
task = task_of("toy", store_of(vectors), np.zeros(300, np.int64), tuple(map(str, range(100_000))))
record(live, task.take(np.arange(32)), PLAIN, run_seed=0, folder=Path(sys.argv[1]) / "warm", top_k=50, width=16)
before = anonymous()
kept = record(live, task, PLAIN, run_seed=0, folder=Path(sys.argv[1]), top_k=50, width=16)
print(anonymous() - before, kept.bytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_hundred_thousand_classes_take_little_memory(tmp_path: Path) -> None:
    """All logits of 300 samples would take 120 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    grown, size = map(float, done.stdout.split())
    assert grown < 40
    assert size == 300 * (8 + 50 * 6 + 4)


def test_a_teacher_that_sees_samples_of_its_own_answers_from_them_live_and_kept() -> None:
    """The student's pixels are every second of the teacher's."""
    large = make_image_task(16, size=24)
    task = replace(large, store=store_of(np.ascontiguousarray(large.store.array[:, ::2, ::2])))
    plain, seeing = teacher(), teacher()
    with_own = Live(seeing.net, "toy", sees=TeacherSees(large.store))
    assert with_own.digest() != seeing.digest()
    kept = record(with_own, task, FIXED, run_seed=5, width=8)
    for draw in range(3):
        now, theirs = (step(one, [3, 1, 4, 15, 9, 2, 6, 5], FIXED, run_seed=5, draw=draw) for one in (task, large))
        assert torch.equal(kept.logits(now), with_own.logits(now))
        assert torch.equal(with_own.logits(now), plain.logits(theirs))
        assert not torch.allclose(with_own.logits(now), plain.logits(now), atol=1e-3)
    with pytest.raises(ConfigError, match="train without mixup"):
        with_own.logits(step(task, range(8), FIXED, mixed=True))
