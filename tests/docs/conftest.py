"""Runs a page's example: the block after its `<!-- example -->`, made short, in a folder with photos/."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`run_example(page, old, new, ...)` carries out the page's one Python example, every `old` replaced by its `new`."""
    rng = np.random.default_rng(0)
    for label, channel in (("red", 0), ("green", 1)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(14):
            pixels = rng.integers(0, 120, (16, 16, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(page: Path, *changes: str) -> None:
        code = re.findall(r"<!-- example -->\n```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
        assert len(code) == 1, f"{page} has {len(code)} examples"
        short = code[0]
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in short
            short = short.replace(old, new)
        exec(compile(short, page.name, "exec"), {})

    return run
