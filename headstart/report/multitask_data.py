"""The data of several tasks: labels by task and part, what is known together, files set aside, copies and contradictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import bar
from headstart.report.distill_tables import Row, texts
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.found import LISTED
from headstart.report.multitask_read import KINDS, Found

PATTERNS = 12
"""Most combinations of tasks known together that are shown."""

ANSWERS = 40
"""Most answers of one task that are listed."""

ISSUES = {
    "leaks": ("In several splits", "copies, or members of a group, stand in more than one split that you chose"),
    "conflicts": ("Different answers", "identical pictures with different answers; one of them is wrong"),
    "exact": ("Identical pictures", "kept in one part of the data"),
    "near": ("Nearly identical pictures", "kept in one part of the data"),
}
"""Lists of an inspection, what they are called and what they mean."""

PARTS = {"learned_from": "Learned from", "validation": "Chosen by", "test": "Judged on"}
"""Parts of the data, as heads of a table."""


@dataclass(frozen=True)
class Answers:
    """How often each answer of one task is given: name, figures, bar."""

    task: str
    rows: Sequence[tuple[str, str, Markup]]
    more: int


@dataclass(frozen=True)
class Issue:
    """One kind of finding with (some of) the files concerned."""

    title: str
    meaning: str
    number: int
    items: Sequence[str]
    more: int


@dataclass(frozen=True)
class Data:
    """The section."""

    lead: str
    warnings: Sequence[str]
    rows: Sequence[Row]
    together: Sequence[tuple[str, str, Markup]]
    together_more: int
    answers: Sequence[Answers]
    set_aside: Sequence[tuple[str, str]]
    set_aside_more: int
    issues: Sequence[Issue]
    understood: Sequence[str]


def data_shown(run: RunFolder, found: Found) -> Data | None:
    """None when the run wrote of neither tasks nor data."""
    data, seen = table_of(run.summary.get("data")), run.inspection
    inspected = {row["name"]: row for row in rows_of(seen.get("tasks")) if isinstance(row.get("name"), str)}
    if not data and not found.tasks and not inspected:
        return None
    aside = rows_of(data.get("set_aside")) or rows_of(seen.get("set_aside"))
    together = _together(table_of(data.get("together")) or table_of(seen.get("together")))
    notes = texts(seen.get("notes")) or texts([row.get("note") for row in inspected.values()])
    return Data(
        lead=_lead(data, seen, aside),
        warnings=[words.sentence(words.grouped(text)) for text in texts(seen.get("warnings"))],
        rows=list(_rows(found, inspected)),
        together=together[:PATTERNS] if len(together) > 1 else (),
        together_more=max(0, len(together) - PATTERNS),
        answers=[given for name, row in inspected.items() if (given := _answers(name, row)).rows],
        set_aside=[(str(row.get("path", "")), str(row.get("reason", ""))) for row in aside[:LISTED]],
        set_aside_more=max(0, len(aside) - LISTED),
        issues=[one for key in ISSUES if (one := _issue(key, seen.get(key)))],
        understood=[words.sentence(words.grouped(text)) for text in notes],
    )


def _lead(data: Mapping[str, Any], seen: Mapping[str, Any], aside: Sequence[Any]) -> str:
    images = number(data.get("num_images")) or number(seen.get("num_images"))
    text = f"{words.plural(images, 'sample')} that can be used" if images else "The data"
    sources = {str(k): n for k, v in table_of(data.get("sources")).items() if (n := number(v)) is not None}
    if len(sources) > 1:
        text += f", from {words.listed(f'{name} ({words.count(n)})' for name, n in sources.items())}"
    splits = table_of(data.get("splits"))
    learned = number(data.get("learned_from"))
    parts = [f"{words.count(n)} to judge by" for n in [number(splits.get("test"))] if n]
    parts = [f"{words.count(learned)} to learn from", *parts] if learned else parts
    train, val = number(splits.get("train")), number(splits.get("val"))
    if learned and val and train == learned:
        parts.insert(1, f"{words.count(val)} to choose by")
    text += f": {words.listed(parts)}" if parts else ""
    one = len(aside) == 1
    return text + (f". {words.plural(len(aside), 'file')} {'was' if one else 'were'} set aside." if aside else ".")


def _rows(found: Found, inspected: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """A row per task: what it asks, labels known and missing, by part."""
    tasks = {task.name: task for task in found.tasks}
    for name in [*tasks, *(other for other in inspected if other not in tasks)]:
        row, task = inspected.get(name, {}), tasks.get(name)
        kind = task.kind if task else str(row.get("kind") or "")
        missing = number(row.get("missing"))
        cells = [("Samples", words.count(number(row.get("known"))), f"{words.count(missing)} missing" if missing else "")]
        for part, head in PARTS.items():
            if task and (part in task.known or part == "test"):
                cells.append((head, words.count(task.known.get(part)), "answers" if kind == "several" else ""))
        if not any(part == "validation" for one in found.tasks for part in one.known):
            cells = [cell for cell in cells if cell[0] != PARTS["validation"]]
        main = ("main", "chosen") if task and task.main else ("", "")
        yield Row(name, cells, *main, below=_asks(kind, task.classes if task else (), row))


def _asks(kind: str, classes: Sequence[str], row: Mapping[str, Any]) -> str:
    """What it asks, in words."""
    text = KINDS.get(kind, words.human(kind))
    if kind == "number":
        spread = row.get("numbers")
        found = [number(one) for one in spread] if isinstance(spread, list) else []
        if len(found) == 4 and None not in found:
            low, mean, high, deviation = (words.figures(one) for one in found)
            text += f", {low} to {high}; mean {mean}, standard deviation {deviation}"
    elif kind in ("classes", "several") and classes:
        text += f": {words.count(len(classes))}"
    return text


def _together(found: Mapping[str, Any]) -> list[tuple[str, str, Markup]]:
    rows = [(str(name), n) for name, value in found.items() if (n := number(value)) is not None]
    most = max((n for _, n in rows), default=0.0) or 1.0
    return [(name, words.count(n), bar([(n / most, "learn")])) for name, n in rows]


def _answers(name: str, row: Mapping[str, Any]) -> Answers:
    """Of several questions how many of those asked are yes; else how many samples have each answer."""
    counts = {str(k): n for k, v in table_of(row.get("counts")).items() if (n := number(v)) is not None}
    asked = {str(k): n for k, v in table_of(row.get("asked")).items() if (n := number(v)) is not None}
    most = max([*counts.values(), *asked.values()], default=0.0) or 1.0
    rows = []
    for answer, n in counts.items():
        total = asked.get(answer)
        text = words.count(n) if total is None else f"{words.count(n)} of {words.count(total)}"
        shares = [(n / most, "learn"), *([((total - n) / most, "valid")] if total is not None and total >= n else [])]
        rows.append((answer, text, bar(shares)))
    return Answers(name, rows[:ANSWERS], max(0, len(rows) - ANSWERS))


def _issue(key: str, value: Any) -> Issue | None:
    if not isinstance(value, list) or not value:
        return None
    title, meaning = ISSUES[key]
    return Issue(title, meaning, len(value), [_item(one) for one in value[:LISTED]], max(0, len(value) - LISTED))


def _item(value: Any) -> str:
    """One finding: a sentence, or files that belong together."""
    if not isinstance(value, dict):
        return str(value)
    names, what = value.get("names"), value.get("what")
    said = " = ".join(str(name) for name in names[:6]) if isinstance(names, list) else ""
    more = f" and {len(names) - 6} more" if isinstance(names, list) and len(names) > 6 else ""
    return (f"{what}: " if what else "") + said + more
