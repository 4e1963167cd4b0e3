"""A made-up run folder of `headstart study layers`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
PARAMETERS = (224, 1_384, 6_024, 15_272, 24_520, 57_320, 61_432)
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
VEHICLES = ("airplane", "automobile", "ship", "truck")
DIPS = (0.0, 0.002, 0.006, 0.021, 0.03, 0.01, 0.002)
SPECIFIC = {"like": (0.001, 0.004, 0.01, 0.022, 0.037, 0.052, 0.07), "unlike": (0.004, 0.02, 0.05, 0.09, 0.13, 0.17, 0.23)}
RANDOM = (0.09, 0.17, 0.26, 0.31, 0.36, 0.41, 0.45)
KINDS = ("selffer", "transfer", "selffer+", "transfer+", "random")


def expected(kind: str, halves: str, n: int) -> float:
    """Loss of accuracy against base."""
    if kind == "base":
        return 0.0
    dip, apart = DIPS[n - 1], SPECIFIC[halves][n - 1]
    return {"selffer": dip, "transfer": dip + apart, "selffer+": -0.004, "transfer+": -0.01, "random": RANDOM[n - 1]}[kind]


def runs() -> list[dict[str, Any]]:
    rng, found = np.random.default_rng(7), []
    for halves, split, target in product(("like", "unlike"), range(2), "AB"):
        base = {"A": 0.806, "B": 0.834}[target] + float(rng.normal(0, 0.008))
        cuts = [("base", 0), *product(KINDS, range(1, 8))]
        for kind, n in cuts:
            value = base - expected(kind, halves, n) + float(rng.normal(0, 0.005)) * (kind != "base")
            seconds = round(21.0 - 2 * n * ("+" not in kind), 1)
            row = {"kind": kind, "n": n, "source": source(kind, target), "target": target, "split": split, "seed": split}
            found.append({**row, "halves": halves, "images": 5000, "accuracy": round(value, 4), "epochs": 10,
                          "seconds": seconds})  # fmt: skip
    return found


def source(kind: str, target: str) -> str | None:
    if kind == "random":
        return None
    return {"A": "B", "B": "A"}[target] if "transfer" in kind else target


def curves(every: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means of the runs, and plain intervals of 1.96 standard errors."""
    base = {(r["halves"], r["split"], r["target"]): r["accuracy"] for r in every if r["kind"] == "base"}
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in every:
        groups.setdefault((row["kind"], row["halves"], row["n"]), []).append(row)
    found = []
    for (kind, halves, n), same in groups.items():
        value = np.array([r["accuracy"] for r in same])
        against = np.array([r["accuracy"] - base[r["halves"], r["split"], r["target"]] for r in same])
        found.append({"kind": kind, "halves": halves, "n": n, "runs": len(same), "accuracy": round(float(value.mean()), 5),
                      "interval": span(value), "relative": round(float(against.mean()), 5),
                      "relative_interval": span(against) if n else [0.0, 0.0]})  # fmt: skip
    return found


def span(values: np.ndarray) -> list[float]:
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return [round(float(values.mean()) - half, 5), round(float(values.mean()) + half, 5)]


def overtaking() -> list[dict[str, Any]]:
    found = []
    for n, start in ((1, 3000), (4, 900), (7, 200)):
        for images in (50, 100, 200, 500, 1000, 2000, 5000):
            gain = round(0.022 * float(np.log(images / start)), 4)
            frozen = round(0.3 + 0.11 * float(np.log10(images)), 4)
            row = {"n": n, "target_images": images, "frozen": frozen, "fine_tuned": round(frozen + gain, 4)}
            found.append({**row, "difference": gain, "interval": [round(gain - 0.012, 4), round(gain + 0.012, 4)]})
    return found


def summary() -> dict[str, Any]:
    every = runs()
    split = [{"split": s, "seed": s, "A": list(ANIMALS[s : s + 4]), "B": list(VEHICLES)} for s in range(2)]
    return {
        "command": "study layers",
        "version": "0.2.0",
        "reproduce": "headstart study layers pictures/cifar10 --halves like unlike --classes 4 --splits 2 --out runs/layers",
        "seconds": 3904.0,
        "seconds_by_phase": {"data": 4.1, "bases": 310.0, "runs": 3560.0},
        "data": {"path": "pictures/cifar10", "num_images": 50_000, "num_classes": 10, "fingerprint": "1b0d5e22ac01"},
        "backbone": {"name": "headstart:layers8", "parameters": 62_080, "multiply_adds": 4_700_000, "input_size": 32,
                     "blocks": [*LABELS, "fc8"]},
        "halves": "like and unlike",
        "settings": {"epochs": 10, "seeds": 1, "splits": 2},
        "cuts": [{"n": n, "block": label, "label": label, "parameters": size}
                 for n, (label, size) in enumerate(zip(LABELS, PARAMETERS, strict=True), start=1)],
        "splits": split,
        "runs": every,
        "curves": curves(every),
        "coadaptation": [{"n": n, "drop": d, "interval": [d - 0.006, d + 0.006]} for n, d in enumerate(DIPS, start=1)],
        "specificity": [{"n": n, "drop": d, "interval": [d - 0.008, d + 0.008]}
                        for n, d in enumerate(SPECIFIC["like"], start=1)],
        "generality_boost": [{"n": n, "gain": 0.01, "interval": [0.002, 0.018]} for n in range(1, 8)],
        "answers": [
            {"question": "How general or specific is each layer?",
             "sentence": "general up to conv1: less than 2.0 points are lost; specific: conv2 2.0 points, fc7 23.0 points",
             "numbers": {"specificity": {str(n): d for n, d in enumerate(SPECIFIC["like"], start=1)}, "general": [1],
                         "specific": [3, 4, 5, 6, 7], "undecided": [2]}},
            {"question": "Is the change sudden or spread out?",
             "sentence": "it is spread out: no single layer takes more than 26 % of the whole fall",
             "numbers": {"total": 0.07, "share": 0.26, "at": 7, "decided": True}},
            {"question": "Where does it happen?", "sentence": "half of the fall has happened by conv5",
             "numbers": {"half_by": "conv5", "first_specific": None}},
        ],
        "claims": [
            {"claim": "BnB dips in the middle (co-adaptation)", "holds": True, "sentence": "3.0 points are lost at n = 5"},
            {"claim": "fine-tuning recovers the dip", "holds": True, "sentence": "BnB+ is 0.4 points above base at n = 5"},
            {"claim": "AnB+ generalises better than base", "holds": None,
             "sentence": "Undecided: AnB+ less base, mean of n = 1, 2, 3: 1.0 points (-0.2 to 2.2)"},
            {"claim": "random weights are worse than transferred ones at every cut", "holds": False,
             "sentence": "at n = 1 they are level"},
        ],
        "overtaking": overtaking(),
        "filters": "report_data/filters.npz",
        "failed": [{"run": "BnB n=3 split 0 seed 1", "reason": "its worker died twice (killed by signal 9)"}],
    }  # fmt: skip


def write_filters(folder: Path, channels: int = 3) -> None:
    """Filters that look like something: oriented waves, and noise."""
    rng = np.random.default_rng(5)
    up, across = np.mgrid[-2:3, -2:3]
    base = np.stack([
        np.stack([np.cos((up * np.sin(a) + across * np.cos(a)) * 1.6 + c * 0.7 * (k % 3)) for c in range(channels)])
        for k, a in enumerate(np.linspace(0, np.pi, 16))
    ])  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    random = rng.normal(0, 0.1, base.shape)
    np.savez(folder / "filters.npz", base=base.astype(np.float32), random=random.astype(np.float32))


def make_layers(folder: Path, **changed: Any) -> Path:
    """Write a run folder of `headstart study layers` and return it; `changed` replaces parts, None removes one."""
    folder.mkdir(parents=True)
    found = {key: value for key, value in {**summary(), **changed}.items() if value is not None}
    (folder / "summary.json").write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")
    config = {"command": "study layers", "data": "pictures/cifar10", "splits": 2, "classes": 4, "seed": 0}
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    env = {"python": "3.12.3", "torch": "2.15.0", "numpy": "2.4.0", "threads": 1, "device": "cpu"}
    (folder / "env.json").write_text(json.dumps(env, indent=1), "utf-8")
    counts = dict.fromkeys(sorted((*ANIMALS, *VEHICLES)), 5000)
    inspection = {"where": "pictures/cifar10", "num_images": 50_000, "num_classes": 10, "counts": {"train": counts}}
    (folder / "inspection.json").write_text(json.dumps(inspection, indent=1), "utf-8")
    (folder / "log.jsonl").write_text("", "utf-8")
    write_filters(folder / "report_data")
    return folder
