"""Write docs/strategies.md, and the table in docs/extend.md, from the code's own words: `python docs/make_strategies.py`."""

from __future__ import annotations

import ast
import inspect
import itertools
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from headstart.catalog import strategies as settings
from headstart.catalog.continual import METHODS, SCENARIOS, Learn, Method
from headstart.strategies import STRATEGIES
from headstart.strategies.continual import CONTINUAL
from headstart.studies.extend import config_class

HERE = Path(__file__).parent
EXTEND = HERE / "extend.md"


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
        made = "required" if one.default_factory is MISSING else one.default_factory()
        default: Any = one.default if one.default is not MISSING else made
        text = f"see {type(default).__name__}" if is_dataclass(default) else f"`{default}`"
        lines.append(f"| `{one.name}` | {text} | {docs.get(one.name, 'how it trains')} |")
    return lines


def needed(method: Method) -> str:
    """What a method needs of old images, in words."""
    if method.old_data:
        return "all old images"
    if method.memory:
        return "a memory of old samples, filled from the old images once where the model has none"
    return "nothing, or the old images once where the model has no state" if method.state_from_old else "nothing"


KEPT = {
    "ewc": "importances and anchors",
    "si": "importances",
    "mas": "importances",
    "packnet": "each weight's task",
    "replay": "samples",
    "der": "samples with logits",
    "derpp": "samples with logits",
    "agem": "samples",
    "icarl": "samples",
    "expand": "a column per task",
}
"""What a model that was taught so carries along, besides network and heads."""


def overview() -> str:
    """All methods as a Markdown table."""
    rows = ["| method | family | of old images | the model keeps | scenarios | limits |", "|---|---|---|---|---|---|"]
    for name, method in METHODS.items():
        scenarios = "all" if method.scenarios == SCENARIOS else ", ".join(method.scenarios)
        cells = [f"`{name}`", method.family, needed(method), KEPT.get(name, "-"), scenarios, method.limits]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def extend_page(page: str) -> str:
    """docs/extend.md with that table between its marks."""
    before, rest = page.split("<!-- methods -->\n")
    _, after = rest.split("<!-- /methods -->")
    return f"{before}<!-- methods -->\n{overview()}\n<!-- /methods -->{after}"


def continual() -> list[str]:
    """The second part: methods of `headstart extend`."""
    lines = [
        "# Methods that learn one task more",
        "",
        "For `headstart extend`; [extend.md](extend.md) says how to choose.",
        "",
    ]
    for name, method in METHODS.items():
        kind = config_class(name)
        scenarios = ", ".join(one for one in SCENARIOS if one in method.scenarios)
        facts = f"*{method.family.capitalize()}.* Scenarios: {scenarios}. Of old images it needs {needed(method)}."
        limits = f"Limits: {method.limits}."
        lines += [
            f"## {name}",
            "",
            inspect.getdoc(CONTINUAL[name]) or "",
            "",
            facts,
            "",
            limits,
            "",
            *table(kind),
            *changed(kind),
        ]
    return [*lines, "## Learn", "", inspect.getdoc(Learn) or "", "", *table(Learn), ""]


def changed(kind: type) -> list[str]:
    """What a method's own `Learn` has other than the usual one."""
    usual, own = Learn(), kind().learn
    said = [
        f"`{one.name}` {getattr(part, one.name)}"
        for part, other in ((own, usual), (own.recipe, usual.recipe))
        for one in fields(part)
        if getattr(part, one.name) != getattr(other, one.name) and one.name != "recipe"
    ]
    return ["", f"Of Learn and Recipe it has by default {', '.join(said)}.", ""] if said else [""]


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
    lines += continual()
    lines += ["## Recipe", "", inspect.getdoc(settings.Recipe) or "", "", *table(settings.Recipe), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    (HERE / "strategies.md").write_text(page(), encoding="utf-8")
    EXTEND.write_text(extend_page(EXTEND.read_text(encoding="utf-8")), encoding="utf-8")
