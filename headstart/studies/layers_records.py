"""What a study of layers writes down: summary.json, and the same for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.catalog.study import LayersConfig
from headstart.data.prepare import DataSet
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.studies import layers_answers
from headstart.studies.layers_plan import Cut, Run, Split
from headstart.studies.layers_runs import Setup, right_of


def summary_of(
    config: LayersConfig,
    setup: Setup,
    records: Mapping[Run, Mapping[str, Any]],
    net: Net,
    cuts: Sequence[Cut],
    data: DataSet,
    kinds: Sequence[str],
    splits: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All of summary.json that follows from the runs.

    records  finished runs
    kinds    of halves studied
    splits   as `splits_record` gives them
    """
    labels = {cut.n: label_of(cut, net) for cut in cuts}
    sizes = {kind: min(len(half.train) for key, half in setup.halves.items() if key.split()[0] == kind) for kind in kinds}
    return {
        "command": "study layers",
        "data": {
            "path": data.inspection.where,
            "source": config.source,
            "fingerprint": data.fingerprint,
            "num_images": data.inspection.num_images,
            "num_classes": len(data.classes),
            "images_per_half": sizes,
        },
        "backbone": _backbone(net),
        "halves": " and ".join(kinds),
        "settings": _settings(config),
        "cuts": [
            {"n": cut.n, "block": cut.blocks[-1], "label": labels[cut.n], "parameters": cut.parameters} for cut in cuts
        ],
        "splits": list(splits),
        "runs": [_record(run, record) for run, record in records.items()],
        **_found(config, records, cuts, labels, sizes),
    }


def _found(
    config: LayersConfig,
    records: Mapping[Run, Mapping[str, Any]],
    cuts: Sequence[Cut],
    labels: Mapping[int, str],
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """What the runs say; nothing where there are none."""
    table = layers_answers.Table({run: right_of(record).astype(np.float64) for run, record in records.items()}, cuts)
    names = ("curves", "coadaptation", "specificity", "generality_boost", "answers", "claims", "overtaking")
    if not records:
        return {name: [] for name in names}
    fewer = sorted(set(config.target_images))
    return {
        "curves": layers_answers.curves(table),
        **layers_answers.separated(table),
        "answers": layers_answers.answers(table, labels),
        "claims": layers_answers.claims(table),
        "overtaking": layers_answers.overtaking(table, fewer, sizes) if fewer else [],
    }


def _backbone(net: Net) -> dict[str, Any]:
    source = net.source or {}
    return {
        "name": source.get("name") or source.get("builder") or "a module given from Python",
        "parameters": count_parameters(net.blocks),
        "multiply_adds": sum(block_flops(net).values()),
        "input_size": net.input.size,
        "blocks": net.block_names,
    }


def _settings(config: LayersConfig) -> dict[str, Any]:
    return {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "lr": config.lr,
        "fine_tuned": "at the full learning rate, as in the paper",
        "fewer_images": "as many steps as on all of them",
        "seeds": config.seeds,
        "splits": config.splits,
        "target_images": list(config.target_images),
    }


def splits_record(splits: Sequence[Split], names: Mapping[str, tuple[str, ...]], seed: int) -> list[dict[str, Any]]:
    """The classes of both halves of every split. `names`: those of a half, by `like 0 A`."""
    return [
        {
            "split": one.number,
            "seed": seed,
            "halves": one.halves,
            **{half: list(names[f"{one.halves} {one.number} {half}"]) for half in "AB"},
        }
        for one in splits
    ]


def label_of(cut: Cut, net: Net) -> str:
    """The last block with weights that is transferred."""
    return next(name for name in reversed(cut.blocks) if count_parameters(net.blocks[name]))


def _record(run: Run, record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: record[name] for name in ("images", "accuracy", "seconds", "epochs")}
    return {name: value for name, value in asdict(run).items() if name != "images"} | kept


def as_text(summary: Mapping[str, Any]) -> str:
    """The study for a terminal: curves, then the three answers and the claims."""
    lines = [f"{summary['data']['num_images']:,} images, {summary['halves']} halves, {len(summary['runs'])} runs"]
    for halves in dict.fromkeys(row["halves"] for row in summary["curves"]):
        rows = [row for row in summary["curves"] if row["halves"] == halves]
        base = next((row for row in rows if row["kind"] == "base"), None)
        if base is not None:
            lines += ["", f"{halves} halves: base {_share(base)}; accuracy of the others by layers transferred:"]
        letters = layers_answers.LETTERS
        lines.append("  ".join(["n ", *(f"{name:<9}" for name in letters.values())]).rstrip())
        for cut in summary["cuts"]:
            found = {row["kind"]: row for row in rows if row["n"] == cut["n"]}
            cells = [f"{100 * found[kind]['accuracy']:<9.1f}" if kind in found else " " * 9 for kind in letters]
            lines.append("  ".join([f"{cut['n']:<2}", *cells, cut["label"]]))
    for one in summary["answers"]:
        lines += ["", one["question"], f"  {one['sentence']}"]
    lines += ["", "the paper's claims:", *(f"  {one['claim']}\n    {one['sentence']}" for one in summary["claims"])]
    lines += [f"failed: {one['run']}: {one['reason']}" for one in summary["failed"]]
    return "\n".join([*lines, "", f"{summary['seconds']:.0f} s"])


def _share(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
