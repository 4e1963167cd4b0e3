"""Summarise every run of Yosinski et al. 2014 as the small file of numbers that comes with headstart.

    python examples/yosinski_summary.py yosinski2014.csv headstart/assets/yosinski2014.json

The table has one row per run of the authors' published logs: run, experiment, split, source, target, n_layers, n_per_class,
valid_top1_best10, last_iteration, target_name and more. Differences are paired: a run against the base network of the same
split and target, and a transferred against a selffer network of the same split, target and cut. In the published logs
every AnB+ run has target B and every BnB+ run target A, so the two are never subtracted from one another.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

MEASURE = "valid_top1_best10"
"""Mean share right at the ten best validations of a run: less swayed by luck than the best, at most 0.12 points lower."""
KINDS = {
    "base": ("base", "like"),
    "selffer": ("selffer", "like"),
    "transfer": ("transfer", "like"),
    "selffer_ft": ("selffer+", "like"),
    "transfer_ft": ("transfer+", "like"),
    "natman_base": ("base", "unlike"),
    "natman_transfer": ("transfer", "unlike"),
    "base1000": ("base", "none"),
    "random": ("random", "none"),
}
"""Kind and halves of each experiment; a network learned on all 1000 classes has no halves."""
LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
CITATION = (
    "Yosinski, Clune, Bengio, Lipson (2014): How transferable are features in deep neural networks? NIPS 27, "
    "recomputed from the authors' published logs"
)

Row = dict[str, str]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The file's content."""
    runs = [row for row in rows if row["experiment"] in KINDS]
    bases = {(row["split"], row["target"]): accuracy(row) for row in runs if KINDS[row["experiment"]][0] == "base"}
    reduced = sorted((row for row in rows if row["experiment"] == "reduced"), key=lambda row: int(row["n_per_class"]))
    return {
        "citation": CITATION,
        "measure": "top-1 of the validation images, mean of a run's ten best validations; spread: least and most of runs",
        "layers": LAYERS,
        "curves": list(curves(runs, bases)),
        "coadaptation": drops((row, bases[row["split"], row["target"]]) for row in of(runs, "selffer")),
        "specificity": drops(specific(runs)),
        "reduced": [
            {"per_class": int(row["n_per_class"]), "accuracy": accuracy(row), "iterations": int(row["last_iteration"])}
            for row in reduced
        ],
    }


def accuracy(row: Row) -> float:
    """Share of validation images of one run."""
    return float(row[MEASURE])


def of(runs: Sequence[Row], experiment: str) -> list[Row]:
    """The runs of one experiment."""
    return [row for row in runs if row["experiment"] == experiment]


def curves(runs: Sequence[Row], bases: dict[tuple[str, str], float]) -> Iterable[dict[str, Any]]:
    """A row for each kind, halves, target and cut; unlike halves are listed for each direction and for both together."""
    groups: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for row in runs:
        kind, halves = KINDS[row["experiment"]]
        for target in ("both", row["target_name"]) if halves == "unlike" else ("both",):
            groups[halves, kind, target, int(row["n_layers"])].append(row)
    for (halves, kind, target, n), same in sorted(groups.items()):
        found = [accuracy(row) for row in same]
        against = [accuracy(row) - bases[row["split"], row["target"]] for row in same]
        yield {
            "figure": 2 if halves == "like" else 3,
            **{"kind": kind, "halves": halves, "target": target, "n": n, "runs": len(same)},
            **{"accuracy": mean(found), "spread": spread(found)},
            **{"relative": mean(against), "relative_spread": spread(against)},
        }


def specific(runs: Sequence[Row]) -> Iterable[tuple[Row, float]]:
    """Each transferred run with the selffer run of the same split, target and cut, where there is one."""
    same = {(row["split"], row["target"], row["n_layers"]): accuracy(row) for row in of(runs, "selffer")}
    for row in of(runs, "transfer"):
        if (key := (row["split"], row["target"], row["n_layers"])) in same:
            yield row, same[key]


def drops(pairs: Iterable[tuple[Row, float]]) -> list[dict[str, Any]]:
    """By cut: how far the runs lie below what they are paired with."""
    groups: dict[int, list[float]] = defaultdict(list)
    for row, other in pairs:
        groups[int(row["n_layers"])].append(other - accuracy(row))
    return [{"n": n, "runs": len(g), "drop": mean(g), "spread": spread(g)} for n, g in sorted(groups.items())]


def mean(values: Sequence[float]) -> float:
    """To the six digits of the logs."""
    return round(fmean(values), 6)


def spread(values: Sequence[float]) -> list[float]:
    """Least and most."""
    return [round(min(values), 6), round(max(values), 6)]


def main() -> None:
    """Read the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="yosinski2014.csv, one row per run")
    parser.add_argument("out", type=Path, help="where to write the JSON")
    given = parser.parse_args()
    with given.table.open(newline="", encoding="utf-8") as lines:
        found = summary(list(csv.DictReader(lines)))
    given.out.write_text(text_of(found), "utf-8")


def text_of(found: dict[str, Any]) -> str:
    """JSON with one line for each row of a list: short, and a changed number is one changed line."""
    parts = []
    for key, value in found.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inside = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f" {json.dumps(key)}: [\n  {inside}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
