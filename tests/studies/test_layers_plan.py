"""Halves, cuts and the grid of a study of layers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.catalog.study import LayersConfig
from headstart.errors import BackboneError, ConfigError, DataError
from headstart.nets.small import cifar_resnet, mlp
from headstart.studies.layers_plan import FROZEN, cuts_of, grid, group_named, kinds_of, splits_of, subset

CLASSES = ("cat", "dog", "frog", "car", "ship", "plane")


def config(**changed: object) -> LayersConfig:
    return LayersConfig(data="x", **changed)  # type: ignore[arg-type]


def test_like_halves_share_no_class_and_change_with_the_split() -> None:
    splits = splits_of(config(splits=4), ("like",), CLASSES, ())
    for split in splits:
        a, b = split.classes["A"], split.classes["B"]
        assert len(a) == len(b) == 3
        assert not set(a) & set(b)
    assert len({split.classes["A"] for split in splits}) > 1
    assert splits == splits_of(config(splits=4), ("like",), CLASSES, ())
    assert splits != splits_of(config(splits=4, seed=1), ("like",), CLASSES, ())


def test_unlike_halves_are_drawn_from_their_kinds_and_both_kinds_of_halves_have_one_size() -> None:
    splits = splits_of(config(splits=3), ("like", "unlike"), CLASSES, (0, 1))
    assert [split.halves for split in splits] == ["like"] * 3 + ["unlike"] * 3
    assert all(len(split.classes[half]) == 2 for split in splits for half in "AB")
    assert all(split.classes["A"] == (0, 1) and set(split.classes["B"]) < {2, 3, 4, 5} for split in splits[3:])


def test_groups_by_name_or_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "animals.txt"
    path.write_text("dog\n\n cat\n", encoding="utf-8")
    assert group_named(("cat,dog", "frog"), CLASSES) == (0, 1, 2)
    assert group_named((str(path),), CLASSES) == (0, 1)
    with pytest.raises(ConfigError, match="'shipp': did you mean ship"):
        group_named(("cat,shipp",), CLASSES)
    for nothing in (",", ",".join(CLASSES)):
        with pytest.raises(ConfigError, match="one half would have none"):
            group_named((nothing,), CLASSES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "y", "group_a": ("cat",)}, "do not go with it"),
        ({"halves": ("unlike",)}, "give --group-a"),
        ({"group_a": ("cat",), "half_column": "kind"}, "one of them"),
        ({"group_a": ("cat",), "halves": ("like",)}, "leave one of them out"),
    ],
)
def test_contradictions_about_halves(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kinds_of(config(**settings))


@pytest.mark.parametrize(
    ("classes", "settings"), [(CLASSES[:3], {}), (CLASSES, {"classes": 4}), (("only",), {})], ids=["three", "four", "one"]
)
def test_too_few_classes(classes: tuple[str, ...], settings: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"at most \d+ each"):
        splits_of(config(**settings), ("like",), classes, ())


def test_cuts_follow_blocks_with_weights() -> None:
    found = cuts_of(cifar_resnet(8, 4, 8), ())
    assert [cut.blocks[-1] for cut in found] == ["stem", "layer1_0", "layer2_0", "pool"]
    assert [cut.n for cut in cuts_of(cifar_resnet(8, 4, 8), (3, 1, 3))] == [1, 3]
    assert found[0].parameters == 3 * 4 * 9 + 8
    with pytest.raises(ConfigError, match="after layers 1 to 4"):
        cuts_of(cifar_resnet(8, 4, 8), (5,))
    with pytest.raises(BackboneError, match="cannot be cut"):
        cuts_of(mlp(6, (4,)), ())


def test_the_grid_has_every_kind_in_both_directions() -> None:
    asked = config(seeds=2, target_images=(20,))
    splits, cuts = splits_of(asked, ("like",), CLASSES, ()), cuts_of(mlp(6, (4, 4, 4)), ())
    jobs = grid(asked, splits, cuts)
    runs = [run for job in jobs for run in job.runs]
    assert len(runs) == len(set(runs))
    assert len({run.file for run in runs}) == len(runs)
    counts = Counter((run.kind, run.images) for run in runs)
    each = 2 * 2 * 3  # seeds, directions, cuts
    assert counts.pop(("base", 0)) == 4
    assert counts == {(kind, 0): each for kind in ("selffer", "transfer", "selffer+", "transfer+", "random")} | {
        ("transfer", 20): each,
        ("transfer+", 20): each,
    }
    for job in jobs:
        assert len({(run.kind, run.n, run.source, run.target, run.split, run.seed) for run in job.runs}) == 1
        assert len(job.runs) == 1 or job.runs[0].kind in FROZEN
        run = job.runs[0]
        assert (run.source == run.target) == run.kind.startswith("selffer")
        assert [need.target for need in job.needs] == ([] if run.source is None else [run.source])


def test_a_subset_holds_classes_evenly_and_lies_in_larger_ones() -> None:
    targets = np.array([0] * 30 + [1] * 20 + [2] * 5)
    order = subset(targets, 1, "x")
    assert sorted(order) == list(range(55))
    assert np.bincount(targets[order[:12]]).tolist() == [4, 4, 4]
    assert order != subset(targets, 2, "x")
