"""Made-up run folders of `headstart extend`: numbers that hang together, written the way the command writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

PETS = ["beagle", "pug", "siamese", "bengal", "sphynx"]
CARS = ["bus", "lorry", "van"]
BIRDS = ["wren", "robin", "heron", "owl"]
FOREIGN = ["deer", "boar"]
NAMES = {"pets": PETS, "cars": CARS, "birds": BIRDS, "animals on the road": FOREIGN}

DEFINITIONS = {
    "average_accuracy": "after the last task: the mean of the accuracies on all tasks learned so far",
    "forgetting": "the best accuracy it had after any earlier task, minus its accuracy after the last one",
    "backward_transfer": "its accuracy after the last task minus its accuracy right after it was learned",
    "task_aware": "the network is told which task an image belongs to",
    "task_agnostic": "the network is not told the task",
}
METHODS = (
    *("lwf", "fine_tune", "joint", "new_head", "l2sp", "ewc", "online_ewc", "si", "mas", "lwf_mc", "replay", "der", "derpp"),
    *("icarl", "agem", "columns", "packnet"),
)


def share(mean: float, half: float = 0.02) -> dict[str, float]:
    return {"mean": round(mean, 4), "low": round(max(0.0, mean - half), 4), "high": round(min(1.0, mean + half), 4)}


def change(mean: float, half: float) -> dict[str, float]:
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def matrix(tasks: int, old: int, lost: float, level: float) -> list[list[dict[str, float] | None]]:
    """Accuracy of task j after learning task i: learned at `level`, `lost` with every task after that."""
    rows: list[list[dict[str, float] | None]] = []
    for i in range(tasks):
        measured_row = i >= old - 1
        accuracy = [level + 0.03 * math.sin(2 * j) - lost * (i - j) for j in range(tasks)]
        rows.append([share(max(0.05, accuracy[j])) if measured_row and j <= i else None for j in range(tasks)])
    return rows


def curves(task: str, known: list[str], epochs: int, lost: float) -> list[dict[str, Any]]:
    found = []
    for stage, length in (("warm-up", max(1, epochs // 2)), ("joint", epochs)):
        points = []
        for epoch in range(1, length + 1):
            left = math.exp(-(epoch + (epochs if stage == "joint" else 0)) / 5)
            fall = lost * (1 - math.exp(-epoch / 4)) if stage == "joint" else 0.0
            points.append({
                "epoch": epoch, "loss": round(1.6 * left + 0.3, 4),
                "losses": {"new": round(1.2 * left + 0.2, 4), "old": round(0.4 * left + 0.1, 4)},
                "accuracy": {name: round(0.9 - fall, 4) for name in known} | {task: round(0.88 - 0.7 * left, 4)},
            })  # fmt: skip
        found.append({"task": task, "stage": stage, "points": points})
    return found


def arm(name: str, role: str, names: list[str], old: int, lost: float, level: float = 0.9, **more: Any) -> dict[str, Any]:
    known = matrix(len(names), old, lost, level)
    free = matrix(len(names), old, lost + 0.05, level - 0.12)
    last = [cell["mean"] for cell in known[-1] if cell]
    judged = list(range(old)) if old else list(range(len(names) - 1))
    before_row = known[old - 1] if old else known[-2] if len(names) > 1 else []
    before = [cell["mean"] for j in judged if (cell := before_row[j])]
    after = [cell["mean"] for j in judged if (cell := known[-1][j])]
    kept = None
    if before and after:
        a, b = sum(before) / len(before), sum(after) / len(after)
        kept = {"before": share(a), "after": share(b), "change": change(b - a, 0.013)}
    old_data = {"joint": (4_812_000, 1_604, "all old images"), "replay": (600_000, 200, "stored samples")}.get(
        name, (0, 0, "none")
    )
    parts = {"new data": 3.1e11, "frozen prefix": 0.4e11} | ({"teacher": 0.9e11} if name.startswith("lwf") else {})
    parts |= {"old data": 8.8e11} if name == "joint" else {"importance": 1.2e11} if "ewc" in name else {}
    stored = {"network": 1_090_000, "heads": 14_000, "state": 2_180_000 if "ewc" in name else 0, "memory": old_data[0]}
    stored["memory"] = 0 if name == "joint" else stored["memory"]
    return {
        "name": name, "role": role, "family": "bound" if role == "upper" else "regularisation",
        "summary": f"what {name} does, in one line", "limits": f"what {name} cannot do, said honestly", "seeds": [0, 1, 2],
        "matrix": known, "agnostic": free, "rows": names,
        "new": {"accuracy": known[-1][-1], "agnostic": free[-1][-1]}, "old": kept,
        "average_accuracy": share(sum(last) / len(last)), "agnostic_average": share(0.7),
        "forgetting": change(lost * (len(names) - 1) / 2, 0.011) if len(names) > 1 else None,
        "backward_transfer": change(-lost * (len(names) - 1) / 2, 0.011) if len(names) > 1 else None,
        "old_data": {"bytes": old_data[0], "images": old_data[1], "what": old_data[2]},
        "flops": {"training": sum(parts.values()), "parts": parts, "inference": 8.1e7},
        "stored": {"bytes": sum(stored.values()), "parameters": 276_000, **stored},
        "seconds": 41.3,
        "curves": [one for k in range(old, len(names)) for one in curves(names[k], names[:k], 12, lost)],
        "confusion": None,
        **more,
    }  # fmt: skip


def difference(a: str, b: str, what: str, mean: float, half: float) -> dict[str, Any]:
    found = {"a": a, "b": b, "what": what, "mean": mean, "low": mean - half, "high": mean + half}
    decided = abs(mean) > half
    return {
        **found,
        "p_value": 0.0004 if decided else 0.31,
        "decided": decided,
        "detectable": 1.4 * half,
        "method": "images",
    }


def tasks(names: list[str], old: int, judged: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "name": name, "classes": NAMES.get(name, [f"{name} {k}" for k in "ab"]), "images": 400 + 60 * at,
            "role": "old" if at < old else "new", "judged": judged or at >= old,
            "test_images": 200 if judged or at >= old else None, "where": f"pictures/{name}",
        }
        for at, name in enumerate(names)
    ]  # fmt: skip


def summary() -> dict[str, Any]:
    """One task learned after two old ones, between the bounds."""
    names = ["pets", "cars", "birds"]
    gaps = [
        difference("lwf", "fine_tune", "old", 0.142, 0.024), difference("lwf", "fine_tune", "new", -0.006, 0.014),
        difference("lwf", "fine_tune", "average", 0.092, 0.017), difference("lwf", "joint", "old", -0.021, 0.012),
        difference("lwf", "joint", "new", 0.004, 0.011), difference("lwf", "joint", "average", -0.012, 0.013),
    ]  # fmt: skip
    return {
        "command": "extend", "scenario": "task", "method": "lwf",
        "settings": {"learn": {"recipe": {"lr": 0.05, "epochs": 12}, "scale": 0.1, "top": None}, "temperature": 2.0},
        "model": {
            "name": "runs/cars/model", "backbone": "embedded", "parameters": 276_104, "bytes": 1_104_416,
            "ancestors": [
                {"name": "headstart embedded", "strategy": "pretrained", "data": "synthetic", "fingerprint": "",
                 "settings": {}, "accuracy": None, "interval": None},
                {"name": "runs/pets", "strategy": "lpft", "data": "pictures/pets", "fingerprint": "77ab", "settings": {},
                 "accuracy": 0.914, "interval": [0.88, 0.94]},
                {"name": "runs/cars", "strategy": "lwf", "data": "pictures/cars", "fingerprint": "1d20",
                 "settings": {"task": "cars"}, "accuracy": None, "interval": None},
            ],
        },
        "data": [{
            "path": "pictures/birds", "fingerprint": "9c41", "num_images": 720, "num_classes": 4,
            "set_aside": [{"path": "owl/IMG_3.jpg", "reason": "ends after 2 048 of 48 211 bytes (truncated)"}],
            "splits": {"train": 520, "test": 200},
        }],
        "tasks": tasks(names, 2), "definitions": DEFINITIONS,
        "arms": [
            arm("lwf", "method", names, 2, 0.028),
            arm("fine_tune", "lower", names, 2, 0.17, 0.905),
            arm("joint", "upper", names, 2, 0.004, 0.902),
        ],
        "watched": "up to 256 training images of each task; no test image",
        "differences": gaps,
        "requirements": [
            "New task: right on 87.2% (85.2% to 89.2%) of its test images, when it is known which task they belong to.",
            "Old tasks: 88.6% (86.6% to 90.6%) after 91.4%, a change of -2.8 points (-4.1 to -1.5).",
            "Old data: no old image was needed.",
            "Compute: 440 GFLOP to learn (new data 70%, frozen prefix 9%, teacher 20%); 81 MFLOP per answer.",
            "Storage: 1.1 MB (network 1.09 MB, heads 14 kB).",
        ],
        "warnings": ["the teacher's answers were kept as float16"],
        "saved": "runs/birds/model",
        "phases": {"network": 0.2, "data": 1.9, "runs": 127.1}, "seconds": 129.2,
        "reproduce": "headstart extend runs/cars pictures/birds --method lwf --bounds --seeds 3 --out runs/birds",
        "version": "0.1.0",
    }  # fmt: skip


def one_task() -> dict[str, Any]:
    """The first task of a network that knew nothing."""
    return {
        **summary(), "tasks": tasks(["birds"], 0), "arms": [arm("lwf", "method", ["birds"], 0, 0.03)], "differences": [],
        "model": {"name": "embedded", "backbone": "embedded", "parameters": 272_000, "bytes": 1_090_000, "ancestors": []},
    }  # fmt: skip


def unjudged() -> dict[str, Any]:
    """Old tasks whose test images were not given."""
    found = summary()
    first = found["arms"][0]
    for key in ("matrix", "agnostic"):
        first[key] = [[cell if (i, j) == (2, 2) else None for j, cell in enumerate(row)] for i, row in enumerate(first[key])]
    first |= {"old": None, "forgetting": None, "backward_transfer": None, "average_accuracy": first["matrix"][2][2]}
    told = [*found["requirements"]]
    told[1] = "Old tasks: no test images of theirs were given (--old)."
    return {**found, "arms": [first], "tasks": tasks(["pets", "cars", "birds"], 2, judged=False), "differences": [],
            "requirements": told}  # fmt: skip


def undecided() -> dict[str, Any]:
    found = summary()
    found["arms"][0]["old"] = {"before": share(0.914), "after": share(0.909), "change": change(-0.005, 0.011)}
    return found


def class_incremental() -> dict[str, Any]:
    """Classes that make one list, with a confusion matrix over all of them."""
    names = list(NAMES)[:3]
    labels = [name for task in names for name in NAMES[task]]
    size = len(labels)
    counts = [[40 if i == j else (7 * i + 3 * j) % 5 for j in range(size)] for i in range(size)]
    found = {**summary(), "scenario": "class"}
    found["arms"][0]["confusion"] = {"labels": labels, "counts": counts}
    return found


def twenty() -> dict[str, Any]:
    """Twenty tasks learned one after the other from nothing."""
    names = [f"increment {k}" for k in range(1, 21)]
    ways = [arm("online_ewc", "method", names, 0, 0.009), arm("fine_tune", "lower", names, 0, 0.035)]
    gaps = [difference("online_ewc", "fine_tune", what, 0.1, 0.02) for what in ("new", "old", "average")]
    return {**summary(), "method": "online_ewc", "tasks": tasks(names, 0), "arms": ways, "differences": gaps}


def compared(methods: tuple[str, ...] = METHODS) -> dict[str, Any]:
    """All methods beside each other."""
    names = ["pets", "cars", "birds"]
    ways = [
        arm(
            name,
            "method",
            names,
            2,
            {"fine_tune": 0.17, "joint": 0.004}.get(name, 0.01 + 0.006 * at),
            0.9 - 0.004 * (at % 5),
        )
        for at, name in enumerate(methods)
    ]
    gaps = [
        difference(a["name"], b["name"], what, a["average_accuracy"]["mean"] - b["average_accuracy"]["mean"], 0.02)
        for at, a in enumerate(ways) for b in ways[at + 1 :] for what in ("new", "old", "average")
    ]  # fmt: skip
    return {
        **summary(),
        "command": "compare-continual",
        "arms": ways,
        "differences": gaps,
        "requirements": [],
        "saved": None,
    }


def log() -> list[dict[str, Any]]:
    """As the command logs a run: here cut short in its second arm."""
    lines: list[dict[str, Any]] = [{"event": "phase", "name": "runs"}, {"event": "note", "text": "batch norm stays frozen"}]
    for run, epochs in (("lwf-0", 12), ("fine_tune-0", 5)):
        for epoch in range(epochs):
            left = math.exp(-epoch / 5)
            lines.append({
                "event": "epoch", "run": run, "increment": 0, "stage": "joint", "epoch": epoch, "loss": 0.3 + left,
                "losses": {"new": 0.2 + left, "old": 0.1}, "accuracy birds": 0.9 - 0.6 * left, "accuracy pets": 0.9,
            })  # fmt: skip
    return lines


def make_extend(folder: Path, found: dict[str, Any] | None = None, **changed: Any) -> Path:
    """Write the run folder, with keys of the summary `changed`, and return it."""
    folder.mkdir(parents=True)
    settings = {"command": "extend", "model": "runs/cars", "data": ["pictures/birds"], "method": "lwf", "seed": 0}
    parts = {
        "summary.json": {**(summary() if found is None else found), **changed},
        "config.json": settings,
        "env.json": {"python": "3.12.3", "torch": "2.15.0", "threads": 2, "device": "cpu"},
        "inspection.json": {"warnings": []},
    }
    for name, value in parts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log()), "utf-8")
    return folder


SHAPES = {
    "bounds": summary, "one": one_task, "unjudged": unjudged, "undecided": undecided, "classes": class_incremental,
    "twenty": twenty, "compared": compared,
}  # fmt: skip
"""Shapes that a summary can have."""
