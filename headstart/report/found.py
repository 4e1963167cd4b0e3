"""The data section: what was found, class by class, and what needs a person's eye."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import bar
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.pictures import Pictures

SPLITS = ("train", "val", "valid", "test", "all")
KINDS = {"train": "learn", "val": "valid", "valid": "valid", "test": "test", "all": "learn"}
USES = {"train": "training", "val": "validation", "test": "the test"}
PICTURED = 40
"""Most classes shown with pictures; the others are listed with their numbers."""
LISTED = 25
"""Most entries of one list of files."""

ISSUES = {
    "leaks": ("Leaks", "the same picture, or one group, stands in two splits"),
    "conflicts": ("Conflicting labels", "the same picture stands in two classes"),
    "exact": ("Exact duplicates", "files that show the same picture"),
    "near": ("Near duplicates", "pictures that can hardly be told apart"),
    "ignored": ("Ignored", "files that are not images, left alone"),
}
"""Fields of an inspection that list files, with what they are called and what they mean."""


@dataclass(frozen=True)
class ClassRow:
    """One class: its counts as text and as a bar, and a few of its pictures."""

    name: str
    counts: str
    bar: Markup
    pictures: Sequence[str]


@dataclass(frozen=True)
class Issue:
    """One kind of finding with (some of) the files concerned; `more` tells how many are not listed."""

    title: str
    meaning: str
    number: int
    items: Sequence[str]
    more: int


@dataclass(frozen=True)
class Found:
    """What the data section shows."""

    lead: str
    warnings: Sequence[str]
    rows: Sequence[ClassRow]
    others: Sequence[ClassRow]
    splits: Sequence[tuple[str, str]]
    set_aside: Sequence[tuple[str, str]]
    set_aside_more: int
    issues: Sequence[Issue]
    details: Sequence[tuple[str, str]]
    small: bool
    as_seen: str


def found(run: RunFolder, pictures: Pictures) -> Found | None:
    """What was found in the data, or None when neither the summary nor the inspection was written."""
    data, seen = table_of(run.summary.get("data")), run.inspection
    if not data and not seen:
        return None
    counts = class_counts(seen.get("counts"), [str(name) for name in run.summary.get("classes") or ()])
    aside = rows_of(data.get("set_aside")) or rows_of(seen.get("set_aside"))
    rows = _class_rows(counts, pictures)
    splits = sorted({split for row in counts.values() for split in row}, key=SPLITS.index)
    return Found(
        lead=_lead(data, seen, counts, len(aside)),
        warnings=[words.sentence(_item(one)) for one in seen.get("warnings") or ()],
        rows=rows[:PICTURED],
        others=rows[PICTURED:],
        splits=[(KINDS[split], split) for split in splits if split != "all"],
        set_aside=[(str(row.get("path", "")), str(row.get("reason", ""))) for row in aside[:LISTED]],
        set_aside_more=max(0, len(aside) - LISTED),
        issues=[issue for key in ISSUES if (issue := _issue(key, seen.get(key)))],
        details=_details(seen),
        small=max(pictures.images.shape[1:3]) <= 40,
        as_seen=_as_seen(run, pictures),
    )


def _as_seen(run: RunFolder, pictures: Pictures) -> str:
    """Why the pictures look coarse, when they do."""
    side = number(table_of(run.summary.get("backbone")).get("input_size"))
    if side is None or not len(pictures.images) or max(pictures.images.shape[1:3]) != side:
        return ""
    return f"The pictures are shown as the network sees them, {words.count(side)} pixels wide."


def class_counts(value: Any, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images per class and split, `{class: {split: n}}`, from `{split: {class: n}}`, the reverse, or `{class: n}`.

    Classes come in the order of `classes`, others after them in their own order.
    """
    counts: dict[str, dict[str, int]] = {name: {} for name in classes}
    for outer, inner in table_of(value).items():
        if not isinstance(inner, dict):
            counts.setdefault(outer, {})["all"] = int(number(inner) or 0)
            continue
        by_split = outer in SPLITS and (outer not in classes or not set(inner) <= set(SPLITS))
        for key, n in inner.items():
            name, split = (key, outer) if by_split else (outer, key)
            if split in SPLITS:
                counts.setdefault(name, {})[split] = int(number(n) or 0)
    return {name: row for name, row in counts.items() if row}


def _lead(data: Mapping[str, Any], seen: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]], aside: int) -> str:
    images = number(data.get("num_images")) or number(seen.get("num_images"))
    classes = number(data.get("num_classes")) or number(seen.get("num_classes")) or len(counts)
    text = f"{words.plural(images, 'image')} in {words.plural(classes, 'class', 'classes')}."
    totals = {name: sum(row.values()) for name, row in counts.items()}
    if len(totals) > 1:
        least, most = min(totals, key=lambda c: totals[c]), max(totals, key=lambda c: totals[c])
        few, many = words.count(totals[least]), words.count(totals[most])
        text += (
            f" Each has {many}." if few == many else f" The smallest, “{least}”, has {few}; the largest, “{most}”, {many}."
        )
    parts = [f"{words.count(n)} for {USES.get(split, split)}" for split, n in _split_sizes(data, counts).items() if n]
    text += f" Split into {words.listed(parts)}." if len(parts) > 1 else ""
    verb = "was" if aside == 1 else "were"
    return text + (f" {words.plural(aside, 'file')} {verb} set aside." if aside else " No file had to be set aside.")


def _split_sizes(data: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Images per split. The run counts a validation split to what is learned from; here it is told apart. Test images that
    the run set aside itself are none of the splits that `counts` knows."""
    sizes = {str(split): number(n) or 0 for split, n in table_of(data.get("splits")).items()}
    val = sum(row.get("val", 0) for row in counts.values())
    if not val:
        return sizes
    if not sizes:
        return {split: sum(row.get(split, 0) for row in counts.values()) for split in ("train", "val", "test")}
    return {"train": sizes.get("train", 0) - val, "val": val, "test": sizes.get("test", 0)}


def _class_rows(counts: Mapping[str, Mapping[str, int]], pictures: Pictures) -> list[ClassRow]:
    largest = max((sum(row.values()) for row in counts.values()), default=1) or 1
    names = [*counts, *(name for name in pictures.classes if name not in counts)]
    rows = []
    for place, name in enumerate(names):
        splits = sorted(counts.get(name, {}).items(), key=lambda pair: SPLITS.index(pair[0]))
        shares = [(n / largest, KINDS[split]) for split, n in splits]
        said = words.count(splits[0][1]) if len(splits) == 1 else " + ".join(words.count(n) for _, n in splits)
        rows.append(ClassRow(name, said, bar(shares), pictures.strip(name) if place < PICTURED else ()))
    return rows


def _item(value: Any) -> str:
    """One finding as text: a file, or a cluster of them with what tells its members apart."""
    if not isinstance(value, dict):
        return str(value)
    names, what = value.get("names") or [], value.get("what")
    notes = [_different(value.get(key)) or [""] * len(names) for key in ("splits", "labels")]
    said = [f"{name}{_bracket(note for column in notes for note in column[at : at + 1])}" for at, name in enumerate(names)]
    return (f"{what}: " if what else "") + " = ".join(said)


def _different(column: Any) -> list[str]:
    """The members' splits or labels, if they are not all alike."""
    return [str(one) for one in column] if isinstance(column, list) and len(set(map(str, column))) > 1 else []


def _bracket(notes: Iterable[str]) -> str:
    found = ", ".join(filter(None, notes))
    return f" ({found})" if found else ""


def _issue(key: str, value: Any) -> Issue | None:
    title, meaning = ISSUES[key]
    if not isinstance(value, list) or not value:
        return None
    return Issue(title, meaning, len(value), [_item(one) for one in value[:LISTED]], max(0, len(value) - LISTED))


def _details(seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = table_of(seen.get("sizes"))
    rows = [(name, _three(sizes.get(name))) for name in ("width", "height")]
    rows.append(("wider or higher than 2 to 1", words.percent(number(sizes.get("wide_share")))))
    modes = [f"{mode} {words.count(number(n))}" for mode, n in table_of(seen.get("modes")).items()]
    rows.append(("pixel formats", ", ".join(modes) or words.UNKNOWN))
    rows.append(("largest class against smallest", _times(number(seen.get("imbalance")))))
    rows += [("remark", words.sentence(str(note))) for note in seen.get("notes") or ()]
    return [row for row in rows if row[1] != words.UNKNOWN]


def _three(value: Any) -> str:
    """Smallest, median and largest side."""
    sides = [number(one) for one in value] if isinstance(value, list) else []
    if len(sides) != 3:
        return words.UNKNOWN
    low, middle, high = (words.count(side) for side in sides)
    return f"{low} to {high}{words.NARROW}px, median {middle}"


def _times(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{words.figures(value, 2)} times as many images"
