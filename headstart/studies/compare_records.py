"""A comparison as records and as text: the content of summary.json, the sentence that sums it up, a table for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import headstart
from headstart.metrics.cost import format_bytes, format_count, format_flops, format_seconds
from headstart.metrics.paired import Difference
from headstart.nets.cost import block_flops
from headstart.nets.net import count_parameters
from headstart.studies.compared import Comparison, Entry, Pairs, Standing, between, interval_of, pairs_of, stand
from headstart.studies.limits import limits
from headstart.studies.records import again, data_record, name_of, plain


def summarise(c: Comparison, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The content of summary.json."""
    folds = c.splits.folds
    pairs = pairs_of(c.finished, folds, c.config.seed)
    standing = stand(c.finished, pairs)
    decided = standing.decided and len(c.finished) > 1
    follow = c.config.followed([standing.suggested]) if standing.suggested is not None else None
    summary: dict[str, Any] = plain(
        {
            "command": "compare",
            "data": data_record(c.data, c.splits.train, c.splits.test),
            "backbone": {
                "name": name_of(c.config.network, c.net),
                "parameters": count_parameters(c.net.blocks),
                "multiply_adds": sum(block_flops(c.net).values()),
                "input_size": c.net.input.size,
                "blocks": c.net.block_names,
            },
            "folds": len(folds),
            "seeds": c.config.seeds,
            "budget": c.config.budget,
            "epochs": c.plan.epochs if c.plan is not None else None,
            "metric": "balanced accuracy" if c.config.class_weights else "accuracy",
            "strategies": [{**_row(c, entry), "limits": limits(c, entry, pairs)} for entry in c.entries],
            "pairs": [_pair(a, b, one) for (a, b), one in pairs.items()],
            "source": _source(c),
            "best": standing.best,
            "equals": standing.equals,
            "suggested": standing.suggested,
            "sentence": sentence(c.finished, pairs, standing),
            "decided": decided,
            "next": again("adapt", follow, c.given) if follow is not None else "",
            "classes": list(c.data.classes),
            "seconds_by_phase": {k: round(v, 2) for k, v in seconds.items() if k != "all"},
            "seconds": round(seconds["all"], 2),
            "reproduce": again("compare", c.config, c.given),
            "version": headstart.__version__,
        }
    )
    return summary


def _pair(a: str, b: str, d: Difference) -> dict[str, Any]:
    """Arm a minus arm b."""
    found = {"difference": d.mean, "interval": [d.low, d.high], "p_value": d.p_value, "decided": d.decided}
    return {"a": a, "b": b, **found, "detectable": d.detectable, "method": d.method}


def _source(c: Comparison) -> dict[str, Any]:
    """What was asked of the source, or why nothing was."""
    if c.origin is not None:
        return {
            "path": c.config.source,
            "images": len(c.origin.task),
            "split": c.origin.split,
            "before": c.origin.before,
            "reason": "",
        }
    assert isinstance(c.own, str)  # a head whose images cannot be had is an error
    return {"path": c.config.source, "images": 0, "split": None, "before": None, "reason": c.own}


def _row(c: Comparison, e: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": e.arm.name,
        "strategy": e.arm.strategy,
        "label": e.arm.label,
        "description": e.arm.description,
        "frozen": e.arm.frozen,
        "status": e.status,
        "reason": e.reason,
        "folds": len(e.trials),
        **dict.fromkeys(("accuracy", "interval", "training_accuracy", "source_accuracy", "trained_parameters")),
        **dict.fromkeys(("stored_parameters", "bytes", "training_flops", "inference_flops", "seconds")),
        "accuracies": [trial.accuracy for _, trial in sorted(e.trials.items())],
        "old_images_needed": e.course.old_images,
    }
    if not e.finished:
        return row
    span = interval_of(e, c.splits.folds)
    source = None
    if c.origin is not None:
        source = {"before": c.origin.before, "after": e.looked("source"), "images": len(c.origin.task)}
    return row | {
        "accuracy": e.mean,
        "interval": [max(span.low, 0.0), min(span.high, 1.0)],
        "training_accuracy": e.looked("training"),
        "source_accuracy": source,
        "trained_parameters": max(trial.trained for trial in e.trials.values()),
        "stored_parameters": round(e.looked("stored")),
        "bytes": round(e.looked("bytes")),
        "training_flops": e.course.flops,
        "inference_flops": round(e.looked("inference")),
        "seconds": round(e.seconds, 4),
    }


def sentence(finished: Sequence[Entry], pairs: Pairs, standing: Standing) -> str:
    """Which is best and by how much, or that it cannot be said."""
    names = {e.arm.name: e for e in finished}
    if standing.best is None:
        return "None of these could be measured to the end, so nothing is compared."
    best = names[standing.best]
    if len(finished) == 1:
        return f"Only {best.arm.name} could be measured to the end, so nothing is compared."
    rival = max((e for e in finished if e is not best), key=lambda e: e.mean)
    if standing.decided:
        ahead = f"{_gap(pairs, best, rival)} against {rival.arm.name}"
        return f"{best.arm.name} is best, told apart from every other: {ahead}, the next."
    equals = [names[name] for name in standing.equals[1:]]
    least = max(between(pairs, best.arm.name, e.arm.name)[2].detectable for e in equals)
    open_ones = [e for e in equals if not _leads(pairs, best, e)]
    told = [f"{e.arm.name} ({_gap(pairs, best, e)})" for e in open_ones[:_NAMED]]
    if len(open_ones) > _NAMED:
        told.append(f"{len(open_ones) - _NAMED} more")
    led = [e.arm.name for e in equals if _leads(pairs, best, e)]
    corrected = f"corrected for {len(pairs)} comparisons "
    parts = [f"cannot be told from {_and(told)}"] if told else []
    parts += [f"{corrected}{'neither ' if told else 'cannot be told '}from {_and(led)}"] if led else []
    cheap = f" Cheapest to train of these: {standing.suggested}." if standing.suggested != standing.best else ""
    return (
        f"Undecided: {best.arm.name} has the highest mean, but {', and '.join(parts)}; this design reliably detects "
        f"{100 * least:.1f} points.{cheap}"
    )


_NAMED = 3
"""Equals that are named with their differences."""


def _leads(pairs: Pairs, best: Entry, other: Entry) -> bool:
    """Whether this comparison alone, without the others, would call the best better."""
    one = between(pairs, best.arm.name, other.arm.name)[2]
    return not one.low <= 0 <= one.high


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _gap(pairs: Pairs, a: Entry, b: Entry) -> str:
    """a minus b in points with its interval."""
    one = between(pairs, a.arm.name, b.arm.name)[2]
    low, high = (one.low, one.high) if (a.arm.name, b.arm.name) in pairs else (-one.high, -one.low)
    return f"{100 * (a.mean - b.mean):+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"


def as_text(summary: Mapping[str, Any]) -> str:
    """The comparison for a terminal."""
    data, epochs = summary["data"], summary["epochs"]
    trained = "" if epochs is None else f"; {epochs} epochs of training"
    where = f"{summary['folds']} folds" if summary["folds"] > 1 else "judged on the val split"
    seeds = "" if summary["seeds"] == 1 else f" x {summary['seeds']} seeds"
    lines = [
        f"{data['num_images']:,} images, {data['num_classes']} classes, {summary['backbone']['name']}; "
        f"{where}{seeds}{trained}",
        "",
        f"{'strategy':<18} {summary['metric'].partition(' ')[0]:>8}  {'95 % interval':<15} {'train':>6} {'source':>7} "
        f"{'trained':>8} {'stored':>8} {'training':>11} {'one answer':>11} {'s/fold':>8}",
    ]
    rows = sorted(summary["strategies"], key=lambda row: -(row["accuracy"] or 0.0))
    lines += [_line(row, summary) for row in rows if row["status"] == "finished"]
    lines += [
        line
        for row in rows
        if row["status"] != "finished"
        for line in textwrap.wrap(f"{row['name']:<18} {row['status']}: {row['reason']}", 120, subsequent_indent=" " * 19)
    ]
    lines += ["(* highest mean, = not told from it; the report tells every difference and every limit)", ""]
    lines += [*textwrap.wrap(summary["sentence"], 120), "", "limits:"]
    for row in rows:
        if row["limits"]:
            lines += textwrap.wrap(f"{row['name']}: {row['limits'][0]}", 118, initial_indent="  ", subsequent_indent="    ")
    if summary["source"]["reason"]:
        lines += ["", *textwrap.wrap(f"Kept of the source: not known, as {summary['source']['reason']}.", 120)]
    lines += ["", f"{format_seconds(round(summary['seconds']))}; nothing was chosen or saved."]
    return "\n".join([*lines, "To adapt with it:", f"  {summary['next']}"] if summary["next"] else lines)


def _line(row: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    mark = " *" if row["name"] == summary["best"] else " =" if row["name"] in summary["equals"] else ""
    source = "-" if row["source_accuracy"] is None else f"{row['source_accuracy']['after']:.3f}"
    return (
        f"{row['name'] + mark:<18} {row['accuracy']:>8.3f}  {low:.3f} to {high:.3f}  {row['training_accuracy']:>6.3f} "
        f"{source:>7} {format_count(row['trained_parameters']):>8} {format_bytes(row['bytes']):>8} "
        f"{format_flops(row['training_flops']):>11} {format_flops(row['inference_flops']):>11} {row['seconds']:>8.2f}"
    )
