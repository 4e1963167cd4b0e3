"""Hidden patches told from visible ones: the masked autoencoder (He et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from headstart.data.views import normalise, uniform
from headstart.losses.pixels import masked_error, patches_of, standard_patches
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.tokens import TokenPlan, tokens_of
from headstart.nets.vit import Layer, waves
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.embedded import Timed


class Decoder(nn.Module):
    """Tokens of visible patches to pixels of all: `[N, S + V, width]` to `[N, P, pixels]`.

    plan    of the network that made the tokens, S special ones first
    width, depth, heads  of its own layers; places are waves that do not learn
    """

    places: Tensor

    def __init__(self, plan: TokenPlan, width: int, depth: int, heads: int, seed: int) -> None:
        super().__init__()
        self.special = plan.special
        with forked(seed):
            self.narrow = nn.Linear(plan.width, width)
            self.unseen = nn.Parameter(torch.empty(1, 1, width))
            nn.init.normal_(self.unseen, std=0.02)
            self.layers = nn.ModuleList([Layer(width, heads) for _ in range(depth)])
            self.norm = nn.LayerNorm(width)
            self.pixels = nn.Linear(width, 3 * plan.patch**2)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)
        self.register_buffer("places", waves(plan.grid, width), persistent=False)

    def forward(self, tokens: Tensor, order: Tensor) -> Tensor:
        """`order` `[N, P]`: the patches' numbers, visible ones first, in the order in which their tokens come."""
        x = self.narrow(tokens)
        seen = x[:, self.special :]
        unseen = self.unseen.to(x.dtype).expand(len(x), order.shape[1] - seen.shape[1], -1)
        back = order.argsort(1)[..., None].expand(-1, -1, x.shape[2])
        patches = torch.cat([seen, unseen], 1).gather(1, back) + self.places.to(x.dtype)
        x = torch.cat([x[:, : self.special], patches], 1)
        for layer in self.layers:
            x = layer(x)
        found: Tensor = self.pixels(self.norm(x))[:, self.special :]
        return found


def loss_of_guessing(net: Net, shown: Iterable[Tensor]) -> float:
    """The loss of the best answer that looks at no image: at every place and pixel the mean of what is to be told there.

    shown  images as the method sees them, `[N, H, W, 3]` uint8 in batches, two in all at least

    Of patches with something in them it is almost 1. Flat ones are told without a look: all their standardised pixels are
    nought, or, where colours are normalised each in its way, one pattern of three colours.
    """
    side, count = tokens_of(net).patch, 0
    total = squares = torch.zeros((), dtype=torch.float64, device=net.device)
    for samples in shown:
        target = standard_patches(patches_of(normalise(samples, net.input.mean, net.input.std), side)).double()
        count, total, squares = count + len(target), total + target.sum(0), squares + target.square().sum(0)
    return float(((squares - total.square() / count) / (count - 1)).mean())


class Reconstruction(Timed):
    """Mean squared error on the hidden patches of every image, each patch's pixels standardised (He et al. 2022).

    The network's layers see the visible patches (and its special tokens) only, a small decoder sees all places; `share` of
    the patches is hidden, drawn anew for every image in every step. The loss is that of the patches that were hidden.

    net    a vision transformer, see `nets/tokens.py`; kept by reference, not as a part of the term
    width, depth, heads  of the decoder
    chance  loss of guessing on the images that it will see (`loss_of_guessing`); None: not known

    Raises ConfigError for a network of another kind, or when nothing would be hidden or nothing seen.
    """

    net: Net

    def __init__(
        self,
        net: Net,
        *,
        share: float = 0.75,
        width: int = 64,
        depth: int = 1,
        heads: int = 2,
        seed: int,
        view: str = "main",
        chance: float | None = None,
    ) -> None:
        super().__init__()
        self.chance = chance
        self.plan = tokens_of(net)
        # Past nn.Module's own bookkeeping: the net's weights are trained as its own, and must not be this term's too.
        object.__setattr__(self, "net", net)
        self.view, self.seed = view, seed_for(seed, "reconstruction", "hidden")
        self.seen = min(max(round((1 - share) * self.plan.grid**2), 1), self.plan.grid**2 - 1)
        self.decoder = Decoder(self.plan, width, depth, heads, seed_for(seed, "reconstruction", "decoder"))

    def forward(self, step: StepLike) -> Tensor:
        samples = step.samples(self.view)
        images = normalise(samples, self.net.input.mean, self.net.input.std)
        order = self.order(step.ids.to(samples.device))
        predicted = self.decoder(self.encoded(images, order[:, : self.seen]), order)
        target = standard_patches(patches_of(images, self.plan.patch))
        hidden = torch.ones_like(order, dtype=torch.bool).scatter(1, order[:, : self.seen], False)
        return step.mean_all(masked_error(predicted, target, hidden))

    def order(self, ids: Tensor) -> Tensor:
        """`[N, P]` the numbers of each image's patches in an order drawn for this step and image: visible ones first.

        From the image's id and not its place in the batch, so that several processes hide what one would.
        """
        return uniform(self.seed, self.done, ids, self.plan.grid**2).argsort(1)

    def encoded(self, images: Tensor, visible: Tensor) -> Tensor:
        """`[N, S + V, width]` tokens after the last layer and its norm; `visible` `[N, V]` numbers of patches."""
        blocks, plan = self.net.blocks, self.plan
        tokens = blocks[plan.embed](images)
        chosen = visible[..., None].expand(-1, -1, tokens.shape[2])
        x = torch.cat([tokens[:, : plan.special], tokens[:, plan.special :].gather(1, chosen)], 1)
        for name in plan.layers:
            x = blocks[name](x)
        found: Tensor = plan.norm(self.net)(x)
        return found
