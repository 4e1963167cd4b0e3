"""The page of `headstart adapt`: which sections it has and what stands in for one that is missing."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from headstart.report import closing, compare, curves, found, tested, words
from headstart.report.advice import advice
from headstart.report.depths import depth
from headstart.report.folder import RunFolder, number, table_of
from headstart.report.forecast import forecast
from headstart.report.growth import growth
from headstart.report.pictures import read_pictures
from headstart.report.verdict import verdict

TEMPLATE = "adapt.html"


def context(run: RunFolder) -> dict[str, Any]:
    """Everything the template shows; a section the run has nothing for is None."""
    pictures = read_pictures(run.path / "report_data")
    gaps = [*run.gaps, *([pictures.gap] if pictures.gap else [])]
    return {
        "title": title(run),
        "subtitle": subtitle(run),
        "verdict": verdict(run),
        "found": found.found(run, pictures),
        "advice": advice(run),
        "forecast": forecast(run),
        "growth": growth(run),
        "arms": compare.arms(run),
        "depth": depth(run),
        "curves": curves.curves(run),
        "tested": tested.tested(run, pictures),
        "cost": closing.cost(run),
        "repeat": closing.repeat(run),
        "limits": closing.limits(run),
        "notes": run.remarks,
        "gaps": gaps,
    }


def title(run: RunFolder) -> str:
    """The data set's own name."""
    path = table_of(run.summary.get("data")).get("path") or run.config.get("data") or run.path.resolve().name
    return PurePath(str(path)).name or str(path)


def subtitle(run: RunFolder) -> str:
    """Images, classes and network."""
    data, backbone = table_of(run.summary.get("data")), table_of(run.summary.get("backbone"))
    parts = []
    if (images := number(data.get("num_images"))) is not None:
        parts.append(words.plural(images, "image"))
    if (classes := number(data.get("num_classes"))) is not None:
        parts.append(words.plural(classes, "class", "classes"))
    if backbone.get("name"):
        weights = number(backbone.get("parameters"))
        parts.append(f"{backbone['name']}{f', {words.compact(weights)} weights' if weights else ''}")
    return " · ".join(parts)
