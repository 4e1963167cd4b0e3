"""A made-up run of `headstart pretrain` whose numbers hang together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS = ("stem", "layer1_0", "layer2_0", "layer3_0", "pool")


def looks(epochs: int = 40, every: int = 4) -> list[dict[str, Any]]:
    """A loss that falls from chance, and features that get better and then stay."""
    found = []
    for epoch in range(every, epochs + 1, every):
        done = epoch / epochs
        probes = {f"probe {name}": 0.3 + 0.05 * n + 0.2 * done * (n > 0) for n, name in enumerate(BLOCKS)}
        found.append(
            {
                "stage": "simclr",
                "epoch": epoch,
                "epochs": epochs,
                "seconds": 9.0 * epoch,
                "loss": 5.5 - 1.5 * done,
                "chance": 5.54,
                "of_chance": (5.5 - 1.5 * done) / 5.54,
                "knn": 0.35 + 0.25 * done,
                **probes,
                "spread": 0.4 + 0.4 * done,
                "rank": 8 + 20 * done,
                "uniformity": -1 - 2 * done,
                "alignment": 0.8 - 0.4 * done,
            }
        )
    return found


def difference(images: int, kind: str, than: str, mean: float, decided: bool) -> dict[str, Any]:
    half = abs(mean) / 2 if decided else abs(mean) * 2 + 0.01
    return {
        "images": images,
        "kind": kind,
        "than": than,
        "draws": 3,
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "p_value": 0.001 if decided else 0.4,
        "decided": decided,
        "detectable": 0.03,
        "level": 0.95,
        "method": "hierarchical",
        "adjusted_p": 0.01 if decided else 0.8,
    }


def verdict() -> dict[str, Any]:
    """Three networks, three numbers of labels; the last fine-tuning did not fit."""
    sizes = (80, 800, 8000)
    networks = {"pretrained": 0.12, "random": 0.0, "against": 0.2}
    cells = [
        {
            "images": size,
            "kind": kind,
            "network": name,
            "accuracy": 0.3 + 0.1 * n + gain,
            "interval": [0.28 + 0.1 * n + gain, 0.32 + 0.1 * n + gain],
            "draws": 1 if size == 8000 else 3,
            "seconds": 4.0,
        }
        for n, size in enumerate(sizes)
        for kind in ("probe", "fine_tune")
        for name, gain in networks.items()
        if (size, kind) != (8000, "fine_tune")
    ]
    differences = [
        difference(cell["images"], cell["kind"], cell["network"], 0.12 - networks[cell["network"]], cell["kind"] == "probe")
        for cell in cells
        if cell["network"] != "pretrained"
    ]
    left_out = [
        {
            "unit": f"fine-tuning and training from scratch on 8000 labels, draw {draw}",
            "kind": "fine_tune",
            "images": 8000,
            "why": "no longer fitted into the budget of 300 s",
        }
        for draw in (1, 2, 3)
    ]
    labels = {"pretrained": "this backbone", "random": "random weights", "against": "embedded <small>"}
    return {
        "why": "",
        "networks": [{"name": name, "label": label} for name, label in labels.items()],
        "absent": [],
        "shares": [{"images": size, "share": size / 8000} for size in sizes],
        "labels": 8000,
        "test_images": 2000,
        "classes": 10,
        "cells": cells,
        "differences": differences,
        "left_out": left_out,
        "training_share": 0.4,
        "seconds": 280.0,
        "budget": 300.0,
    }


def summary() -> dict[str, Any]:
    """What the job writes."""
    course = looks()
    end = {
        **course[-1],
        "best_block": "layer3_0",
        "best_probe": 0.65,
        "best_block_before": "stem",
        "best_probe_before": 0.35,
    }
    return {
        "command": "pretrain",
        "data": {
            "path": "photos",
            "fingerprint": "ab12",
            "num_images": 10900,
            "num_classes": 10,
            "set_aside": [{"path": "bad.jpg", "reason": "is no picture"}],
            "parts": {"pool": 8000, "labelled": 8000, "held": 900, "test": 2000},
        },
        "backbone": {
            "name": "headstart:resnet20",
            "start": "random",
            "parameters": 269000,
            "input_size": 32,
            "blocks": BLOCKS,
        },
        "method": {
            "name": "simclr",
            "family": "contrastive",
            "summary": "two views of an image are alike, views of different images are not",
            "paper": "Chen et al. 2020",
            "passes": 2,
            "limits": "large batches",
            "settings": {"school": {"epochs": 40, "lr": 0.06}, "temperature": 0.5},
            "labels": False,
            "views": {"one": "crop(0.2, 1.0) flip(0.5)", "two": "crop(0.2, 1.0) grey(0.2)"},
            "view_passes": 640000,
        },
        "start": {"knn": 0.31, "spread": 0.2, "rank": 4.0, "uniformity": -0.5, "probe stem": 0.35, "probe pool": 0.33},
        "stages": [{"name": "simclr", "epochs": 40, "steps": 2500}],
        "losses": [{"stage": "simclr", "epoch": n + 1, "loss": 5.5 - n / 30, "lr": 0.06} for n in range(40)],
        "looks": course,
        "end": end,
        "warnings": ["a plateau: in the last fifth of the training the loss has not gained anything"],
        "verdict": verdict(),
        "pretraining_seconds": 360.0,
        "looking_seconds": 12.0,
        "seconds_by_phase": {"data": 3.0, "pretraining": 360.0, "verdict": 280.0},
        "saved": "runs/pre",
        "reproduce": "headstart pretrain photos --out runs/pre --method simclr",
        "version": "0.1.0",
        "seconds": 650.0,
        "sentences": [
            "resnet20 learned.",
            "With 1% of the labels (80), probed, it is 12.0 points better than random weights.",
        ],
    }


def write(folder: Path, content: dict[str, Any] | None = None, log: list[dict[str, Any]] | None = None) -> Path:
    """A run folder with this summary; none when `content` is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"command": "pretrain", "data": "photos", "method": "simclr", "seed": 0}))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log or ()))
    content = summary() if content is None else content
    if content:
        (folder / "summary.json").write_text(json.dumps(content))
        (folder / "report_data").mkdir(exist_ok=True)
        draw = np.random.default_rng(0)
        pictures = {name: draw.integers(0, 255, (40, 80, 3)).astype(np.uint8) for name in ("one", "two")}
        with (folder / "report_data" / "renderings.npz").open("wb") as file:
            np.savez(file, **pictures)
    return folder
