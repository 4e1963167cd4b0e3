"""Formulas of a training's progress, read from text without ever being run as code; torch-free.

    1 - 0.5 * t            epoch < 5            exp(-3 * t) if epoch > 2 else 1

Names: `t` (share of the training that is done before this step, 0 at the first), `epoch` (from 1), `epochs` (how many there
are), `step` (steps done before this one), `pi`. Functions: min, max, abs, exp, log, sqrt, sin, cos. Arithmetic
`+ - * / // % **`, comparisons (true is 1, false is 0), `and`, `or`, `not`, and `a if c else b`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NAMES = ("t", "epoch", "epochs", "step", "pi")
MOVING = frozenset({"t", "step"})
"""Names whose value changes within an epoch."""
_LONGEST, _DEEPEST = 1000, 60

_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int | None]] = {
    "min": (min, 2, None),
    "max": (max, 2, None),
    "abs": (abs, 1, 1),
    "exp": (math.exp, 1, 1),
    "log": (math.log, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
}
"""Name -> what it computes, and how many arguments it takes at least and at most."""


def _power(base: float, exponent: float) -> float:
    """Raises ValueError instead of leaving the real numbers."""
    found = operator.pow(base, exponent)
    if isinstance(found, complex):
        raise ValueError
    return float(found)


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: lambda value: float(not value),
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A formula that was read and found to be one.

    text   as it was written
    tree   what it means
    names  of what it asks for, a part of `NAMES`
    """

    text: str
    tree: ast.expr
    names: frozenset[str]

    @property
    def moves(self) -> bool:
        """Whether its value can change within an epoch."""
        return bool(self.names & MOVING)

    def at(self, values: Mapping[str, float]) -> float:
        """Its value. Raises ValueError saying what is wrong with it: a division by zero, a root of a negative number..."""
        try:
            found = _value(self.tree, values)
        except ZeroDivisionError:
            raise ValueError("divides by zero") from None
        except OverflowError:
            raise ValueError("is too large for a number") from None
        except ValueError:
            raise ValueError("takes a root or a logarithm that does not exist") from None
        return float(found)


def expression(text: str) -> Expression:
    """Read a formula. Raises ValueError with all that is wrong with it, on one line."""
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        faults = list(dict.fromkeys(_faults(tree)))
    except SyntaxError as error:
        raise ValueError(f"cannot be read ({error.msg})") from None
    except (RecursionError, MemoryError, ValueError):
        raise ValueError("cannot be read") from None
    if faults:
        raise ValueError("; ".join(faults))
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return Expression(text.strip(), tree, frozenset(names))


def _faults(node: ast.expr, depth: int = 0) -> Iterator[str]:
    """What in a formula is no part of one."""
    if depth > _DEEPEST:
        yield f"is nested more than {_DEEPEST} deep"
        return
    for child in _parts(node):
        yield from _faults(child, depth + 1)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            yield f"{node.value!r} is not a number"
    elif isinstance(node, ast.Name):
        if node.id not in NAMES:
            yield f"{node.id!r} is unknown: there are {', '.join(NAMES)}"
    elif isinstance(node, ast.Call):
        yield from _call_faults(node)
    elif isinstance(node, (ast.BinOp, ast.UnaryOp)):
        if type(node.op) not in _OPERATORS:
            yield f"{type(node.op).__name__} is no arithmetic"
    elif isinstance(node, ast.Compare):
        yield from (f"{type(op).__name__} compares no numbers" for op in node.ops if type(op) not in _OPERATORS)
    elif not isinstance(node, (ast.BoolOp, ast.IfExp)):
        yield f"{ast.unparse(node)!r} is no arithmetic"


def _call_faults(node: ast.Call) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in _FUNCTIONS or not isinstance(node.func, ast.Name):
        yield f"{name!r} is no function here: there are {', '.join(_FUNCTIONS)}"
        return
    _, least, most = _FUNCTIONS[name]
    starred = any(isinstance(one, ast.Starred) for one in node.args)
    if node.keywords or starred or len(node.args) < least or (most is not None and len(node.args) > most):
        yield f"{name} takes {'one number' if most == 1 else f'{least} numbers or more'}"


def _parts(node: ast.expr) -> list[ast.expr]:
    """The formulas that a formula is made of."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.BoolOp):
        return list(node.values)
    if isinstance(node, ast.IfExp):
        return [node.test, node.body, node.orelse]
    if isinstance(node, ast.Call):
        return [one for one in node.args if not isinstance(one, ast.Starred)]
    return []


def _value(node: ast.expr, values: Mapping[str, float]) -> Any:
    """The value of a formula that `_faults` found nothing wrong with. Numbers are floats, so that powers overflow early."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, values) else node.orelse, values)
    if isinstance(node, ast.BoolOp):
        found = [bool(_value(one, values)) for one in node.values]
        return float(all(found) if isinstance(node.op, ast.And) else any(found))
    parts = [_value(one, values) for one in _parts(node)]
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id][0](*parts)
    if isinstance(node, ast.Compare):
        pairs = zip(node.ops, parts, parts[1:], strict=False)
        return float(all(_OPERATORS[type(op)](left, right) for op, left, right in pairs))
    assert isinstance(node, (ast.BinOp, ast.UnaryOp))
    return _OPERATORS[type(node.op)](*parts)
