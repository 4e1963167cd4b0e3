"""A made-up run folder of `headstart study data-size`: curves by a power law, written the way the command writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIZES = (84, 168, 337, 674, 1347)
WAYS = (
    # name, family, label, headline, error at one image, exponent, seconds an image, parameters
    ("pipeline", "pipeline", "Pipeline", True, 0.5, 0.2, 0.012, 13_786),
    ("pipeline_forest", "pipeline", "Pipeline, forest", False, 0.6, 0.19, 0.006, 486_074),
    ("scratch", "end-to-end", "From scratch", True, 8.0, 0.65, 0.2, 269_722),
    ("probe", "transfer", "Linear probe", True, 0.9, 0.25, 0.001, 269_722),
    ("lpft", "transfer", "Probe, then fine-tune", True, 1.6, 0.42, 0.1, 269_722),
)


def crossing(a: str, b: str, images: float | None, interval: Any, sure: float, sentence: str, **more: Any) -> dict[str, Any]:
    found = {"a": a, "b": b, "images": images, "interval": interval, "ahead": a, "sure": sure, "headline": True}
    return found | {"extrapolated": None, "sentence": sentence} | more


def crossings() -> list[dict[str, Any]]:
    below = "Below about 470 images “Pipeline” is ahead of “From scratch”, above it behind (95 %: 350 to 640)."
    open_end = (
        "Below about 1,200 images “Probe, then fine-tune” is ahead of “From scratch”, above it behind (95 %: from 800, "
        "perhaps beyond the largest number measured, 1,347)."
    )
    none = "“Probe, then fine-tune” is ahead of “Linear probe” at every number measured between 84 and 1,347 images."
    other = "“Pipeline, forest” was ahead of “Linear probe” between 84 and 1,347 images as measured, but other draws could."
    return [
        crossing("pipeline", "scratch", 470.0, [350.0, 640.0], 0.97, below),
        crossing("scratch", "lpft", 1200.0, [800.0, None], 0.8, open_end),
        crossing("probe", "lpft", None, None, 0.99, none, ahead="lpft"),
        crossing("pipeline_forest", "probe", None, None, 0.6, other, headline=False),
    ]


def _point(way: Any, images: int) -> dict[str, Any]:
    name, _, _, _, scale, power, seconds, parameters = way
    accuracy = 1 - min(scale * images**-power, 0.9)
    return {
        "way": name,
        "images": images,
        "per_class": images / 10,
        "accuracy": round(accuracy, 4),
        "interval": [round(accuracy - 0.02, 4), round(min(accuracy + 0.015, 1.0), 4)],
        "draws": 1 if name == "lpft" and images == 674 else 3,
        "seconds": round(seconds * images, 3),
        "seconds_inference_per_image": round(0.001 + seconds / 100, 6),
        "parameters": parameters,
    }


def summary() -> dict[str, Any]:
    return {
        "command": "study data-size",
        "data": {"path": "pictures/shapes", "num_images": 1797, "num_classes": 10, "splits": {"train": 1347, "test": 450}},
        "backbone": {"name": "embedded", "parameters": 269_072, "input_size": 32},
        "sizes": list(SIZES),
        "draws": 3,
        "all_images": 1347,
        "training": {"share": 0.6},
        "ways": [
            {"name": w[0], "family": w[1], "label": w[2], "description": f"what {w[0]} is", "headline": w[3]} for w in WAYS
        ],
        "runs": [],
        "curves": [_point(way, images) for way in WAYS for images in SIZES if (way[0], images) != ("lpft", 1347)],
        "extrapolation": [
            {key: _point(way, images)[key] for key in ("way", "images", "accuracy", "interval")}
            for way in WAYS
            for images in (2694, 5388)
            if way[0] != "lpft"
        ],
        "crossings": crossings(),
        "intermediate": {
            "column": "shape",
            "labels": ["round", "straight"],
            "accuracy": 0.98,
            "curve": [{"images": 84, "accuracy": 0.9}, {"images": 1347, "accuracy": 0.98}],
        },
        "failed": [
            {
                "run": f"lpft on 1347 images, draw {draw}",
                "way": "lpft",
                "reason": "no longer fitted into the budget of 200 s",
            }
            for draw in (1, 2, 3)
        ],
        "seconds": 212.4,
        "seconds_by_phase": {"network": 0.5, "data": 0.4, "features": 4.1, "runs": 205.9, "curves": 1.2},
        "reproduce": "headstart study data-size pictures/shapes --out runs/study-data-size --budget 200s",
        "version": "0.1.0",
    }


def make_data_size(folder: Path, **changes: Any) -> Path:
    """Write the folder; `changes` replace parts of the summary."""
    folder.mkdir(parents=True)
    config = {"command": "study data-size", "data": "pictures/shapes", "seed": 0}
    env = {"python": "3.12", "cores": 2}
    for name, content in (("summary", summary() | changes), ("config", config), ("env", env), ("inspection", {})):
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
    (folder / "log.jsonl").write_text('{"event": "note", "text": "a note of the run"}\n', "utf-8")
    return folder
