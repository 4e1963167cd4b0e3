"""Images in folders: finding the files, telling splits from classes, and saying what is wrong with a layout."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.decode import SUFFIXES
from headstart.data.names import SPLITS, BadFile, class_name, count, natural_key, shown, some, split_named
from headstart.data.samples import ImageFile

LAYOUT = """Lay the images out as one folder per class,
      {root}/cats/1.jpg
      {root}/dogs/2.jpg
    if you like below train/, val/ and test/; or give a CSV file with a path and a label column."""


@dataclass
class Found:
    """What a walk through one folder met. `others` are files that are no images by their suffix."""

    files: list[ImageFile] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add(self, more: Found) -> None:
        self.files += more.files
        self.bad += more.bad
        self.others += more.others


@dataclass
class Layout:
    """The classes of each split, before anything is decoded."""

    splits: dict[str, dict[str, Found]]
    ignored: list[str] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_image_name(name: str) -> bool:
    """Whether the suffix promises a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def walk(folder: Path, root: Path) -> Found:
    """Every file below `folder`, in natural order, named relative to `root`. Hidden entries are skipped.

    Links to folders are followed, but no folder is entered twice and none that contains `folder`, so loops end.
    """
    found = Found()
    seen = {_identity(p) for p in (folder.absolute(), *folder.absolute().parents, *folder.resolve().parents)}
    pending = [folder]
    while pending:
        here = pending.pop()
        below = []
        for entry in _entries(here, root, found):
            if _is_folder(entry) and not is_image_name(entry.name):
                identity = _identity(Path(entry.path))
                if identity in seen:
                    found.others.append(_name(entry.path, root) + "/ (a link to a folder already read)")
                else:
                    seen.add(identity)
                    below.append(Path(entry.path))
            else:
                _sort_out(entry, root, found)
        pending += reversed(below)
    return found


def find_images(paths: Sequence[str | os.PathLike[str]]) -> Found:
    """Images named one by one or by folder (searched recursively). A file named is tried whatever its suffix."""
    found = Found()
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found.add(walk(path, path.parent))
        else:
            stat_file(str(path), shown(path), found)
    return found


def read_layout(root: Path) -> Layout:
    """The splits and classes below `root`, with every problem of the layout; nothing is decoded."""
    top = Found()
    folders = _folders(root, root, top)
    parts, outside = _split_folders(folders)
    layout = Layout({}, bad=top.bad, ignored=[*top.others, *(_name(p, root) + "/" for p in outside)])
    strays = [file.name for file in top.files]
    for split, place in parts.items() or {"train": root}.items():
        layout.splits[split] = _classes(place, root, layout, strays if place != root else None)
    _check(layout, root, strays)
    layout.ignored += [f"{name} (outside of every class folder)" for name in strays]
    return layout


def _classes(place: Path, root: Path, layout: Layout, strays: list[str] | None) -> dict[str, Found]:
    top = Found()
    classes: dict[str, Found] = {}
    for folder in _folders(place, root, top):
        found = walk(folder, root)
        if is_image_name(folder.name) and not found.files:
            layout.bad.append(BadFile(_name(folder, root), "is a folder, not a picture"))
            continue
        classes.setdefault(class_name(shown(folder.name)), Found()).add(found)
    if strays is not None:
        strays += [file.name for file in top.files]
        layout.bad += top.bad
        layout.ignored += top.others
    return classes


def _check(layout: Layout, root: Path, strays: list[str]) -> None:
    """Fill `layout.problems`: all of them, so that one look mends them all."""
    train = layout.splits["train"]
    if not any(found.files or found.bad for part in layout.splits.values() for found in part.values()):
        layout.problems.append(_nothing(layout, root, strays))
        return
    for name, found in train.items():
        if not found.files:
            layout.problems.append(_empty(name, found))
    if len(train) == 1:
        layout.problems.append(
            f"there is only one class, {next(iter(train))!r}; telling things apart needs at least two class folders"
            + _hint_deeper(root)
        )
    for split in SPLITS[1:]:
        extra = [name for name in layout.splits.get(split, {}) if name not in train]
        if extra:
            layout.problems.append(
                f"{split}/ has {count(len(extra), 'class', 'classes')} that train/ does not have: {some(extra, 10)}; "
                "add training images of them, or take them out"
            )
        if split in layout.splits and not any(found.files for found in layout.splits[split].values()):
            layout.problems.append(f"{split}/ has no images in class folders; fill it or remove it")


def _empty(name: str, found: Found) -> str:
    if found.bad:
        return f"class {name!r} has no readable image: {some(f'{b.path} {b.reason}' for b in found.bad)}"
    if found.others:
        return f"class folder {name!r} has no images, only other files ({some(found.others)}); add images or remove it"
    return f"class folder {name!r} is empty; add images or remove it"


def _nothing(layout: Layout, root: Path, strays: list[str]) -> str:
    layout_help = LAYOUT.format(root=shown(root.name or "images"))
    if strays:
        lies = f"{count(len(strays), 'image')} directly in the folder ({some(strays)}) and no class folders with images"
        return f"there are {lies}, so nothing says which class each belongs to. {layout_help}"
    if layout.bad:
        return f"no readable image: {some(f'{b.path} {b.reason}' for b in layout.bad)}. {layout_help}"
    others = [n for part in layout.splits.values() for found in part.values() for n in found.others] + layout.ignored
    what = f"only other files ({some(others)})" if others else "it is empty"
    return f"no images found, {what}. Images are files ending in {' '.join(sorted(SUFFIXES)[:8])} ... {layout_help}"


def _hint_deeper(root: Path) -> str:
    inside = _folders(root, root, Found())
    deeper = _folders(inside[0], root, Found()) if len(inside) == 1 else []
    return f". Did you mean {shown(inside[0])}?" if len(deeper) > 1 else ""


def _split_folders(folders: list[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Which sub-folders are splits, and which lie beside them unused; no splits when the sub-folders are classes.

    A class may be called `train`: it is a split only where it has folders of its own, and where another split is there or
    no other folder at all.
    """
    parts: dict[str, Path] = {}
    for folder in folders:
        split = split_named(folder.name)
        if split and split not in parts and _folders(folder, folder, Found()):
            parts[split] = folder
    outside = [f for f in folders if f not in parts.values()]
    if "train" not in parts or (len(parts) == 1 and outside):
        return {}, []
    return {split: parts[split] for split in SPLITS if split in parts}, outside


def _folders(place: Path, root: Path, top: Found) -> list[Path]:
    """Visible sub-folders of `place` in natural order; its files go to `top`."""
    out = []
    for entry in _entries(place, root, top):
        if _is_folder(entry):
            out.append(Path(entry.path))
        else:
            _sort_out(entry, root, top)
    return out


def _entries(place: Path, root: Path, found: Found) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            listed = [e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as problem:
        found.bad.append(BadFile(_name(place, root), f"is a folder that cannot be read: {problem.strerror}"))
        return
    yield from sorted(listed, key=lambda e: natural_key(e.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _sort_out(entry: os.DirEntry[str], root: Path, found: Found) -> None:
    name = _name(entry.path, root)
    if is_image_name(entry.name):
        stat_file(entry.path, name, found)
    else:
        found.others.append(name)


def stat_file(path: str, name: str, found: Found) -> None:
    """Add an image file, or say why it cannot be one. Pipes and devices are recognised here, without opening them."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        found.bad.append(
            BadFile(name, "is a link to a file that does not exist" if os.path.islink(path) else "does not exist")
        )
        return
    except (OSError, ValueError) as problem:
        found.bad.append(BadFile(name, f"cannot be read: {getattr(problem, 'strerror', None) or problem}"))
        return
    if stat.S_ISDIR(info.st_mode):
        found.bad.append(BadFile(name, "is a folder, not a picture"))
    elif not stat.S_ISREG(info.st_mode):
        found.bad.append(BadFile(name, "is a pipe, socket or device, which is never opened"))
    else:
        found.files.append(ImageFile(path, name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino))


def _identity(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError:
        return (-1, hash(str(path)))
    return info.st_dev, info.st_ino


def _name(path: str | Path, root: Path) -> str:
    return shown(os.path.relpath(path, root))
