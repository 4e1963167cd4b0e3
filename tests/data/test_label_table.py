"""A table with a column per task: what it says of each image, and everything that can be wrong with it, by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_pictures import fill
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.catalog.asked import parse_tasks
from headstart.data.label_table import LabelTable, read_label_table
from headstart.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "images", range(6))
    return tmp_path


def read(folder: Path, text: str, *words: str, name: str = "labels.csv", **columns: str) -> LabelTable:
    (folder / name).write_text(text)
    return read_label_table(folder / name, parse_tasks(words), **columns)


def refused(folder: Path, text: str, *words: str, **columns: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(folder, text, *words, **columns)
    head, *lines = str(caught.value).splitlines()
    assert "cannot be used as it is" in head
    return [line.removeprefix("  - ") for line in lines]


GOOD = """path,digit,stop sign,age,tags,patient,split
0.png,7,yes,1.5,"a; c",p1,train
1.png,8,no,2.5,b,p1,train
2.png,7,no,9,c|a,p2,val
3.png,,,,none,p3,train
4.png,8,yes,3,b,p4,test
5.png,7,yes,7,,,train
"""


def test_every_kind(folder: Path) -> None:
    table = read(folder, GOOD)
    digit, sign, age, tags = table.answers
    assert (digit.kind, digit.classes, digit.labels.tolist()) == ("classes", ("7", "8"), [0, 1, 0, -1, 1, 0])
    assert (sign.name, sign.kind, sign.classes) == ("stop_sign", "yes_no", ("no", "yes"))
    assert sign.labels.tolist() == [1, 0, 0, -1, 1, 1]
    assert (age.kind, age.classes, age.labels.dtype) == ("number", (), np.float32)
    np.testing.assert_array_equal(age.labels, np.array([1.5, 2.5, 9, np.nan, 3, 7], np.float32))
    assert (tags.kind, tags.classes) == ("several", ("a", "b", "c"))
    assert tags.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [-1, -1, -1]]
    assert {split: rows.tolist() for split, rows in table.splits.items()} == {"train": [0, 1, 3, 5], "val": [2], "test": [4]}
    assert table.groups is not None
    assert [table.group_names[g] for g in table.groups] == ["p1", "p1", "p2", "p3", "p4", "(no group)"]
    assert [file.name for file in table.files] == [f"{i}.png" for i in range(6)]
    assert table.lines == tuple((i,) for i in range(2, 8))
    told = "\n".join(table.notes)
    for words in ("'digit': one of several classes", "3 times yes; unknown in 1 row", "1.5 to 9", "called 'stop_sign'"):
        assert words in told


def test_chosen_columns(folder: Path) -> None:
    text = "\n".join(line.rpartition(",")[0] for line in GOOD.splitlines())
    table = read(folder, text, "number=age", "d=digit:class", "who=patient")
    assert [made.name for made in table.answers] == ["number", "d", "who"]
    assert table.groups is None, "no usual name finds a column that is asked for"
    assert table.answers[2].classes == ("p1", "p2", "p3", "p4")


def test_several_columns_are_one_task(folder: Path) -> None:
    text = "file\tcar\tsign\n0.png\t1\t0\n1.png\t0\t\n2.png\tyes\tyes\n3.png\t\t\n"
    (one,) = read(folder, text.replace("3.png\t\t\n", ""), "seen=car+sign", name="t.tsv").answers
    assert (one.kind, one.classes, one.labels.tolist()) == ("several", ("car", "sign"), [[1, 0], [0, -1], [1, 1]])
    assert refused(folder, text, "seen=car+sign") == [
        "1 row has no label at all: line 5; label it for one task at least, or take it out"
    ]


def test_rows_that_say_nothing_of_the_chosen_tasks_are_left_out_and_counted(folder: Path) -> None:
    text = (
        ",path,a,b,c,patient\n0,0.png,x,,1,p\n1,1.png,y,u,,p\n2,2.png,,v,2,q\n3,0.png,,u,,p\n4,3.png,?,,3,r\n5,4.png,x,v,,\n"
    )
    assert len(read(folder, text)) == 5, "all tasks: rows of one image are joined, and none is without a label"
    table = read(folder, text, "a", "b")
    assert [file.name for file in table.files] == ["0.png", "1.png", "2.png", "4.png"]
    assert table.lines == ((2, 5), (3,), (4,), (7,))
    assert [made.labels.tolist() for made in table.answers] == [[0, 1, -1, 0], [0, 0, 1, 1]]
    assert table.groups is not None
    assert [table.group_names[group] for group in table.groups] == ["p", "p", "q", "(no group)"]
    assert table.notes[-1] == (
        "1 image of 5 was left out: nothing is known of it in any of the tasks chosen (first: line 6, 3.png)"
    )
    assert "4 images of 5" not in "".join(read(folder, text, "a", "c").notes), "every image has one of these"


def test_parts_are_those_of_the_images_that_are_left(folder: Path) -> None:
    text = "path,a,b,split\n0.png,x,,train\n1.png,,u,train\n2.png,y,v,train\n3.png,,u,test\n4.png,x,,test\n5.png,,v,train\n"
    table = read(folder, text, "a")
    assert {split: rows.tolist() for split, rows in table.splits.items()} == {"train": [0, 1], "test": [2]}
    assert table.answers[0].labels.tolist() == [0, 1, 0]
    (told,) = refused(folder, text.replace("4.png,x,", "4.png,,u"), "a")
    assert told == "task 'a' has no known label in test; label some, or leave the split out"


def test_only_rows_without_any_label_are_faulted_whatever_is_chosen(folder: Path) -> None:
    text = ",path,a,b,patient,split\n0,0.png,x,,p,train\n1,1.png,y,,p,train\n2,2.png,,u,p,train\n3,3.png,?,NA,p,train\n"
    for words in (("a",), ("a", "b:class"), ("a", "lost")):
        told = [line for line in refused(folder, text, *words) if "no label at all" in line]
        assert told == ["1 row has no label at all: line 5; label it for one task at least, or take it out"]


def test_a_row_of_too_few_cells_is_told_with_all_else(folder: Path) -> None:
    text = 'path,a,n\n0.png,x,1.5\n1.png,y\n2.png,x,old\n3.png,y,2.5,,\n4.png,y,3,"4",5\n5.png\n'
    told = "\n".join(refused(folder, text, "a", "n:number"))
    for words in (
        "rows must have as many cells as the header, 3: line 3 has 2, line 6 has 5, line 7 has 1; put text with a separator "
        "in it in quotes, and keep the separators of cells that are empty",
        "line 4 says 'old'",
        "1 row has no label at all: line 7",
    ):
        assert words in told
    assert "line 5" not in told, "cells beyond the header may be there as long as they are empty"


def test_a_column_with_a_plus_in_its_name(folder: Path) -> None:
    (one,) = read(folder, "path,a+b\n0.png,x\n1.png,y\n", "n=a+b").answers
    assert (one.name, one.kind, one.classes) == ("n", "classes", ("x", "y"))


def test_index_columns_are_left_out_and_it_is_told(folder: Path) -> None:
    table = read(folder, ",path,a\n0,0.png,x\n1,1.png,y\n")
    assert [made.name for made in table.answers] == ["a"]
    assert "without a name was left out" in table.notes[-1]


def test_rows_of_one_image_are_joined(folder: Path) -> None:
    text = (
        "path,a,n,car,sign\n0.png,x,,yes,\n1.png,y,2,no,no\nimages/0.png,,1,,yes\n0.png,x,1,yes,\n"
        f"{folder}/images/2.png,y,3,no,yes\n"
    )
    table = read(folder, text, "a", "n:number", "seen=car+sign")
    assert table.lines == ((2, 4, 5), (3,), (6,))
    a, n, seen = table.answers
    assert (a.labels.tolist(), n.labels.tolist(), seen.labels.tolist()) == ([0, 1, 1], [1, 2, 3], [[1, 1], [0, 0], [0, 1]])


def test_contradictions_name_both_lines(folder: Path) -> None:
    text = "path,a,n,t,split,patient\n0.png,x,1,u;v,train,p\n1.png,y,2.5,v,train,p\n0.png,y,3,u,test,q\n"
    text += "2.png,y,4,none,train,p\n"
    told = refused(folder, text)
    assert "task 'a': rows of one image contradict each other 1 time: 0.png: line 2 says 'x' and line 4 says 'y'" in told[0]
    assert "line 2 says '1' and line 4 says '3'" in told[1]
    assert "line 2 says 'v yes' and line 4 says 'v no'" in told[2]
    assert "different groups: 0.png: line 2 says 'p' and line 4 says 'q'" in told[3]
    assert "different splits: 0.png: line 2 says 'train' and line 4 says 'test'" in told[4]
    assert len(told) == 5


def test_all_problems_of_a_table_together(folder: Path) -> None:
    text = (
        "path,c,n,y,one,none,split\n"
        "0.png,a,1.5,yes,k,,train\n"
        "1.png,b,old,no,k,?,train\n"
        "2.png,c,inf,maybe,k,NA,test\n"
        "3.png,,,,,,train\n"
        "gone.png,a,2.5,no,k,,test\n"
        "4.png,b,1e99,yes,,,train,too,many\n"
        ",b,1,,k,,train\n"
        "5.png,a,1,no,k,,holdout\n"
    )
    told = "\n".join(refused(folder, text, "c", "n", "y", "one", "none"))
    for words in (
        "column 'n' must hold numbers, but line 3 says 'old'",
        "column 'n' must hold finite numbers, but line 4 says 'inf', line 7 says '1e99'",
        "column 'y' must say yes or no, but line 4 says 'maybe'",
        "task 'one' has one value only, 'k'",
        "column 'none' has no known label",
        "1 row has no label at all: line 5",
        "1 image is not there: line 6, gone.png does not exist",
        "without a path: line 8",
        "as the header, 7: line 7 has 9",
        "also says 'holdout' (line 9)",
    ):
        assert words in told
    told = "\n".join(refused(folder, text, "c", "n", "missing", "m=y+lost", "out=split", split_column="split"))
    for words in (
        "task 'missing': there is no column 'missing'",
        "task 'm': there is no column 'lost'",
        "its columns are: 'path', 'c', 'n', 'y', 'one', 'none', 'split'",
        "'split' is the split column",
        "line 3 says 'old'",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("path\n0.png\n", (), "there is no column of labels beside 'path'"),
        ("path,a\n", (), "no rows below its header"),
        ("a,b\nx,y\nz,y\n", ("a",), "usual name for the path"),
        ("path,a,a\n0.png,x,y\n1.png,y,x\n", ("a",), "several columns are called 'a'"),
        ("path,a b,a_b\n0.png,x,y\n1.png,y,x\n", (), "no name of its own can be made of column 'a_b', as of 'a b'"),
        ("path,a,split\n0.png,x,test\n1.png,y,test\n", (), "there are no training rows"),
        ("path,a,split\n0.png,x,train\n1.png,y,train\n2.png,z,test\n", (), "test has 1 class that train does not have: z"),
        ("path,a,split\n0.png,x,train\n1.png,x,train\n2.png,z,val\n", (), "one value only in train, 'x'"),
        (
            "path,a,b,split\n0.png,x,u,train\n1.png,y,v,train\n2.png,,u,val\n",
            (),
            "task 'a' has no known label in val; label some",
        ),
        (
            "path,a,b\n0.png,1,u\n1.png,1,v\n",
            ("s=a+b",),
            "column 'b' must say yes or no, but line 2 says 'u', line 3 says 'v'",
        ),
        ("path,a,b\n0.png,1,1\n1.png,1,0\n2.png,1,\n", ("s=a+b",), "'a' is never no"),
        ("path,a\n0.png,x;y\n1.png,x\n2.png,none\n", (), ""),
        ("path,a\n0.png,none\n1.png,none\n", ("a:several",), "names no question"),
        ("path,a,y\n0.png,u,1\n1.png,v,\n2.png,v,1\n", (), "'yes' (an empty cell means unknown; write no where it is no)"),
        ("path,n\n0.png,2\n1.png,2.0\n", ("n:number",), "one value only, '2'"),
        ("path,n\n0.png,1\n1.png,7\n", ("m=n:yes/no",), "line 3 says '7'; leave a cell empty if unknown, or say m=n:number"),
        ("path,n\n0.png,2\n1.png,two\n", ("n:number",), "line 3 says 'two'"),
    ],
)
def test_single_problems(folder: Path, text: str, words: tuple[str, ...], told: str) -> None:
    if told:
        assert told in "\n".join(refused(folder, text, *words))
    else:
        assert read(folder, text, *words).answers[0].classes == ("x", "y")


def test_long_lists_are_cut_with_a_count(folder: Path) -> None:
    text = "path,n\n" + "".join(f"lost{i}.png,word{i}\n" for i in range(30)) + "".join(f"0.png,{i}.5\n" for i in range(70))
    told = refused(folder, text, "n:number")
    assert "line 2 says 'word0'" in told[0]
    assert "and 25 more" in told[0]
    assert any("30 images are not there: line 2, lost0.png" in line and "and 25 more" in line for line in told)


def test_words_that_are_no_classes(folder: Path) -> None:
    fill(folder / "images", range(6, 30))
    text = "path,a,comment\n" + "".join(f"{i}.png,{'xy'[i % 2]},remark {i}\n" for i in range(30))
    (told,) = refused(folder, text)
    assert "column 'comment' holds 30 different words in 30 rows" in told
    assert len(read(folder, text, "comment:class").answers[0].classes) == 30, "unless asked for"


ODD = ["", "?", "yes", "0", "3.0", "1.5", "inf", "1e50", "a", "a;b", "none", ";", "|", "maybe", "ä"]
POOLS = [
    ["yes", "no", ""],
    ["1", "2", "3.0", "?"],
    ["a", "b", "ä"],
    ["1.5", "2", "-3e2", ""],
    ["a;b", "none", "b|a", ""],
    ODD,
]


@st.composite
def rows_of_cells(draw: st.DrawFn) -> list[list[str]]:
    """Columns that mostly make sense, and sometimes a row too short or an odd cell."""
    pools = [st.sampled_from(draw(st.sampled_from(POOLS))) for _ in range(4)]
    rows = [[draw(pool) for pool in pools] for _ in range(draw(st.integers(0, 9)))]
    if rows and draw(st.booleans()):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, 3))] = draw(st.sampled_from(ODD))
        del row[draw(st.integers(2, 4)) :]
    return rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows_of_cells(),
    st.lists(
        st.sampled_from(["x", "y z", "type", "1st", "x:several", "y z:number", "n=x+y z", "x:yes_no", "gone"]), max_size=3
    ),
    st.sampled_from([[], [], [], ["train"], ["train", "test"], ["train", "train", "val", ""]]),
)
def test_whatever_a_table_holds_it_is_read_or_refused(
    folder: Path, rows: list[list[str]], words: list[str], splits: list[str]
) -> None:
    lines = ["path,x,y z,type,1st" + (",split" if splits else "")]
    for number, cells in enumerate(rows):
        said = [*cells, *[""] * (4 - len(cells))]
        lines.append(",".join([f"{number % 6}.png", *said, *([splits[number % len(splits)]] if splits else [])]))
    path = folder / "fuzz.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        table = read_label_table(path, parse_tasks(dict.fromkeys(words)))
    except (DataError, ConfigError):
        return
    left_out = [int(note.split()[0]) for note in table.notes if "left out: nothing is known" in note]
    assert len(table) + sum(left_out) == len({n % 6 for n in range(len(rows))})
    there = {(line - 2) % 6 for lines_ in table.lines for line in lines_}
    assert sorted(line for lines_ in table.lines for line in lines_) == [n + 2 for n in range(len(rows)) if n % 6 in there]
    assert np.any([made.known for made in table.answers], axis=0).all()
    for made in table.answers:
        assert made.labels.shape == ((len(table), len(made.classes)) if made.kind == "several" else (len(table),))
        assert made.known.any()
        if made.kind == "number":
            assert np.isfinite(made.labels[made.known]).all()
        else:
            assert made.labels.min() >= -1
            assert made.labels.max() < (2 if made.kind == "several" else len(made.classes))
