"""The student: its size follows the images, its recipe its kind; every kind of student learns in every way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.catalog.distill import DistillJobConfig
from headstart.data.sources import Source, open_source
from headstart.engine.model import Model
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.strategies.distill import FEATURES
from headstart.studies.distill import distill as study
from headstart.studies.distill_student import recipe_of, student_of
from tests.studies.distill_toys import SIZE, USED, saved, student, teacher, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("digits"), 32, 20)


@pytest.fixture(scope="module")
def source(folder: Path) -> Source:
    return open_source(str(folder))


def named(folder: Path, source: Source, name: str, **settings: Any) -> Net:
    return student_of(DistillJobConfig(str(folder), ("embedded",), name, **settings), source)


def test_the_size_follows_the_images(folder: Path, source: Source, tmp_path: Path) -> None:
    assert named(folder, source, "headstart:resnet8").input.size == SIZE
    assert named(folder, source, "headstart:resnet8", size=16).input.size == 16
    kept = named(folder, source, str(saved(tmp_path / "model")))
    assert kept.input.size == SIZE
    assert not kept.heads


def test_what_is_no_student(folder: Path, source: Source) -> None:
    config = DistillJobConfig(str(folder), ("embedded",))
    for given, said in ((3, "int: is no network"), (student().blocks, "headstart.build")):
        with pytest.raises(ConfigError, match=said):
            student_of(config, source, given)
    original = teacher()
    assert student_of(config, source, original) is not original
    assert "source" in original.heads


def test_the_recipe_follows_the_student_and_the_number_of_images(folder: Path, source: Source) -> None:
    config = DistillJobConfig(str(folder), ("embedded",))
    small, wide = recipe_of(config, student(), 100), recipe_of(config, student(), 10_000)
    assert (small.epochs, wide.epochs) == (100, 30)
    assert (wide.optimizer, wide.lr, wide.views, wide.clip) == ("sgd", 0.05, 4, None)
    tokens = recipe_of(config, named(folder, source, "headstart:vit"), 10_000)
    assert (tokens.optimizer, tokens.lr) == ("adamw", 1e-3)
    hinted = DistillJobConfig(str(folder), ("embedded",), losses=("hints",), views=0, lr=0.01, epochs=3)
    found = recipe_of(hinted, student(), 100)
    assert (found.clip, found.views, found.lr, found.epochs) == (5.0, None, 0.01, 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("headstart:vit", {"token": True, "kind": "hard"}),
        ("", {"losses": ("hints", "attention")}),
        ("", {"losses": ("decoupled",), "record_dtype": "float16", "top_k": 2}),
    ],
    ids=["token", "features", "decoupled"],
)
def test_every_way_of_learning(folder: Path, tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    used = {**USED, "seeds": 1, "epochs": 1, **settings}
    config = DistillJobConfig(str(folder), student=name, out=tmp_path / "run", **used)
    found = study(config, teachers=[teacher()], student=None if name else student()).summary
    (taught,) = (row for row in found["runs"] if row["kind"] == "distilled")
    features = [loss for loss in settings.get("losses", ()) if loss in FEATURES]
    assert set(taught["final_losses"]) == {"hard", "soft", *features}
    model = Model.load(tmp_path / "run")
    assert list(model.net.heads) == ["main"]
    assert found["record"] is None if features else found["record"]["top_k"] == settings.get("top_k")
