"""A made-up run of `headstart distill` with a teacher for three questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEACHER = "runs/street"
MEASURES = {
    "accuracy": {"words": "accuracy", "higher": True},
    "mean_absolute_error": {"words": "mean absolute error", "higher": False},
}


def value(mean: float, spread: float = 0.02) -> dict[str, float]:
    return {"mean": mean, "low": mean - spread, "high": mean + spread}


def gap(task: str, other: str, mean: float, measure: str = "accuracy", *, decided: bool = True) -> dict[str, Any]:
    found = {"task": task, "a": "student, distilled", "b": other, "measure": measure, **value(mean, 0.01)}
    return {**found, "p_value": 0.004 if decided else 0.4, "decided": decided, "detectable": 0.02}


def task(name: str, measure: str, teacher: float, alone: float, distilled: float) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "number" if measure == "mean_absolute_error" else "classes",
        "classes": [] if measure == "mean_absolute_error" else ["a", "b"],
        "measure": measure,
        "known": {"learned_from": 480, "test": 120},
        "teacher": value(teacher),
        "alone": value(alone),
        "distilled": value(distilled),
        "difference": value(distilled - alone),
    }


def curve(kind: str, seed: int) -> dict[str, Any]:
    points = [
        {"epoch": n, "loss": 2 / n, "losses": {"lights": 1 / n, "speed": 0.5 / n, "signs": 0.5 / n}} for n in (1, 2, 3)
    ]
    return {"kind": kind, "seed": seed, "points": points}


def summary(**changed: Any) -> dict[str, Any]:
    network = {"bytes": 4e6, "flops": 4e8, "ms": 9.0, "ms_low": 8.5, "ms_high": 9.9, "input_size": 64}
    return {
        "command": "distill-multitask",
        "data": {
            "path": "street.csv",
            "fingerprint": "ab12",
            "num_images": 600,
            "learned_from": 480,
            "splits": {"train": 480, "test": 120},
            "held_out_by_teacher": True,
        },
        "teachers": [{"name": TEACHER, "parameters": 1_000_000, **network}],
        "student": {"name": "headstart:resnet8", "parameters": 75_000, **network, "bytes": 3e5, "ms": 1.5},
        "temperature": 4.0,
        "share": 0.9,
        "views": 4,
        "epochs": 3,
        "recipe": {"optimizer": "sgd", "lr": 0.05, "batch_size": 64},
        "seeds": [0, 1],
        "measures": MEASURES,
        "tasks": [
            task("lights", "accuracy", 0.95, 0.86, 0.91),
            task("speed", "mean_absolute_error", 2.1, 3.4, 2.9),
            task("signs", "accuracy", 0.9, 0.8, 0.805),
        ],
        "taught_alone": ["weather"],
        "differences": [
            gap("lights", "student, alone", 0.05),
            gap("speed", "student, alone", 0.5, "mean_absolute_error"),
            gap("signs", "student, alone", 0.005, decided=False),
            gap("lights", TEACHER, -0.04),
        ],
        "gain": {"mean": 7.4, "low": 2.1, "high": 12.9},
        "runs": [
            {"kind": k, "seed": s, "seconds": 30.0, "seconds_per_epoch": 10.0}
            for k in ("alone", "distilled")
            for s in (0, 1)
        ],
        "curves": [curve(k, s) for k in ("alone", "distilled") for s in (0, 1)],
        "model": "runs/small/model",
        "warnings": ["weather: no label is known, so that the teacher alone teaches it"],
        "seconds_by_phase": {"network": 1.0, "data": 4.0, "runs": 120.0},
        "seconds": 130.0,
        "reproduce": "headstart distill street.csv --teacher runs/street --student headstart:resnet8",
        "version": "0.1.0",
        **changed,
    }


def make_distill_multitask(folder: Path, found: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary() if found is None else found))
    (folder / "config.json").write_text(json.dumps({"command": "distill-multitask", "data": "street.csv", "seed": 0}))
    return folder
