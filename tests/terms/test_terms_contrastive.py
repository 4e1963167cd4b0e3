"""Contrastive distillation as a term: its memory, its negatives, two processes as one, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch.nn import functional as F

from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.errors import ConfigError
from headstart.losses.contrastive import log_mean_exp_cosine
from headstart.terms.contrastive import Contrastive
from headstart.terms.teacher import Live
from tests.terms.taught import Shown, big, pictures, small

ROWS, COUNT = 12, 10
PAIR = ("pool", "layer3_1")


def task(labels: list[int] | None = None) -> Task:
    """Ten of the twelve rows of a store, not in their order."""
    known = np.arange(ROWS) % 3 if labels is None else np.array(labels)
    return Task("toy", store_of(pictures(ROWS).numpy()), known, ("a", "b", "c"), np.arange(ROWS)[::-1][:COUNT])


class Rows(Shown):
    """A step that shows given rows of the store."""

    def __init__(self, rows: list[int], net: object = None, whole: int | None = None) -> None:
        super().__init__(small().eval(), pictures(ROWS)[rows], torch.tensor(rows) % 3, whole)
        self.rows = torch.tensor(rows)

    @property
    def ids(self) -> torch.Tensor:
        return self.rows


def term(**settings: float) -> Contrastive:
    more = {"dimensions": 8, "temperature": 0.2, "weight": 1.0} | settings
    return Contrastive(small(), Live(big(12), "toy"), PAIR, settings.pop("task", task()), **more)  # type: ignore[arg-type]


def test_it_is_the_papers_loss_in_both_directions_over_its_memory() -> None:
    """Tian et al. 2020, eqs. 9-10 and 18, in plain loops: h = e^(s.t / tau) / (e^(s.t / tau) + K Z)."""
    found, step = term(weight=0.8), Rows([3, 8, 11])
    noise = found.count * math.exp(log_mean_exp_cosine(8, 0.2))
    ours = F.normalize(found.student(step.taps()["pool"])).detach().double()
    theirs = F.normalize(found.theirs(found.teacher.pooled(step, "layer3_1"))).detach().double()
    memories, rows = (found.teacher_memory.double(), found.student_memory.double()), task().rows.tolist()
    losses = []
    for i, row in enumerate(step.rows.tolist()):
        others = [rows.index(other) for other in rows if other != row and other % 3 != row % 3]
        for anchor, partner, memory in ((ours, theirs, memories[0]), (theirs, ours, memories[1])):
            powers = [math.exp(float(anchor[i] @ memory[place]) / 0.2) for place in others]
            positive = math.exp(float(anchor[i] @ partner[i]) / 0.2)
            away = np.mean([math.log(noise / (power + noise)) for power in powers])
            losses.append(-math.log(positive / (positive + noise)) - found.count * away)
    assert found.count == COUNT - 1
    assert found(step).item() == pytest.approx(0.8 * sum(losses) / 3, rel=1e-5)


def test_forward_changes_nothing_and_a_step_only_its_own_rows() -> None:
    found, step = term(momentum=0.5), Rows([3, 8, 11])
    before = {name: tensor.clone() for name, tensor in found.named_buffers()}
    one = found(step).item()
    assert found(step).item() == one
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.named_buffers())
    found.after_step(step)
    places = [task().rows.tolist().index(row) for row in (3, 8, 11)]
    ours = F.normalize(found.student(step.taps()["pool"])).detach()
    expected = F.normalize(0.5 * before["student_memory"][places] + 0.5 * ours)
    torch.testing.assert_close(found.student_memory[places], expected)
    rest = [place for place in range(COUNT) if place not in places]
    for name in ("student_memory", "teacher_memory"):
        memory = dict(found.named_buffers())[name]
        assert torch.equal(memory[rest], before[name][rest])
        torch.testing.assert_close(memory.norm(dim=1), torch.ones(COUNT))


def test_negatives_are_drawn_anew_every_step_and_again_after_a_resume() -> None:
    found, step = term(negatives=4), Rows([3, 8])
    draws = []
    for _ in range(3):
        draws.append(found._others().tolist())
        found.after_step(step)
    assert found.count == 4
    assert len(set(map(tuple, draws))) == 3
    again = term(negatives=4)
    again.load_state_dict(found.state_dict())
    assert again._others().tolist() == found._others().tolist()
    assert again(step).item() == found(step).item()
    assert term(negatives=4, seed=1)._others().tolist() != draws[0]


def test_negatives_are_other_samples_not_known_to_be_of_the_same_class() -> None:
    unknown = [UNKNOWN if row in (4, 5) else row % 3 for row in range(ROWS)]
    found = Contrastive(small(), Live(big(12), "toy"), PAIR, task(unknown), dimensions=8)
    rows = task().rows.tolist()
    usable = found._usable(found._places(Rows([3, 4])), found._others())
    assert [row for row, use in zip(rows, usable[0], strict=True) if not use] == [9, 6, 3]
    assert [row for row, use in zip(rows, usable[1], strict=True) if not use] == [4]


def test_training_it_pulls_pairs_together_and_others_apart() -> None:
    found, step = term(), Rows([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    for _ in range(20):  # until the memory holds what the networks see, not the noise it began with
        found.after_step(step)
    first = found(step).item()
    parameters = list(found.student.parameters()) + list(found.theirs.parameters())
    assert {id(p) for p in parameters} == {id(p) for p in found.parameters()}
    for _ in range(100):
        gradients = torch.autograd.grad(found(step), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
        found.after_step(step)
    assert found(step).item() < first - 1


def test_it_begins_the_same_for_a_seed(rng_guard: None) -> None:
    one, same, other = (term(seed=seed).state_dict() for seed in (0, 0, 1))
    for name, tensor in one.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, same[name])
            assert not torch.equal(tensor, other[name])


def test_half_precision_around_it_changes_its_arithmetic_in_nothing() -> None:
    found, step = term(), Rows([3, 8])
    expected = found(step)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(found(step), expected)


@pytest.mark.parametrize(
    "settings", [{"dimensions": 1}, {"negatives": 0}, {"temperature": 0.001}, {"momentum": 1.0}], ids=str
)
def test_settings_that_cannot_be(settings: dict[str, float]) -> None:
    name, value = next(iter(settings.items()))
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        term(**settings)


def test_samples_of_another_task() -> None:
    with pytest.raises(ConfigError, match="another task than its stage"):
        term()(Rows([0, 3]))
    with pytest.raises(ConfigError, match="there are 1"):
        Contrastive(small(), Live(big(12), "toy"), PAIR, task().take(np.array([0])))


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found, mine = term(negatives=4), [[3, 8, 11], [4]][rank]
    losses = []
    for _ in range(2):
        losses.append(found(Rows(mine, whole=4)).detach())
        found.after_step(Rows(mine, whole=4))
    torch.save({"losses": losses, **dict(found.named_buffers())}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one(in_two: Callable[..., None], tmp_path: Path) -> None:
    """Unequal parts of a batch: losses add up, and every process's memory is that of one process."""
    in_two(_process, str(tmp_path))
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    found, step = term(negatives=4), Rows([3, 8, 11, 4])
    for number in range(2):
        torch.testing.assert_close(parts[0]["losses"][number] + parts[1]["losses"][number], found(step).detach())
        found.after_step(step)
    for name, memory in found.named_buffers():
        assert torch.equal(parts[0][name], parts[1][name])
        torch.testing.assert_close(parts[0][name], memory)
