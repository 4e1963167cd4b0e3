"""Dark replay: what is stored when, what it is compared with, and that its reservoir survives a checkpoint."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.memory import Memory
from headstart.data.selection import final, reservoir
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.errors import ConfigError
from headstart.seeding import generator
from headstart.terms.dark import Dark
from headstart.terms.rehearsal import Draws, Heads
from tests.terms.taught import pictures
from tests.terms.test_terms_replay import Running, logits_of, two_heads

HEADS = Heads(("toy", "second"), (3, 2), (0, 1), ("pool",), False)
LABELS = np.array([0, 1, 1, 0, UNKNOWN, 1, 0, 0])


class Rows(Running):
    """A step that shows given rows of the store, mirrored as an augmentation might."""

    def __init__(self, rows: list[int]) -> None:
        super().__init__(two_heads(), pictures(8)[rows].flip(2))
        self.rows = torch.tensor(rows)

    @property
    def ids(self) -> Tensor:
        return self.rows


def task() -> Task:
    return Task("second", store_of(pictures(8).numpy()), LABELS, ("x", "y"), np.arange(8))


def before() -> Memory:
    """Two samples of an earlier task, with answers of its head alone."""
    logits = np.array([[1.0, 2.0, 3.0], [0.0, 0.5, -1.0]], np.float32)
    return Memory(6, pictures(2, seed=5).numpy(), np.array([2, 0]), np.array([0, 0]), logits, 40)


def term(memory: Memory | None = None, *, heads: Heads = HEADS, alpha: float = 0.7, beta: float = 0.3) -> Dark:
    return Dark(task(), before() if memory is None else memory, 1, heads, Draws(3, 4), alpha=alpha, beta=beta)


@pytest.mark.parametrize("per_head", [True, False])
def test_it_is_the_papers_sum_and_later_heads_count_where_they_compete(per_head: bool) -> None:
    """Task-incrementally over the three logits that existed; in one list of classes the other two are compared with 0."""
    step, kept = Rows([0, 1, 2]), before()
    assert kept.logits is not None
    z = logits_of(step.net, torch.from_numpy(kept.samples)).detach().double().numpy()
    errors = np.concatenate([(z[:, :3] - kept.logits) ** 2, z[:, 3:] ** 2], 1)
    squares = errors[:, :3].mean() if per_head else errors.mean()
    reach = 3 if per_head else 5
    losses = [np.log(np.exp(z[i, :reach]).sum()) - z[i, kept.labels[i]] for i in range(2)]
    heads = replace(HEADS, per_head=per_head)
    assert term(heads=heads)(step).item() == pytest.approx(0.7 * squares + 0.3 * np.mean(losses), rel=1e-5)
    assert term(heads=heads, beta=0.0)(step).item() == pytest.approx(0.7 * squares, rel=1e-5)


def test_samples_that_another_method_stored_have_no_answers_to_match() -> None:
    memory = before()
    memory.logits = None
    assert term(memory, beta=0.0)(Rows([0, 1, 2])).item() == 0
    assert term(memory)(Rows([0, 1, 2])).item() > 0


def test_the_two_draws_are_independent() -> None:
    draws = Draws(3, 4)
    pairs = [(draws.places(50, n, "dark").tolist(), draws.places(50, n, "dark labels").tolist()) for n in range(30)]
    assert all(one != other for one, other in pairs)


def test_a_step_stores_plain_samples_with_the_answers_of_that_step() -> None:
    found, step = term(Memory.empty(6, (12, 12, 3), np.uint8)), Rows([0, 4, 5, 7])
    assert found(step).item() == 0
    found.after_step(step)
    kept = found.kept()
    assert kept.logits is not None
    assert (len(kept), kept.seen) == (3, 3)  # one has no label
    np.testing.assert_array_equal(kept.samples, pictures(8).numpy()[[0, 5, 7]])
    assert kept.labels.tolist() == [0, 1, 0]
    assert kept.tasks.tolist() == [1, 1, 1]
    answers = HEADS.on_batch(step).detach()[[0, 2, 3]]
    np.testing.assert_allclose(kept.logits, answers.numpy(), rtol=1e-6)


def test_forward_changes_no_memory() -> None:
    found, step = term(), Rows([0, 1, 2])
    state = copy.deepcopy(found.state_dict())
    found(step)
    for name, value in found.state_dict().items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True)
        else:
            assert value == state[name]


def test_the_reservoir_is_over_the_stream_and_goes_on_after_a_checkpoint() -> None:
    """Batches come again in later epochs; what is held follows algorithm R over all of them, as the plain form does."""
    batches = [[0, 1, 2], [3, 5], [6, 7], [0, 2, 5]] * 5
    found = term()
    held, seen = [("old", 0), ("old", 1)], 40
    for number, rows in enumerate(batches):
        if number == 9:
            resumed = term()
            resumed.load_state_dict(copy.deepcopy(found.state_dict()))
            found = resumed
        step = Rows(rows)
        found(step)
        found.after_step(step)
        slots = reservoir(seen, len(held), len(rows), 6, generator(3, "terms", "reservoir", number))
        held += [("none", 0)] * (max(len(held), int(slots.max(initial=-1)) + 1) - len(held))
        for place in final(slots).tolist():
            held[slots[place]] = ("new", rows[place])
        seen += len(rows)
    kept = found.kept()
    sources = {"old": pictures(2, seed=5).numpy(), "new": pictures(8).numpy()}
    np.testing.assert_array_equal(kept.samples, np.stack([sources[kind][row] for kind, row in held]))
    assert kept.seen == seen == 40 + sum(map(len, batches))
    assert kept.tasks.tolist() == [0 if kind == "old" else 1 for kind, _ in held]


def test_answers_of_old_samples_stay_unknown_for_later_heads() -> None:
    kept = term().kept()
    assert kept.logits is not None
    assert np.isnan(kept.logits[:, 3:]).all()
    np.testing.assert_array_equal(kept.logits[:, :3], before().logits)


def test_what_is_kept_is_a_copy() -> None:
    found = term()
    kept = found.kept()
    found.samples.zero_()
    assert kept.samples.any()


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ConfigError, match="alpha=-1"):
        term(alpha=-1)
