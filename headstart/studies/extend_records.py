"""summary.json, card and words of `headstart extend`."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import headstart
from headstart.catalog.extend import ExtendConfig
from headstart.data.names import count
from headstart.engine.model import Ancestor, Card
from headstart.engine.multi_answers import MULTITASK
from headstart.engine.past import Past
from headstart.metrics.continual import DEFINITIONS
from headstart.metrics.cost import format_bytes, format_flops, format_seconds
from headstart.nets.net import Net
from headstart.studies.extend_outcome import arm_record, differences
from headstart.studies.extend_runs import Arm, Run, Runs
from headstart.studies.extend_tasks import Judged, Start
from headstart.studies.records import changed, data_record, plain

WATCHED = "up to 256 training images of each task, of an old one where its data are given; no test image"


@dataclass(frozen=True)
class Found:
    """Everything that the summary tells of."""

    config: ExtendConfig
    runs: Runs
    arms: Sequence[Arm]
    seeds: Sequence[int]
    warnings: Sequence[str]
    given: tuple[str, ...] = ()


def card_of(config: ExtendConfig, start: Start, new: Sequence[Judged], past: Past, summary_name: str) -> Card:
    """The card of the extended model: a line of history for every task it learned now."""
    lines = [
        Ancestor(
            summary_name,
            config.method,
            one.data.inspection.where,
            one.data.fingerprint,
            {"task": one.name, "scenario": past.scenario, "seed": config.seed},
        )
        for one in new
    ]
    tasks = tuple(
        {"name": one.name, "head": one.head, "classes": list(one.classes), **({"kind": one.kind} if past.together else {})}
        for one in past.tasks
    )
    classes = past.classes if past.scenario == "class" else past.tasks[-1].classes
    return Card(
        past.tasks[-1].head,
        classes,
        start.fit or config.images.fit,
        (*start.ancestors, *lines),
        headstart.__version__,
        scenario=MULTITASK if past.together else past.scenario,
        tasks=tasks,
    )


def summary_of(f: Found, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    config, runs = f.config, f.runs
    arms = [arm_record(runs, arm, f.seeds, config.seed) for arm in f.arms]
    seen: dict[str, Judged] = {one.data.fingerprint: one for one in runs.new}
    return plain(  # type: ignore[no-any-return]
        {
            "command": "extend",
            "scenario": runs.start.past.scenario,
            "method": config.method,
            "settings": asdict(f.arms[0].config),
            "model": _model(runs.start),
            "data": [data_record(one.data, one.train, one.test) for one in seen.values()],
            "tasks": _tasks(runs),
            "definitions": DEFINITIONS,
            "arms": arms,
            "watched": WATCHED,
            "differences": differences(runs, f.arms, f.seeds, config.seed),
            "requirements": requirements(arms[0], len(runs.old), listed=runs.start.past.scenario == "class"),
            "warnings": list(dict.fromkeys([*f.warnings, *_met(runs, f.arms, f.seeds)])),
            "saved": str(config.out / "model"),
            "phases": {name: round(value, 2) for name, value in seconds.items()},
            "reproduce": _again(config, f.given),
            "version": headstart.__version__,
        }
    )


def _again(config: ExtendConfig, given: Sequence[str]) -> str:
    """The command that makes the run again; the call, when objects were given from Python that no command can name."""
    settings = changed(config, ExtendConfig(config.model, config.data))
    if given:
        words = ["model" if "model" in given else repr(config.model), "data" if "data" in given else repr(config.data)]
        words += [f"{name}={value!r}" for name, value in settings if name not in given]
        return f"headstart.extend({', '.join([*words, f'out={str(config.out)!r}'])})"
    line = ["headstart", "extend", config.model, *config.data, "--out", str(config.out)]
    for name, value in settings:
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            line.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            line += [f"--{flag}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(line)


def _met(runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> list[str]:
    """What methods warned of while they learned: per method and task what the first seed said that said anything."""
    found: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        for seed in seeds:
            seen = runs.seen(Run(arm, seed)).get("warnings", ())
            for task in dict.fromkeys(one["task"] for one in seen):
                told = "; ".join(one["text"] for one in seen if one["task"] == task)
                found.setdefault((arm.name, task), []).append(told)
    return [
        f"{arm}, task {task}: {told[0]}" + (f" (and with {count(len(told) - 1, 'more seed')})" if len(told) > 1 else "")
        for (arm, task), told in found.items()
    ]


def _model(start: Start) -> dict[str, Any]:
    net: Net = start.net
    tensors = [*net.parameters(), *net.buffers()]
    return {
        "name": start.name,
        "backbone": str((net.source or {}).get("name") or (net.source or {}).get("builder") or "a module from Python"),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "ancestors": [asdict(one) for one in start.ancestors],
        "drawn": start.drawn is not None,
    }


def _tasks(runs: Runs) -> list[dict[str, Any]]:
    rows = []
    for learned, judged in zip(runs.start.past.tasks, runs.old, strict=True):
        rows.append(
            {
                "name": learned.name,
                "classes": list(learned.classes),
                "images": learned.images or (len(judged.train) if judged is not None else None),
                "role": "old",
                "judged": judged is not None,
                "test_images": None if judged is None else len(judged.test),
                "where": learned.data,
            }
        )
    for one in runs.new:
        rows.append(
            {
                "name": one.name,
                "classes": list(one.train.classes),
                "images": len(one.train),
                "role": "new",
                "judged": True,
                "test_images": len(one.test),
                "where": one.data.inspection.where,
            }
        )
    return rows


def requirements(arm: Mapping[str, Any], old: int, *, listed: bool) -> list[str]:
    """The five requirements in plain sentences: new task, old tasks, old data, compute, storage.

    old     tasks that the model came with
    listed  all classes make one list, so that what counts is the answer with the task not known
    """
    new = arm["new"]
    counts, other = (new["agnostic"], new["accuracy"]) if listed else (new["accuracy"], new["agnostic"])
    said = [
        f"New task: right on {_share(counts)} of its test images {_WHEN[not listed]}, {_percent(other)} {_WHEN[listed]}.",
        _kept(arm, old, listed=listed),
    ]
    need = arm["old_data"]
    what = (
        "none was needed" if not need["bytes"] else f"{need['images']} images, {format_bytes(need['bytes'])}, {need['what']}"
    )
    said.append(f"Old data: {what}.")
    flops, stored = arm["flops"], arm["stored"]
    parts = ", ".join(f"{name} {value / flops['training']:.0%}" for name, value in flops["parts"].items())
    said.append(
        f"Compute: {format_flops(flops['training'])} to learn ({parts}); {format_flops(flops['inference'])} per answer."
    )
    more = ", ".join(
        f"{name} {format_bytes(stored[name])}" for name in ("network", "heads", "state", "memory") if stored[name]
    )
    said.append(f"Storage: {format_bytes(stored['bytes'])} ({more}).")
    return said


_WHEN = {True: "when it is known which task they belong to", False: "when it is not"}


def _kept(arm: Mapping[str, Any], old: int, *, listed: bool) -> str:
    prefix = "agnostic_" if listed else ""
    kept, forgot, back = (arm[f"{prefix}{name}"] for name in ("old", "forgetting", "backward_transfer"))
    over = f" Forgetting over all tasks {_points(forgot)}, backward transfer {_points(back)}." if forgot and back else ""
    if kept is None:
        return f"Old tasks: {'no test images of theirs were given (--old)' if old else 'there was none before'}.{over}"
    when = "before the new tasks" if old else "before the last task"
    told = f"Old tasks: {_share(kept['after'])} after {_share(kept['before'])} {when}, a change of {_points(kept['change'])}"
    other = arm["old" if listed else "agnostic_old"]
    beside = f"; {_percent(other['after'])} {_WHEN[listed]}" if other is not None else ""
    return f"{told} {_WHEN[not listed]}{beside}.{over}"


def _percent(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.1%}"


def _share(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.1%} ({value['low']:.1%} to {value['high']:.1%})"


def _points(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:+.1f} points ({100 * value['low']:+.1f} to {100 * value['high']:+.1f})"


def as_text(summary: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    tasks = summary["tasks"]
    old, new = ([one for one in tasks if one["role"] == role] for role in ("old", "new"))
    names = ", ".join(f"{one['name']} ({len(one['classes'])} classes, {one['images']} images)" for one in new)
    lines = [f"{summary['model']['name']} ({len(old) or 'no'} task{'s' if len(old) != 1 else ''} before) learned {names}"]
    lines += [f"{summary['scenario']}-incrementally, by {summary['method']}"]
    if len(summary["arms"][0]["seeds"]) > 1:
        lines.append(_BEGIN[summary["model"]["drawn"]])
    lines.append("")
    listed = summary["scenario"] == "class"
    lines += ["accuracies over the one list of all classes", ""] if listed else []
    titles = ("new task", "old tasks", "change", "average", "old data", "training", "stored", "time")
    widths = (9, 10, 7, 8, 9, 10, 8, 10)
    lines.append(" ".join([f"{'method':<25}", *(f"{one:>{width}}" for one, width in zip(titles, widths, strict=True))]))
    for arm in summary["arms"]:
        lines.append(_line(arm, listed=listed))
    lines.append("")
    for text in summary["requirements"]:
        lines += textwrap.wrap(text, 110, subsequent_indent="  ")
    first = summary["arms"][0]["name"]
    for gap in (one for one in summary["differences"] if one["a"] == first):
        lines += textwrap.wrap(_told(gap), 110, subsequent_indent="  ")
    for text in summary["warnings"]:
        lines += textwrap.wrap(f"warning: {text}", 110, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join([*lines, f"model: {summary['saved']}"])


_BEGIN = {
    True: "each seed begins with random weights of its own",
    False: "all seeds begin with the same weights; order of images, augmentation and drawing differ",
}


def _line(arm: Mapping[str, Any], *, listed: bool) -> str:
    prefix = "agnostic_" if listed else ""
    kept, need, average = (
        arm[f"{prefix}old"],
        arm["old_data"]["bytes"],
        arm[f"{prefix}average" if listed else "average_accuracy"],
    )
    role = {"lower": " (lower bound)", "upper": " (upper bound)"}.get(arm["role"], "")
    cells = [
        f"{arm['name'] + role:<25}",
        f"{arm['new']['agnostic' if listed else 'accuracy']['mean']:>9.3f}",
        f"{kept['after']['mean']:>10.3f}" if kept else f"{'-':>10}",
        f"{100 * kept['change']['mean']:>+7.1f}" if kept else f"{'-':>7}",
        f"{average['mean']:>8.3f}" if average else f"{'-':>8}",
        f"{format_bytes(need) if need else 'none':>9}",
        f"{format_flops(arm['flops']['training']):>10}",
        f"{format_bytes(arm['stored']['bytes']):>8}",
        f"{format_seconds(round(arm['seconds'], 1)):>10}",
    ]
    return " ".join(cells)


def _told(gap: Mapping[str, Any]) -> str:
    what = {"new": "the new task", "old": "the old tasks", "average": "all tasks"}[gap["what"]]
    verdict = "" if gap["decided"] else f"; undecided (a difference of {100 * gap['detectable']:.1f} would be seen)"
    return f"{gap['a']} against {gap['b']} on {what}: {_points(gap)}{verdict}."


def name_of_run(config: ExtendConfig) -> str:
    """What the run is called in the model's history."""
    return Path(config.out).name
