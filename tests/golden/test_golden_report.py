"""The reports of fixed run folders, byte for byte; pictures are left out, since their bytes depend on the codec's version.

After a wanted change: HEADSTART_UPDATE_GOLDEN=1 pytest tests/golden/test_golden_report.py, then look at the difference.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from headstart.report import page_of

HERE = Path(__file__).parent


def made(name: str) -> ModuleType:
    """A module of the report's tests, which make up run folders."""
    spec = importlib.util.spec_from_file_location(f"made_for_golden_{name}", HERE.parent / "report" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def adapt(folder: Path) -> Path:
    run: Path = made("conftest").make_run(folder, ["circle", "ring", "star"], mistakes=2, side=32)
    return run


def advise(folder: Path) -> Path:
    run: Path = made("made_advise").make_advise(folder)
    return run


def select(folder: Path) -> Path:
    run: Path = made("made_select").make_select(folder)
    return run


def layers(folder: Path) -> Path:
    run: Path = made("made_layers").make_layers(folder)
    return run


def data_size(folder: Path) -> Path:
    run: Path = made("made_data_size").make_data_size(folder)
    return run


def compare(folder: Path) -> Path:
    run: Path = made("made_compare").make_compare(folder)
    return run


def distill(folder: Path) -> Path:
    run: Path = made("made_distill").make_distill(folder)
    return run


def bench(folder: Path) -> Path:
    run: Path = made("made_bench").make_bench(folder)
    return run


def extend(folder: Path) -> Path:
    run: Path = made("made_extend").make_extend(folder)
    return run


@pytest.mark.parametrize("make", [adapt, advise, select, compare, layers, data_size, distill, bench, extend])
def test_the_page_is_as_it_was(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    golden = HERE / f"report_{make.__name__}.html"
    page = re.sub(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", r"data:image/\1", page_of(make(tmp_path / "run")))
    if os.environ.get("HEADSTART_UPDATE_GOLDEN"):
        golden.write_text(page, "utf-8")
    assert page == golden.read_text("utf-8"), "the report changed; see the top of this file"
