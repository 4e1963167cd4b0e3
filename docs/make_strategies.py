"""Write docs/strategies.md from the strategies' own docstrings and settings: `python docs/make_strategies.py`."""

from __future__ import annotations

import ast
import inspect
import itertools
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from headstart.catalog import strategies as settings
from headstart.strategies import STRATEGIES

HERE = Path(__file__).parent


def field_docs(kind: type) -> dict[str, str]:
    """The string under each field of a dataclass."""
    body = next(n for n in ast.parse(inspect.getsource(kind)).body if isinstance(n, ast.ClassDef)).body
    docs = {}
    for before, after in itertools.pairwise(body):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            docs[before.target.id] = " ".join(str(getattr(after.value, "value", "")).split())
    return docs


def table(kind: type) -> list[str]:
    """Settings of a dataclass as a Markdown table."""
    docs = field_docs(kind)
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for one in fields(kind):
        default: Any = one.default if one.default is not MISSING else "required"
        text = "see Recipe" if is_dataclass(default) else f"`{default}`"
        lines.append(f"| `{one.name}` | {text} | {docs.get(one.name, 'how it trains')} |")
    return lines


def config_of(name: str) -> type:
    """The settings of a strategy: the annotation of its third parameter."""
    annotation = list(inspect.signature(STRATEGIES[name]).parameters.values())[2].annotation
    kind = getattr(settings, str(annotation).split(" ")[0])
    assert isinstance(kind, type)
    return kind


def page() -> str:
    """The whole page."""
    lines = ["# Strategies", "", "Written by `python docs/make_strategies.py` from the code's own words.", ""]
    for name, strategy in STRATEGIES.items():
        lines += [f"## {name}", "", inspect.getdoc(strategy) or "", "", *table(config_of(name)), ""]
    lines += ["## Recipe", "", inspect.getdoc(settings.Recipe) or "", "", *table(settings.Recipe), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    (HERE / "strategies.md").write_text(page(), encoding="utf-8")
