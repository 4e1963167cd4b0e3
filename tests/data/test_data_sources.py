"""Each way of giving data is understood, and what is wrong with it is said all at once."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from data_pictures import animals, fill, picture
from torch.utils.data import Dataset, IterableDataset

from headstart.data.names import natural_key, shown, some
from headstart.data.prepare import prepare
from headstart.data.sources import Source, open_source
from headstart.errors import DataError


def refused(data: object, **columns: str) -> str:
    with pytest.raises(DataError) as caught:
        open_source(data, **columns)
    return str(caught.value)


def labelled(source: Source) -> list[tuple[str, str]]:
    assert source.labels is not None
    assert source.classes is not None
    return [(name, source.classes[c]) for name, c in zip(source.names, source.labels, strict=True)]


# ------------------------------------------------------------------------------------------------ names


def test_natural_order() -> None:
    assert sorted(["10", "9", "2", "b", "a10", "a2", "B"], key=natural_key) == ["2", "9", "10", "a2", "a10", "B", "b"]


def test_names_are_safe_to_print() -> None:
    assert shown("größe 1.jpg") == "größe 1.jpg"
    assert shown(os.fsdecode(b"a\xff\n\x1b[31m.jpg")) == "a\\udcff\\n\\x1b[31m.jpg"
    assert some("abcde") == "a, b, c and 2 more"


# ----------------------------------------------------------------------------------------------- folders


def test_plain_class_folders(tmp_path: Path) -> None:
    source = open_source(animals(tmp_path / "a"))
    assert source.classes == ("cats", "dogs")
    assert labelled(source)[0] == ("cats/0.png", "cats")
    assert labelled(source)[-1] == ("dogs/13.png", "dogs")
    assert {s: len(r) for s, r in source.splits.items()} == {"train": 8}
    assert open_source(source) is source


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_splits_by_any_usual_name(tmp_path: Path, val: str) -> None:
    for split, numbers in (("Train", range(3)), (val, range(3, 5)), ("TEST", range(5, 6))):
        fill(tmp_path / split / "a", numbers)
        fill(tmp_path / split / "b", range(10 + numbers.start, 10 + numbers.stop))
    source = open_source(str(tmp_path))
    assert {s: len(r) for s, r in source.splits.items()} == {"train": 6, "val": 4, "test": 2}
    assert source.names[0] == "Train/a/0.png"


def test_classes_are_in_natural_order_and_folders_are_searched_below(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        fill(tmp_path / name / "deeper" / "and deeper", range(2))
    source = open_source(tmp_path)
    assert source.classes == ("2", "9", "10")
    assert source.names[0] == "2/deeper/and deeper/0.png"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "bus", "test"):
        fill(tmp_path / name, range(2))
    assert open_source(tmp_path).classes == ("bus", "test", "train")
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "train" / "steam").mkdir()
    for path in list((tmp_path / "train").glob("*.png")):
        path.rename(tmp_path / "train" / "steam" / path.name)
    assert open_source(tmp_path).classes == ("bus", "train")


def test_folders_beside_the_splits_are_listed_as_ignored(tmp_path: Path) -> None:
    animals(tmp_path / "train")
    animals(tmp_path / "test")
    fill(tmp_path / "sketches", range(2))
    (tmp_path / "labels.csv").write_text("x")
    fill(tmp_path / "train", range(1))
    source = open_source(tmp_path)
    assert source.ignored == ("labels.csv", "sketches/", "train/0.png (outside of every class folder)")


def test_hidden_and_other_files(tmp_path: Path) -> None:
    animals(tmp_path)
    for name in (".DS_Store", "._0.png", "notes.txt", "Thumbs.db"):
        (tmp_path / "cats" / name).write_text("x")
    fill(tmp_path / "cats" / ".thumbnails", range(1))
    fill(tmp_path / "__MACOSX" / "cats", range(1))
    source = open_source(tmp_path)
    assert len(source) == 8
    assert source.ignored == ("cats/notes.txt", "cats/Thumbs.db")


def test_what_cannot_be_a_picture_is_set_aside_without_being_opened(tmp_path: Path) -> None:
    animals(tmp_path)
    (tmp_path / "cats" / "x.jpg").mkdir()
    (tmp_path / "y.jpg").mkdir()
    os.mkfifo(tmp_path / "dogs" / "pipe.png")
    (tmp_path / "dogs" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "dogs" / "me.png").symlink_to("me.png")
    reasons = dict(open_source(tmp_path).set_aside)
    assert reasons["cats/x.jpg"] == reasons["y.jpg"] == "is a folder, not a picture"
    assert "never opened" in reasons["dogs/pipe.png"]
    assert reasons["dogs/gone.png"] == "is a link to a file that does not exist"
    assert "symbolic links" in reasons["dogs/me.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = animals(tmp_path / "data" / "root")
    fill(tmp_path / "elsewhere", range(20, 22))
    (root / "cats" / "more").symlink_to(tmp_path / "elsewhere")
    for place, target in (("cats/self", "."), ("cats/up", ".."), ("dogs/top", tmp_path), ("dogs/a", "b"), ("dogs/b", "a")):
        (root / place).symlink_to(target)
    fill(root / "dogs" / "in", range(30, 31))
    (root / "dogs" / "in" / "back").symlink_to(root / "dogs")
    source = open_source(root)
    assert len(source) == 8 + 2 + 1
    assert "cats/more/20.png" in source.names
    assert sum("already read" in name for name in source.ignored) == 4


def test_names_in_any_script_and_two_spellings_of_an_accent(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "Caf\u00e9 \U0001f375", range(3))
    fill(tmp_path / "train" / "写真 2", range(10, 13))
    fill(tmp_path / "test" / "Cafe\u0301 \U0001f375", range(20, 22))
    fill(tmp_path / "test" / "写真 2", range(30, 32))
    source = open_source(tmp_path)
    assert source.classes == ("Caf\u00e9 \U0001f375", "写真 2")
    assert len(source.splits["test"]) == 4


def test_undecodable_names(tmp_path: Path) -> None:
    animals(tmp_path / "a")
    os.rename(tmp_path / "a" / "cats" / "0.png", os.fsencode(tmp_path / "a" / "cats") + b"/\xff.png")
    made = prepare(open_source(tmp_path / "a"), size=8, cache=tmp_path / "cache")
    assert len(made) == 8
    "".join(made.names).encode()


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ([], ["no images found", "it is empty", "one folder per class"]),
        (["1.png", "2.jpg"], ["2 images directly in the folder", "one folder per class"]),
        (["a/notes.txt"], ["no images found", "a/notes.txt", ".bmp"]),
        (["a/1.png", "a/2.png"], ["only one class, 'a'"]),
        (["all/a/1.png", "all/b/2.png"], ["only one class, 'all'", "Did you mean"]),
        (["a/1.png", "b/2.png", "c/"], ["class folder 'c' is empty"]),
        (["a/1.png", "b/2.png", "c/x.txt"], ["class folder 'c' has no images, only other files (c/x.txt)"]),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png"], ["test/ has 1 class", "does not have: c"]),
        (["train/a/1.png", "train/b/1.png", "test/a/"], ["test/ has no images"]),
        (
            ["train/a/1.png", "train/b/", "val/d/1.png", "test/c/1.png"],
            ["class folder 'b' is empty", "val/ has 1 class", "test/ has 1 class"],
        ),
    ],
)
def test_layouts_that_cannot_be_used(tmp_path: Path, layout: list[str], words: list[str]) -> None:
    for name in layout:
        path = tmp_path / "root" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"x")
    (tmp_path / "root").mkdir(exist_ok=True)
    message = refused(tmp_path / "root")
    for word in words:
        assert word in message


def test_paths_that_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    (tmp_path / "a.xyz").write_bytes(b"")
    assert "does not exist" in refused(tmp_path / "gone")
    assert "nor does its folder" in refused(tmp_path / "gone" / "deeper")
    assert "unpack it" in refused(tmp_path / "a.zip")
    assert "not data that can be read" in refused(tmp_path / "a.xyz")
    assert "columns can be chosen for a CSV file only" in refused(animals(tmp_path / "b"), label_column="x")


# ----------------------------------------------------------------------------------------------- manifests


def manifest(root: Path, text: str, name: str = "m.csv", encoding: str = "utf-8") -> Path:
    fill(root / "images", range(4))
    (root / name).write_text(text, encoding=encoding)
    return root / name


def test_columns_are_found_by_usual_names(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "Filename,Label,patient,Split\n0.png,10,p1,train\nimages/1.png,9,p1,train\n"
        f"{tmp_path}/images/2.png,10,p2,validation\n images\\3.png ,9,,TEST\n\n",
    )
    source = open_source(path)
    assert source.classes == ("9", "10")
    assert [c for _, c in labelled(source)] == ["10", "9", "10", "9"]
    assert {s: r.tolist() for s, r in source.splits.items()} == {"train": [0, 1], "val": [2], "test": [3]}
    assert source.groups is not None
    assert source.groups[0] == source.groups[1]
    assert len(set(source.groups.tolist())) == 3
    assert "label from 'Label'" in source.notes[0]


@pytest.mark.parametrize(("mark", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-8")])
def test_separators_and_byte_order_mark(tmp_path: Path, mark: str, encoding: str) -> None:
    text = "path,label\n0.png,ä\n1.png,b\n".replace(",", mark)
    source = open_source(manifest(tmp_path, text, encoding=encoding))
    assert labelled(source) == [("0.png", "ä"), ("1.png", "b")]


def test_named_columns_and_quotes(tmp_path: Path) -> None:
    text = 'where,what,label\n"0.png","a, b",x\n1.png,c,x\n'
    source = open_source(manifest(tmp_path, text), path_column="where", label_column="what")
    assert source.classes == ("a, b", "c")


def test_rows_that_cannot_be_used_are_set_aside(tmp_path: Path) -> None:
    text = "path,label\n0.png,a\n1.png,b,\n2.png,\ngone.png,a\n,b\n3.png\nimages,b\none,two.png,b\n"
    source = open_source(manifest(tmp_path, text))
    assert labelled(source) == [("0.png", "a"), ("1.png", "b")]
    assert dict(source.set_aside) == {
        "2.png": "has no label (line 4 of m.csv)",
        "gone.png": "does not exist",
        "m.csv, line 6": "has no path",
        "3.png": "has no label (line 7 of m.csv)",
        "images": "is a folder, not a picture",
        "m.csv, line 9": "has 3 cells where the header has 2; put names with a separator in them in quotes",
    }


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", {}, ["is empty"]),
        ("path,label\n", {}, ["no rows below its header"]),
        ("a,b\n0.png,x\n", {}, ["name for the path", "name for the label", "its columns are: 'a', 'b'"]),
        ("path,label\n0.png,x\n", {"label_column": "kind"}, ["label_column='kind'", "'path', 'label'"]),
        ("path,label\ngone.png,x\n", {}, ["none of its 1 row can be used", "gone.png does not exist", "images/"]),
        ("path,label\n0.png,\n1.png,\n", {}, ["none of its 2 rows", "has no label"]),
        ("path,label\n0.png,x\n1.png,x\n", {}, ["only one class, 'x'"]),
        ("path,label\n0.png,x\nno.png,y\n", {}, ["only one class, 'x'", "1 sample set aside: no.png does not exist"]),
        ("path,label,split\n0.png,x,train\n1.png,y,holdout\n2.png,y,\n", {}, ["'split'", "'holdout'", "nothing (line 4)"]),
        ("path,label,split\n0.png,x,test\n1.png,y,test\n", {}, ["no training samples"]),
        ("path,label,split\n0.png,x,train\n1.png,y,train\n2.png,z,test\n", {}, ["test has 1 class", "z"]),
        ('path,label\n"0.png,x\n', {}, ["not a readable CSV file", "opened in line 2 is never closed"]),
        ('path,label\n\n0.png,x\n1.png,"x"y\n', {}, ["not a readable CSV file", "(line 4)", "written twice"]),
        ("0.png,x\n1.png,y\n", {}, ["its first line looks like a row", "such as path,label"]),
        ("path,label,label\n0.png,x,y\n1.png,y,x\n", {}, ["several columns are called 'label'", "the label"]),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str, columns: dict[str, str], words: list[str]) -> None:
    message = refused(manifest(tmp_path, text), **columns)
    for word in words:
        assert word in message


def test_a_manifest_in_another_encoding(tmp_path: Path) -> None:
    assert "UTF-8" in refused(manifest(tmp_path, "path,label\n0.png,ä\n", encoding="latin-1"))


# ------------------------------------------------------------------------------------------------- arrays

X = np.stack([np.asarray(picture(n, 12, 12)) for n in range(6)])


def test_images_and_labels(tmp_path: Path) -> None:
    source = open_source((X, np.array(["b", "a", "b", "c10", "c9", "c10"])))
    assert source.classes == ("a", "b", "c9", "c10")
    assert source.names[1] == "train[1]"
    made = prepare(source, size=12, cache=tmp_path)
    np.testing.assert_array_equal(np.asarray(made.store.array), X)
    assert made.labels.tolist() == [1, 0, 1, 3, 2, 3]


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.transpose(0, 3, 1, 2), lambda x: (x / 255).astype(np.float64),
                                  lambda x: x.astype(np.uint16) * 257, lambda x: torch.from_numpy(x)])  # fmt: skip
def test_equivalent_arrays_give_equal_pictures(tmp_path: Path, turn: object) -> None:
    made = prepare(open_source((turn(X), [0, 1] * 3)), size=12, cache=tmp_path)  # type: ignore[operator]
    np.testing.assert_array_equal(np.asarray(made.store.array), X)


def test_grey_and_boolean_arrays(tmp_path: Path) -> None:
    mask = X[..., 0] > 100
    for array in (mask, mask[..., None], mask.astype(np.uint8) * 255):
        made = prepare(open_source((array, [0, 1] * 3)), size=12, cache=tmp_path)
        np.testing.assert_array_equal(np.asarray(made.store.array), np.repeat(mask[..., None] * np.uint8(255), 3, axis=-1))


@pytest.mark.parametrize(
    "names",
    [
        "images_train labels_train images_test labels_test",
        "x_train y_train x_test y_test",
        "train_images train_labels test_images test_labels",
        "X y X_test y_test",
    ],
)
def test_dicts_and_npz_files(tmp_path: Path, names: str) -> None:
    arrays = dict(zip(names.split(), (X[:4], np.array([[3], [7], [3], [7]]), X[4:], np.array([7, 3])), strict=True))
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    for data in (arrays, tmp_path / "d.npz"):
        source = open_source(data)
        assert source.classes == ("3", "7")
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, 0, 1, 1, 0]
        assert {s: len(r) for s, r in source.splits.items()} == {"train": 4, "test": 2}


def test_missing_labels_are_set_aside() -> None:
    source = open_source((X, np.array([0, 1, np.nan, 1, 0, np.nan])))
    assert [b.path for b in source.set_aside] == ["train[2]", "train[5]"]
    assert source.splits["train"].tolist() == [0, 1, 3, 4]


def test_negative_numbers_are_classes_too() -> None:
    assert open_source((X, [-1, 1] * 3)).classes == ("-1", "1")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((X, [0, 1]), ["6 images but 2 labels"]),
        ((X, np.eye(6)), ["argmax"]),
        ((X.astype(np.float32), [0, 1] * 3), ["float32 values", "to 255", "divide them by 255"]),
        ((X.astype(np.float32) - 99, [0, 1] * 3), ["float32 values", "Normalize"]),
        ((np.where(X > 99, np.nan, 0.5), [0, 1] * 3), ["not numbers (NaN)"]),
        ((X[0, 0, 0], [0, 1, 0]), ["have shape (3,)"]),
        ((X, [0.5, 1] * 3), ["0.5"]),
        ((X, [0] * 6), ["only one class"]),
        ({"images_train": X, "labels_tarin": [0] * 6}, ["labels are missing", "'labels_tarin'"]),
        ({"pixels": X}, ["no images_train"]),
        ({"train": (X, [0, 1] * 3), "test": (X[:, :5], [0, 1] * 3)}, ["different shapes"]),
        ({"train": (X, [0, 1] * 3), "test": (X, [0, 1, 2] * 2)}, ["test has 1 class", "2"]),
        (3, ["data=int cannot be read"]),
        ((X[:0], []), ["have shape"]),
    ],
)
def test_arrays_that_cannot_be_used(data: object, words: list[str]) -> None:
    if isinstance(data, tuple):
        data = (data[0], np.asarray(data[1]))
    message = refused(data)
    for word in words:
        assert word in message


def test_npz_files_that_cannot_be_used(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", images=np.array([object()]), labels=np.zeros(1))
    (tmp_path / "t.npz").write_bytes(b"no archive")
    assert "pickled" in refused(tmp_path / "o.npz")
    assert "cannot be read" in refused(tmp_path / "t.npz")
    np.savez(tmp_path / "cut.npz", images=np.zeros((9, 9)), labels=np.zeros(9))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-30])
    assert "cannot be read" in refused(tmp_path / "cut.npz")
    gc.collect()  # a file left open would warn here, and warnings are errors


# ----------------------------------------------------------------------------------------------- Datasets


class Pairs(Dataset[object]):
    """Any list of (picture, label) pairs as a map-style Dataset."""

    def __init__(self, pairs: list[object], classes: list[str] | None = None):
        self.pairs = pairs
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> object:
        item = self.pairs[place]
        if isinstance(item, Exception):
            raise item
        return item


def test_datasets_of_every_kind_of_picture(tmp_path: Path) -> None:
    kinds = [
        lambda n: picture(n, 12, 12),
        lambda n: X[n],
        lambda n: torch.from_numpy(X[n]).permute(2, 0, 1),
        lambda n: torch.from_numpy(X[n]).permute(2, 0, 1) / 255,
    ]
    for make in kinds:
        data = Pairs([(make(n), torch.tensor(n % 2)) for n in range(6)], ["no", "yes"])
        made = prepare(open_source(data), size=12, cache=tmp_path)
        np.testing.assert_array_equal(np.asarray(made.store.array), X)
        assert made.classes == ("no", "yes")
        assert made.labels.tolist() == [0, 1] * 3


def test_dataset_samples_that_fail_are_set_aside(tmp_path: Path) -> None:
    data = Pairs([(X[0], "a"), (X[1], "b"), ValueError("lost"), (X[2], None), ("text", "a"), (X[3], [1, 2]), (X[4], "b")])
    made = prepare(open_source(data), size=12, cache=tmp_path)
    assert made.names == ["train[0]", "train[1]", "train[6]"]
    reasons = dict(made.inspection.set_aside)
    assert "ValueError: lost" in reasons["train[2]"]
    assert reasons["train[3]"] == "has no label"
    assert "is a str" in reasons["train[4]"]
    assert "label is list" in reasons["train[5]"]


def test_datasets_by_split_and_classes_without_samples(tmp_path: Path) -> None:
    train = Pairs([(X[n], n % 2 + 1) for n in range(4)], ["nothing", "a", "b"])
    made = prepare(open_source({"train": train, "test": Pairs([(X[4], 1), (X[5], 2)])}), size=12, cache=tmp_path)
    assert made.classes == ("a", "b")
    assert made.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert made.splits["test"].tolist() == [4, 5]
    assert any("nothing" in note for note in made.inspection.notes)


def test_datasets_of_vectors(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    data = Pairs([*((torch.from_numpy(v), n % 2) for n, v in enumerate(vectors)), RuntimeError("x")])
    made = prepare(open_source(data), size=8, cache=tmp_path)
    np.testing.assert_array_equal(made.store.array, vectors)
    assert not made.store.is_image


class Stream(IterableDataset[object]):
    def __iter__(self) -> object:
        yield X[0], 0


def test_datasets_that_cannot_be_used(tmp_path: Path) -> None:
    assert "Stream cannot be read" in refused(Stream())
    assert "(picture, label) pairs are needed" in refused(Pairs([X[0]]))
    assert "no training samples" in refused(Pairs([]))
    with pytest.raises(DataError, match="labels 7 are outside of the 2 classes"):
        prepare(open_source(Pairs([(X[0], 0), (X[1], 7)], ["a", "b"])), size=8, cache=tmp_path)
    with pytest.raises(DataError, match="Normalize"):
        prepare(open_source(Pairs([(X[n] - 100.0, n) for n in range(2)])), size=8, cache=tmp_path)
