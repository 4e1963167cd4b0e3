"""Which methods can keep answers that are not one class of several."""

from __future__ import annotations

from headstart.catalog.continual import METHODS
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems


def kind_faults(method: str, past: Past) -> list[str]:
    """What stands against a method with the questions that a model answers, in words."""
    odd = [one for one in past.tasks if not one.one_class]
    if not odd or METHODS[method].any_kind:
        return []
    told = " and ".join(f"{one.name} ({'a number' if one.kind == 'number' else 'several yes/no questions'})" for one in odd)
    others = ", ".join(name for name, one in METHODS.items() if one.any_kind and past.scenario in one.scenarios)
    return [f"it keeps answers that are one class each, and not {told}. Those that can: {others}"]


def check_kinds(method: str, past: Past) -> None:
    """Raise ConfigError for a method that cannot keep what the model answers."""
    problems(ConfigError, f"{method} cannot be done as asked:", kind_faults(method, past))
