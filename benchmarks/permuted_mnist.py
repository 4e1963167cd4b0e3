"""Permuted-MNIST: one question about ten scramblings of the same digits, by the protocol of Hsu et al. 2018.

    python -m benchmarks.permuted_mnist mnist.npz [--out benchmarks/permuted_mnist.csv] [--only METHOD ...] [--seeds 0]

Ten permutations of the 32 x 32 pixels (the first leaves them), a perceptron with two layers of 1 000, Adam at 0.0001 whose
memory goes on from task to task, batches of 128, 10 epochs per task; mean accuracy over the ten tasks after the last, whose
classes are the same. Published there: EWC .94, SI .95. A run of ten tasks is some 47 000 steps.

EWC's importances are those of the published program: squared gradients of batches with the likeliest answers for labels,
times the batches' 128 samples. Its strengths, 150 and online 250, leave out the 1/2, and so are 38 400 and 64 000 here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import append
from benchmarks.split_mnist import PROTOCOL, Digits, Drawn, Row, all_tasks, done, right
from headstart.catalog.settings import with_settings, with_values
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine.answering import Answering
from headstart.engine.past import Past
from headstart.engine.run import Drive
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.seeding import permutation, seed_for
from headstart.studies.extend import config_class

TASKS = 10
COLUMNS = ("row", "scenario", "seed", "accuracy", "seconds", "settings")
ROWS = (
    Row("fine-tune", "fine_tune", {}, {"domain": {}}),
    Row("EWC", "ewc", {"domain": (94.0, None)}, {"domain": {"fisher": "likeliest", "strength": 38400.0}}),
    Row("EWC online", "ewc", {}, {"domain": {"fisher": "likeliest", "mode": "online", "gamma": 1.0, "strength": 64000.0}}),
    Row("SI", "si", {"domain": (95.0, None)}, {"domain": {"strength": 20.0}}),
)


def tasks(digits: Digits, seed: int) -> Iterator[tuple[Task, Task]]:
    """(train, test) of every permutation."""
    names = tuple(map(str, range(10)))
    for number in range(TASKS):
        width = digits.train[0].shape[1]
        order = np.arange(width) if not number else permutation(width, seed, "permuted", number)
        made = [task_of(f"task{number}", store_of(x[:, order]), y, names) for x, y in (digits.train, digits.test)]
        yield made[0], made[1]


def run(digits: Digits, row: Row, seed: int, more: list[str]) -> float:
    """Mean accuracy over the tasks after the last."""
    settings = {**PROTOCOL, "epochs": 10, "lr": 1e-4, "seed": seed, **row.settings["domain"]}
    config = with_settings(with_values(config_class(row.method)(), settings), more)
    with forked(seed_for(seed, "permuted-mnist")):
        net = mlp(1024, (1000, 1000))
    net.__class__, net.seed = Drawn, seed
    past = Past("domain", seed=seed)
    pairs = list(tasks(digits, seed))
    Drive(net, seed_for(seed, row.name)).run(all_tasks(net, row, config, past, pairs))
    return float(np.mean([right(Answering(net, past), past, n, test) for n, (_, test) in enumerate(pairs)]))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="mnist.npz with images and labels of both splits")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/permuted_mnist.csv"))
    parser.add_argument("--only", nargs="*", default=["EWC", "EWC online", "SI"], help="rows")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="settings tried instead of the table's, e.g. strength=10")
    args = parser.parse_args()
    torch.set_num_threads(1)
    digits, there = Digits.read(args.data), set() if args.set else done(args.out)
    for seed in args.seeds:
        for row in (row for row in ROWS if row.name in args.only and (row.name, "domain", seed) not in there):
            began = time.monotonic()
            accuracy = run(digits, row, seed, args.set)
            took = time.monotonic() - began
            print(f"{row.name:<10} seed {seed}: {accuracy:.4f} in {took:.1f} s", *args.set, flush=True)
            if not args.set:
                chosen = " ".join(f"{name}={value}" for name, value in row.settings["domain"].items())
                line = (row.name, "domain", seed, f"{accuracy:.4f}", f"{took:.1f}", chosen)
                append(args.out, COLUMNS, dict(zip(COLUMNS, line, strict=True)))


if __name__ == "__main__":
    main()
