"""A made-up run folder of `headstart compare`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

WAYS = (
    # name, strategy, label, frozen, mean, half, training, source, trained, stored, flops, seconds
    ("probe", "probe", "Linear probe", True, 0.871, 0.014, 0.903, 0.913, 650, 650, 9.3e10, 1.1),
    ("svm", "svm", "SVM", True, 0.874, 0.013, 0.911, 0.913, 650, 650, 9.3e10, 1.4),
    ("lpft", "lpft", "Probe, then fine-tune", False, 0.942, 0.009, 0.998, 0.61, 270_330, 270_330, 3.9e12, 41.0),
    ("full", "full", "Fine-tune all, LR/10", False, 0.938, 0.011, 0.999, 0.482, 270_330, 270_330, 3.8e12, 43.0),
    ("retrain", "retrain", "Re-train all", False, 0.744, 0.03, 0.81, 0.1, 270_330, 270_330, 3.8e12, 44.0),
)
LATE = "4 epochs in each of 5 trials would take it about 6 min 10 s, which no longer fitted into the 5 min there were"


def strategies() -> list[dict[str, Any]]:
    rows = []
    for name, strategy, label, frozen, mean, half, training, source, trained, stored, flops, seconds in WAYS:
        rows.append({
            "name": name, "strategy": strategy, "label": label, "description": f"what {name} does", "frozen": frozen,
            "status": "finished", "reason": "", "folds": 5, "accuracy": mean, "interval": [mean - half, mean + half],
            "training_accuracy": training, "source_accuracy": {"before": 0.913, "after": source, "images": 1000},
            "accuracies": [round(mean + half * step / 2, 4) for step in (-1.2, 0.4, 1.0, -0.5, 0.3)],
            "trained_parameters": trained, "stored_parameters": stored, "bytes": 4 * stored + 8, "training_flops": flops,
            "inference_flops": 81_120_000, "seconds": seconds, "old_images_needed": 0,
            "limits": [f"It overfits: {100 * training:.1f} % right here.", "It varies.", f"Stores 1,234 of {name}."],
        })  # fmt: skip
    absent = dict.fromkeys(("accuracy", "interval", "training_accuracy", "source_accuracy", "trained_parameters"))
    absent |= dict.fromkeys(("stored_parameters", "bytes", "training_flops", "inference_flops", "seconds"))
    late = {
        "name": "gradual",
        "strategy": "gradual",
        "label": "Gradual unfreezing",
        "description": "head first, then blocks",
    }
    late |= {"frozen": False, "status": "skipped", "reason": LATE, "folds": 0, "accuracies": [], "old_images_needed": 0}
    return [*rows, {**late, **absent, "limits": []}]


def pairs() -> list[dict[str, Any]]:
    found = []
    for a, b in itertools.combinations(WAYS, 2):
        gap = round(a[4] - b[4], 4)
        decided = abs(gap) > 0.02
        found.append({
            "a": a[0], "b": b[0], "difference": gap, "interval": [gap - 0.012, gap + 0.012],
            "p_value": 0.0004 if decided else 0.61, "decided": decided, "detectable": 0.016, "method": "folds",
        })  # fmt: skip
    return found


def summary() -> dict[str, Any]:
    return {
        "command": "compare",
        "data": {
            "path": "pictures/shapes",
            "fingerprint": "5f0c",
            "num_images": 1797,
            "num_classes": 10,
            "set_aside": [],
            "splits": {"train": 1438, "test": 359},
        },
        "backbone": {"name": "embedded", "parameters": 269_680, "multiply_adds": 40_560_000, "input_size": 32, "blocks": []},
        "folds": 5,
        "seeds": 1,
        "budget": "5m",
        "epochs": 14,
        "metric": "accuracy",
        "strategies": strategies(),
        "pairs": pairs(),
        "source": {"path": "cifar10", "images": 1000, "split": "test", "before": 0.913, "reason": ""},
        "best": "lpft",
        "equals": ["lpft", "full"],
        "suggested": "full",
        "sentence": "Undecided: lpft has the highest mean, but cannot be told from full (+0.4 points, -0.8 to +1.6).",
        "decided": False,
        "next": "headstart adapt pictures/shapes --out runs/shapes-adapted --strategies full",
        "classes": ["circle", "ring", "star"],
        "seconds_by_phase": {"network": 0.1, "data": 1.2, "timing": 3.1, "frozen_ways": 13.0, "trained_ways": 640.0},
        "seconds": 661.4,
        "reproduce": "headstart compare pictures/shapes --out runs/shapes --budget 5m --source cifar10",
        "version": "0.1.0",
    }


def inspection() -> dict[str, Any]:
    counts = {"train": {"circle": 480, "ring": 478, "star": 480}, "test": {"circle": 120, "ring": 119, "star": 120}}
    empty: dict[str, Any] = {key: [] for key in ("set_aside", "ignored", "exact", "near", "leaks", "conflicts", "notes")}
    return {"where": "pictures/shapes", "num_images": 1797, "num_classes": 3, "counts": counts, **empty, "warnings": []}


def log() -> list[dict[str, Any]]:
    return [
        {"event": "phase", "name": "trained_ways", "text": "4 that train"},
        {"event": "note", "text": "  about 2 min left for these"},
        {"event": "note", "text": "the backbone's classifier was kept"},
        {"event": "plan", "arms": ["probe", "svm", "lpft", "full", "retrain"], "epochs": 14, "left_out": ["gradual"]},
    ]


def make_compare(folder: Path, **changed: Any) -> Path:
    """Write the run folder, with keys of the summary `changed`, and return it."""
    folder.mkdir(parents=True)
    parts = {
        "summary.json": {**summary(), **changed},
        "inspection.json": inspection(),
        "config.json": {"command": "compare", "data": "pictures/shapes", "budget": "5m", "folds": 5, "seed": 0},
        "env.json": {"python": "3.12.3", "torch": "2.15.0", "threads": 2, "device": "cpu"},
    }
    for name, value in parts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log()), "utf-8")
    return folder
