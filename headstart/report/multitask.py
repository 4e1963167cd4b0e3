"""The page of `headstart multitask`: whether sharing pays, task by task, what it saves, and which task helps which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from headstart.catalog.sharing import SHARINGS
from headstart.catalog.weightings import WEIGHTINGS
from headstart.report import closing, words
from headstart.report.distill_tables import texts
from headstart.report.folder import RunFolder, number, table_of
from headstart.report.multitask_costs import costs
from headstart.report.multitask_course import course
from headstart.report.multitask_data import data_shown
from headstart.report.multitask_pictures import pictures
from headstart.report.multitask_read import Arm, Found, read
from headstart.report.multitask_story import helpers, verdict
from headstart.report.multitask_tables import side_by_side, tag_of
from headstart.report.multitask_tasks import details
from headstart.report.tables import text_of

TEMPLATE = "multitask.html"

MEASURES = {
    "accuracy": "share of images answered right",
    "balanced_accuracy": "accuracy within each class, averaged over the classes: guessing the frequent one earns nothing",
    "average_precision": "precision averaged over the yes, the surest first; of random scores it is near the share of yes",
    "auc": "how often an image with yes scores higher than one with no; guessing gives 50\u202f%",
    "mean_absolute_error": "mean distance of what was said from what is true, in the unit of the labels",
    "root_mean_squared_error": "root of the mean squared distance: far misses count more",
    "r2": "share of the labels' variance that is explained; 0 is no better than always saying their mean",
}
"""What measures mean."""

LONGEST = 100
"""Most letters of the tasks' names below the title; more are told with the tasks."""

FIRST = {
    "A network each": "A network for one task alone, from the same start with the same settings, in as many optimiser steps "
    "of as many images.",
    "Mean relative change": "The mean over tasks of how much better the one network is than the task's own, in percent of "
    "the own network's value; where less of a measure is better, less counts as better (Maninis et al. 2019, Vandenhende et "
    "al. 2021).",
    "Decided": f"The 95{words.NARROW}% interval of the difference on the same test images leaves out nought. Undecided does "
    "not mean equal. Every comparison stands for itself: of twenty between equals one is decided by chance.",
    "Detectable": "The smallest true difference that this many test images would find four times in five.",
}
LAST = {
    "Weight of a loss": "The factor of a task's loss in the sum that is made smaller. Weights that add up to more are a "
    "larger step too. Ways that change gradients have no such factor: shown is how many times each task's gradient is in "
    "the step, which is large where that gradient is tiny.",
    "Cosine of gradients": "Whether two tasks want the shared weights changed alike: 1 alike, 0 nothing to do with each "
    f"other, {words.MINUS}1 opposed.",
}
"""Terms, before and after the measures."""


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None or empty."""
    summary = run.summary
    found = read(summary)
    said = [words.sentence(words.grouped(text)) for text in texts(summary.get("warnings"))]
    shown = data_shown(run, found)
    return {
        "title": _title(run, found),
        "subtitle": _subtitle(summary, found),
        "verdict": verdict(found),
        "warnings": [text for text in said if shown is None or text not in shown.warnings],
        "side": side_by_side(found),
        "helpers": helpers(found),
        "main_task": found.main,
        "course": course(run, found),
        "ways": [_way(found, arm) for arm in found.together],
        "details": details(found),
        "pictures": pictures(run, found),
        "costs": costs(found),
        "data": shown,
        "defined": list(_defined(found)),
        "cost": closing.cost(_phased(run)),
        "repeat": _repeat(run),
        "limits": list(_limits(run, found)),
        "notes": _notes(run),
        "gaps": run.gaps,
    }


def _title(run: RunFolder, found: Found) -> str:
    names = [task.name for task in found.tasks]
    if names:
        return f"Learning {words.listed(names)}" if len(names) < 4 else f"Learning {words.count(len(names))} tasks at once"
    data = run.config.get("data")
    first = data[0] if isinstance(data, list) and data else data
    return PurePath(str(first)).name if first else run.path.resolve().name


def _subtitle(summary: Mapping[str, Any], found: Found) -> str:
    backbone, data = table_of(summary.get("backbone")), table_of(summary.get("data"))
    weights, images = number(backbone.get("parameters")), number(data.get("num_images"))
    names = words.listed(task.name for task in found.tasks)
    parts = [
        names if len(found.tasks) > 3 and len(names) < LONGEST else "",
        words.plural(images, "sample") if images else "",
        f"on {backbone['name']}{f', {words.compact(weights)} weights' if weights else ''}" if backbone.get("name") else "",
        f"main task {found.main}" if found.main else "",
        words.plural(found.seeds, "seed") if found.seeds > 1 else "",
    ]
    return " · ".join(filter(None, parts))


def _way(found: Found, arm: Arm) -> tuple[str, str, str]:
    """Name, tag and how it was trained, in words."""
    told = [SHARINGS.get(arm.sharing, words.human(arm.sharing))]
    known, settings = WEIGHTINGS.get(arm.weighting), table_of(arm.raw.get("settings"))
    if arm.weighting == "sum":
        told.append(
            "a sum of the losses with a factor per task" if settings.get("weights") else "the plain sum of the losses"
        )
    elif known is None:
        told.append(words.human(arm.weighting))
    else:
        paper = f" ({known.paper})" if known.paper else ""
        total = {"free": "no fixed number", "as set": "what was set"}.get(known.total, known.total)
        told.append(f"{known.summary}{paper}; weights add up to {total}")
    listed = _settings(settings)
    told += [f"settings: {listed}"] if listed else []
    if arm.sharing != "hard":
        told += list(_towers(arm))
    return arm.name, tag_of(found, arm)[0], ". ".join(words.sentence(text).rstrip(".") for text in told if text) + "."


def _settings(found: Mapping[str, Any]) -> str:
    flat = {
        (f"{name} of {key}" if isinstance(value, dict) else str(name)): one
        for name, value in found.items()
        for key, one in (value.items() if isinstance(value, dict) else [("", value)])
    }
    return ", ".join(f"{words.human(name)} {text_of(name, value)}" for name, value in flat.items())


def _towers(arm: Arm) -> Iterator[str]:
    shared, pull = number(arm.raw.get("shared")), number(arm.raw.get("pull"))
    stitch = [str(one) for one in found] if isinstance(found := arm.raw.get("stitch"), list) else []
    if shared:
        yield f"the first {words.plural(shared, 'block')} stay one"
    if arm.sharing == "soft" and pull is not None:
        yield f"each drawn to the towers' mean with a strength of {words.figures(pull)}"
    if (end := number(table_of(arm.raw.get("distance")).get("end"))) is not None:
        yield _distance(number(table_of(arm.raw.get("distance")).get("begin")), end)
    if stitch:
        yield f"units mix the towers after {words.listed(stitch)}"


def _distance(begin: float | None, end: float) -> str:
    """How far the towers were from their mean, as a share of the length of their weights."""
    first = "" if begin is None else f"began {words.percent(begin, 1)} and "
    return f"the towers {first}ended {words.percent(end, 1)} of the length of their weights away from their mean"


def _defined(found: Found) -> Iterator[tuple[str, str]]:
    """Terms and measures that this page uses, with what they mean."""
    if not found.tasks:
        return
    yield from FIRST.items()
    used = dict.fromkeys(name for arm in found.arms for row in arm.measures.values() for name in row)
    for name in used:
        if name in MEASURES:
            text = found.measures[name].text if name in found.measures else words.human(name)
            yield text[:1].upper() + text[1:], words.sentence(MEASURES[name])
    yield from LAST.items()


def _phased(run: RunFolder) -> RunFolder:
    """The run with its phases where other commands write them."""
    phases = run.summary.get("phases")
    return replace(run, summary={**run.summary, "seconds_by_phase": phases}) if isinstance(phases, dict) else run


def _repeat(run: RunFolder) -> closing.Repeat:
    told = closing.repeat(run)
    data = table_of(run.summary.get("data")).get("path") or run.config.get("data")
    named = ", ".join(str(one) for one in data) if isinstance(data, list) else str(data or "")
    seeds = run.summary.get("seeds")
    facts = [(name, text) for name, text in told.facts if name not in ("data", "seed")]
    facts = [*facts[:1], *([("data", named)] if named else []), *facts[1:]]
    if isinstance(seeds, list) and seeds:
        facts.append(("seeds", ", ".join(text_of("seed", one) for one in seeds)))
    return replace(told, facts=facts)


def _notes(run: RunFolder) -> list[str]:
    """What else the run wrote down; what stands further up is left out."""
    said = {*texts(run.summary.get("warnings")), *texts(run.inspection.get("notes"))}
    return [text for text in run.remarks if text.removeprefix("Warning: ") not in said and not text.startswith("  ")]


def _limits(run: RunFolder, found: Found) -> Iterator[str]:
    if found.arms:
        yield from _of_comparison(found)
    yield (
        "Learning several tasks at once needs the images of all of them at once. A question that comes later is added with "
        "headstart extend, which can do without the old images."
    )
    data = table_of(run.summary.get("data"))
    if len(table_of(data.get("sources"))) > 1:
        yield (
            "The tasks' images come from different data sets. Whether a difference comes from the question or from the "
            "images cannot be told apart."
        )
    yield closing.GATHERED
    yield from closing.data_limits({key: value for key, value in run.inspection.items() if isinstance(value, list)})
    if number(run.summary.get("seconds")) is not None:
        yield closing.MEASURED_ONCE


def _of_comparison(found: Found) -> Iterator[str]:
    if found.seeds == 1:
        yield (
            "One seed only: how much the result changes from one start to the next is not in the intervals. More --seeds "
            "tell."
        )
    elif found.seeds == 2 and found.arms:
        yield (
            "Two seeds only: from two values hardly anything is known about how much seeds differ, so that the intervals "
            "(Student's t) are very wide where they do. Three to five seeds narrow them."
        )
    if found.alone:
        if _uneven(found):
            yield (
                "Labels are missing: a task's own network, in as many steps, saw each of its labels oftener than the one "
                "network did, which has the images of all tasks to go through."
            )
        if any(task.measure.known and not task.measure.higher for task in found.tasks):
            yield (
                "The mean relative change weighs a change against the own network's error: where that is near nought, one "
                "task can outweigh all others. Look at the tasks one by one."
            )
    else:
        yield "No network of its own was trained for any task (--no-alone): whether sharing pays is not known."
    stitched = [arm.name for arm in found.together if _begun_trained(found, arm)]
    if stitched:
        yield (
            f"{words.listed(stitched)} began with the networks trained for one task each, as published: what those took to "
            "train is part of its costs, and its lead over them is partly more training."
        )
    if sum(arm.role == "asked" for arm in found.arms) > 1:
        yield (
            "Several ways were tried. On other data another one may come first: with some regularisation the plain sum has "
            "been found to do as well as ways made for many tasks (Kurin et al. 2022)."
        )


def _begun_trained(found: Found, arm: Arm) -> bool:
    """Whether its towers began as the tasks' own networks, trained: cross-stitch does where nothing is shared below."""
    return arm.sharing == "cross_stitch" and not number(arm.raw.get("shared")) and set(arm.tasks) <= set(found.alone)


def _uneven(found: Found) -> bool:
    """Whether any task knows less than another of what is learned from."""
    return len({task.known.get("learned_from") for task in found.tasks if task.kind != "several"}) > 1
