"""What cells say, and how the kind of a column follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.label_words import class_words, infer_kind, is_unknown, number, words_of, yes_or_no


@pytest.mark.parametrize("text", ["", "NA", "n/a", "NaN", "null", "?", "Unknown"])
def test_unknown(text: str) -> None:
    assert is_unknown(text)


@pytest.mark.parametrize(
    ("words", "answer"),
    [("yes Y True t 1 1.0 +", 1), ("No n FALSE f 0 0.0 - \N{MINUS SIGN}", 0), ("2 maybe ja none", None)],
)
def test_yes_and_no(words: str, answer: int | None) -> None:
    assert {yes_or_no(word) for word in words.split()} == {answer}


@given(st.floats(allow_nan=False))
def test_every_way_python_writes_a_number(value: float) -> None:
    assert number(repr(value)) == value


@pytest.mark.parametrize("text", ["", "1_000", "1,5", "0x10", "1 2", "nan", "e5", "one"])
def test_no_numbers(text: str) -> None:
    assert number(text) is None


def test_several_words() -> None:
    assert words_of("car; stop sign|light ;") == ["car", "stop sign", "light"]
    assert words_of("none") == words_of("-") == []
    assert class_words(["3.0", "4", "-1.00"]) == ["3", "4", "-1"]
    assert class_words(["3.0", "x"]) == ["3.0", "x"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["cat", "dog", "cat"], "classes"),
        ([str(i % 10) for i in range(60)], "classes"),
        ([str(i) for i in range(10)], "classes"),  # counted from 0
        ([str(i) for i in range(1, 8)], "classes"),  # counted from 1
        (["10", "20", "10", "20", "30", "30"], "classes"),  # few, each twice
        ([str(i % 100) for i in range(1000)], "classes"),  # many ids, ten times each
        ([str(i % 100) for i in range(900)], "number"),  # too rare for ids
        (["10", "23", "31", "44"], "number"),  # every one of its own
        (["1.5", "2", "3"], "number"),
        ([str(i * 3) for i in range(40)], "number"),
        (["0", "1", "1"], "yes_no"),
        (["0.0", "1.0"], "yes_no"),
        (["1", "1"], "yes_no"),
        (["yes", "No", "y"], "yes_no"),
        (["+", "-"], "yes_no"),
        (["a;b", "c"], "several"),
        (["a|b"], "several"),
        (["0", "1", "2", "1", "0"], "classes"),
        (["1.5", "2.5", "3.5", "old"], "number"),  # the text is a problem, not a class
        (["1.5", "old", "young", "old"], "classes"),
        (["yes"] * 9 + ["no"] * 9 + ["maybe"] * 2, "yes_no"),  # a slip
        (["yes", "no", "yes", "no", "maybe"], "yes_no"),  # a slip
        (["yes", "no", "maybe"] * 4, "classes"),
        (["inf", "1.5", "2"], "number"),
    ],
)
def test_kinds(cells: list[str], kind: str) -> None:
    made, why = infer_kind(cells)
    assert made == kind
    assert why
    assert infer_kind(cells[::-1])[0] == kind, "the order of rows does not matter"


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20))
def test_a_kind_is_found_for_anything(cells: list[str]) -> None:
    assert infer_kind(cells)[0] in ("classes", "yes_no", "several", "number")
