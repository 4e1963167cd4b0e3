"""Made-up run folders of `headstart multitask`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEASURES = {
    "accuracy": {"words": "accuracy", "higher": True},
    "balanced_accuracy": {"words": "balanced accuracy", "higher": True},
    "average_precision": {"words": "average precision", "higher": True},
    "auc": {"words": "area under the ROC curve", "higher": True},
    "mean_absolute_error": {"words": "mean absolute error", "higher": False},
    "r2": {"words": "R\u00b2", "higher": True},
}
USED = {
    "classes": ("accuracy", "balanced_accuracy"),
    "yes_no": ("balanced_accuracy", "auc"),
    "several": ("average_precision", "auc"),
    "number": ("mean_absolute_error", "r2"),
}
CLASSES = {"classes": ["bus", "lorry", "van"], "yes_no": ["no", "yes"], "several": ["wet", "dark", "fog"], "number": []}
KINDS = {"vehicle": "classes", "moving": "yes_no", "weather": "several", "distance": "number"}
"""The usual tasks."""


def share(mean: float, half: float = 0.02) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def task(name: str, kind: str, main: bool = False) -> dict[str, Any]:
    known = {"learned_from": 480, "validation": 120, "test": 150}
    return {
        "name": name, "kind": kind, "classes": CLASSES[kind], "main": main, "measure": USED[kind][0], "known": known,
    }  # fmt: skip


def measures(kind: str, better: float) -> dict[str, Any]:
    """`better` moves every measure by so much in its good direction."""
    base = {"mean_absolute_error": 0.4, "r2": 0.8}
    return {name: share(base.get(name, 0.88) + (better if MEASURES[name]["higher"] else -better)) for name in USED[kind]}


def curves(names: Sequence[str], weigh: bool, epochs: int = 6) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, epochs + 1):
        weights = {name: 1 + (0.2 * math.sin(epoch + at) if weigh else 0.0) for at, name in enumerate(names)}
        balance = {f"norm/{name}": (1.5 + at) / epoch for at, name in enumerate(names)}
        for at, a in enumerate(names):
            balance |= {f"cosine/{a}/{b}": max(0.4 - 0.3 * at, -0.9) for b in names[at + 1 :]}
        losses = {name: 0.2 + math.exp(-epoch / (2 + at)) for at, name in enumerate(names)}
        row = {"epoch": epoch, "losses": losses, "weights": weights, "weight_sum": sum(weights.values())}
        rows.append({**row, "balance": balance} if len(names) > 1 else row)
    return rows


def arm(name: str, role: str, kinds: dict[str, str], better: float = 0.0, **more: Any) -> dict[str, Any]:
    single = role == "single"
    return {
        "name": name, "role": role, "sharing": "hard", "weighting": "sum", "settings": {}, "shared": 0, "stitch": [],
        "pull": 0.0, "tasks": list(kinds), "measures": {one: measures(kind, better) for one, kind in kinds.items()},
        "delta_m": None if single else {"mean": 100 * better, "low": 100 * better - 2.5, "high": 100 * better + 2.5},
        "parameters": 270_000, "bytes": 1_090_000, "flops": {"training": 3.1e11, "parts": {"samples": 3.1e11}},
        "seconds": 21.0, "before": None, "memory": None, "distance": None,
        "curves": curves(list(kinds), name != "sum"), **more,
    }  # fmt: skip


def difference(one: str, a: str, b: str, kind: str, mean: float, half: float = 0.02, **more: Any) -> dict[str, Any]:
    return {
        "task": one, "a": a, "b": b, "measure": USED[kind][0], "mean": mean, "low": mean - half, "high": mean + half,
        "p_value": 0.0004 if abs(mean) > half else 0.4, "decided": abs(mean) > half, "detectable": 0.03, **more,
    }  # fmt: skip


def detail(kind: str) -> dict[str, Any]:
    curve = {"false_positive": [0.0, 0.0, 0.2, 1.0], "true_positive": [0.0, 0.7, 1.0, 1.0]}
    question = {"question": "", "yes": 70, "no": 80, "roc": curve}
    if kind == "number":
        return {"images": 150, "true": [1.0, 2.0, 3.5, 4.0], "said": [1.2, 1.9, 3.0, 4.4]}
    if kind == "several":
        rows = [{**question, "question": name} for name in CLASSES[kind]]
        return {"images": 150, "questions": [*rows[:-1], {**rows[-1], "yes": 0, "roc": None}]}
    size = len(CLASSES[kind])
    counts = [[40 if i == j else (3 * i + j) % 4 for j in range(size)] for i in range(size)]
    found = {"images": 150, "confusion": counts}
    return found if kind == "classes" else {**found, **question}


def summary(kinds: dict[str, str] | None = None, main: str | None = "vehicle", better: float = 0.03) -> dict[str, Any]:
    """The plain sum (saved) and dwa beside a network for each task, and the plain sum without each helper."""
    kinds = KINDS if kinds is None else kinds
    names = list(kinds)
    alone = [arm(f"only {name}", "single", {name: kind}) for name, kind in kinds.items()]
    less = {f"without {name}": {k: v for k, v in kinds.items() if k != name} for name in names if name != main}
    gaps = []
    for way, gain in (("sum", better), ("dwa", better - 0.005)):
        for name, kind in kinds.items():
            gaps.append(difference(name, way, f"only {name}", kind, gain))
            gaps += [difference(name, way, "sum", kind, -0.005)] if way != "sum" else []
    helped = main or names[0]
    return {
        "command": "multitask",
        "data": {
            "path": "street.csv", "fingerprint": "1f2e", "num_images": 750, "learned_from": 480, "sources": {"data": 750},
            "splits": {"train": 480, "val": 120, "test": 150}, "together": {" + ".join(names): 500, names[0]: 250},
            "set_aside": [{"path": "street/17.jpg", "reason": "ends after 2 048 of 48 211 bytes (truncated)"}],
        },
        "backbone": {"name": "embedded", "parameters": 269_072, "input_size": 32, "blocks": ["stem", "pool"]},
        "tasks": [task(name, kind, name == main) for name, kind in kinds.items()],
        "main": main,
        "measures": MEASURES,
        "seeds": [0],
        "arms": [
            *alone,
            arm("sum", "asked", kinds, better),
            arm("dwa", "asked", kinds, better - 0.005, weighting="dwa", settings={"temperature": 2.0}),
            *(arm(name, "without", rest, better) for name, rest in less.items()),
        ],
        "baseline": "sum",
        "chosen": "sum",
        "apart": {
            "networks": len(names), "names": [f"only {name}" for name in names], "parameters": 270_000 * len(names),
            "bytes": 1_090_000 * len(names), "flops": 3.1e11 * len(names), "seconds": 20.0 * len(names), "memory": None,
        },
        "inference": {
            "together": {"flops": 8.1e7, "ms": 3.1, "ms_low": 3.0, "ms_high": 3.4},
            "apart": {"flops": 8.1e7 * len(names), "ms": 12.0, "ms_low": 11.5, "ms_high": 13.0},
        },
        "differences": gaps,
        "helpers": [
            difference(helped, "sum", f"without {name}", kinds[helped], 0.05 - 0.04 * at, helper=name)
            for at, name in enumerate(one for one in names if one != helped)
        ],
        "test": {name: detail(kind) for name, kind in kinds.items()},
        "warnings": [],
        "phases": {"network": 0.4, "data": 1.1, "runs": 130.0, "outcome": 2.0},
        "reproduce": "headstart multitask street.csv --out runs/street --main vehicle --weighting sum dwa",
        "version": "0.1.0",
        "sentences": [],
        "seconds": 133.5,
    }  # fmt: skip


def no_alone() -> dict[str, Any]:
    """Without networks of their own to compare with."""
    found = summary(main=None)
    arms = [{**one, "delta_m": None} for one in found["arms"] if one["role"] == "asked"]
    gaps = [row for row in found["differences"] if row["b"] == "sum"]
    inference = {**found["inference"], "apart": None}
    return {**found, "arms": arms, "differences": gaps, "apart": None, "helpers": [], "inference": inference,
            "chosen": "dwa"}  # fmt: skip


def twelve() -> dict[str, Any]:
    """Twelve tasks with long names."""
    kinds = list(USED)
    return summary({f"a question with a rather long name, {k}": kinds[k % 4] for k in range(12)}, main=None)


def towers() -> dict[str, Any]:
    """Soft sharing and cross-stitch beside the plain sum, of two tasks and several seeds."""
    kinds = {"vehicle": "classes", "moving": "yes_no"}
    found = {**summary(kinds), "seeds": [0, 1], "chosen": "soft"}
    large: dict[str, Any] = {"parameters": 540_000, "bytes": 2_180_000}
    soft = arm("soft", "asked", kinds, 0.031, sharing="soft", pull=0.01, distance={"begin": 0.0, "end": 0.123}, **large)
    for row in soft["curves"]:
        row["losses"]["pull"] = 1e-6
        row["weights"]["pull"] = 1.0
        row["balance"]["cosine/vehicle/moving"] = 0.0
    begun = {"networks": [f"only {name}" for name in kinds], "flops": 6.2e11, "seconds": 42.0}
    stitched = arm(
        "cross-stitch", "asked", kinds, 0.035, sharing="cross_stitch", stitch=["stem", "layer1_2"],
        flops={"training": 12.4e11}, seconds=84.0, before=begun, distance={"begin": 0.7, "end": 0.69}, **large,
    )  # fmt: skip
    found["arms"] = [one for one in found["arms"] if one["name"] != "dwa"] + [soft, stitched]
    found["differences"] += [
        difference(name, way, other, kind, 0.03)
        for way in ("soft", "cross-stitch") for name, kind in kinds.items() for other in (f"only {name}", "sum")
    ]  # fmt: skip
    return found


SHAPES = {"usual": summary, "no_alone": no_alone, "twelve": twelve, "towers": towers}
"""Shapes that a summary can have."""


def inspection(kinds: dict[str, str]) -> dict[str, Any]:
    rows = []
    for name, kind in kinds.items():
        counts = dict.fromkeys(CLASSES[kind], 210)
        rows.append({
            "name": name, "kind": kind, "known": 640, "missing": 110, "counts": counts,
            "asked": dict.fromkeys(CLASSES[kind], 600) if kind == "several" else {},
            "numbers": [0.5, 3.2, 9.8, 1.7] if kind == "number" else None, "note": f"task {name!r}: understood",
        })  # fmt: skip
    return {
        "where": "street.csv", "num_images": 750, "tasks": rows, "set_aside": [], "leaks": [], "exact": [],
        "near": [{"kind": "near", "what": "", "names": ["1.jpg", "2.jpg"], "labels": ["", ""], "splits": ["", ""]}],
        "conflicts": ["3.jpg = 4.jpg: moving yes, no"], "notes": [f"task {name!r}: understood" for name in kinds],
        "warnings": ["identical samples have different answers 1 time (first: 3.jpg = 4.jpg: moving yes, no)"],
    }  # fmt: skip


def log(kinds: dict[str, str]) -> list[dict[str, Any]]:
    """As the command logs a run: here cut short in its second arm."""
    first, both = list(kinds)[:1], list(kinds)
    lines: list[dict[str, Any]] = [{"event": "phase", "name": "runs"}, {"event": "note", "text": "a remark of the run"}]
    lines += [{"event": "epoch", "run": f"only {first[0]}-0", **row} for row in curves(first, False)]
    lines += [{"event": "epoch", "run": "sum-0", **row} for row in curves(both, False, 3)]
    return lines


def pictures(folder: Path, kinds: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(folder / "thumbnails.npz", images=rng.integers(0, 255, (3, 32, 32, 3), np.uint8))
    names = list(kinds)
    said = {name: {"said": "bus", "true": "van", "right": False} for name in names}
    said[names[-1]] = {"said": "4.2", "true": None, "right": None}
    said[names[1]] = {"said": "no", "true": "no", "right": True}
    row = {"file": "street/3.jpg", "answers": said, "index": 0}
    told = {
        "apart": [{**row, "pair": names[:2]}, {**row, "pair": names[:2], "index": 99}],
        "mistakes": [{**row, "index": 1, "task": names[0]}, {**row, "index": 2, "task": names[1]}],
    }
    (folder / "thumbnails.json").write_text(json.dumps(told), "utf-8")


def make_multitask(folder: Path, found: dict[str, Any] | None = None, **changed: Any) -> Path:
    """Write the run folder, with keys of the summary `changed`, and return it."""
    folder.mkdir(parents=True)
    made = summary() if found is None else found
    kinds = {str(row["name"]): str(row["kind"]) for row in made["tasks"]}
    parts = {
        "summary.json": {**made, **changed},
        "config.json": {"command": "multitask", "data": ["street.csv"], "seed": 0, "device": "auto"},
        "env.json": {"python": "3.12.3", "torch": "2.15.0", "threads": 2, "devices": []},
        "inspection.json": inspection(kinds),
    }
    for name, value in parts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log(kinds)), "utf-8")
    pictures(folder, kinds)
    return folder
