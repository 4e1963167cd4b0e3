"""What augmentation costs beside a step that learns from it: SimCLR with ResNet-20 at 32 px, 128 images, two views.

views     both renderings of a batch by the pipeline `simclr`: crop, flip, colour jitter, grey, one by one per image
step      everything else of a step: both views in one pass, projection, NT-Xent, backward pass, SGD. The shortest loop; the
          share of augmentation in a real step, which does a little more, is smaller
each op   alone, for 256 renderings
blur      what SimCLR does besides at 224 px, for 16 renderings of that size
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of
from headstart.data.pipelines import parse_pipeline, views_of
from headstart.data.views import View, normalise
from headstart.losses.nt_xent import nt_xent
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet

SIZE, BATCH, LIMIT = 32, 128, 0.15
OPS = ("crop(0.08, 1.0)", "flip(0.5)", "jitter(0.4, 0.4, 0.4, 0.1, p=0.8)", "grey(0.2)", "solarise(0.2)")


def _pictures(count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def _rendering(view: View, pictures: Tensor) -> Callable[[], Tensor]:
    """Every call is the next epoch."""
    ids, draw = torch.arange(len(pictures)), iter(range(10**9))
    return lambda: view.render(pictures, ids, seed=1, draw=next(draw))


def _step(pictures: Tensor) -> Callable[[], None]:
    """One step on two views that are there already."""
    with forked(0):
        net = cifar_resnet(20)
        head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 128))
    parameters = [*net.parameters(), *head.parameters()]
    optimiser = torch.optim.SGD(parameters, 0.06, momentum=0.9, weight_decay=5e-4, fused=True)
    net.train()

    def step() -> None:
        seen = normalise(torch.cat([pictures, pictures]), net.input.mean, net.input.std)
        z = head(net.run(seen)["pool"])
        one, two = z.tensor_split(2)
        nt_xent(one, two, 0.5).mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def measure(*, quick: bool) -> list[Row]:
    """The share of augmentation in a step, within each turn, and milliseconds of every op."""
    rounds = 5 if quick else 21
    pictures = _pictures(BATCH, SIZE)
    views = [_rendering(view, pictures) for view in views_of("simclr", SIZE)]
    taken = in_turn({"views": lambda: [view() for view in views], "step": _step(pictures)}, rounds, warm_up=2)
    share = median_of([v / (v + s) for v, s in zip(taken["views"], taken["step"], strict=True)])
    rows = [row("two views / the step with them", share, limit=LIMIT)]
    rows += [row(f"{name}, batch of {BATCH}", median_of([1e3 * t for t in taken[name]]), unit="ms") for name in taken]
    many, large = _pictures(2 * BATCH, SIZE), _pictures(16, 224)
    parts = {f"{op}, {2 * BATCH} at {SIZE} px": _rendering(parse_pipeline(op), many) for op in OPS}
    parts["blur(0.5), 16 at 224 px"] = _rendering(parse_pipeline("blur(0.5)"), large)
    parts["simclr, 16 at 224 px"] = _rendering(views_of("simclr", 224)[0], large)
    alone = in_turn(parts, rounds)
    return rows + [row(name, median_of([1e3 * value for value in values]), unit="ms") for name, values in alone.items()]
