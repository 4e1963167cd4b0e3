"""What the user asks of a table of labels: the words of `--tasks`, understood without looking at the table; torch-free.

NAME                   the column NAME; what kind of answers it holds is seen in them
NAME:KIND              the same, the kind said: class, yes_no, several or number
NAME=COLUMN            a column that is called otherwise, `NAME=COLUMN:KIND` with its kind
NAME=COL1+COL2+COL3    several yes/no columns as one task of several questions
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headstart.catalog.kinds import Kind
from headstart.errors import ConfigError, problems

KIND_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("class", "classes", "category"), "classes"),
    **dict.fromkeys(("yes_no", "yesno", "yes", "binary"), "yes_no"),
    **dict.fromkeys(("several", "tags", "multilabel"), "several"),
    **dict.fromkeys(("number", "numbers", "numeric"), "number"),
}
"""How a kind may be written; upper case, `/`, `-` and blanks are folded first (`yes/no`)."""

# A head lies in a module under its task's name, where these names mean something else.
_TAKEN = """T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double
dump_patches
eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys load_state_dict
modules mtia named_buffers named_children named_modules named_parameters parameters pop register_backward_hook
register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule
share_memory state_dict to to_empty train training type update values xpu zero_grad"""
TAKEN = frozenset(_TAKEN.split())


@dataclass(frozen=True)
class Asked:
    """One task as the user asked for it.

    name     a plain identifier, which names the task's head too
    columns  of the table that hold its answers; more than one are yes/no questions asked together
    kind     of its answers; None: seen in them
    note     what was changed about the name, in words; empty: nothing
    """

    name: str
    columns: tuple[str, ...]
    kind: Kind | None = None
    note: str = ""


def plain_name(text: str) -> str:
    """The same name as an identifier: `stop sign` -> `stop_sign`, `3d` -> `_3d`; empty where no letter or digit is in it.

    Names that a module already uses for something else (`type`, `items`, `train`) get `_task` behind them.
    """
    name = re.sub(r"\W+", "_", text.strip()).strip("_") or ""
    if name and not name.isidentifier():
        name = f"_{name}"
    name = f"{name}_task" if name in TAKEN else name
    return name if name.isidentifier() and not name.startswith("__") else ""


def asked_column(column: str, kind: Kind | None = None) -> Asked | None:
    """A column asked for by its own name; None where no identifier can be made of it."""
    name = plain_name(column)
    return Asked(name, (column,), kind, _renamed(column, name)) if name else None


def parse_tasks(words: Iterable[str]) -> tuple[Asked, ...]:
    """The words of `--tasks`, one task each. Raises ConfigError with everything that is wrong, all words together."""
    wrong: list[str] = []
    made = [one for one in (_parse(word, wrong) for word in words) if one is not None]
    seen: dict[str, Asked] = {}
    for one in made:
        if one.name in seen:
            first, second = (" + ".join(map(repr, each.columns)) for each in (seen[one.name], one))
            wrong.append(f"two tasks are called {one.name!r}: {first} and {second}; say OTHER=COLUMN for one of them")
        seen.setdefault(one.name, one)
    problems(ConfigError, "--tasks cannot be understood:", wrong)
    return tuple(made)


def _parse(word: str, wrong: list[str]) -> Asked | None:
    text, kind = _kind(word.strip(), wrong)
    name, equals, rest = text.partition("=")
    columns = tuple(part.strip() for part in rest.split("+")) if equals else (text.strip(),)
    if not all(columns):
        wrong.append(f"{word!r} names no column; say NAME, NAME:KIND, NAME=COLUMN:KIND or NAME=COL1+COL2")
        return None
    if len(set(columns)) < len(columns):
        wrong.append(f"{word!r} names a column twice")
    if len(columns) > 1 and kind not in (None, "several"):
        wrong.append(f"{word!r}: columns joined by + are several yes/no questions, not {kind}; leave the kind out")
    plain = plain_name(name)
    if not plain:
        wrong.append(f"{word!r}: no name can be made of {name!r}; say NAME={rest or text} with letters, digits and _")
        return None
    return Asked(plain, columns, "several" if len(columns) > 1 else kind, _renamed(name.strip(), plain))


def _kind(word: str, wrong: list[str]) -> tuple[str, Kind | None]:
    """The word without its kind, and the kind."""
    text, colon, said = word.rpartition(":")
    if not colon:
        return word, None
    kind = KIND_WORDS.get(re.sub(r"[\s/\-]+", "_", said.strip().casefold()))
    if kind is None:
        wrong.append(
            f"{word!r}: {said.strip()!r} is not a kind of answer; the kinds are class, yes_no, several and number "
            "(of a column with a colon in its name, say the kind too)"
        )
    return text, kind


def _renamed(given: str, name: str) -> str:
    return "" if given == name else f"{given!r} is called {name!r}, since a task's name is one plain word"
