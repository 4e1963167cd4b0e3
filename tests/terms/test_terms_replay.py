"""Replay of stored samples: what is drawn, how it is shown, and the loss over heads side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.memory import Memory
from headstart.data.views import Flip, View
from headstart.engine.step import present
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.terms.rehearsal import Draws, Heads, my_part
from headstart.terms.replay import Replay
from tests.terms.taught import Shown, pictures, small

HEADS = Heads(("toy", "second"), (3, 2), (0, 1, 0), ("pool",), True)


class Running(Shown):
    """A step that can also run other samples."""

    def run(self, samples: Tensor, taps: Iterable[str] = ()) -> Mapping[str, Tensor]:
        return self.net.run(present(samples, self.net.input), taps=taps)

    def answers(self, activations: Mapping[str, Tensor], head: str) -> Tensor:
        return self.net.answer(activations, head)


def two_heads() -> Net:
    net = small().eval()
    with forked(7):
        torch.nn.init.normal_(net.add_head("second", 2).linear.weight)
    return net


def memory(count: int = 5) -> Memory:
    labels = np.array([0, 1, 2, 0, 1])[:count]
    tasks = np.array([0, 0, 0, 1, 1])[:count]
    return Memory(count, pictures(count, seed=9).numpy(), labels, tasks)


def logits_of(net: Net, samples: Tensor) -> Tensor:
    activations = net.run(present(samples, net.input), taps=("pool",))
    return torch.cat([net.answer(activations, name) for name in HEADS.names], 1)


def test_labels_count_in_one_list_by_the_head_of_their_task() -> None:
    assert HEADS.listed(np.array([2, 1, 1]), np.array([0, 1, 2])).tolist() == [2, 4, 1]
    assert HEADS.classes == 5


@pytest.mark.parametrize("per_head", [True, False])
def test_it_is_the_mean_cross_entropy_of_what_was_drawn(per_head: bool) -> None:
    net, kept = two_heads(), memory()
    term = Replay("toy", kept, replace(HEADS, per_head=per_head), Draws(4, 3), weight=2.0)
    found = term(Running(net, pictures())).item()
    places = term.draws.places(5, 0, "replay")
    z = logits_of(net, torch.from_numpy(kept.samples[places])).detach().double().numpy()
    losses = []
    for row, place in zip(z, places.tolist(), strict=True):
        task, label = int(kept.tasks[place]), int(kept.labels[place])
        first = 0 if task == 0 else 3
        own = row[first : first + (3, 2)[task]] if per_head else row
        losses.append(np.log(np.exp(own).sum()) - row[first + label])
    assert found == pytest.approx(2 * np.mean(losses), rel=1e-5)


def test_every_step_draws_anew_without_repeats_and_resumes() -> None:
    term = Replay("toy", memory(), HEADS, Draws(4, 3))
    step = Running(two_heads(), pictures())
    before = term(step).item()
    assert term(step).item() == before
    term.after_step(step)
    after = term(step).item()
    assert after != before
    again = Replay("toy", memory(), HEADS, Draws(4, 3))
    again.load_state_dict(term.state_dict())
    assert again(step).item() == after
    drawn = [term.draws.places(5, number, "replay").tolist() for number in range(200)]
    assert all(len(set(places)) == 3 for places in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=5)
    assert np.abs(counts - 120).max() < 4.5 * np.sqrt(200 * 0.6 * 0.4)


def test_a_memory_smaller_than_a_batch_is_replayed_whole() -> None:
    term = Replay("toy", memory(), HEADS, Draws(4, 64))
    assert sorted(term.draws.places(5, 0, "replay").tolist()) == [0, 1, 2, 3, 4]
    assert term.also_runs == 5


def test_images_are_shown_in_the_view_freshly_drawn() -> None:
    draws = Draws(4, 8, View((Flip(),)))
    samples = pictures(8)
    shown = [draws.shown(samples, slice(0, 8), number, "replay") for number in range(20)]
    mirrored = torch.stack([(one == samples.flip(2)).flatten(1).all(1) for one in shown])
    plain = torch.stack([(one == samples).flatten(1).all(1) for one in shown])
    assert (mirrored | plain).all()
    assert 0.3 < mirrored.float().mean() < 0.7
    assert len({tuple(row.tolist()) for row in mirrored}) > 10
    assert torch.equal(draws.shown(samples, slice(0, 8), 3, "replay"), shown[3])
    parts = [draws.shown(samples[part], part, 3, "replay") for part in (slice(0, 5), slice(5, 8))]
    assert torch.equal(torch.cat(parts), shown[3])


def test_vectors_and_the_plain_view_are_shown_as_they_are() -> None:
    vectors = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert Draws(4, 4, View((Flip(),))).shown(vectors, slice(0, 4), 0, "replay") is vectors
    samples = pictures(4)
    assert Draws(4, 4).shown(samples, slice(0, 4), 0, "replay") is samples


def test_alone_a_process_has_the_whole_draw() -> None:
    assert my_part(7) == slice(0, 7)


def test_what_cannot_be_is_said_together() -> None:
    with pytest.raises(ConfigError, match="holds no samples") as error:
        Replay("toy", Memory.empty(3, (12, 12, 3), np.uint8), HEADS, Draws(4, 0), weight=-1)
    assert "weight=-1" in str(error.value)
    assert "0 samples per step" in str(error.value)
