"""A network that teaches itself without labels: DINO (Caron et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.losses.agreement import cosine_course, linear_course, sharpened, soft_targets
from headstart.losses.precision import full
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.bootstrap import PAIR
from headstart.terms.crops import Cropped
from headstart.terms.gather import gathered
from headstart.terms.momentum import MomentumCopy


class Words(nn.Module):
    """Features `[N, width]` to logits `[N, words]`: three layers with GELU, a vector of length 1, and its cosines with one
    direction per word (Caron et al. 2021, appendix C: the last layer's weights are normalised, their length fixed at 1).

    norm  batch normalisation before every GELU, as their code has it for networks that use it themselves. Without it, pooled
          rectified features, nearly the same for all images at first, stay so: on digits the loss did not leave ln(words)
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, words: int, seed: int, *, norm: bool = False) -> None:
        super().__init__()
        with forked(seed):
            layers: list[nn.Module] = []
            for before in (width, hidden):
                layers += [nn.Linear(before, hidden), *([nn.BatchNorm1d(hidden)] if norm else []), nn.GELU()]
            self.body = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
            for layer in self.body:
                if isinstance(layer, nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    nn.init.zeros_(layer.bias)
            self.last = nn.Linear(bottleneck, words, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # The directions are used in full precision: half of it would move every word at once.
        return F.linear(F.normalize(full(self.body(x)), dim=1), F.normalize(full(self.last.weight), dim=1))


class SelfDistilled(Cropped):
    """Cross-entropy of every view's words against those a slowly moving copy finds in each other global view.

    The copy's logits are centred by a running mean over batches and sharpened by a lower temperature, which keep it from
    always saying one word and from saying all equally (section 3.1). The copy sees global views only.

    words, hidden, bottleneck, norm  of the head, see `Words`
    momentum     decay of the copy at the start; rises along a cosine to 1
    temperature  of the network; `teacher` (start, end) of the copy, in a line over the share `warmup` of the steps
    centre_decay share of the old in the centre
    frozen       share of the steps in which the head's last layer stays as it was drawn (the paper's first epoch)
    """

    net: Net
    centre: Tensor

    def __init__(
        self,
        net: Net,
        *,
        words: int,
        hidden: int,
        bottleneck: int,
        norm: bool = False,
        momentum: float,
        temperature: float = 0.1,
        teacher: tuple[float, float] = (0.04, 0.04),
        warmup: float = 0.3,
        centre_decay: float = 0.9,
        frozen: float = 0.0,
        steps: int,
        seed: int,
        small: Sequence[str] = (),
        block: str | None = None,
    ) -> None:
        super().__init__(net, small=small, steps=steps, block=block)
        # Past nn.Module's own bookkeeping: the net's weights are trained as its own, and must not be this term's too.
        object.__setattr__(self, "net", net)
        self.momentum, self.temperature, self.teacher, self.warmup = momentum, temperature, teacher, warmup
        self.centre_decay, self.frozen = centre_decay, frozen
        drawn = seed_for(seed, "self-distilled", "head")
        self.head = Words(self.width, hidden, bottleneck, words, drawn, norm=norm)
        self.slow, self.slow_head = MomentumCopy(net, momentum), MomentumCopy(self.head, momentum)
        self.register_buffer("centre", torch.zeros(words))
        self._heard: Tensor | None = None

    @property
    def chance(self) -> float:
        """The loss where every word is as likely as another."""
        return math.log(len(self.centre))

    @property
    def decay(self) -> float:
        """The copy's decay now."""
        return cosine_course(self.momentum, 1.0, self.progress)

    @property
    def teacher_temperature(self) -> float:
        """The copy's temperature now."""
        return linear_course(*self.teacher, self.progress / self.warmup if self.warmup else 1.0)

    def forward(self, step: StepLike) -> Tensor:
        said = [self.head(features) for features in self.every(step)]
        heard = self._teacher(step)
        aims = [sharpened(logits, self.centre, self.teacher_temperature) for logits in heard]
        pairs = self.pairs
        each = torch.stack([soft_targets(said[place], aims[aim], self.temperature) for aim, place in pairs])
        self._heard = torch.cat(heard)
        return step.mean_all(each.mean(0))

    @torch.no_grad()
    def _teacher(self, step: StepLike) -> list[Tensor]:
        """`[B, words]` logits of the copy for each global view; both pass in one batch, as the network's do."""
        (start, *_), below = zip(*(step.below(view) for view in PAIR), strict=True)
        logits: Tensor = self.slow_head(self.slow.features(torch.cat(below), self.block, start))
        each = len(logits) // len(PAIR)
        return [logits[place * each : (place + 1) * each] for place in range(len(PAIR))]

    def after_backward(self, step: StepLike) -> None:
        # Weight decay, which may still act, changes the length of a direction, and only the direction is used.
        if self.progress < self.frozen and self.head.last.weight.grad is not None:
            self.head.last.weight.grad.zero_()

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        """Move the centre to what was heard in all processes, and the copy to the network."""
        if self._heard is not None:
            mean = gathered(self._heard).mean(0)
            self.centre.lerp_(mean.to(self.centre.dtype), 1 - self.centre_decay)
            self._heard = None
        self.slow.follow(self.net, self.decay)
        self.slow_head.follow(self.head, self.decay)
        super().after_step(step)
