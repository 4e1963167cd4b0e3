"""Train the embedded default backbone: ResNet-20 on CIFAR-10, by headstart's own engine.

    python examples/train_embedded.py CIFAR10_FOLDER --out runs/embedded

CIFAR10_FOLDER holds `train/CLASS/*` and `test/CLASS/*`. Interrupted, the same command goes on where it stopped. Nothing is
selected on the test images: the recipe is fixed, they are read once, after the last epoch.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from headstart.data.task import Task
from headstart.data.views import standard_view
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.evaluate import answers
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.nets.net import Net
from headstart.nets.small import cifar_resnet
from headstart.seeding import seed_for
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.supervised import Supervised

HEAD = "source"


def fresh_net(num_classes: int, seed: int) -> Net:
    """A ResNet-20 with an empty head, drawn from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "init"))
        net = cifar_resnet(20)
    net.add_head(HEAD, num_classes)
    return net


def recipe(task: Task, epochs: int) -> Stage:
    """SGD at 0.1 falling along a cosine, weight decay 5e-4, batches of 128, shifts of 4 px and mirroring."""
    return Stage(
        "supervised",
        task,
        trains={"blocks": 1.0, "heads": 1.0},
        terms={"supervised": Supervised(HEAD)},
        budget=Budget(epochs=epochs),
        optimizer=Optimizer(lr=0.1, weight_decay=5e-4, warmup=0.05),
        views={"main": standard_view(32)},
        batch_size=128,
    )


def train(task: Task, out: Path, *, epochs: int, seed: int, precision: str, show: bool = True) -> tuple[Net, float]:
    """Train, resuming from `out` if it was interrupted; returns the net and this process's seconds."""
    out.mkdir(parents=True, exist_ok=True)
    listeners = (lambda line: print(line, flush=True) if line["event"] != "tick" else None,) if show else ()
    net = fresh_net(task.num_classes, seed)
    machine = Machine(precision="bf16" if precision == "bf16" else "float32", checkpoint_every=60)
    began = time.monotonic()
    fit(net, recipe(task, epochs), seed=seed, machine=machine, log=RunLog(out / "log.jsonl", listeners), checkpoints=Checkpoints(out))
    return net, time.monotonic() - began


def main() -> None:
    """Train, read the test images once, and write the asset with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data, test = load(args.data, args.out)
    net, seconds = train(data, args.out, epochs=args.epochs, seed=args.seed, precision=args.precision)
    correct = answers(net, test).argmax(1) == test.targets
    print(f"test accuracy {correct.mean():.4f} on {len(correct)} images, {seconds:.0f} s in this process")
    np.save(args.out / "correct.npy", correct)
