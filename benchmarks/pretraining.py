"""Pretraining on CIFAR-10 without labels: does every method beat the same untrained encoder, block against block?

    python -m benchmarks.pretraining cifar10.zip [--only METHOD ...] [--out benchmarks/pretraining.csv] [--work FOLDER]

10 000 training images, a network of our own from random weights (ResNet-20, or the encoder that a method needs), as many
epochs as make at most 400 000 view passes (`PretrainMethod.passes`), the method's own defaults otherwise, last epoch, one
seed. Greedy pretraining shares the epochs of joint supervised training out among its blocks and the training of all
together at the end, on the same images: an image that a block learns from counts as a whole view pass. Then a linear probe
on 10 000 labelled images: of the trained and the untrained encoder the block is chosen by cross-validation on these, and
both answer the 10 000 test images. The difference is paired over images (bootstrap, 95 %), and so is that between greedy and
joint supervised training where both are there. Finished methods are kept, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import copy
import io
import math
import shutil
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rows import append
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.strategies import EarlyProbeConfig
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task, task_of
from headstart.engine.features import FeatureBank, bank_answers
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.metrics.intervals import wilson
from headstart.metrics.paired import paired_bootstrap
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import permutation, seed_for
from headstart.strategies.common import weighted_blocks
from headstart.strategies.early_probe import early_probe
from headstart.strategies.pretrain import PRETRAIN
from headstart.strategies.pretrain.greedy import settings_of
from headstart.studies.peak_memory import PeakMemory

IMAGES, TEST, PASSES = 10_000, 10_000, 400_000
NETWORKS = {"cpc": "headstart:cpc_encoder", "amdim": "headstart:amdim_encoder", "mae": "headstart:vit"}
USUAL = "headstart:resnet20"
METHODS = ("rotation", "relative_position", "simclr", "moco", "cpc", "amdim", "swav", "byol", "greedy", "supervised")
COLUMNS = (
    "method",
    "network",
    "epochs",
    "seconds",
    "memory",
    "block",
    "accuracy",
    "low",
    "high",
    "untrained_block",
    "untrained",
    "gain",
    "gain_low",
    "gain_high",
)


def read(path: Path) -> tuple[Task, Task]:
    """Some of the training images, every class alike, and all test images."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".webp")]
        classes = tuple(sorted({Path(name).parent.name for name in names}))
        parts = []
        for split, count in (("train", IMAGES), ("test", TEST)):
            mine = sorted(name for name in names if Path(name).parts[-3] == split)
            labels = np.array([classes.index(Path(name).parent.name) for name in mine])
            each = [np.flatnonzero(labels == place) for place in range(len(classes))]
            rows = np.concatenate([own[permutation(len(own), 0, "cifar", split)[: count // len(classes)]] for own in each])
            images = np.stack([_image(archive.read(mine[row])) for row in rows])
            parts.append(task_of("main", store_of(images), labels[rows], classes))
    return parts[0], parts[1]


def _image(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def encoder(method: str) -> Net:
    """From random weights, without a head."""
    net = build(NETWORKS.get(method, USUAL), size=32, pretrained=False, seed=0)
    net.heads.clear()
    return net


def schooled(method: str, net: Net, images: int) -> tuple[Any, int]:
    """The method's settings for `PASSES` view passes at most, and the epochs of all its stages."""
    config = settings_of(PRETRAIN[method])()
    epochs = max(1, math.floor(PASSES / (PRETRAINING[method].passes * images)))
    if method != "greedy":
        return replace(config, school=replace(config.school, epochs=epochs)), epochs
    blocks = len(weighted_blocks(net))  # each of which learns for so many epochs as the settings say
    each = max(1, 3 * epochs // (4 * blocks))
    together = max(0, epochs - each * blocks)
    return replace(config, school=replace(config.school, epochs=each), together=together), each * blocks + together


def pretrained(method: str, train: Task, work: Path) -> tuple[Net, dict[str, Any]]:
    """The encoder after the method, and what it took."""
    net, place = encoder(method), work / method
    place.mkdir(parents=True, exist_ok=True)
    config, epochs = schooled(method, net, len(train))
    data = train
    if not PRETRAINING[method].labels:
        data = Task(train.name, train.store, np.full(len(train.store), UNKNOWN, np.int64), (), train.rows)
    began = time.monotonic()
    with PeakMemory("cpu") as memory:
        log = RunLog(place / "log.jsonl", (_say,))
        Drive(net, seed_for(0, "pretraining"), Machine(cache=place / "cache"), place, None, log).run(
            PRETRAIN[method](net, data, config)
        )
    shutil.rmtree(place / "cache", ignore_errors=True)
    return net, {"epochs": epochs, "seconds": round(time.monotonic() - began, 1), "memory": memory.bytes}


def _say(line: dict[str, Any]) -> None:
    if line["event"] == "epoch":
        print(f"  {line['stage']} {line['epoch']}: {line['loss']:.4f}, {line['seconds']:.0f} s", flush=True)


def probed(net: Net, train: Task, test: Task, work: Path) -> tuple[NDArray[np.bool_], str]:
    """Right or wrong on the test images, read from the block that cross-validation on the training images finds best."""
    net = copy.deepcopy(net)
    bank = FeatureBank(work)
    Drive(net, 0, None, None, bank).run(early_probe(net, train, EarlyProbeConfig(depth="best")))
    return bank_answers(net, test, bank).argmax(1) == test.targets, net.head(train.name).reads[0]


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="archive with train/CLASS/*.webp and test/CLASS/*.webp")
    parser.add_argument("--only", nargs="*", default=METHODS, help="methods")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pretraining.csv"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "headstart-pretraining")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = read(args.data)
    for method in args.only:
        print(method, flush=True)
        net, taken = pretrained(method, train, args.work)
        before, first = probed(encoder(method), train, test, args.work / "features")
        after, block = probed(net, train, test, args.work / "features")
        gain = paired_bootstrap(after.astype(float), before.astype(float), 0)
        found = wilson(int(after.sum()), len(after))
        row: dict[str, Any] = {"method": method, "network": NETWORKS.get(method, USUAL), **taken, "block": block}
        row |= {"accuracy": found.mean, "low": found.low, "high": found.high, "untrained_block": first}
        row |= {"untrained": float(before.mean()), "gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        append(args.out, COLUMNS, {key: f"{v:.4f}" if isinstance(v, float) else v for key, v in row.items()})
        print(
            f"{method}: {100 * found.mean:.1f} % ({block}), untrained {100 * before.mean():.1f} % ({first}), {gain}",
            flush=True,
        )
        np.save(args.work / method / "right.npy", after)
    _greedy_or_joint(args.work)


def _greedy_or_joint(work: Path) -> None:
    """Say by how much greedy pretraining is ahead of joint training, where both have answered."""
    paths = [work / method / "right.npy" for method in ("greedy", "supervised")]
    if all(path.exists() for path in paths):
        greedy, joint = (np.load(path).astype(float) for path in paths)
        print(f"greedy less supervised: {paired_bootstrap(greedy, joint, 0)}", flush=True)


if __name__ == "__main__":
    main()
