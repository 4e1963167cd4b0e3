"""A made-up run folder of `headstart select`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = (
    # name, blocks, probe, race, rounds, weights, multiply-adds, side, width
    ("timm:resnet18.a1_in1k", 10, 0.914, 0.948, 5, 11_176_512, 1_814_073_344, 224, 512),
    ("timm:mobilenetv3_small_100.lamb_in1k", 14, 0.921, 0.937, 5, 1_517_504, 54_900_000, 224, 1024),
    ("timm:efficientnet_b0.ra_in1k", 18, 0.917, 0.93, 2, 4_007_548, 384_600_000, 224, 1280),
    ("runs/earlier", 10, 0.902, 0.911, 1, 272_474, 41_100_000, 32, 64),
    ("torchvision:squeezenet1_1", 12, 0.871, None, 0, 722_496, 349_200_000, 224, 512),
    ("embedded", 10, 0.846, None, 0, 272_474, 41_100_000, 32, 64),
    ("timm:vit_tiny_patch16_224.augreg_in21k", 13, 0.79, None, 0, 5_524_416, 1_075_000_000, 224, 192),
)
UNITS = {
    "probe": ("Linear probe, best depth", "accuracy"),
    "knn": ("Nearest neighbours", "accuracy"),
    "logme": ("LogME", "nats"),
    "hscore": ("H-score", "score"),
    "leep": ("LEEP", "nats"),
    "size": ("Bigger is better", "weights"),
}
BELOW = "its probe's interval lies below that of timm:mobilenetv3_small_100.lamb_in1k"


def values() -> dict[str, list[float | None]]:
    """Measure -> value of every network; LEEP needs source classes, which a network without a head does not have."""
    rng = np.random.default_rng(5)
    probe = [row[2] for row in NETWORKS]
    noisy = {"knn": (0.09, 0.025), "logme": (1.3, 0.06), "hscore": (-5.0, 0.5)}
    found: dict[str, list[float | None]] = {"probe": list(probe)}
    for name, (shift, noise) in noisy.items():
        scale = 10 if name == "hscore" else 1
        found[name] = [round(scale * p - shift + float(rng.normal(0, noise)), 4) for p in probe]
    found["leep"] = [
        None if row[0] == "embedded" else round(-3 + 2 * row[2] + float(rng.normal(0, 0.2)), 4) for row in NETWORKS
    ]
    found["size"] = [float(row[5]) for row in NETWORKS]
    return found


def ranks(column: list[float | None]) -> list[int | None]:
    return [None if v is None else 1 + sum(o is not None and o > v for o in column) for v in column]


def kendall(a: list[float | None], b: list[float | None]) -> float:
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    signs = [np.sign(x[0] - y[0]) * np.sign(x[1] - y[1]) for x, y in itertools.combinations(pairs, 2)]
    return float(np.mean(signs))


def depth(blocks: int, best: float) -> list[dict[str, Any]]:
    peak = blocks - 2
    found = [best - 0.5 * max(0.0, 1 - (i + 1) / (peak + 1)) ** 1.5 - 0.02 * (i > peak) for i in range(blocks)]
    return [{"block": f"block{i}", "accuracy": a, "interval": [a - 0.03, a + 0.025]} for i, a in enumerate(found)]


def race(accuracy: float | None, rounds: int) -> dict[str, Any]:
    if accuracy is None:
        return {"rounds": [], "status": "not raced", "reason": BELOW}
    found = [
        {"images": 1536, "epochs": 6, "accuracy": accuracy + 0.004 * (rounds - 1 - k),
         "interval": [accuracy - 0.045 / (k + 1), accuracy + 0.035 / (k + 1)]}
        for k in range(rounds)
    ]  # fmt: skip
    status = "finished" if rounds == 5 else "eliminated"
    return {"rounds": found, "status": status, "reason": None if rounds == 5 else f"in the lower half after fold {rounds}"}


def candidates() -> list[dict[str, Any]]:
    scores = values()
    order = {name: ranks(column) for name, column in scores.items()}
    rows = []
    for i, (name, blocks, probe, reached, rounds, weights, flops, side, width) in enumerate(NETWORKS):
        found: dict[str, Any] = {}
        for measure in UNITS:
            value = scores[measure][i]
            span = [probe - 0.015, probe + 0.013] if measure == "probe" else None
            found[measure] = None if value is None else {"value": value, "interval": span, "rank": order[measure][i]}
        spent = {"load": 0.4 + i / 10, "pass": flops / 1e8, "scores": 1.9, "race": 11.0 * rounds}
        rows.append({
            "name": name, "rank": i + 1, "parameters": weights, "bytes": 4 * weights, "flops": flops, "input_size": side,
            "feature_width": width, "feature_bytes": 4 * width * blocks * 1920,
            "seconds": spent | {"all": sum(spent.values())},
            "scores": found, "why_missing": {} if found["leep"] else {"leep": "no source classes known"},
            "depth": depth(blocks, probe), "peak": f"block{blocks - 2}", "race": race(reached, rounds),
        })  # fmt: skip
    return rows


def agreement() -> list[dict[str, Any]]:
    columns = {**values(), "race": [row[3] for row in NETWORKS]}
    return [{"a": a, "b": b, "tau": kendall(columns[a], columns[b])} for a, b in itertools.combinations(columns, 2)]


def summary() -> dict[str, Any]:
    first, second = NETWORKS[0][0], NETWORKS[1][0]
    return {
        "command": "select",
        "version": "0.2.0",
        "reproduce": "headstart select pictures/shapes --candidates small --seed 0 --out runs/shapes-select",
        "next": f"headstart adapt pictures/shapes --backbone {first} --seed 0 --out runs/shapes-adapted",
        "seconds": 312.7,
        "seconds_by_phase": {"data": 4.1, "measure": 61.4, "race": 243.0},
        "data": {"path": "pictures/shapes", "num_images": 2400, "num_classes": 10, "images_per_class": 192.0,
                 "fingerprint": "5c1d0f6f2a9c47d38e0b1c55d1f0a7e2", "splits": {"train": 1920, "test": 480}},
        "chosen": first,
        "by": "race",
        "decided": False,
        "sentence": f"{first} is ahead in the race, but it is not decided: {second} is 1.1 points behind, and the smallest "
                    "difference these images can show is 1.6 points. " f"{second} needs 0.03 of the work per image.",
        "measures": [{"name": name, "label": label, "higher_is_better": True, "unit": unit}
                     for name, (label, unit) in UNITS.items()],
        "candidates": candidates(),
        "unavailable": [
            {"name": "timm:regnety_002.pycls_in1k", "reason": "its weights cannot be had without a network"},
            {"name": "runs/other", "reason": "the same network with the same weights as runs/earlier"},
        ],
        "agreement": agreement(),
        "disagreements": [
            f"LogME prefers timm:efficientnet_b0.ra_in1k, the probe {second}: by the probe 0.4 points better.",
            f"Bigger is better prefers {first}, the probe {second}: by the probe 0.7 points better.",
            f"The race prefers {first}, the probe {second}: frozen it is 0.7 points better, fine-tuned not.",
        ],
        "baselines": {"bigger_is_better": first, "logme": "timm:efficientnet_b0.ra_in1k", "probe": second},
        "comparison": {"against": second, "difference": 0.011, "interval": [-0.002, 0.024], "detectable": 0.016},
    }  # fmt: skip


def make_select(folder: Path, **changed: Any) -> Path:
    """Write a run folder of `headstart select` and return it; `changed` replaces parts of the summary, None removes one."""
    folder.mkdir(parents=True)
    found = {key: value for key, value in {**summary(), **changed}.items() if value is not None}
    files = {
        "summary": found,
        "config": {"command": "select", "data": "pictures/shapes", "candidates": ["small"], "seed": 0},
        "env": {"python": "3.12.3", "torch": "2.15.0", "numpy": "2.4.0", "threads": 2, "device": "cpu"},
        "inspection": {"where": "pictures/shapes", "num_images": 2400, "num_classes": 10, "leaks": [], "conflicts": []},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
    (folder / "log.jsonl").write_text("", "utf-8")
    return folder
