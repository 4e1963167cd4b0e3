"""DINO: its loss over views by hand, the centre, the temperatures, and what stays still."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from headstart.data.views import normalise
from headstart.nets.net import Net
from headstart.terms.self_distillation import SelfDistilled, Words
from tests.engine.engine_toys import differing, resnet, state
from tests.losses.naive import softmax
from tests.terms.viewed import Viewed, two_views


def distilled(net: Net, **more: object) -> SelfDistilled:
    settings: dict[str, object] = {"words": 5, "hidden": 8, "bottleneck": 4, "momentum": 0.9, "steps": 10, "seed": 0}
    return SelfDistilled(net, **(settings | more))  # type: ignore[arg-type]


def words(net: Net, head: torch.nn.Module, step: Viewed, views: tuple[str, ...]) -> np.ndarray:
    """`[views, B, words]`, the views passing together."""
    x = torch.cat([step.samples(view) for view in views])
    found = head(net.run(normalise(x, net.input.mean, net.input.std))[net.last])
    return found.detach().double().numpy().reshape(len(views), 6, -1)


@pytest.mark.parametrize("small", [0, 2])
def test_loss_by_hand(small: int) -> None:
    """Algorithm 1: every global view of the copy against every other view of the network."""
    net = resnet().train()
    names = tuple(f"small{k + 1}" for k in range(small))
    term = distilled(net, small=names)
    term.centre.copy_(torch.linspace(-0.1, 0.1, 5))
    step = two_views(net, small=small)
    heard = words(deepcopy(term.slow.copy), term.slow_head.copy, step, ("one", "two"))
    same = deepcopy(net)
    said = [*words(same, term.head, step, ("one", "two"))] + ([*words(same, term.head, step, names)] if small else [])
    centre = term.centre.double().numpy()
    each = []
    for aim in range(2):
        for place in range(2 + small):
            if place != aim:
                targets = [softmax(t - centre, 0.04) for t in heard[aim]]
                logs = [np.log(softmax(s, 0.1)) for s in said[place]]
                each.append(np.mean([-(p * q).sum() for p, q in zip(targets, logs, strict=True)]))
    loss = term(step)
    assert loss.item() == pytest.approx(float(np.mean(each)), rel=1e-4)
    assert step.asked == [("one", "two"), names][: 1 + bool(small)]
    loss.backward()
    assert all(parameter.grad is not None for parameter in [*net.parameters(), *term.head.parameters()])


def test_the_centre_moves_after_the_step_to_the_mean_of_what_was_heard() -> None:
    net = resnet().train()
    term = distilled(net, centre_decay=0.7)
    term.centre.fill_(0.5)
    step = two_views(net)
    heard = words(deepcopy(term.slow.copy), term.slow_head.copy, step, ("one", "two"))
    term(step)
    assert term.centre.tolist() == [0.5] * 5
    term.after_step(step)
    np.testing.assert_allclose(term.centre.numpy(), 0.7 * 0.5 + 0.3 * heard.mean((0, 1)), rtol=1e-4)


def test_the_copy_warms_up_and_the_last_layer_waits() -> None:
    net = resnet().train()
    term = distilled(net, teacher=(0.04, 0.07), warmup=0.5, frozen=0.2)
    seen, moves = [], []
    for _ in range(10):
        step = two_views(net)
        seen.append(term.teacher_temperature)
        term.zero_grad()
        term(step).backward()
        term.after_backward(step)
        gradient = term.head.last.weight.grad
        assert gradient is not None
        moves.append(bool(gradient.any()))
        term.after_step(step)
    assert seen == pytest.approx([0.04 + 0.03 * min(k / 5, 1) for k in range(10)])
    assert moves == [False] * 2 + [True] * 8


def test_words_are_cosines_whatever_the_length_of_directions() -> None:
    head = Words(6, 8, 4, 5, seed=0)
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    found = head(x)
    assert found.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.last.weight.mul_(torch.linspace(0.1, 9, 5)[:, None])
    torch.testing.assert_close(head(x), found)


def test_state_comes_back() -> None:
    net = resnet().train()
    term, other = distilled(net), distilled(resnet())
    step = two_views(net)
    term(step)
    term.after_step(step)
    other.load_state_dict(term.state_dict())
    assert other.done == 1
    assert not differing(state(term.slow), state(other.slow))
    assert torch.equal(other.centre, term.centre)


def test_chance_is_the_loss_of_who_has_no_opinion() -> None:
    net = resnet().train()
    term = distilled(net)
    torch.nn.init.zeros_(term.head.body[-1].weight)  # the same word for all
    assert term(two_views(net)).item() == pytest.approx(term.chance, rel=1e-5)
