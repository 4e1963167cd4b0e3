"""SwAV: its loss by hand, prototypes on the sphere, and the queue."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from headstart.nets.net import Net
from headstart.terms.swapped import Swapped
from tests.engine.engine_toys import resnet
from tests.losses.naive import softmax
from tests.losses.test_losses_sinkhorn import naive
from tests.terms.test_terms_self_distillation import words
from tests.terms.viewed import Viewed, two_views


def swapped(net: Net, **more: object) -> Swapped:
    settings: dict[str, object] = {"prototypes": 3, "dimensions": 4, "hidden": 8, "steps": 10, "seed": 0}
    return Swapped(net, **(settings | more))  # type: ignore[arg-type]


def features_by_hand(net: Net, step: Viewed, small: tuple[str, ...]) -> list[np.ndarray]:
    """Of every view: the two pass together, and the small ones."""
    both = [*words(net, nn.Identity(), step, ("one", "two"))]
    return both + ([*words(net, nn.Identity(), step, small)] if small else [])


def units(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


@pytest.mark.parametrize("small", [0, 2])
def test_loss_by_hand(small: int) -> None:
    net = resnet().train()
    names = tuple(f"small{k + 1}" for k in range(small))
    term = swapped(net, small=names)
    step, projection = two_views(net, small=small), deepcopy(term.projection)
    features = [torch.from_numpy(one).float() for one in features_by_hand(deepcopy(net), step, names)]
    directions = term.prototypes.weight.detach().double().numpy()
    scores = [units(projection(one).detach().double().numpy()) @ directions.T for one in features]
    codes = [naive(scores[view], 0.05, 3) for view in range(2)]
    each = []
    for aim in range(2):
        for said in range(2 + small):
            if said != aim:
                logs = [np.log(softmax(row, 0.1)) for row in scores[said]]
                each.append(np.mean([-(q * p).sum() for q, p in zip(codes[aim], logs, strict=True)]))
    loss = term(step)
    assert loss.item() == pytest.approx(float(np.mean(each)), rel=1e-4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in [*net.parameters(), *term.parameters()])


def test_prototypes_have_length_one_and_wait_at_first() -> None:
    net = resnet().train()
    term = swapped(net, frozen=0.2)
    moves = []
    for _ in range(4):
        step = two_views(net)
        torch.testing.assert_close(term.prototypes.weight.norm(dim=1), torch.ones(3))
        term.zero_grad()
        term(step).backward()
        term.after_backward(step)
        gradient = term.prototypes.weight.grad
        assert gradient is not None
        moves.append(bool(gradient.any()))
        with torch.no_grad():
            term.prototypes.weight.mul_(1.7)
        term.after_step(step)
    assert moves == [False, False, True, True]


def test_the_queue_holds_the_newest_first_and_shares_in_the_codes() -> None:
    net = resnet().eval()  # so that a batch's embeddings do not hang on its statistics
    term = swapped(net, queue=10, queue_from=0.15)
    term.projection.eval()
    first, second = two_views(net), two_views(net)
    second.given = {"one": second.given["two"], "two": second.given["one"]}
    seen = []
    for step in (first, second):
        before = term.queue.clone()
        term(step)
        assert torch.equal(term.queue, before), "forward changed the queue"
        fresh = term._fresh
        assert fresh is not None
        seen.append(fresh.transpose(0, 1))
        term.after_step(step)
    torch.testing.assert_close(term.queue, torch.cat([seen[1], seen[0][:, :4]], 1))
    assert term.filled == 10
    scores = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    queued = term.queue[1].double().numpy() @ term.prototypes.weight.detach().double().numpy().T
    expected = naive(np.concatenate([scores.double().numpy(), queued]), 0.05, 3)[:6]
    np.testing.assert_allclose(term._codes(1, scores).numpy(), expected, rtol=1e-4)
    term.done = 1  # before the queue takes part
    np.testing.assert_allclose(term._codes(1, scores).numpy(), naive(scores.double().numpy(), 0.05, 3), rtol=1e-4)


def test_state_comes_back_with_the_queue() -> None:
    net = resnet().train()
    term, other = swapped(net, queue=8), swapped(resnet(), queue=8)
    step = two_views(net)
    term(step)
    term.after_step(step)
    other.load_state_dict(term.state_dict())
    assert (other.done, other.filled) == (1, 6)
    assert torch.equal(other.queue, term.queue)


def test_chance_is_the_loss_of_who_finds_all_prototypes_alike() -> None:
    net = resnet().train()
    term = swapped(net)
    with torch.no_grad():
        term.prototypes.weight.copy_(term.prototypes.weight[:1].expand(3, -1))
    assert term(two_views(net)).item() == pytest.approx(term.chance, rel=1e-5)
