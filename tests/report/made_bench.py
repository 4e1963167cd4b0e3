"""A made-up run folder of `headstart bench`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WAYS = (
    # name, path, kind, parameters, bytes, flops, median, best batch, peak, accuracy, half, agreement
    ("teacher", "runs/resnet56/model", "headstart", 853_018, 3_437_816, 250_900_000, 0.0121, 32, 310.0, 0.943, 0.005, 1.0),
    ("student", "runs/distill/model", "headstart", 272_474, 1_113_000, 81_200_000, 0.0046, 64, 905.0, 0.914, 0.006, 0.929),
    ("student", "runs/distill/model.onnx", "onnx", 272_474, 1_098_000, None, 0.00093, 16, 1602.0, 0.914, 0.006, 0.929),
    (
        "student-int8",
        "runs/distill/model-int8.onnx",
        "onnx-int8",
        None,
        318_000,
        None,
        0.00041,
        16,
        3420.0,
        0.909,
        0.006,
        0.924,
    ),
)


def models() -> list[dict[str, Any]]:
    found = []
    for name, path, kind, parameters, size, flops, median, batch, peak, accuracy, half, agreement in WAYS:
        first = 0.9 / median
        sizes = [2**k for k in range(8)]
        by = [
            {
                "batch": n,
                "images_per_second": round(first + (peak - first) * min(1.0, n / batch) - (0.4 * n if n > batch else 0), 1),
            }
            for n in sizes
        ]
        gap = round(accuracy - WAYS[0][9], 4)
        difference = {"estimate": gap, "low": gap - 0.004, "high": gap + 0.004, "p_value": 0.0001, "decided": True}
        found.append({
            "name": name, "path": path, "kind": kind, "parameters": parameters, "bytes": size, "flops": flops,
            "latency": {"median": median, "p95": round(1.3 * median, 6), "batch": 1, "repeats": 412},
            "throughput": {"images_per_second": peak, "batch": batch, "by": by},
            "accuracy": accuracy, "interval": [accuracy - half, accuracy + half],
            "agreement": agreement if found else None, "difference": difference if found else None, "input_size": 32,
        })  # fmt: skip
    return found


def summary() -> dict[str, Any]:
    return {
        "command": "bench",
        "machine": {
            "cpu": "Example Processor 3000",
            "cores": 2,
            "threads": 2,
            "versions": {"torch": "2.15.0", "onnxruntime": "1.30.0"},
        },
        "images": 10_000,
        "data": "pictures/shapes",
        "reference": "teacher",
        "models": models(),
        "warnings": [],
        "seconds": 84.2,
        "reproduce": "headstart bench runs/resnet56/model runs/distill/model-int8.onnx --images pictures/shapes",
        "version": "0.1.0",
    }


def make_bench(folder: Path, **changed: Any) -> Path:
    """Write the run folder, with keys of the summary `changed`, and return it."""
    folder.mkdir(parents=True)
    parts = {
        "summary.json": {**summary(), **changed},
        "config.json": {"command": "bench", "models": [way[1] for way in WAYS], "seed": 0},
        "env.json": {"python": "3.12.3", "torch": "2.15.0", "threads": 2, "device": "cpu"},
    }
    for name, value in parts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    (folder / "log.jsonl").write_text(json.dumps({"event": "note", "text": "a note of the run"}) + "\n", "utf-8")
    return folder
