"""A made-up run folder of `headstart distill`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("circle", "cross", "moon", "ring", "star", "square", "triangle", "hexagon", "stripes", "diamond")
TEMPERATURES = (1.0, 2.0, 4.0, 10.0, 20.0, 40.0)
SCORES = {
    "ring": {"ring": 9.1, "circle": 6.4, "moon": 4.9, "hexagon": 2.2, "cross": 0.9},
    "star": {"star": 12.0, "cross": 4.1, "diamond": 3.6, "triangle": 3.0, "hexagon": 0.5},
    "moon": {"circle": 7.7, "moon": 7.3, "ring": 5.1, "hexagon": 1.9, "star": 0.2},
    "hexagon": {"square": 8.4, "circle": 8.1, "diamond": 7.6, "ring": 6.9, "moon": 6.1, "hexagon": 5.8},
}
"""Highest scores of the teacher by the label of an image; all other classes score nought."""


def soft(scores: dict[str, float], temperatures: tuple[float, ...], top: int = 6) -> list[dict[str, Any]]:
    """Probabilities of the likeliest classes at each temperature."""
    every = {name: scores.get(name, 0.0) for name in CLASSES}
    rows = []
    for t in temperatures:
        high = max(every.values())
        parts = {name: math.exp((value - high) / t) for name, value in every.items()}
        total = sum(parts.values())
        ranked = sorted(parts, key=lambda name: -parts[name])[:top]
        rows.append({"t": t, "top": [{"class": name, "p": round(parts[name] / total, 6)} for name in ranked]})
    return rows


def teachers() -> list[dict[str, Any]]:
    first = {
        "name": "runs/resnet56/model", "classes": 10, "parameters": 853_018, "bytes": 3_437_816, "flops": 250_900_000,
        "mapped": False, "order": "same", "train_accuracy": 0.998, "train_interval": [0.995, 0.999],
        "test_accuracy": 0.943, "test_interval": [0.938, 0.948], "calibration_error": 0.034, "mode": "eval",
        "worse_than_student": False, "warnings": [],
    }  # fmt: skip
    weak = {
        "name": "timm:resnet18.a1_in1k", "classes": 1000, "parameters": 11_689_512, "bytes": 46_800_000,
        "flops": 3_640_000_000,
        "mapped": True, "order": "mapped", "train_accuracy": 0.871, "train_interval": [0.856, 0.885], "test_accuracy": 0.861,
        "test_interval": [0.854, 0.868], "calibration_error": 0.112, "mode": "eval", "worse_than_student": True,
        "warnings": ["it is right on 86.1 % of the test images, the student alone on 90.2 %"],
    }  # fmt: skip
    return [first, weak]


ACCURACIES = {"alone": (0.9006, 0.9031, 0.9023), "distilled": (0.9135, 0.9149, 0.9127)}
LIKE = {"alone": (0.905, 0.3121, 0.058), "distilled": (0.929, 0.1402, 0.021)}


def runs() -> list[dict[str, Any]]:
    found = []
    for kind, values in ACCURACIES.items():
        agreement, kl, error = LIKE[kind]
        for seed, value in enumerate(values):
            losses = {"hard": 0.214} if kind == "alone" else {"soft": 2.713, "hard": 0.262}
            found.append({
                "kind": kind, "seed": seed, "accuracy": value, "agreement": agreement, "kl": kl, "calibration_error": error,
                "seconds": 312.0 if kind == "alone" else 338.0, "seconds_per_epoch": 10.4 if kind == "alone" else 11.3,
                "final_losses": losses,
            })  # fmt: skip
    return found


def curves(epochs: int = 30) -> list[dict[str, Any]]:
    found = []
    for kind in ACCURACIES:
        agreement, kl, _ = LIKE[kind]
        for seed in range(3):
            points = []
            for epoch in range(1, epochs + 1):
                left = math.exp(-epoch / 7) * (1 + 0.1 * seed)
                wave = 0.012 * math.sin(2.3 * epoch + seed)
                losses = (
                    {"hard": 0.2 + 1.9 * left} if kind == "alone" else {"soft": 2.7 + 6 * left, "hard": 0.26 + 1.8 * left}
                )
                points.append({
                    "epoch": epoch, "loss": round(sum(losses.values()), 4),
                    "losses": {k: round(v, 4) for k, v in losses.items()},
                    "kl": round(kl + 1.4 * left, 4), "agreement": round(agreement - 0.5 * left + wave * left, 4),
                })  # fmt: skip
            found.append({"kind": kind, "seed": seed, "points": points})
    return found


def result(kind: str) -> dict[str, Any]:
    mean = round(sum(ACCURACIES[kind]) / 3, 4)
    agreement, kl, error = LIKE[kind]
    span = [round(mean - 0.006, 4), round(mean + 0.006, 4)]
    return {"accuracy": mean, "interval": span, "agreement": agreement, "kl": kl, "calibration_error": error}


def summary() -> dict[str, Any]:
    entropies = (0.03, 0.21, 0.5, 0.84, 0.95, 0.987)
    shares = (0.62, 0.74, 0.83, 0.87, 0.884, 0.889)
    return {
        "command": "distill",
        "data": {
            "path": "pictures/shapes", "fingerprint": "5f0c", "num_images": 20_000, "num_classes": 10, "set_aside": [],
            "splits": {"train": 10_000, "test": 10_000},
        },
        "student": {"name": "headstart:resnet20", "parameters": 272_474, "bytes": 1_113_000, "flops": 81_200_000},
        "teachers": teachers()[:1],
        "temperature": {
            "value": 4.0, "automatic": True, "target_entropy": 0.5,
            "by": [
                {"t": t, "entropy_mean": e, "soft_gradient_share": s}
                for t, e, s in zip(TEMPERATURES, entropies, shares, strict=True)
            ],
        },
        "examples": [
            {"image": place, "label": name, "soft": soft(scores, TEMPERATURES)}
            for place, (name, scores) in enumerate(SCORES.items())
        ],
        "share": 0.9,
        "kind": "soft",
        "losses": ["attention"],
        "average": "logits",
        "token": False,
        "recipe": {"optimizer": "sgd", "lr": 0.05, "batch_size": 64, "weight_decay": 0.0005},
        "epochs": 30,
        "views": 4,
        "runs": runs(),
        "alone": result("alone"),
        "distilled": result("distilled"),
        "gain": {
            "estimate": 0.0117, "low": 0.0069, "high": 0.0166, "p_value": 0.0004, "detectable": 0.007, "decided": True,
            "sentence": "The distilled student is better.",
        },
        "born_again": None,
        "record": {"bytes": 800_000, "seconds": 96.0, "dtype": "float16", "top_k": None, "draws": 4},
        "curves": curves(),
        "warnings": [],
        "test": {"num_images": 10_000, "num_classes": 10},
        "model": "runs/distill/model",
        "seconds_by_phase": {"network": 0.4, "data": 6.1, "audit": 96.0, "runs": 1950.0, "test": 41.0},
        "seconds": 2095.0,
        "reproduce": "headstart distill pictures/shapes --teacher runs/resnet56/model --student headstart:resnet20",
        "version": "0.1.0",
    }  # fmt: skip


UNDECIDED = {"estimate": 0.0041, "low": -0.0022, "high": 0.0105, "p_value": 0.21, "detectable": 0.009, "decided": False}


def inspection() -> dict[str, Any]:
    counts = {split: dict.fromkeys(CLASSES, 1000) for split in ("train", "test")}
    empty: dict[str, Any] = {key: [] for key in ("set_aside", "ignored", "exact", "near", "leaks", "conflicts", "notes")}
    return {"where": "pictures/shapes", "num_images": 20_000, "num_classes": 10, "counts": counts, **empty, "warnings": []}


def picture(place: int, side: int = 32) -> np.ndarray:
    """One picture `[side, side, 3]`: a disc, a ring or a moon on a gradient."""
    y, x = np.mgrid[:side, :side]
    away = np.hypot(x - side / 2, y - side / 2)
    hole = np.hypot(x - side / 2 - 5 * (place == 2), y - side / 2)
    shape = (away < 11) & ((hole > 7) | (place in (1, 3)))
    ground = np.stack([60 + 2 * x, 90 + y, np.full_like(x, 40 + 40 * place)], axis=-1)
    return np.where(shape[..., None], (230, 200 - 30 * place, 120), ground).astype(np.uint8)


def make_distill(folder: Path, **changed: Any) -> Path:
    """Write the run folder, with keys of the summary `changed`, and return it."""
    (folder / "report_data").mkdir(parents=True)
    parts = {
        "summary.json": {**summary(), **changed},
        "inspection.json": inspection(),
        "config.json": {"command": "distill", "data": "pictures/shapes", "student": "headstart:resnet20", "seed": 0},
        "env.json": {"python": "3.12.3", "torch": "2.15.0", "threads": 2, "device": "cpu"},
        "report_data/thumbnails.json": {"classes": {name: [place] for place, name in enumerate(SCORES)}, "mistakes": []},
    }
    for name, value in parts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    log = [{"event": "note", "text": "  runs/resnet56/model: right on 99.8% of training images"}]
    log += [{"event": "note", "text": "teacher answers were kept for 4 fixed views"}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), "utf-8")
    images = [picture(place) for place in range(len(SCORES))]
    np.savez_compressed(folder / "report_data" / "thumbnails.npz", images=np.stack(images))
    return folder
