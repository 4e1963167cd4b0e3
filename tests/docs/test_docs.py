"""The documentation's examples run, and its generated page is up to date."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_strategies_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs/strategies.md").read_text(encoding="utf-8") == _module(ROOT / "docs/make_strategies.py").page()


def test_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from PIL import Image

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"<!-- example -->\n```python\n(.*?)```", text, re.S)
    assert len(code) == 1
    rng = np.random.default_rng(0)
    for label, channel in (("red", 0), ("green", 1)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(14):
            pixels = rng.integers(0, 120, (16, 16, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    short = code[0].replace('budget="10s"', 'budget="1s", strategies=("probe", "lpft"), folds=2')
    assert short != code[0]
    exec(compile(short, "README.md", "exec"), {})
    assert (tmp_path / "runs/photos/report.html").exists()
