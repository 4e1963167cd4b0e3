"""summary.json and model of `headstart multitask`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

import headstart
from headstart.catalog.adapt import BackboneConfig
from headstart.catalog.multitask import MultitaskConfig
from headstart.data.labelled import LabelledSet, LabelParts
from headstart.engine.model import Ancestor, Card, Model, saved_card
from headstart.metrics.measured import MEASURES
from headstart.nets.net import Net, count_parameters
from headstart.studies.multitask_arms import BASELINE
from headstart.studies.multitask_details import details
from headstart.studies.multitask_helpers import helpers_of
from headstart.studies.multitask_judged import Judge, alone_of, beside_alone, known, main_measure, most
from headstart.studies.multitask_runs import Arm, Run, Runs, single_name
from headstart.studies.multitask_speed import inference_of
from headstart.studies.multitask_told import sentences
from headstart.studies.outcome import origin_of
from headstart.studies.records import again, name_of, plain


@dataclass(frozen=True)
class Found:
    """Everything that the summary tells of. `chosen` is the arm whose model is saved, `source` the network it began as."""

    config: MultitaskConfig
    data: LabelledSet
    parts: LabelParts
    runs: Runs
    arms: Sequence[Arm]
    seeds: Sequence[int]
    chosen: Arm
    warnings: Sequence[str]
    given: tuple[str, ...]
    source: Net

    @property
    def network(self) -> BackboneConfig:
        return self.config.network

    @property
    def judge(self) -> Judge:
        return Judge(self.runs, "test", self.seeds, self.config.seed)


def summary_of(f: Found, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    arms = [_arm(f, arm) for arm in f.arms]
    summary = plain(
        {
            "command": "multitask",
            "data": _data(f),
            "backbone": {
                "name": name_of(f.config.network, f.source),
                "parameters": count_parameters(f.source.blocks),
                "input_size": f.source.input.size,
                "blocks": f.source.block_names,
            },
            "tasks": [_task(f, name) for name in f.runs.mix.tasks],
            "main": f.config.main,
            "measures": {name: {"words": one.words, "higher": one.higher} for name, one in MEASURES.items()},
            "seeds": list(f.seeds),
            "arms": arms,
            "baseline": BASELINE,
            "chosen": f.chosen.name,
            "apart": beside_alone(f.runs, f.arms, f.seeds),
            "inference": _inference(f),
            "differences": list(_differences(f)),
            "helpers": helpers_of(f.judge, f.arms, f.config.main, leave_out=f.config.leave_out),
            "test": details(f.judge, f.chosen),
            "warnings": list(f.warnings),
            "phases": {name: round(value, 2) for name, value in seconds.items()},
            "reproduce": again("multitask", f.config, f.given),
            "version": headstart.__version__,
        }
    )
    summary["sentences"] = list(sentences(summary))
    return dict(summary)


def _data(f: Found) -> dict[str, Any]:
    found = f.data.findings
    return {
        "path": found.where,
        "fingerprint": f.data.fingerprint,
        "num_images": found.num_images,
        "set_aside": [{"path": bad.path, "reason": bad.reason} for bad in found.set_aside],
        "splits": {name: len(rows) for name, rows in f.parts.by_name.items()},
        "learned_from": len(f.runs.mix),
        "sources": {name: len(rows) for name, rows in f.data.sources.items()},
        "together": found.together,
        "notes": list(found.notes),
    }


def _task(f: Found, name: str) -> dict[str, Any]:
    task = f.runs.mix.tasks[name]
    return {
        "name": name,
        "kind": task.kind,
        "classes": list(task.classes),
        "main": name == f.config.main,
        "measure": main_measure(task.kind),
        "known": {"learned_from": known(task), **{part: known(tasks[name]) for part, tasks in f.runs.parts.items()}},
    }


def _arm(f: Found, arm: Arm) -> dict[str, Any]:
    seen = [f.runs.seen(Run(arm, seed)) for seed in f.seeds]
    alone = alone_of(f.arms)
    settings = arm.config.weighting_settings
    before = _before(f, arm)
    parts = {**seen[0]["flops"], **({"networks it began as": before["flops"]} if before else {})}
    return {
        "name": arm.name,
        "role": arm.role,
        "sharing": arm.sharing,
        "weighting": arm.config.weighting,
        "settings": _plain_settings(settings),
        "shared": arm.shared,
        "stitch": list(arm.stitch),
        "pull": arm.config.pull,
        "tasks": list(arm.tasks),
        "measures": {name: f.judge.measures(arm, name) for name in arm.tasks},
        "delta_m": f.judge.delta(arm, alone) if arm.role != "single" and set(arm.tasks) <= set(alone) else None,
        "parameters": seen[0]["parameters"],
        "bytes": seen[0]["bytes"],
        "flops": {"training": sum(parts.values()), "parts": parts},
        "seconds": float(np.mean([one["seconds"] for one in seen])) + (before["seconds"] if before else 0.0),
        "before": before,
        "memory": most([one["memory"] for one in seen]),
        "distance": _distance(seen),
        "curves": seen[0]["curves"],
    }


def _before(f: Found, arm: Arm) -> dict[str, Any] | None:
    """What it took to train the networks that the arm's towers began as, which is part of its costs; None for others."""
    begun = [f.runs.begun_as(Run(arm, seed)) for seed in f.seeds]
    if not begun[0]:
        return None
    seen = [[f.runs.kept(key) for key in keys] for keys in begun]
    return {
        "networks": [single_name(task) for task in arm.tasks],
        "flops": sum(sum(one["flops"].values()) for one in seen[0]),
        "seconds": float(np.mean([sum(one["seconds"] for one in each) for each in seen])),
    }


def _distance(seen: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Of towers from their mean when training began and ended, as a share of their weights; means over seeds."""
    if seen[0].get("distance") is None:
        return None
    return {when: float(np.mean([one["distance"][when] for one in seen])) for when in ("begin", "end")}


def _plain_settings(settings: Any) -> dict[str, Any]:
    if settings is None or not is_dataclass(settings) or isinstance(settings, type):
        return {}
    found = {name: value for name, value in vars(settings).items() if name != "schedule"}
    schedule = getattr(settings, "schedule", None)
    if schedule is not None:
        found["schedule"] = dict(zip(schedule.tasks, (one.text for one in schedule.formulas), strict=False)) or {
            str(epoch): list(row) for epoch, row in (schedule.table or {}).items()
        }
    return found


def _inference(f: Found) -> dict[str, Any]:
    """One network for all questions, and where there are such a network for each, timed in turn on one sample."""
    nets = {"together": f.runs.net_of(Run(f.chosen, f.seeds[0]))}
    for name, arm in alone_of(f.arms).items():
        nets[name] = f.runs.net_of(Run(arm, f.seeds[0]))
    found = inference_of(nets, f.data.store.array[:1])
    together = found.pop("together")
    apart = {key: sum(one[key] for one in found.values()) for key in together} if found else None
    return {"together": together, "apart": apart}


def _differences(f: Found) -> Iterator[dict[str, Any]]:
    """Every arm for several tasks against the tasks' own networks, and against the plain sum."""
    alone = alone_of(f.arms)
    plain_sum = next(arm for arm in f.arms if arm.name == BASELINE)
    for arm in f.arms:
        for name in arm.tasks if arm.role in ("sum", "asked") else ():
            for other in (alone.get(name), None if arm is plain_sum else plain_sum):
                found = None if other is None else f.judge.difference(arm, other, name)
                if found is not None:
                    yield found


def model_of(f: Found, summary: Mapping[str, Any]) -> Model:
    """The chosen network with its card."""
    saved = saved_card(f.config.network.backbone)
    origin = saved.ancestors if saved is not None else (origin_of(f),)
    head = f.config.main or f.chosen.tasks[0]
    arm = next(one for one in summary["arms"] if one["name"] == f.chosen.name)
    measured = {name: arm["measures"][name][one["measure"]]["mean"] for name, one in _by_name(summary).items()}
    this = Ancestor(
        Path(f.config.out).name,
        f.chosen.name,
        str(summary["data"]["path"]),
        f.data.fingerprint,
        {
            "tasks": ", ".join(f"{name} {value:.4g}" for name, value in measured.items() if value is not None),
            "divided": {
                "seed": f.config.seed,
                "validation_fraction": f.config.images.validation_fraction,
                "test_fraction": f.config.images.test_fraction,
            },
        },
    )
    tasks = tuple(
        {"name": name, "head": name, "classes": list(task.classes), "kind": task.kind}
        for name, task in f.runs.mix.tasks.items()
    )
    classes = f.runs.mix.tasks[head].classes
    card = Card(
        head,
        classes,
        f.config.images.fit,
        (*origin, this),
        headstart.__version__,
        scenario="multitask",
        tasks=tasks,
    )
    return Model(f.runs.net_of(Run(f.chosen, f.seeds[0])), card)


def _by_name(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in summary["tasks"]}


def write_pictures(f: Found, folder: Path) -> None:
    """Thumbnails for the report; see `multitask_details`."""
    from headstart.studies.multitask_details import pictures

    pictures(f.data, f.judge, f.chosen, f.runs.mix, folder)
