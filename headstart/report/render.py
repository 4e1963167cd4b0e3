"""From a run folder to `report.html`. Trains nothing; the same folder gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from headstart.files import write_text
from headstart.report import (
    adapt,
    advise,
    bench,
    compared,
    data_size,
    distill,
    distill_multitask,
    extend,
    generic,
    layers,
    multitask,
    pretrain,
    select,
    short_runs,
)
from headstart.report.folder import RunFolder, read_run

PAGES: dict[str, tuple[str, Callable[[RunFolder], dict[str, Any]]]] = {
    "adapt": (adapt.TEMPLATE, adapt.context),
    "advise": (advise.TEMPLATE, advise.context),
    "bench": (bench.TEMPLATE, bench.context),
    "compare": (compared.TEMPLATE, compared.context),
    "compare-continual": (extend.TEMPLATE, extend.context),
    "distill": (distill.TEMPLATE, distill.context),
    "distill-multitask": (distill_multitask.TEMPLATE, distill_multitask.context),
    "extend": (extend.TEMPLATE, extend.context),
    "multitask": (multitask.TEMPLATE, multitask.context),
    "pretrain": (pretrain.TEMPLATE, pretrain.context),
    "select": (select.TEMPLATE, select.context),
    "study augmentations": (short_runs.TEMPLATE, short_runs.context),
    "study data-size": (data_size.TEMPLATE, data_size.context),
    "study layers": (layers.TEMPLATE, layers.context),
    "study scaling": (short_runs.TEMPLATE, short_runs.context),
}
"""Template and context of each command that has its own page; others get the generic one."""


def render(run_folder: Path) -> Path:
    """Write `report.html` in `run_folder` and return its path; what stood there is replaced only by a whole new page.

    Parts that an interrupted run did not write are left out and named on the page. Raises `RunError` when the folder is
    no run folder, `DiskFull` when the page does not fit on the disk.
    """
    target = Path(run_folder) / "report.html"
    write_text(target, page_of(Path(run_folder)))
    return target


def page_of(run_folder: Path) -> str:
    """The page as text, without writing it."""
    run = read_run(run_folder)
    template, context = PAGES.get(run.command, (generic.TEMPLATE, generic.context))
    shown = {"command": run.command, "style": _style(), **context(run)}
    return _environment().get_template(template).render(shown)


@cache
def _environment() -> Environment:
    """Class and file names are somebody else's text, so everything is escaped unless our own code made it `Markup`."""
    found = Environment(
        loader=PackageLoader("headstart", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["breaks"] = breaks
    return found


def breaks(name: str) -> Markup:
    """A long name that may go on in the next line after its punctuation: timm:resnet18.a1_in1k."""
    return Markup(re.sub(r"(?<=[:/._@])(?=\w)", "<wbr>", str(escape(name))))


@cache
def _style() -> Markup:
    return Markup((Path(__file__).parent / "style.css").read_text("utf-8"))
