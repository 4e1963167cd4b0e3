"""The masked autoencoder: what its layers see, what it loses by, and which networks it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.views import normalise
from headstart.errors import ConfigError
from headstart.losses.pixels import patches_of
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.nets.tokens import tokens_of
from headstart.nets.vit import vit
from headstart.terms.reconstruction import Reconstruction, loss_of_guessing
from tests.terms.viewed import Viewed, noise


def transformer() -> Net:
    with forked(1):
        return vit(12, 3, width=8, depth=2, heads=2)


def step_of(net: Net, count: int = 5) -> Viewed:
    return Viewed(net, {"main": noise(count, net.input.size)})


def images(step: Viewed) -> Tensor:
    return normalise(step.samples(), step.net.input.mean, step.net.input.std)


def test_the_layers_see_visible_patches_and_special_tokens_only() -> None:
    net = transformer()
    term = Reconstruction(net, share=0.75, width=8, seed=0)
    lengths: list[int] = []
    for name in ("layer0", "layer1"):
        net.blocks[name].register_forward_hook(lambda module, inputs, out: lengths.append(inputs[0].shape[1]))
    step = step_of(net)
    term(step)
    assert lengths == [4 + 2, 4 + 2], "16 patches, a quarter of them visible, two special tokens"
    order = term.order(step.ids)
    x = images(step)
    before = term.encoded(x, order[:, :4])
    for n in range(len(x)):  # other pixels where nothing is to be seen
        for patch in order[n, 4:].tolist():
            row, column = 3 * (patch // 4), 3 * (patch % 4)
            x[n, :, row : row + 3, column : column + 3] = 9.0
    assert torch.equal(term.encoded(x, order[:, :4]), before)


def test_loss_by_hand() -> None:
    net = transformer()
    term = Reconstruction(net, share=0.5, width=8, seed=0)
    step = step_of(net)
    order = term.order(step.ids)
    predicted = term.decoder(term.encoded(images(step), order[:, :8]), order).detach().double().numpy()
    pixels = images(step).double().numpy()
    each = []
    for n in range(5):
        for patch in order[n, 8:].tolist():
            row, column = 3 * (patch // 4), 3 * (patch % 4)
            square = pixels[n, :, row : row + 3, column : column + 3].transpose(1, 2, 0).reshape(-1)
            aim = (square - square.mean()) / np.sqrt(square.var(ddof=1) + 1e-6)
            each.append(((predicted[n, patch] - aim) ** 2).mean())
    loss = term(step)
    assert loss.item() == pytest.approx(float(np.mean(each)), rel=1e-5)
    loss.backward()
    missing = [name for name, p in [*net.named_parameters(), *term.named_parameters()] if p.grad is None]
    assert not missing


def halves(count: int) -> Tensor:
    """`[N, 12, 12, 3]` noise above, one grey below that is another in every image."""
    found = noise(count, 12)
    found[:, 6:] = torch.linspace(20, 230, count).to(torch.uint8)[:, None, None, None]
    return found


def test_chance_is_the_loss_of_the_best_guess_without_a_look() -> None:
    net, shown = transformer(), noise(40, 12)
    target = patches_of(normalise(shown, net.input.mean, net.input.std), 3).double().numpy()
    target = (target - target.mean(2, keepdims=True)) / np.sqrt(target.var(2, ddof=1, keepdims=True) + 1e-6)
    expected = target.var(0, ddof=1).mean()
    assert loss_of_guessing(net, shown.split(16)) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(26 / 27, rel=0.02), "of noise: the mean of each patch, as nothing else is the same"


@pytest.mark.parametrize("std", [(0.5, 0.5, 0.5), (0.229, 0.224, 0.225)])
def test_what_is_flat_is_guessed(std: tuple[float, float, float]) -> None:
    """A grey patch is nought in all pixels, or one pattern of three colours where these are normalised each in its way."""
    with forked(1):
        net = vit(12, 3, width=8, depth=2, heads=2)
    object.__setattr__(net, "input", replace(net.input, mean=(0.485, 0.456, 0.406), std=std))
    noisy, half = loss_of_guessing(net, [noise(64, 12)]), loss_of_guessing(net, [halves(64)])
    assert 0.45 < half / noisy < 0.6
    steady = Viewed(net, {"main": halves(64)})
    term = Reconstruction(net, width=8, seed=0, chance=half)
    torch.nn.init.zeros_(term.decoder.pixels.weight)
    assert term(steady).item() > 0.95 * half, "a constant for all places does no better than the best for each"


def test_all_seen_everything_goes_back_to_its_place() -> None:
    """The decoder puts tokens where their patches were, whatever the order in which they came."""
    net = transformer()
    term = Reconstruction(net, width=8, seed=0)
    tokens = torch.randn(1, 2 + 16, 8, generator=torch.Generator().manual_seed(0))
    straight, turned = torch.arange(16)[None], torch.arange(16).flip(0)[None]
    shuffled = torch.cat([tokens[:, :2], tokens[:, 2:].flip(1)], 1)
    torch.testing.assert_close(term.decoder(tokens, straight), term.decoder(shuffled, turned))


def test_what_is_hidden_hangs_on_image_and_step_and_not_on_the_batch() -> None:
    term = Reconstruction(transformer(), width=8, seed=0)
    ids = torch.tensor([3, 900, 7])
    whole = term.order(ids)
    assert torch.equal(term.order(ids[1:]), whole[1:])
    assert all(sorted(row) == list(range(16)) for row in whole.tolist())
    assert not torch.equal(whole[0], whole[1])
    term.done = 1
    assert not torch.equal(term.order(ids), whole)
    assert not torch.equal(Reconstruction(transformer(), width=8, seed=1).order(ids), whole)
    shares = torch.zeros(16)
    many = term.order(torch.arange(4000))[:, : term.seen]
    shares.index_add_(0, many.flatten(), torch.ones(many.numel()))
    assert (shares / 4000 - term.seen / 16).abs().max() < 0.03, "every patch is as likely as another"


@pytest.mark.parametrize(("share", "seen"), [(0.75, 4), (0.01, 15), (0.999, 1)])
def test_something_is_seen_and_something_hidden(share: float, seen: int) -> None:
    assert Reconstruction(transformer(), share=share, width=8, seed=0).seen == seen


def test_timm_transformers_are_taken() -> None:
    net = build("timm:vit_tiny_patch16_224", pretrained=False, args={"img_size": 32, "patch_size": 8, "depth": 2})
    plan = tokens_of(net)
    assert (plan.patch, plan.grid, plan.special, plan.width, len(plan.layers)) == (8, 4, 1, 192, 2)
    assert isinstance(plan.norm(net), nn.LayerNorm)
    term = Reconstruction(net, width=8, seed=0)
    loss = term(step_of(net, 2))
    loss.backward()
    assert all(p.grad is not None for name, p in net.named_parameters())


def test_other_networks_are_refused_with_the_reason() -> None:
    with forked(1), pytest.raises(ConfigError, match=r"'layer1_0' \(BasicBlock\) is no transformer's layer.*headstart:vit"):
        tokens_of(cifar_resnet(8, 4, 12))
