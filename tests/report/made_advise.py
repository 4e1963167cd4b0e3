"""A made-up run folder of `headstart advise`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS = ("stem", "stage1.0", "stage1.1", "stage2.0", "stage2.1", "stage3.0", "stage3.1")
PAIRS = (
    ("CIFAR-10", "CIFAR-100", 0.82), ("CIFAR-10", "small ImageNet", 0.74), ("CIFAR-10", "traffic signs", 0.31),
    ("CIFAR-10", "digits", 0.17), ("CIFAR-10", "satellite", 0.46), ("drawings", "letters", 0.66),
    ("drawings", "CIFAR-10", 0.12), ("CIFAR-100", "flowers", 0.58),
)  # fmt: skip
WINNERS = {"frozen": ("probe", "early_probe"), "tuned": ("lpft", "full"), "retrained": ("scratch",)}


def calibration() -> list[dict[str, Any]]:
    """Past experiments: frozen heads win where data are few and alike, re-training where they are many and unlike."""
    rng, found = np.random.default_rng(3), []
    for source, target, similar in PAIRS:
        for per_class, size in ((12, 0.22), (50, 0.48), (200, 0.78)):
            x, y = float(np.clip(similar + rng.normal(0, 0.02), 0, 1)), float(np.clip(size + rng.normal(0, 0.03), 0, 1))
            gap = 0.09 * (y - x) + 0.02 + float(rng.normal(0, 0.006))
            family = "frozen" if gap < 0.01 else "retrained" if x < 0.2 and y > 0.6 else "tuned"
            winner = WINNERS[family][int(rng.integers(len(WINNERS[family])))]
            label = f"{source} > {target}, {per_class} per class"
            found.append({"x": round(x, 3), "y": round(y, 3), "label": label, "winner": winner, "family": family,
                          "gap": round(gap, 4)})  # fmt: skip
    return found


def forecast() -> list[dict[str, Any]]:
    rows = [("lpft", "Probe, then fine-tune", 0.921, 0.03, 0.44), ("probe", "Probe", 0.916, 0.02, 0.31),
            ("early_probe", "Probe on all depths", 0.908, 0.028, 0.17), ("full", "Everything fine-tuned", 0.884, 0.05, 0.07),
            ("partial-3", "Top 3 blocks fine-tuned", 0.88, 0.045, 0.01),
            ("scratch", "Re-trained from scratch", 0.62, 0.12, 0.0)]  # fmt: skip
    return [
        {"arm": arm, "label": label, "accuracy": a, "interval": [round(a - half, 3), round(min(0.99, a + 0.8 * half), 3)],
         "probability_best": best}
        for arm, label, a, half, best in rows
    ]  # fmt: skip


def learning_curve() -> dict[str, Any]:
    found = [(96, 8.0, 0.772), (192, 16.0, 0.841), (384, 32.0, 0.889)]
    return {
        "points": [{"images": n, "per_class": k, "accuracy": a, "interval": [a - 0.03, a + 0.025]} for n, k, a in found],
        "twice": {"images": 768, "per_class": 64.0, "accuracy": 0.922, "interval": [0.9, 0.941]},
        "sentence": "twice the labels should bring the probe from 88.9 % to 92.2 % (80 % interval 90.0 to 94.1 %)",
    }


def advice() -> dict[str, Any]:
    return {
        "strategy": "probe",
        "arm": "probe",
        "label": "Probe",
        "description": "frozen backbone, linear head by L-BFGS",
        "settings": {"frozen": list(BLOCKS), "head": "logistic regression", "head_reads": [BLOCKS[-1]],
                     "penalties": [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]},
        "expected": {"accuracy": 0.916, "interval": [0.896, 0.932], "level": 0.8},
        "sure": 0.78,
        "reasons": [
            "48 images per class is little: weights learned on so few would fit them too closely",
            "a linear head on the last block gets 88.9 % right, 48.3 points more than on raw pixels",
        ],
        "change": [
            "with more than about 2,000 images, fine-tuning after the probe would be advised",
            "if a probe on earlier blocks were 2 points better, a head on all depths would be",
        ],
        "actions": [],
        "seconds": 14.2,
    }  # fmt: skip


def foresight() -> dict[str, Any]:
    """What the summary of `adapt` holds besides its own keys."""
    return {"calibration": calibration(), "forecast": forecast(), "learning_curve": learning_curve()}


def summary() -> dict[str, Any]:
    depth = [0.41, 0.52, 0.6, 0.71, 0.8, 0.884, 0.889]
    spread = [{"block": b, "accuracy": a, "interval": [a - 0.033, a + 0.03]} for b, a in zip(BLOCKS, depth, strict=True)]
    return {
        "command": "advise",
        "version": "0.2.0",
        "reproduce": "headstart advise pictures/shapes --backbone embedded --seed 0 --out runs/advice",
        "next": "headstart adapt pictures/shapes --trust --backbone embedded --seed 0 --out runs/advice-adapted",
        "experience": "24 experiments on 7 data sets and 8 source-target pairs",
        "seconds": 9.4,
        "seconds_by_phase": {"network": 0.5, "data": 1.2, "measure": 7.4},
        "data": {"path": "pictures/shapes", "num_images": 480, "num_classes": 10, "images_per_class": 48,
                 "fingerprint": "5c1d0f6f2a9c47d38e0b1c55d1f0a7e2"},
        "backbone": {"name": "embedded", "parameters": 272_474, "size": 32},
        "quadrant": {"number": 4, "size": "small", "similarity": "high", "position": {"x": 0.71, "y": 0.33},
                     "spread": {"x": [0.6, 0.79], "y": [0.27, 0.4]}},
        "advice": advice(),
        **foresight(),
        "depth": {"blocks": [*spread, {"block": "all", "accuracy": 0.901, "interval": [0.872, 0.925]}],
                  "peak": "stage3.1", "earliest": "stage3.0"},
        "measures": {
            "knn": {"accuracy": 0.861, "interval": [0.83, 0.888], "k": 5},
            "logme": {"value": -0.2184, "interval": [-0.24, -0.201]},
            "hscore": {"value": 6.91, "interval": [6.6, 7.2]},
            "pixel_baseline": 0.406,
            "similarity": {
                "frechet": {"value": 41.7, "null": 12.9, "meaning": "3.2 times what two halves of the source differ by"},
                "transport": {"value": 0.72, "null": 0.31, "meaning": "each class has a near source class"},
                "domain": {"value": 0.083, "null": 0.5, "meaning": "a classifier tells the two apart in 92 of 100 images"},
            },
        },
    }  # fmt: skip


def inspection() -> dict[str, Any]:
    """As `headstart.data.inspection.Inspection.to_json` writes it, the fields that a page shows."""
    return {
        "where": "pictures/shapes",
        "num_images": 480,
        "num_classes": 10,
        "counts": {"train": {f"shape {k}": 48 for k in range(10)}},
        "sizes": {"width": [48, 96.0, 640], "height": [48, 96.0, 480], "wide_share": 0.012},
        "modes": {"RGB": 470, "L": 10},
        "warnings": ["most images are smaller than 32 px"],
    }


def make_advise(folder: Path, **changed: Any) -> Path:
    """Write a run folder of `headstart advise` and return it; `changed` replaces parts of the summary, None removes one."""
    folder.mkdir(parents=True)
    found = {key: value for key, value in {**summary(), **changed}.items() if value is not None}
    (folder / "summary.json").write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")
    config = {"command": "advise", "data": "pictures/shapes", "backbone": "embedded", "seed": 0}
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    env = {"python": "3.12.3", "torch": "2.15.0", "numpy": "2.4.0", "threads": 2, "device": "cpu"}
    (folder / "env.json").write_text(json.dumps(env, indent=1), "utf-8")
    (folder / "inspection.json").write_text(json.dumps(inspection(), indent=1), "utf-8")
    (folder / "log.jsonl").write_text("", "utf-8")
    return folder
