"""Train the embedded default backbone: ResNet-20 on CIFAR-10, by headstart's own engine.

    python examples/train_embedded.py CIFAR10_FOLDER --out runs/embedded

CIFAR10_FOLDER holds `train/CLASS/*` and `test/CLASS/*`. Interrupted, the same command goes on where it stopped. Nothing is
selected on the test images: the recipe is fixed, they are read once, after the last epoch. With --statistics-only nothing is
trained: the statistics that the shipped network carries are computed on the training images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.prepare import prepare
from headstart.data.sources import open_source
from headstart.data.task import Task
from headstart.data.views import standard_view
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.evaluate import answers
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.engine.source_statistics import embedded_statistics, statistics_from_task
from headstart.metrics.intervals import wilson
from headstart.nets.net import Net
from headstart.nets.saved import load_embedded, save_embedded
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
    log = RunLog(out / "log.jsonl", listeners)
    fit(net, recipe(task, epochs), seed=seed, machine=machine, log=log, checkpoints=Checkpoints(out))
    return net, time.monotonic() - began


def load(folder: Path, cache: Path) -> tuple[Task, Task]:
    """Training and test images at 32 px, decoded once."""
    data = prepare(open_source(folder), size=32, cache=cache / "data")
    return data.task(HEAD, "train"), data.task(HEAD, "test")


def card(data: Task, correct: NDArray[np.bool_], args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What is known about the network, stored with it."""
    interval = wilson(int(correct.sum()), len(correct))
    return {
        "trained_on": "CIFAR-10, 50 000 training images",
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "recipe": " ".join((recipe.__doc__ or "").split()) + f" {args.epochs} epochs, {args.precision}.",
        "command": f"python examples/train_embedded.py CIFAR10_FOLDER --epochs {args.epochs} --seed {args.seed}",
        "seed": args.seed,
        "seconds": round(seconds),
        "test_images": len(correct),
        "test_accuracy": float(correct.mean()),
        "test_interval": [interval.low, interval.high],
    }


def write_asset(net: Net, facts: dict[str, Any], folder: Path) -> None:
    """The weights and the card, as the package ships them."""
    net.source = {**(net.source or {}), "name": "embedded", "card": facts}
    save_embedded(net.cpu(), folder)
    lines = [
        "# Card of the embedded backbone",
        "",
        "ResNet-20 for 32 px (He et al. 2016), trained by headstart's own engine.",
        "",
    ]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items()]
    (folder / "embedded.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_statistics(net: Net, data: Task) -> None:
    """Statistics of the shipped network's features on all of its training images, into the package."""
    path, began = embedded_statistics(), time.monotonic()
    found = statistics_from_task(net, data, limit=len(data))
    found.save(path)
    size, seconds = path.stat().st_size, time.monotonic() - began
    print(f"{path}: {found.images} images, {len(found.mean)} features of block {found.block}, {size} bytes, {seconds:.0f} s")


def main() -> None:
    """Train, read the test images once, and write the asset with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--statistics-only", action="store_true", help="feature statistics of the network as it is shipped")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data, test = load(args.data, args.out)
    if args.statistics_only:
        write_statistics(load_embedded(), data)
        return
    net, seconds = train(data, args.out, epochs=args.epochs, seed=args.seed, precision=args.precision)
    correct = answers(net, test).argmax(1) == test.targets
    print(f"test accuracy {correct.mean():.4f} on {len(correct)} images, {seconds:.0f} s in this process")
    write_asset(net, card(data, correct, args, seconds), args.out / "asset")
    print(f"to ship it: cp {args.out / 'asset'}/embedded.* headstart/assets/, then the same command with --statistics-only")


if __name__ == "__main__":
    main()
