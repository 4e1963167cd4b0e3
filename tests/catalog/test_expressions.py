"""Formulas: what they mean, and that nothing else is ever run."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.catalog.expressions import NAMES, expression

AT = {"t": 0.25, "epoch": 3.0, "epochs": 10.0, "step": 7.0, "pi": math.pi}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 - 0.5 * t", 0.875),
        ("epoch < 5", 1.0),
        ("epoch >= 5", 0.0),
        ("1 < epoch <= 3", 1.0),
        ("exp(-3*t)", math.exp(-0.75)),
        ("2 if epoch > 2 and t < 0.2 else 3", 3.0),
        ("max(0, 1 - t, 0.5)", 0.75),
        ("min(t, 1) ** 2", 0.0625),
        ("step // 2 + step % 2", 4.0),
        ("not t", 0.0),
        ("(t == 0.25) or (epoch != 3)", 1.0),
        ("sin(pi / 2) + cos(0) + log(1) + sqrt(4) + abs(-1)", 5.0),
        (" -2 ** 2 ", -4.0),
        ("1e-3", 0.001),
    ],
)
def test_values(text: str, value: float) -> None:
    assert expression(text).at(AT) == pytest.approx(value)


def test_only_the_branch_that_is_taken_is_computed() -> None:
    assert expression("1 / (epoch - 3) if epoch != 3 else 2").at(AT) == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", "is no function here"),
        ("t.real", "is no arithmetic"),
        ("[t]", "is no arithmetic"),
        ("lambda: 1", "is no arithmetic"),
        ("(x := 3)", "is no arithmetic"),
        ("f'{t}'", "is no arithmetic"),
        ("tt + foo(1)", "'tt' is unknown.*'foo' is no function"),
        ("exp", "'exp' is unknown"),
        ("exp(1, 2)", "exp takes one number"),
        ("max(1)", "max takes 2 numbers or more"),
        ("max(*t, 1)", "takes 2 numbers"),
        ("exp(x=1)", "takes one number"),
        ("'1'", "is not a number"),
        ("True", "is not a number"),
        ("1j", "is not a number"),
        ("t @ t", "MatMult is no arithmetic"),
        ("1 is 1", "Is compares no numbers"),
        ("~1", "Invert is no arithmetic"),
        ("1 +", "cannot be read"),
        ("", "cannot be read"),
        ("t = 3", "cannot be read"),
        ("(" * 400 + ")" * 400, "cannot be read"),
        ("-" * 900 + "t", "nested more than 60 deep"),
        ("1 + " * 300 + "1", "longer than 1000"),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_anything_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _ = expression(text).at(AT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / (epoch - 3)", "divides by zero"),
        ("1 % (epoch - 3)", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("exp(1000)", "too large"),
        ("9 ** 9 ** 9", "too large"),
        ("log(t - 1)", "does not exist"),
        ("sqrt(t - 1)", "does not exist"),
        ("(-2) ** 0.5", "does not exist"),
        ("((-2) ** 0.5) < 1", "does not exist"),
    ],
)
def test_values_that_do_not_exist_are_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        expression(text).at(AT)


def test_names_say_when_it_changes() -> None:
    assert expression("exp(-epoch) + pi").names == {"epoch", "pi"}
    assert not expression("exp(-epoch / epochs)").moves
    assert expression("1 - t").moves
    assert expression("step < 9").moves


def _formulas() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(NAMES), st.integers(0, 9).map(str))

    def grow(inner: Any) -> Any:
        pair = st.tuples(inner, st.sampled_from(["+", "-", "*", "<", ">=", "=="]), inner)
        return st.one_of(pair.map(lambda p: f"({p[0]} {p[1]} {p[2]})"), inner.map(lambda x: f"abs({x})"))

    return st.recursive(leaves, grow, max_leaves=12)


@given(_formulas())
@settings(max_examples=80, deadline=None)
def test_equals_what_python_computes(text: str) -> None:
    want = eval(text, {"__builtins__": {"abs": abs}}, dict(AT))  # of our own making, in a test
    assert expression(text).at(AT) == pytest.approx(float(want))
