"""Several tasks over one store: from a table, from arrays, from one data set per task; what is found, and how it divides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_pictures import animals, fill, picture
from PIL import Image

from headstart.catalog.asked import parse_tasks
from headstart.data.labelled import LabelledSet, prepare_labelled
from headstart.data.labelled_sources import labelled_arrays, open_labelled
from headstart.data.mix import Mix
from headstart.errors import ConfigError, DataError

N = 40
X = np.stack([np.asarray(picture(n, 12, 12)) for n in range(N)])


def make(data: object, cache: Path, *words: str, **more: Any) -> LabelledSet:
    return prepare_labelled(open_labelled(data, parse_tasks(words)), size=16, cache=cache / "cache", **more)


def table(folder: Path, rows: list[str], header: str = "path,digit,sign,age,tags") -> Path:
    fill(folder / "images", range(N))
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "labels.csv"


def rows_of_every_kind() -> list[str]:
    return [f"{i}.png,{i % 3},{('yes', 'no', '')[i % 3]},{i / 2},{('a;b', 'none', 'b')[i % 3]}" for i in range(N)]


def test_a_table_becomes_tasks_over_one_store(tmp_path: Path) -> None:
    data = make(table(tmp_path, rows_of_every_kind()), tmp_path)
    assert len(data) == N == len(data.store)
    assert {name: task.kind for name, task in data.tasks.items()} == {
        "digit": "classes", "sign": "yes_no", "age": "number", "tags": "several"
    }  # fmt: skip
    for task in data.tasks.values():
        assert task.store is data.store
        assert len(task) == N
    np.testing.assert_array_equal(data.tasks["digit"].labels, np.arange(N) % 3)
    np.testing.assert_array_equal(data.tasks["sign"].labels, np.array([1, 0, -1])[np.arange(N) % 3])
    np.testing.assert_array_equal(data.tasks["age"].labels, np.arange(N, dtype=np.float32) / 2)
    np.testing.assert_array_equal(data.tasks["tags"].labels, np.array([[1, 1], [0, 0], [0, 1]])[np.arange(N) % 3])
    sign = next(task for task in data.findings.tasks if task.name == "sign")
    assert (sign.known, sign.missing, sign.counts) == (27, 13, {"no": 13, "yes": 14})
    assert data.findings.together == {"digit + sign + age + tags": 27, "digit + age + tags": 13}
    json.dumps(data.findings.to_json(), allow_nan=False)
    told = str(data.findings)
    for words in ("40 images, 4 tasks", "no 13, yes 14", "0 to 19.5, mean 9.75", "a 14 of 40, b 27 of 40"):
        assert words in told


def test_the_decoded_file_is_used_again_and_everything_is_the_same(tmp_path: Path) -> None:
    path = table(tmp_path, rows_of_every_kind())
    first = make(path, tmp_path)
    stamp = first.store.file.stat().st_mtime_ns  # type: ignore[union-attr]
    again = make(path, tmp_path)
    assert again.store.file.stat().st_mtime_ns == stamp  # type: ignore[union-attr]
    assert again.fingerprint == first.fingerprint
    a, b, other = first.split(3), again.split(3), again.split(4)
    assert all(np.array_equal(a.by_name[name], b.by_name[name]) for name in ("train", "val", "test"))
    assert not np.array_equal(a.test, other.test)
    fewer = make(path, tmp_path, "digit", "sign")
    assert fewer.fingerprint != first.fingerprint
    assert fewer.store.fingerprint == first.store.fingerprint


def test_splits_are_a_partition_with_every_task_in_every_part(tmp_path: Path) -> None:
    data = make(table(tmp_path, rows_of_every_kind()), tmp_path)
    for seed in range(5):
        parts = data.split(seed, val_fraction=0.25, test_fraction=0.25)
        np.testing.assert_array_equal(np.sort(np.concatenate([parts.train, parts.val, parts.test])), np.arange(N))
        for rows in parts.by_name.values():
            assert all(task.known.any() for task in data.on(rows).values())
        assert (np.abs(data.on(parts.test)["digit"].counts - N / 12) <= 2).all()
    assert list(data.split(0, val_fraction=0).by_name) == ["train", "test"]
    with pytest.raises(ConfigError, match="leave nothing"):
        data.split(0, val_fraction=0.5, test_fraction=0.6)


def test_pictures_of_every_depth_come_through(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{i}.png,{i % 2}" for i in range(6)], "path,a")
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (16, 16), np.uint16)
    Image.fromarray(deep).save(tmp_path / "images" / "0.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "images" / "1.png")
    data = make(path, tmp_path)
    assert data.findings.modes == {"RGB": 4, "I;16": 1, "L": 1}
    np.testing.assert_array_equal(data.store.array[0], np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2))


def test_damaged_pictures_are_set_aside(tmp_path: Path) -> None:
    path = table(tmp_path, rows_of_every_kind())
    (tmp_path / "images" / "7.png").write_bytes(b"no picture")
    data = make(path, tmp_path)
    assert len(data) == N - 1
    assert [bad.path for bad in data.findings.set_aside] == ["7.png"]
    np.testing.assert_array_equal(data.tasks["digit"].labels, np.delete(np.arange(N) % 3, 7))
    assert "7.png" not in data.names
    assert any("set aside" in warning for warning in data.findings.warnings)


def test_a_class_that_loses_its_pictures_is_named(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'rare' if i == 7 else 'xy'[i % 2]},{i % 2}" for i in range(N)]
    path = table(tmp_path, rows, "path,kind,sign")
    (tmp_path / "images" / "7.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"task 'kind': no readable image of 'rare' is left \(7\.png"):
        make(path, tmp_path)


def test_a_split_that_loses_its_labels_is_named(tmp_path: Path) -> None:
    rows = [f"{i}.png,{i % 2},{i % 3 if i != 8 else ''},{'val' if i in (7, 8) else 'train'}" for i in range(20)]
    path = table(tmp_path, rows, "path,a,b,split")
    (tmp_path / "images" / "7.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="task 'b' has no known label in val"):
        make(path, tmp_path)


def copies(folder: Path, labels: tuple[str, str], split: tuple[str, str] = ("train", "train")) -> Path:
    rows = [f"{i}.png,{i % 2},{i}.5,none,train" for i in range(2, N)]
    rows += [f"0.png,{labels[0]},1.5,a;b,{split[0]}", f"1.png,{labels[1]},,a,{split[1]}"]
    path = table(folder, rows, "path,a,n,t,split")
    (folder / "images" / "1.png").write_bytes((folder / "images" / "0.png").read_bytes())
    return path


def test_identical_pictures_with_other_labels_are_refused_by_name(tmp_path: Path) -> None:
    path = copies(tmp_path, ("0", "1"))
    with pytest.raises(DataError) as caught:
        make(path, tmp_path)
    told = str(caught.value)
    assert "task 'a': 0.png (line 40) says 'no' and 1.png (line 41) says 'yes'" in told
    assert "task 't', 'b': 0.png (line 40) says 'yes' and 1.png (line 41) says 'no'" in told
    assert "task 'n'" not in told, "an unknown answer contradicts nothing"


def test_contradicting_answers_can_be_forgotten_or_kept(tmp_path: Path) -> None:
    path = copies(tmp_path, ("0", "1"))
    kept = make(path, tmp_path, "a", "n", contradicting="keep")
    assert kept.tasks["a"].labels[-2:].tolist() == [0, 1]
    assert "different answers 1 time" in "\n".join(kept.findings.warnings)
    gone = make(path, tmp_path, "a", "n", contradicting="forget")
    assert gone.tasks["a"].labels[-2:].tolist() == [-1, -1]
    assert gone.tasks["a"].labels[:-2].tolist() == kept.tasks["a"].labels[:-2].tolist()
    assert gone.tasks["n"].labels[-2] == np.float32(1.5)
    with pytest.raises(ConfigError, match="contradicting='drop'"):
        make(path, tmp_path, contradicting="drop")


def test_copies_stay_together_and_leaks_between_given_splits_are_told(tmp_path: Path) -> None:
    data = make(copies(tmp_path, ("1", "1")), tmp_path, "a", "n")
    assert data.groups[-1] == data.groups[-2]
    assert len(set(data.groups.tolist())) == N - 1
    for seed in range(10):
        parts = data.split(seed)
        assert {int(data.groups[-1]) in data.groups[rows] for rows in parts.by_name.values()} == {True, False}
        assert sum(int(data.groups[-1]) in data.groups[rows] for rows in parts.by_name.values()) == 1
    rows = [f"{i}.png,{i % 2},{'test' if i > 29 else 'train'},p{i // 4}" for i in range(N)]
    leaky = make(table(tmp_path / "other", rows, "path,a,split,patient"), tmp_path)
    assert [c.kind for c in leaky.findings.leaks] == ["group"]
    assert leaky.findings.leaks[0].what == "p7"
    assert leaky.findings.splits == {"train": {"a": 30}, "test": {"a": 10}}
    parts = leaky.split(0)
    assert parts.test.tolist() == list(range(30, N)), "the user's test split is kept"
    assert len(parts.val) == 6
    own = [set(leaky.groups[rows].tolist()) for rows in (parts.train, parts.val)]
    assert not own[0] & own[1]


# ------------------------------------------------------------------------------------------------- arrays


def labels_of_every_kind() -> dict[str, Any]:
    at = np.arange(N)
    return {
        "digit": np.where(at == 5, -1, at % 3),
        "even": at % 2 == 0,
        "size": np.where(at == 6, np.nan, at / 4),
        "seen": np.stack([at % 2, at % 3 - 1], axis=1),
        "word": np.array([("x", "y", "")[i % 3] for i in range(N)]),
    }


@pytest.mark.parametrize("vectors", [False, True])
def test_arrays(tmp_path: Path, vectors: bool) -> None:
    samples = np.random.default_rng(0).normal(size=(N, 5)) if vectors else X
    data = make((samples, labels_of_every_kind()), tmp_path)
    assert data.store.is_image is not vectors
    assert {name: task.kind for name, task in data.tasks.items()} == {
        "digit": "classes", "even": "yes_no", "size": "number", "seen": "several", "word": "classes"
    }  # fmt: skip
    for name, labels in labels_of_every_kind().items():
        if name != "word":
            np.testing.assert_array_equal(data.tasks[name].labels, labels.astype(data.tasks[name].labels.dtype))
    assert data.tasks["word"].classes == ("x", "y")
    assert data.tasks["word"].labels[:3].tolist() == [0, 1, -1]
    assert data.tasks["seen"].classes == ("seen_0", "seen_1")
    parts = data.split(0)
    assert sum(map(len, parts.by_name.values())) == N
    Mix("all", data.on(parts.train), data.sources_on(parts.train))


def test_arrays_by_split_and_chosen_tasks(tmp_path: Path) -> None:
    half = {split: (X[rows], {"d": np.arange(N)[rows] % 3, "n": np.arange(N)[rows] / 3})
            for split, rows in (("train", slice(0, 30)), ("test", slice(30, N)))}  # fmt: skip
    data = make(half, tmp_path, "digit=d")
    assert list(data.tasks) == ["digit"]
    parts = data.split(1, val_fraction=0.2)
    assert parts.test.tolist() == list(range(30, N))
    assert (len(parts.train), len(parts.val)) == (24, 6)
    assert data.names[29:31] == ["train[29]", "test[0]"]
    with pytest.raises(DataError, match="no labels called 'x'; there are d, n"):
        open_labelled(half, parse_tasks(["x"]))


def test_array_groups_and_names(tmp_path: Path) -> None:
    source = labelled_arrays(
        X,
        {"d": np.arange(N) % 2, "s": np.stack([np.arange(N) % 2, np.arange(N) // 20], axis=1)},
        classes={"d": ("cat", "dog"), "s": ("car", "sign")},
        groups=np.arange(N) // 2,
        splits=["train"] * 30 + ["val"] * 4 + ["test"] * 6,
    )
    data = prepare_labelled(source, size=16, cache=tmp_path)
    assert data.tasks["d"].classes == ("cat", "dog")
    assert data.tasks["s"].classes == ("car", "sign")
    assert len(set(data.groups.tolist())) == N // 2
    assert [len(rows) for rows in data.split(5).by_name.values()] == [30, 4, 6]


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        ({}, {}, ["there is no task"]),
        ({"a": np.zeros(N, int), "b c": np.arange(N)}, {}, ["one value only, '0'", "task name 'b c' cannot be used"]),
        ({"a": np.arange(N - 1)}, {}, ["39 labels for 40 samples"]),
        ({"a": np.full(N, np.inf), "b": np.full(N, np.nan)}, {}, ["must be finite, but sample 0", "'b' has no known label"]),
        ({"a": np.full((N, 2), 2), "b": np.zeros((N, 2))}, {}, ["0, 1, -1 (unknown), not 2", "yes/no questions"]),
        ({"a": np.arange(N) % 2}, {"splits": ["train"] * 3, "groups": [1]}, ["3 words for 40", "1 group for 40"]),
        ({"a": np.arange(N) % 2}, {"splits": ["fold"] * N}, ["also say 'fold'", "no training samples"]),
        ({"a": np.arange(N) % 2}, {"classes": {"a": ["x"], "b": ["y"]}}, ["outside of the 1 classes", "'b', of which"]),
        ({"a": np.arange(N) // 39}, {"splits": ["train"] * 39 + ["test"]}, ["one value only in train", "test has 1 class"]),
        ({"a": np.zeros((N, 2, 2))}, {}, ["[N] or [N, L] is needed"]),
    ],
)
def test_arrays_that_cannot_be_used(labels: dict[str, Any], more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        labelled_arrays(X, labels, **more)
    for word in words:
        assert word in str(caught.value)


# -------------------------------------------------------------------------------------- one data set per task


def test_data_sets_of_their_own_are_put_into_one_store(tmp_path: Path) -> None:
    folder = animals(tmp_path / "pets")
    numbers = np.arange(N)
    data = make({"pet": folder, "digit": (X, numbers % 3), "parity": (X, numbers % 2)}, tmp_path)
    assert len(data) == 8 + N, "two data sets of the same samples share their rows"
    assert {name: rows.tolist() for name, rows in data.sources.items()} == {
        "pet": list(range(8)), "digit+parity": list(range(8, 8 + N))
    }  # fmt: skip
    pet, digit, parity = data.tasks.values()
    assert (pet.known.sum(), digit.known.sum(), parity.known.sum()) == (8, N, N)
    np.testing.assert_array_equal(digit.labels[8:], numbers % 3)
    assert (digit.labels[:8] == -1).all()
    assert data.names[0] == "pet: cats/0.png"
    for place in range(8):
        name = data.names[place].removeprefix("pet: ")
        assert pet.classes[pet.labels[place]] == name.split("/")[0]
    parts = data.split(0)
    mix = Mix("all", data.on(parts.train), data.sources_on(parts.train), "round_robin")
    assert len(mix.sources) == 2
    assert set(mix.rows.tolist()) == set(parts.train.tolist())
    for rows in parts.by_name.values():
        assert all(task.known.any() for task in data.on(rows).values())


def test_the_same_picture_in_two_data_sets_stays_in_one_part(tmp_path: Path) -> None:
    labels = np.arange(N) % 2
    data = make({"a": (X, labels), "b": (X[::-1][:30].copy(), labels[:30])}, tmp_path)
    assert len(data) == N + 30
    assert len(set(data.groups.tolist())) == N
    parts = data.split(2)
    groups = [set(data.groups[rows].tolist()) for rows in parts.by_name.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_given_splits_of_one_data_set_are_kept_and_the_other_is_divided(tmp_path: Path) -> None:
    labels = np.arange(N) % 2
    given = {"train": (X[:20], labels[:20]), "test": (X[20:30], labels[20:30])}
    vectors = np.random.default_rng(0).integers(0, 255, (30, 12, 12, 3)).astype(np.uint8)
    data = make({"a": given, "b": (vectors, labels[:30])}, tmp_path)
    parts = data.split(0)
    mine = [int((rows < 30).sum()) for rows in parts.by_name.values()]
    other = [int((rows >= 30).sum()) for rows in parts.by_name.values()]
    assert (mine, other) == ([16, 4, 10], [18, 6, 6])
    assert data.findings.splits["test"] == {"a": 10, "b": 0}


class Pairs:
    """A map-style Dataset."""

    def __init__(self, first: int, number: int):
        self.first, self.number = first, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        if place >= self.number:
            raise IndexError(place)
        return picture(self.first + place, 12, 12), place % 2


def test_datasets_of_the_users_own(tmp_path: Path) -> None:
    data = make({"a": Pairs(0, 12), "b": Pairs(100, 9)}, tmp_path)
    assert {name: len(rows) for name, rows in data.sources.items()} == {"a": 12, "b": 9}
    assert data.tasks["a"].known.tolist() == [True] * 12 + [False] * 9
    for place, number in ((0, 0), (12, 100), (20, 108)):
        alone = prepare_labelled(labelled_arrays(np.asarray(picture(number, 12, 12))[None].repeat(2, 0), {"x": [0, 1]}),
                                 size=16, cache=tmp_path, contradicting="keep")  # fmt: skip
        np.testing.assert_array_equal(data.store.array[place], alone.store.array[0])


def test_columns_of_the_tables_among_several_data_sets(tmp_path: Path) -> None:
    fill(tmp_path / "images", range(20, 28))
    (tmp_path / "b.csv").write_text("where,label\n" + "".join(f"{i}.png,{'uv'[i % 2]}\n" for i in range(20, 28)))
    parts = {"a": animals(tmp_path / "pets"), "b": tmp_path / "b.csv"}
    assert open_labelled(parts, path_column="where").tasks == ("a", "b")
    with pytest.raises(DataError, match="path_column: columns can be chosen for CSV files only"):
        open_labelled({"a": parts["a"]}, path_column="where")
    with pytest.raises(DataError, match=r"(?s)task 'b'.*usual name for the path"):
        open_labelled(parts)


def test_all_data_sets_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_labelled({"a": tmp_path / "nowhere", "b c": (X, np.arange(N) % 2), "d": tmp_path / "lost.csv"})
    told = str(caught.value)
    for word in ("task 'a'", "nowhere does not exist", "'b_c' would do", "task 'd'"):
        assert word in told
    with pytest.raises(DataError, match="of different kinds"):
        make({"a": (X, np.arange(N) % 2), "b": (np.random.default_rng(0).normal(size=(N, 4)), np.arange(N) % 2)}, tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("nowhere.csv", "does not exist"),
        (3, "cannot be read"),
        ({}, "cannot be read"),
    ],
)
def test_what_is_no_labelled_data(data: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_labelled(data)


def test_no_global_generator_is_touched(tmp_path: Path) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    make((X, labels_of_every_kind()), tmp_path).split(0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]
