"""The page about learning without forgetting: its example runs, its table and its numbers are what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.catalog.continual import METHODS
from headstart.metrics.continual import average_accuracy, backward_transfer, forgetting
from tests.docs.test_docs import module

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extend.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, run_example: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    for label, stripes in (("bars", np.s_[::4]), ("rows", np.s_[:, ::4])):
        (tmp_path / "marks" / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 60, (16, 16, 3), np.uint8)
            pixels[stripes] += 180
            Image.fromarray(pixels).save(tmp_path / "marks" / label / f"{number}.png")
    quick = 'budget="1s", strategies=("probe",), folds=2, device="cpu"'
    learn = "LwfConfig(Learn(Recipe(epochs=1)))"
    by_hand = '["lwf"](net, task, past=past)'
    imports = "import headstart\n"
    names = "from headstart.catalog.continual import Learn, LwfConfig, Recipe\n"
    run_example(
        PAGE,
        'budget="20s"',
        quick,
        "epochs=20",
        'epochs=1, device="cpu"',
        imports,
        f"{imports}{names}",
        by_hand,
        by_hand.replace("past", f"{learn}, past", 1),
    )
    said = capsys.readouterr().out
    assert "task-incrementally, by lwf" in said
    assert "Old tasks: " in said
    assert (tmp_path / "runs/photos-marks/report.html").exists()


def test_the_table_of_methods_is_what_the_code_says() -> None:
    made = module(ROOT / "docs/make_strategies.py").extend_page(TEXT)
    assert made == TEXT
    assert set(re.findall(r"^\| `(\w+)` \|", made.split("<!-- methods -->")[1], re.M)) == set(METHODS)


def test_the_numbers_of_the_matrix() -> None:
    matrix = np.array([[float(x) for x in row.split(",")] for row in re.findall(r"\[(\.\d[^]\[]*)\]", TEXT)])
    assert matrix.shape == (3, 3)
    found = [float(function(matrix)) for function in (average_accuracy, forgetting, backward_transfer)]
    told = re.search(r"these are (\S+), (\S+) and (\S+);", TEXT)
    assert told is not None
    assert found == pytest.approx([float(text) for text in told.groups()], abs=5e-5)


def test_everything_named_on_the_page_is_there() -> None:
    flags = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    golden = [ROOT / "tests/golden" / f"cli-{name}.txt" for name in ("extend", "predict", "adapt")]
    helps = "".join(path.read_text(encoding="utf-8") for path in golden)
    assert [flag for flag in sorted(flags) if flag not in helps] == []
