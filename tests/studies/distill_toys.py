"""Digits and small networks that know them, for tests of distillation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from headstart.data.store import store_of
from headstart.engine.model import Ancestor, Card, Model
from headstart.engine.source_statistics import last_features
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet

SIZE, CLASSES = 8, 3
NAMES = tuple(f"digit {n}" for n in range(CLASSES))
USED: dict[str, Any] = {"epochs": 2, "batch_size": 16, "views": 2, "seeds": 2, "mirror": False, "device": "cpu", "lr": 0.05}


def student() -> Net:
    """A ResNet-8 of width 4."""
    with forked(1):
        return cifar_resnet(8, 4, SIZE)


def teacher(order: Sequence[int] = range(CLASSES), *, names: bool = True, noise: float = 0.0) -> Net:
    """A wider one that has seen the digits: nearest class means of its features as head `source`.

    order  which digit each of its answers is
    names  whether it says what its classes are called
    noise  blurs the means
    """
    with forked(2):
        net = cifar_resnet(8, 8, SIZE)
    found = load_digits(n_class=CLASSES)
    pixels = np.repeat((found.images * 15).astype(np.uint8)[..., None], 3, axis=3)
    features = torch.from_numpy(last_features(net, store_of(pixels), np.arange(400)))
    means = torch.stack([features[found.target[:400] == n].mean(0) for n in order])
    means = means + noise * torch.from_numpy(np.random.default_rng(0).normal(size=means.shape)).float()
    linear = net.add_head("source", len(means)).linear
    linear.weight.data, linear.bias.data = 8 * means, -4 * (means**2).sum(1)
    card = {
        "classes": [f"digit {n}" for n in order],
        "trained_on": "digits",
        "fingerprint": "0",
        "test_accuracy": 0.9,
        "test_interval": [0.8, 1.0],
    }
    net.source = {**(net.source or {}), "name": "toy", **({"card": card} if names else {})}
    return net


def saved(folder: Path, **how: Any) -> Path:
    """That teacher as a saved model."""
    net = teacher(**how)
    classes = tuple((net.source or {})["card"]["classes"])
    card = Card("source", classes, "squash", (Ancestor("toy", "by hand", "digits", "0"),), "0")
    return Model(net, card).save(folder)


def write(place: Path, train: int = 60, test: int = 36, *, first: int = 0, noisy: bool = False) -> Path:
    """Digits below train/ and test/; `noisy`: the test pictures are noise."""
    found = load_digits(n_class=CLASSES)
    draw = np.random.default_rng(0)
    for split, start, count in (("train", first, train), ("test", first + train, test)):
        for number in range(start, start + count):
            pixels = (found.images[number] * 15).astype(np.uint8)
            if noisy and split == "test":
                pixels = draw.integers(0, 256, pixels.shape).astype(np.uint8)
            path = place / split / f"digit {found.target[number]}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return place
