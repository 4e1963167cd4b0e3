"""One hundred heads together: against one head, and against the bare matrix products.

512 features, 10 classes, batch 256; 5 rates x 4 decays x 5 folds. All parts run in turn, many times, and ratios are taken
within each turn, so that whatever else the machine does meets all of them alike; the table shows medians.

one head      an ordinary PyTorch loop: nn.Linear, cross_entropy, autograd, torch.optim.SGD with momentum
alone         our own step with a single head (no autograd): the strictest yardstick, shown for honesty
products      `logits = W x'` and `gradient += r x` for all heads into ready buffers, and nothing else
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio
from headstart.engine.heads import train_heads
from headstart.engine.solvers import stratified_folds

FEATURES, CLASSES, BATCH, IMAGES = 512, 10, 256, 2048
RATES, DECAYS, FOLDS = (0.003, 0.01, 0.03, 0.1, 0.3), (0.0, 1e-5, 1e-4, 1e-3), 5


def _parts(epochs: int) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, FEATURES, generator=generator)
    y = torch.randint(0, CLASSES, (IMAGES,), generator=generator)
    folds = stratified_folds(y, FOLDS)
    heads = len(RATES) * len(DECAYS) * FOLDS
    weight, speed = torch.zeros(heads * CLASSES, FEATURES), torch.zeros(heads * CLASSES, FEATURES)
    logits = torch.zeros(heads * CLASSES, BATCH)

    def hundred() -> object:
        return train_heads(x, y, CLASSES, rates=RATES, decays=DECAYS, folds=folds, epochs=epochs, batch_size=BATCH, seed=0)

    def alone() -> object:
        return train_heads(
            x, y, CLASSES, rates=RATES[:1], decays=DECAYS[:1], folds=folds[:1], epochs=epochs, batch_size=BATCH, seed=0
        )

    def ordinary() -> None:
        linear = nn.Linear(FEATURES, CLASSES)
        optimiser = torch.optim.SGD(linear.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
        order = torch.randperm(IMAGES, generator=generator)
        for rows in order.repeat(epochs).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(linear(x[rows]), y[rows]).backward()
            optimiser.step()

    def products() -> None:
        for _ in range(epochs):
            for batch in x.split(BATCH):
                torch.mm(weight, batch.T, out=logits)
                speed.addmm_(logits, batch, beta=0.9)

    return {"hundred": hundred, "one head": ordinary, "alone": alone, "products": products}


def measure(*, quick: bool) -> list[Row]:
    """Ratios within each turn, and milliseconds per step."""
    epochs, rounds = (2, 5) if quick else (4, 21)
    taken = in_turn(_parts(epochs), rounds)
    steps = epochs * IMAGES / BATCH
    limits = {"one head": 15.0, "alone": None, "products": 1.5}
    words = {
        "one head": "one head, an ordinary loop",
        "alone": "one head, our own step",
        "products": "batched products alone",
    }
    rows = [
        row(f"100 heads / {words[name]}", ratio(taken["hundred"], taken[name]), limit=limit)
        for name, limit in limits.items()
    ]
    each = {name: median_of([1e3 * value / steps for value in values]) for name, values in taken.items()}
    return rows + [row(f"{name}, per step", found, unit="ms") for name, found in each.items()]
