"""What a run cost, how to repeat it, and what its numbers cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import bar
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.judged import Judged, judged_on
from headstart.report.tables import flatten, name_of

PHASES = {
    "network": "loading the network",
    "data": "reading the images",
    "measure": "measuring similarity and depth",
    "verify": "comparing the ways tried",
    "refit": "the final fit",
    "test": "the test",
    "race": "the race",
    "timing": "timing a little training",
    "frozen_ways": "ways with a frozen backbone",
    "trained_ways": "ways that train it",
    "source_images": "asking the network what it came with",
}
"""What the phases of a run do."""

OTHERWISE = {
    "select": {"measure": "measuring every network"},
    "compare-continual": {"runs": "learning the tasks, and asking after each"},
    "extend": {"runs": "learning the tasks, and asking after each"},
    "multitask": {"runs": "training every network", "outcome": "comparing them on the test images"},
    "distill-multitask": {"runs": "training the students", "outcome": "asking teacher and students about the test images"},
    "distill": {"audit": "examining the teachers", "runs": "training the students"},
}
"""What they do in some commands instead."""

GATHERED = (
    "All numbers hold for images gathered like these. Another camera, place, season or way of choosing the images can "
    "change them by more than any interval here shows."
)

MEASURED_ONCE = "Seconds were measured once, on one machine with whatever else it was doing; compare them roughly."

FEW = 10
"""Test images of a class below which its own figures are only a hint."""


@dataclass(frozen=True)
class Cost:
    """Where the time went; `phases` are name, text and bar."""

    lead: str
    phases: Sequence[tuple[str, str, Markup]]
    others: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Repeat:
    """Everything needed to run it again; `command` in pieces that stay on one line."""

    command: Sequence[str]
    facts: Sequence[tuple[str, str]]
    machine: Sequence[tuple[str, str]]
    settings: str


def cost(run: RunFolder) -> Cost | None:
    """Seconds by phase and bytes, or None when the run did not write them."""
    spent, total = table_of(run.summary.get("cost")), number(run.summary.get("seconds"))
    by_phase = table_of(spent.get("seconds_by_phase")) or table_of(run.summary.get("seconds_by_phase"))
    phases = {str(k): s for k, v in by_phase.items() if (s := number(v)) is not None}
    if not phases and total is None:
        return None
    longest = max(phases.values(), default=0.0) or 1.0
    whole = total if total is not None else sum(phases.values())
    lead = f"The whole job took {words.duration(whole)}."
    called = PHASES | OTHERWISE.get(run.command, {})
    if phases:
        first = max(phases, key=lambda name: phases[name])
        part = "Most of it" if phases[first] > whole / 2 else "The largest part"
        lead += f" {part}, {words.duration(phases[first])}, went into {called.get(first) or name_of(first)}."
    return Cost(
        lead=lead,
        phases=[(called.get(k) or name_of(k), words.duration(s), bar([(s / longest, "learn")])) for k, s in phases.items()],
        others=flatten({key: value for key, value in spent.items() if key != "seconds_by_phase"}),
    )


def repeat(run: RunFolder) -> Repeat:
    """The command, the seed, versions, fingerprints and settings, as far as they were written."""
    data, backbone = table_of(run.summary.get("data")), table_of(run.summary.get("backbone"))
    facts = [
        ("headstart", run.summary.get("version") or run.env.get("headstart")),
        ("data", data.get("path") or run.config.get("data")),
        ("data fingerprint", data.get("fingerprint") or run.inspection.get("fingerprint")),
        ("backbone", backbone.get("name")),
        ("input of the backbone", _pixels(backbone.get("input_size"))),
        ("seed", run.config.get("seed")),
    ]
    return Repeat(
        command=pieces(str(run.summary.get("reproduce") or "")),
        facts=[(name, str(value)) for name, value in facts if value not in (None, "")],
        machine=flatten(run.env),
        settings=json.dumps(run.config, indent=2, ensure_ascii=False) if run.config else "",
    )


def pieces(command: str) -> list[str]:
    """The words of a command, an option together with its first value: each stays on one line."""
    found: list[str] = []
    for word in command.split(" ") if command else ():
        if found and re.fullmatch(r"--[\w-]+", found[-1]) and not word.startswith("--"):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


def _pixels(value: Any) -> str:
    sides = value if isinstance(value, list) else [value]
    found = [words.count(side) for one in sides if (side := number(one)) is not None]
    return f"{' x '.join(found)} px" if found else ""


def limits(run: RunFolder) -> list[str]:
    """What these numbers cannot say, one plain sentence each; only what applies to this run."""
    return list(_limits(run.summary, run.inspection, judged_on(run)))


def _limits(summary: Mapping[str, Any], seen: Mapping[str, Any], judged: Judged) -> Iterator[str]:
    test = table_of(summary.get("test"))
    span, images = interval(test.get("interval")), number(test.get("num_images"))
    if span and images:
        low, high = words.percent(span[0]), words.percent(span[1])
        yield (
            f"The test accuracy comes from {words.plural(images, 'image')}. That many only tell that the accuracy on all "
            f"images of this kind lies somewhere between {low} and {high} (95{words.NARROW}% interval)."
        )
    yield GATHERED
    weak = [str(row.get("class")) for row in rows_of(test.get("per_class")) if 0 < (number(row.get("support")) or 0) < FEW]
    if weak:
        names = words.listed([*weak[:5], *([f"{len(weak) - 5} more"] if len(weak) > 5 else [])])
        yield f"Fewer than {FEW} test images each: {names}. Their own figures are hints, no more."
    yield from data_limits(seen)
    yield from _comparison_limits(summary, judged)
    if number(summary.get("seconds")) is not None:
        yield MEASURED_ONCE


def data_limits(seen: Mapping[str, Any]) -> Iterator[str]:
    """What the inspection found that makes every number on these data doubtful."""
    if seen.get("leaks"):
        yield (
            f"{words.plural(len(seen['leaks']), 'picture or group', 'pictures or groups')} stood in more than one split. "
            "Where the same thing is learned and tested, the test accuracy is too good."
        )
    if seen.get("conflicts"):
        yield (
            f"{words.plural(len(seen['conflicts']), 'picture')} carried more than one label; at least one of them is wrong, "
            "and nobody can be right on both."
        )


def _comparison_limits(summary: Mapping[str, Any], judged: Judged) -> Iterator[str]:
    found = rows_of(summary.get("arms"))
    if any(arm.get("status") == "eliminated" for arm in found):
        yield (
            "Ways that were stopped or ran out of time were judged on fewer folds. A slow starter can have been lost that "
            "way."
        )
    if len(found) > 1:
        where = "the folds" if judged.kind == "folds" else judged.where
        yield (
            f"The chosen way was picked among several by its {judged.metric} on {where}, which flatters that figure a "
            "little; the test accuracy is not affected, since the test images took no part in the choice."
        )
    least = number(table_of(summary.get("comparison")).get("detectable"))
    if least is not None:
        yield f"A true difference of less than about {words.points(least)} would probably have been missed here."
