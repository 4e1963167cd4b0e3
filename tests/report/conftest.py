"""A made-up but realistic run folder: procedural pictures of shapes, and numbers that hang together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

SHAPES = ("circle", "cross", "diamond", "hexagon", "moon", "ring", "square", "star", "stripes", "triangle")
BLOCKS = ("stem", "stage1.0", "stage1.1", "stage1.2", "stage2.0", "stage2.1", "stage2.2", "stage3.0", "stage3.1", "stage3.2")


def polygon(corners: int, radius: float, turn: float, inner: float = 1.0) -> list[tuple[float, float]]:
    steps = corners if inner == 1.0 else 2 * corners
    radii = [radius * (inner if inner != 1.0 and k % 2 else 1.0) for k in range(steps)]
    return [
        (48 + r * math.cos(turn + 2 * math.pi * k / steps), 48 + r * math.sin(turn + 2 * math.pi * k / steps))
        for k, r in enumerate(radii)
    ]


def shape(name: str, rng: np.random.Generator, side: int = 72) -> np.ndarray:
    """One picture `[side, side, 3]` of a shape: its colour, size, place and background vary."""
    back, front = (tuple(int(v) for v in rng.integers(lo, hi, 3)) for lo, hi in ((20, 120), (130, 250)))
    image = Image.new("RGB", (96, 96), back)
    draw = ImageDraw.Draw(image)
    r, turn = float(rng.uniform(22, 38)), float(rng.uniform(0, 2 * math.pi))
    box = (48 - r, 48 - r, 48 + r, 48 + r)
    sides = {"triangle": 3, "square": 4, "diamond": 4, "hexagon": 6}
    if name in sides:
        draw.polygon(polygon(sides[name], r, 0.0 if name == "diamond" else turn), fill=front)
    elif name == "star":
        draw.polygon(polygon(5, r, turn, inner=0.42), fill=front)
    elif name == "ring":
        draw.ellipse(box, outline=front, width=8)
    elif name == "moon":
        draw.ellipse(box, fill=front)
        draw.ellipse((box[0] + 14, box[1] - 4, box[2] + 14, box[3] - 4), fill=back)
    elif name == "cross":
        draw.line([48 - r, 48 - r, 48 + r, 48 + r], fill=front, width=9)
        draw.line([48 - r, 48 + r, 48 + r, 48 - r], fill=front, width=9)
    elif name == "stripes":
        for y in range(14, 90, 16):
            draw.rectangle((12, y, 84, y + 7), fill=front)
    else:
        draw.ellipse(box, fill=front)
    noisy = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS), np.float64) + rng.normal(0, 7, (side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def arm(
    name: str, label: str, text: str, mean: float, half: float, seconds: float, weights: int, **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "description": text,
        "accuracy_mean": mean,
        "accuracy_interval": [round(mean - half, 4), round(min(1.0, mean + 0.8 * half), 4)],
        "seconds": seconds,
        "trained_parameters": weights,
        "folds_run": 5,
        "status": "finished",
        "reason": "",
        "round": 2,
        "difference_to_best": None,
        **more,
    }


def arms() -> list[dict[str, Any]]:
    def behind(mean: float, low: float, high: float, p: float) -> dict[str, float]:
        return {"mean": mean, "low": low, "high": high, "p_value": p}

    out = {"status": "eliminated", "folds_run": 2, "round": 1}
    never = {"status": "skipped", "folds_run": 0, "accuracy_mean": None, "accuracy_interval": None, "seconds": 0.0}
    return [
        arm("probe", "Probe", "Frozen backbone, linear head by L-BFGS.", 0.912, 0.021, 2.4, 650,
            difference_to_best=behind(0.031, 0.016, 0.046, 0.0008)),
        arm("svm", "SVM head", "Frozen backbone, linear support vector machine.", 0.905, 0.022, 3.1, 650,
            difference_to_best=behind(0.038, 0.021, 0.055, 0.0006)),
        arm("early_probe", "Probe on all depths", "Frozen backbone, one head on all features.", 0.927, 0.019, 4.9,
            4_490, difference_to_best=behind(0.016, 0.002, 0.03, 0.031)),
        arm("partial-3", "Top 3 blocks fine-tuned", "Top blocks at a tenth of the rate.", 0.931, 0.019, 11.2, 147_000,
            difference_to_best=behind(0.012, -0.003, 0.027, 0.094)),
        arm("lpft", "Probe, then fine-tune", "Head first, then everything from it (LP-FT).", 0.943, 0.016, 19.7, 272_474),
        arm("full", "Everything fine-tuned", "Every block at a tenth of the rate.", 0.921, 0.031, 8.8, 272_474, **out,
            reason="2.4 points behind after two folds", difference_to_best=behind(0.024, -0.003, 0.051, 0.07)),
        arm("retrain", "Re-trained from scratch", "All weights drawn anew.", 0.731, 0.052, 7.9, 272_474, **out,
            reason="21.2 points behind after two folds", difference_to_best=behind(0.212, 0.16, 0.26, 0.0001)),
        arm("gradual", "Gradual unfreezing", "One more block in every stage.", 0.0, 0.0, 0.0, 272_474) | never
        | {"reason": "no time left in the budget"},
    ]  # fmt: skip


def confusion(k: int, per: int, rng: np.random.Generator, skill: float = 0.94) -> np.ndarray:
    chances = rng.dirichlet(np.full(k, 0.25), k) * (1 - skill)
    chances[np.arange(k), np.arange(k)] += skill
    return np.stack([rng.multinomial(per, row / row.sum()) for row in chances])


def tested(classes: list[str], rng: np.random.Generator, per: int) -> dict[str, Any]:
    counts = confusion(len(classes), per, rng)
    hits, support, called = np.diag(counts), counts.sum(1), np.maximum(counts.sum(0), 1)
    share = float(hits.sum() / counts.sum())
    half = 1.96 * math.sqrt(share * (1 - share) / counts.sum())
    rows = [
        {
            "class": name,
            "precision": float(hits[i] / called[i]),
            "recall": float(hits[i] / support[i]),
            "f1": float(2 * hits[i] / (support[i] + called[i])),
            "support": int(support[i]),
        }
        for i, name in enumerate(classes)
    ]
    return {
        "accuracy": share,
        "interval": [share - half, min(1.0, share + half)],
        "balanced_accuracy": float(np.mean(hits / support)),
        "num_images": int(counts.sum()),
        "calibration_error": 0.031,
        "per_class": rows,
        "confusion": counts.tolist(),
    }


def summary(classes: list[str], rng: np.random.Generator, decided: bool, per: int) -> dict[str, Any]:
    k = len(classes)
    aside = [
        {"path": "moon/IMG_0044.jpg", "reason": "ends after 2 048 of 48 211 bytes (truncated)"},
        {"path": "star/notes.jpg", "reason": "is text, not an image"},
        {"path": "ring/empty.png", "reason": "is empty (0 bytes)"},
    ]
    depth = [0.34, 0.42, 0.47, 0.55, 0.66, 0.74, 0.8, 0.87, 0.912, 0.904]
    spread = [{"block": b, "accuracy": a, "interval": [a - 0.025, a + 0.022]} for b, a in zip(BLOCKS, depth, strict=True)]
    comparison = {
        "against": "lpft",
        "difference": -0.012,
        "interval": [-0.027, 0.003],
        "p_value": 0.094,
        "detectable": 0.018,
    }
    if decided:
        comparison |= {"against": "partial-3", "difference": 0.012, "interval": [0.003, 0.021], "p_value": 0.011}
    return {
        "command": "adapt",
        "data": {
            "path": "pictures/shapes",
            "fingerprint": "5c1d0f6f2a9c47d38e0b1c55d1f0a7e2",
            "num_images": k * per * 5,
            "num_classes": k,
            "set_aside": aside,
            "splits": {"train": k * per * 4, "test": k * per},
        },
        "backbone": {"name": "embedded", "parameters": 272_474, "input_size": 32},
        "quadrant": {"number": 4, "size": "small", "similarity": "high", "x": 0.71, "y": 0.33},
        "advice": {
            "strategy": "probe",
            "arm": "probe",
            "reasons": [
                f"{per * 4} images per class is little: weights learned on so few would fit them too closely",
                "a linear head on the last block gets 90.4 % right, the features fit already",
            ],
            "measures": {
                "images_per_class": per * 4,
                "probe_last": 0.904,
                "probe_best": 0.912,
                "peak_block": "stage3.1",
                "chance": 0.1,
                "pixel_baseline": 0.48,
                "gain_over_pixels": 0.831,
                "drop_after_peak": 0.01,
                "knn": {"accuracy": 0.861, "interval": [0.84, 0.88], "k": 5, "images": 960},
                "logme": -0.2184,
                "trained_parameters": 272_474,
            },
        },
        "arms": arms(),
        "chosen": "lpft" if decided else "partial-3",
        "decided": decided,
        "comparison": comparison,
        "regret": 0.031,
        "depth": [*spread, {"block": "all", "accuracy": 0.927, "interval": [0.906, 0.945]}],
        "test": tested(classes, rng, per),
        "classes": classes,
        "cost": {
            "seconds_by_phase": {"network": 0.3, "data": 2.3, "measure": 3.9, "verify": 38.4, "refit": 6.1, "test": 0.4},
            "bytes_model": 1_094_860,
            "bytes_store": 3_840_128,
        },
        "seconds": 51.6,
        "reproduce": "headstart adapt pictures/shapes --budget 1m --seed 0 --out runs/shapes",
        "version": "0.1.0",
    }  # fmt: skip


def cluster(kind: str, names: list[str], splits: tuple[str, str] = ("train", "train")) -> dict[str, Any]:
    labels = [name.split("/")[0] for name in names]
    return {"kind": kind, "what": "", "rows": [3, 8], "names": names, "labels": labels, "splits": list(splits)}


def inspection(classes: list[str], per: int) -> dict[str, Any]:
    """As `headstart.data.inspection.Inspection.to_json` writes it."""
    conflict = cluster("exact", ["circle/101.png", "ring/055.png"])
    leak = cluster("near", ["star/001.png", "star/032.png"], ("train", "test"))
    return {
        "where": "pictures/shapes",
        "num_images": len(classes) * per * 5,
        "num_classes": len(classes),
        "counts": {
            "train": {name: max(6, per * 4 - 9 * (i % 4)) for i, name in enumerate(classes)},
            "test": dict.fromkeys(classes, per),
        },
        "sizes": {"width": [48, 96.0, 640], "height": [48, 96.0, 480], "wide_share": 0.012},
        "modes": {"RGB": 1180, "L": 18, "RGBA": 2},
        "set_aside": [],
        "ignored": [".DS_Store", "readme.txt"],
        "exact": [cluster("exact", ["circle/007.png", "circle/019.png"]), conflict],
        "near": [leak, cluster("near", ["ring/014.png", "ring/015.png"])],
        "leaks": [leak],
        "conflicts": [conflict],
        "imbalance": 1.4,
        "notes": ["no test split was given: a fifth of every class was set aside for it"],
        "warnings": ["one picture stands in two classes: circle/101.png and ring/055.png; at least one label is wrong"],
    }


def log(rng: np.random.Generator) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"event": "note", "text": "the backbone's first 6 blocks were computed once and cached"}]
    plans = {
        "partial-3": (5, 0.931, [("joint", 12)]),
        "lpft": (5, 0.943, [("fine-tune", 14)]),
        "full": (2, 0.921, [("warm-up", 3), ("joint", 9)]),
        "retrain": (2, 0.731, [("joint", 12)]),
    }
    for name, (folds, end, stages) in plans.items():
        for fold in [*range(folds), *([None] if name == "lpft" else [])]:
            start, done = (0.88 if name == "lpft" else 0.35), 0
            for stage, epochs in stages:
                for epoch in range(epochs):
                    done += 1
                    level = end - (end - start) * math.exp(-done / 3.2)
                    valid = float(np.clip(level + rng.normal(0, 0.011), 0, 1))
                    lines.append({
                        "event": "epoch", "arm": name, "fold": fold, "stage": stage, "epoch": epoch,
                        "loss": round(1.9 * (1.02 - level), 4), "accuracy": round(min(0.998, level + 0.035 * done / 12), 4),
                        "valid_accuracy": None if fold is None else round(valid, 4), "lr": 0.01, "seconds": 0.21,
                    })  # fmt: skip
    return lines


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")


def write_pictures(folder: Path, classes: list[str], rng: np.random.Generator, mistakes: int, side: int) -> None:
    folder.mkdir()
    images = [shape(SHAPES[i % len(SHAPES)], rng, side) for i in range(len(classes)) for _ in range(8)]
    wrong = []
    for k in range(mistakes):
        i = int(rng.integers(len(classes)))
        wrong.append({
            "index": len(images), "file": f"test/{classes[i]}/IMG_{2000 + k}.png", "true": classes[i],
            "predicted": classes[(i + 1 + k % 3) % len(classes)], "confidence": round(0.995 - 0.021 * k, 3),
        })  # fmt: skip
        images.append(shape(SHAPES[i % len(SHAPES)], rng, side))
    np.savez_compressed(folder / "thumbnails.npz", images=np.stack(images))
    strips = {name: list(range(8 * i, 8 * i + 8)) for i, name in enumerate(classes)}
    write_json(folder / "thumbnails.json", {"classes": strips, "mistakes": wrong})


def make_run(
    folder: Path,
    classes: list[str] | None = None,
    *,
    decided: bool = False,
    per: int = 24,
    mistakes: int = 9,
    side: int = 72,
) -> Path:
    """Write a run folder of `headstart adapt`, the same bytes for the same arguments, and return it."""
    classes, rng = list(classes or SHAPES), np.random.default_rng(7)
    folder.mkdir(parents=True)
    write_json(folder / "summary.json", summary(classes, rng, decided, per))
    write_json(folder / "inspection.json", inspection(classes, per))
    write_json(
        folder / "config.json", {"command": "adapt", "data": "pictures/shapes", "budget": "1m", "folds": 5, "seed": 0}
    )
    write_json(folder / "env.json", {"python": "3.12.3", "torch": "2.15.0", "numpy": "2.4.0", "threads": 2, "device": "cpu"})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log(rng)), "utf-8")
    write_pictures(folder / "report_data", classes, rng, mistakes, side)
    return folder


@pytest.fixture
def run_maker(tmp_path: Path) -> Callable[..., Path]:
    """Makes run folders in the test's own directory: `run_maker("name", classes, decided=True)`."""
    return lambda name="run", *args, **kwargs: make_run(tmp_path / name, *args, **kwargs)


@pytest.fixture
def advise_maker(tmp_path: Path) -> Callable[..., Path]:
    """Makes run folders of `headstart advise`: `advise_maker("name", forecast=None)`."""
    from made_advise import make_advise

    return lambda name="advice", **changed: make_advise(tmp_path / name, **changed)


@pytest.fixture
def select_maker(tmp_path: Path) -> Callable[..., Path]:
    """Makes run folders of `headstart select`: `select_maker("name", decided=True)`."""
    from made_select import make_select

    return lambda name="choice", **changed: make_select(tmp_path / name, **changed)
