"""One hundred heads together: against one head, and against the bare matrix products.

    python benchmarks/heads.py

512 features, 10 classes, batch 256; 5 rates x 4 decays x 5 folds. All parts run in turn, many times, and ratios are taken
within each turn, so that whatever else the machine does meets all of them alike; the table shows medians.

one head      an ordinary PyTorch loop: nn.Linear, cross_entropy, autograd, torch.optim.SGD with momentum
alone         our own step with a single head (no autograd): the strictest yardstick, shown for honesty
products      `logits = W x'` and `gradient += r x` for all heads into ready buffers, and nothing else
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

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


def main(repetitions: int = 15, epochs: int = 4) -> dict[str, float]:
    """Measure, print a table, return ratios and milliseconds per step."""
    parts = _parts(epochs)
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for repetition in range(repetitions + 1):
        for name, part in parts.items():
            begin = time.perf_counter()
            part()
            if repetition:  # the first round warms up
                taken[name].append(time.perf_counter() - begin)
    steps = epochs * IMAGES / BATCH
    result = {f"{name}_ms_per_step": 1e3 * median(taken[name]) / steps for name in parts}
    for name in ("one head", "alone", "products"):
        result[f"hundred_over_{name.replace(' ', '_')}"] = median(
            a / b for a, b in zip(taken["hundred"], taken[name], strict=True)
        )
    print(f"{FEATURES} features, {CLASSES} classes, batch {BATCH}, 100 heads, {torch.get_num_threads()} thread(s)")
    for name in parts:
        ratio = result.get(f"hundred_over_{name.replace(' ', '_')}")
        tail = f"   hundred / {name}: {ratio:.2f}" if ratio is not None else ""
        print(f"{name:<10} {result[f'{name}_ms_per_step']:8.3f} ms per step{tail}")
    return result


if __name__ == "__main__":
    main()
