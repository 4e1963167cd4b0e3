"""What `headstart multitask` found, in words and as a table for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headstart.metrics.cost import format_bytes, format_count, format_flops, format_seconds

ONE_SEED = "One seed only: how much the result changes from one start to the next is not in the intervals; --seeds 3 tells."


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
            f"training {_trained(chosen)} against {format_seconds(round(apart['seconds'], 1))}."
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
    yield from (_pulled(arm) for arm in summary["arms"] if arm["pull"] and arm["distance"] and arm["role"] == "asked")
    for one in summary["helpers"]:
        yield _helped(summary, one)


def _helped(summary: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """Whether a task helped another; an interval that leaves out nought may still be chance among many comparisons."""
    told = f"whether {one['helper']} helps {one['task']} is undecided: {gap(summary, one)}"
    if one["decided"]:
        told = f"{one['helper']} {'helped' if one['mean'] > 0 else 'harmed'} {one['task']}: {gap(summary, one)}"
    if one["comparisons"] > 1:
        told += f"; p = {one['p_value']:.2g} among {one['comparisons']} comparisons (Holm)"
    return f"{told[0].upper()}{told[1:]}."


def _trained(arm: Mapping[str, Any]) -> str:
    """Seconds of training, and how much of it was the networks that it began as."""
    text = format_seconds(round(arm["seconds"], 1))
    if arm["before"] is None:
        return text
    return f"{text} (of which {format_seconds(round(arm['before']['seconds'], 1))} for the networks that it began as)"


def _pulled(arm: Mapping[str, Any]) -> str:
    share = f"{100 * arm['distance']['end']:.2g} %"
    return f"{arm['name']}: with a pull of {arm['pull']:g} its towers ended {share} of their weights away from their mean."


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
    told = "; ".join(f"{one['task']} {gap(summary, one)}" for one in decided)
    return f"{summary['chosen']} against the plain sum, where decided: {told}."


def gap(summary: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """A difference in the measure's own unit: points for shares; else which way and by how much, and its interval."""
    measure = summary["measures"][one["measure"]]
    if measure["higher"] and one["measure"] != "r2":
        return f"{100 * one['mean']:+.1f} points ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    better = one["mean"] >= 0
    way = "larger" if better == measure["higher"] else "smaller"
    low, high = sorted(one[side] * (1 if better else -1) for side in ("low", "high"))
    return f"{measure['words']} {way} by {abs(one['mean']):.3g} ({low:.3g} to {high:.3g})"


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
    for text in [*summary["sentences"], *([ONE_SEED] if len(summary["seeds"]) == 1 else [])]:
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
