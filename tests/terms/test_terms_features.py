"""Losses on activations as terms: hints, attention, relations; layouts, places of different numbers, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from headstart.errors import ConfigError
from headstart.losses.attention import attention_map, attention_transfer
from headstart.losses.relational import angle, distance
from headstart.terms.attention_transfer import AttentionTransfer
from headstart.terms.features import FeatureTerm, as_maps
from headstart.terms.hints import Hints
from headstart.terms.relational import Relational
from headstart.terms.teacher import Live
from tests.terms.taught import Shown, big, pictures, shown, small

PAIRS = [("layer2_0", "layer2_1"), ("layer3_0", "layer3_0")]
TERMS = {
    "hints": Hints,
    "attention": AttentionTransfer,
    "relational": Relational,
    "distances": partial(Relational, angle=0.0),
}


def teacher(size: int = 12) -> Live:
    return Live(big(size), "toy")


@pytest.mark.parametrize("make", TERMS.values(), ids=TERMS)
def test_they_read_the_students_blocks_and_make_the_teacher_read_its_own(make: type[Hints]) -> None:
    live = teacher()
    term = make(small(), live, PAIRS)
    assert term.reads == ("layer2_0", "layer3_0")
    assert term.heads == term.tasks == ()
    assert live.reads == ("layer2_1", "layer3_0")
    loss = term(shown())
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert loss > 0


def test_hints_are_regressed_by_a_convolution_of_one_place() -> None:
    live, step = teacher(), shown()
    term = Hints(step.net, live, PAIRS, weight=2.0)
    assert [regressor.weight.shape for regressor in term.regressors] == [(12, 8, 1, 1), (24, 16, 1, 1)]
    both = zip(PAIRS, term.regressors, strict=True)
    found = [(r(step.taps()[ours]), live.taps(step)[theirs]) for (ours, theirs), r in both]
    parts = [(a - b).square().sum() / b.square().sum() for a, b in found]
    torch.testing.assert_close(term(step), 2 * (parts[0] + parts[1]))


def test_hints_begin_the_same_for_a_seed_and_train(rng_guard: None) -> None:
    one, same, other = (Hints(small(), teacher(), PAIRS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.regressors[0].weight, same.regressors[0].weight)
    assert not torch.equal(one.regressors[0].weight, other.regressors[0].weight)
    assert set(one.state_dict()) > {"regressors.0.weight", "regressors.1.bias", "teacher._extra_state"}
    step, optimum = shown(), one
    before = optimum(step).item()
    gradients = torch.autograd.grad(optimum(step), list(optimum.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(optimum.parameters(), gradients, strict=True):
            parameter -= 1e-2 * gradient
    assert optimum(step) < before


def test_attention_is_that_of_its_loss() -> None:
    live, step = teacher(), shown()
    term = AttentionTransfer(step.net, live, PAIRS, weight=3.0, power=1.0)
    maps = [(step.taps()[a], live.taps(step)[b]) for a, b in PAIRS]
    expected = sum(attention_transfer(attention_map(a, 1.0), attention_map(b, 1.0)).mean() for a, b in maps)
    torch.testing.assert_close(term(step), 3 * torch.as_tensor(expected))


def test_relations_are_those_of_pooled_activations() -> None:
    live, step = teacher(), shown()
    term = Relational(step.net, live, [("layer3_0", "pool")], weight=0.5)
    ours, theirs = step.taps()["layer3_0"].mean((2, 3)), live.taps(step)["pool"]
    expected = 25 * distance(ours, theirs).mean() + 50 * angle(ours, theirs).mean()
    torch.testing.assert_close(term(step), 0.5 * expected)


@pytest.mark.parametrize("make", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("size", [8, 20, 24])
def test_networks_with_other_numbers_of_places(make: type[Hints], size: int) -> None:
    step = shown()
    term = make(step.net, teacher(size), [("stem", "layer3_0"), ("layer3_0", "stem"), ("pool", "layer1_0")])
    gradients = torch.autograd.grad(term(step), list(step.net.blocks["stem"].parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("make", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("count", [0, 1])
def test_small_batches(make: type[Hints], count: int) -> None:
    net = small().eval()
    loss = make(net, teacher(), PAIRS)(Shown(net, pictures(count), whole=4))
    assert torch.isfinite(loss)
    torch.autograd.grad(loss, list(net.blocks["stem"].parameters()))


def test_layouts() -> None:
    maps = torch.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    assert as_maps(maps, "nchw") is maps
    assert torch.equal(as_maps(maps.permute(0, 2, 3, 1), "nhwc"), maps)
    tokens = maps.flatten(2).mT
    extra = torch.full((2, 2, 3), -1.0)  # a class and a distillation token
    for given in (tokens, torch.cat([extra[:, :1], tokens], 1), torch.cat([extra, tokens], 1)):
        assert torch.equal(as_maps(given, "nlc"), maps)
    assert as_maps(maps[..., 0, 0], "nc").shape == (2, 3, 1, 1)


@pytest.mark.parametrize("make", TERMS.values(), ids=TERMS)
def test_everything_wrong_is_said_at_once(make: type[FeatureTerm]) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)weight=-1.*the student has no blocks \['x'\].*the teacher has no blocks \['y'\]"
    ):
        make(small(), teacher(), [("x", "y")], weight=-1)
    with pytest.raises(ConfigError, match="there are no pairs of blocks"):
        make(small(), teacher(), [])


def test_no_relation_at_all() -> None:
    with pytest.raises(ConfigError, match="leave no relation"):
        Relational(small(), teacher(), PAIRS, distance=0.0, angle=0.0)
