"""The package's face: every public name can be had, none is loaded before it is asked for, and the command line starts
without torch."""

from __future__ import annotations

import ast
import inspect
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import headstart

FACE = Path(headstart.__file__)
HEAVY = {"torch", "torchvision", "timm", "numpy", "scipy", "sklearn", "PIL", "matplotlib", "safetensors"}


def _loaded_by(code: str) -> set[str]:
    """Top-level names in `sys.modules` of a fresh process after `code`, which may print."""
    tail = "\nimport sys; print('\\n@' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rpartition("@")[2].split())


def _typed_names() -> dict[str, str]:
    """Public name -> module, as type checkers see it."""
    tree = ast.parse(FACE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_all_is_complete_sorted_and_without_repeats() -> None:
    assert set(headstart.__all__) == {*_typed_names(), "__version__"}
    assert set(headstart.__all__) == {*headstart._WHERE, "__version__"}
    assert len(set(headstart.__all__)) == len(headstart.__all__)


@pytest.mark.parametrize("name", sorted(_typed_names()))
def test_every_public_name_is_what_type_checkers_think_it_is(name: str) -> None:
    home, there = headstart._WHERE[name]
    assert home == _typed_names()[name]
    assert getattr(headstart, name) is getattr(sys.modules[home], there)


def test_public_functions_and_classes_are_documented() -> None:
    things = {name: getattr(headstart, name) for name in headstart.__all__}
    bare = [n for n, thing in things.items() if (inspect.isclass(thing) or inspect.isroutine(thing)) and not thing.__doc__]
    assert not bare


def test_dir_shows_every_public_name_and_unknown_ones_are_an_attribute_error() -> None:
    assert set(headstart.__all__) <= set(dir(headstart))
    with pytest.raises(AttributeError, match="no attribute 'adpat'"):
        _ = headstart.adpat


def test_no_public_name_is_hidden_by_a_module_of_the_same_name() -> None:
    modules = {path.stem for path in FACE.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(headstart.__all__)


def test_import_loads_nothing_heavy() -> None:
    assert not _loaded_by("import headstart") & HEAVY


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["nonsense"], ["adapt", "--help"], ["adapt", "x", "--no-such-flag"], ["models", "resnet18"]],
    ids=" ".join,
)
def test_the_command_line_starts_without_torch(words: list[str]) -> None:
    loaded = _loaded_by(f"from headstart.cli.main import main; main({words!r})")
    # The list of known networks may be read by whatever reads it, as long as that is not torch.
    assert not loaded & ({"torch", "timm", "torchvision"} if words[0] == "models" else HEAVY)


@pytest.mark.parametrize("room", ["catalog", "report", "cli"])
def test_rooms_that_promise_it_load_no_torch(room: str) -> None:
    places = sorted((FACE.parent / room).rglob("*.py"))
    names = [".".join(("headstart", *path.relative_to(FACE.parent).with_suffix("").parts)) for path in places]
    code = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    assert not _loaded_by(code) & {"torch", "torchvision", "timm"}


def test_help_is_fast() -> None:
    """Half a second at most: of the processor's time, because the machine may be busy; the best of three."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "headstart", "--help"], capture_output=True, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.5
