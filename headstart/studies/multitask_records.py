"""summary.json, model and words of `headstart multitask`."""

from __future__ import annotations

import textwrap
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
from headstart.metrics.cost import format_bytes, format_count, format_flops, format_seconds
from headstart.metrics.measured import MEASURES
from headstart.nets.net import Net, count_parameters
from headstart.studies.multitask_arms import BASELINE
from headstart.studies.multitask_details import details
from headstart.studies.multitask_judged import Judge, alone_of, beside_alone, known, main_measure, most
from headstart.studies.multitask_runs import Arm, Run, Runs
from headstart.studies.multitask_speed import inference_of
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
    def arms_asked(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.role == "asked"]

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
            "helpers": _helpers(f),
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
        "flops": {"training": sum(seen[0]["flops"].values()), "parts": seen[0]["flops"]},
        "seconds": float(np.mean([one["seconds"] for one in seen])),
        "memory": most([one["memory"] for one in seen]),
        "curves": seen[0]["curves"],
    }


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


def _helpers(f: Found) -> list[dict[str, Any]]:
    """What each task does for the others, or for the main one: the first arm asked for against the same without it."""
    asked = f.arms_asked[0]
    found = []
    for arm in f.arms:
        if arm.role == "without":
            left_out = next(name for name in asked.tasks if name not in arm.tasks)
            for name in [f.config.main] if f.config.main else arm.tasks:
                one = f.judge.difference(asked, arm, name)
                found += [{**one, "helper": left_out}] if one is not None else []
    if f.config.main and len(asked.tasks) == 2 and f.config.main in alone_of(f.arms):
        one = f.judge.difference(asked, alone_of(f.arms)[f.config.main], f.config.main)
        helper = next(name for name in asked.tasks if name != f.config.main)
        found += [{**one, "helper": helper}] if one is not None else []
    return found


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


def sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    """What was found, in plain words."""
    arms = {arm["name"]: arm for arm in summary["arms"]}
    chosen, apart = arms[summary["chosen"]], summary["apart"]
    if chosen["delta_m"] is not None:
        yield _delta_told(chosen)
    if apart is not None:
        yield (
            f"One network instead of {apart['networks']}: {format_count(chosen['parameters'])} parameters against "
            f"{format_count(apart['parameters'])}, {format_bytes(chosen['bytes'])} against {format_bytes(apart['bytes'])}; "
            f"training {format_seconds(round(chosen['seconds'], 1))} against {format_seconds(round(apart['seconds'], 1))}."
        )
    inference = summary["inference"]
    if inference["apart"] is not None:
        one, other = inference["together"], inference["apart"]
        yield (
            f"An answer to all questions: {format_flops(one['flops'])} and {one['ms']:.1f} ms in one pass, against "
            f"{format_flops(other['flops'])} and {other['ms']:.1f} ms by a network for each."
        )
    if summary["chosen"] != summary["baseline"]:
        yield _against_sum(summary)
    for one in summary["helpers"]:
        verdict = "helped" if one["mean"] > 0 else "harmed"
        told = (
            f"{one['helper']} {verdict} {one['task']}"
            if one["decided"]
            else (f"whether {one['helper']} helps {one['task']} is undecided")
        )
        yield f"{told[0].upper()}{told[1:]}: {_gap(summary, one)}."


def _delta_told(arm: Mapping[str, Any]) -> str:
    found = arm["delta_m"]
    low, high = found["low"], found["high"]
    verdict = "sharing pays" if low > 0 else "sharing costs" if high < 0 else "undecided"
    return (
        f"{arm['name']} against a network for each task: {found['mean']:+.1f} % on average over tasks "
        f"({low:+.1f} to {high:+.1f}); {verdict}."
    )


def _against_sum(summary: Mapping[str, Any]) -> str:
    rows = [one for one in summary["differences"] if one["a"] == summary["chosen"] and one["b"] == summary["baseline"]]
    decided = [one for one in rows if one["decided"]]
    if not decided:
        return f"{summary['chosen']} against the plain sum: undecided on every task, so the plain sum would do."
    told = "; ".join(f"{one['task']} {_gap(summary, one)}" for one in decided)
    return f"{summary['chosen']} against the plain sum, where decided: {told}."


def _gap(summary: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """A difference in the measure's own unit: points for shares; for errors positive is the smaller error."""
    measure = summary["measures"][one["measure"]]
    if measure["higher"] and one["measure"] != "r2":
        return f"{100 * one['mean']:+.1f} points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    return f"{measure['words']} smaller by {one['mean']:+.3g} ({one['low']:+.3g} to {one['high']:+.3g})"


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    tasks = summary["tasks"]
    lines = [
        f"{summary['data']['num_images']} images, {len(tasks)} tasks on {summary['backbone']['name']}: "
        + ", ".join(f"{one['name']} ({one['kind'].replace('_', '/')})" for one in tasks),
        "",
    ]
    widths = [max(10, len(one["name"]), len(_short(one["measure"]))) for one in tasks]
    names = [f"{one['name']:>{width}}" for one, width in zip(tasks, widths, strict=True)]
    lines.append(f"{'':<24} {' '.join(names)} {'change':>8} {'weights':>8} {'time':>8}")
    said = [f"{_short(one['measure']):>{width}}" for one, width in zip(tasks, widths, strict=True)]
    lines.append(f"{'':<24} {' '.join(said)} {'in %':>8}")
    lines += [_line(arm, tasks, widths, summary) for arm in summary["arms"] if arm["role"] != "single"]
    if summary["apart"] is not None:
        lines.append(_apart_line(summary, tasks, widths))
    lines += ["(* saved)", ""]
    for text in summary["sentences"]:
        lines += textwrap.wrap(text, 110, subsequent_indent="  ")
    for text in summary["warnings"]:
        lines += textwrap.wrap(f"warning: {text}", 110, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


_WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "bal. acc.",
    "average_precision": "av. prec.",
    "auc": "AUC",
    "mean_absolute_error": "mean error",
}


def _short(measure: str) -> str:
    return _WORDS.get(measure, measure)


def _line(
    arm: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], widths: Sequence[int], summary: Mapping[str, Any]
) -> str:
    cells = [_cell(arm["measures"].get(one["name"]), one, width) for one, width in zip(tasks, widths, strict=True)]
    delta = f"{arm['delta_m']['mean']:>+8.1f}" if arm["delta_m"] else f"{'-':>8}"
    mark = " *" if arm["name"] == summary["chosen"] else ""
    time = format_seconds(round(arm["seconds"], 1))
    return f"{arm['name'] + mark:<24} {' '.join(cells)} {delta} {format_count(arm['parameters']):>8} {time:>8}"


def _apart_line(summary: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], widths: Sequence[int]) -> str:
    single = {arm["tasks"][0]: arm for arm in summary["arms"] if arm["role"] == "single"}
    cells = [_cell(single[one["name"]]["measures"][one["name"]], one, w) for one, w in zip(tasks, widths, strict=True)]
    apart = summary["apart"]
    time = format_seconds(round(apart["seconds"], 1))
    label = f"a network each ({apart['networks']})"
    return f"{label:<24} {' '.join(cells)} {'0':>8} {format_count(apart['parameters']):>8} {time:>8}"


def _cell(measures: Mapping[str, Any] | None, task: Mapping[str, Any], width: int) -> str:
    value = None if measures is None else measures[task["measure"]]["mean"]
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.3f}" if abs(value) < 100 else f"{value:>{width}.4g}"


def write_pictures(f: Found, folder: Path) -> None:
    """Thumbnails for the report; see `multitask_details`."""
    from headstart.studies.multitask_details import pictures

    pictures(f.data, f.judge, f.chosen, f.runs.mix, folder)
