"""The order of rooms, read from the imports: a room imports only rooms above it, and a few words stay in their rooms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import headstart

HOUSE = Path(headstart.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))

ROOMS = (
    "errors",
    "seeding",
    "files",
    "catalog",
    "data",
    "nets",
    "losses",
    "terms",
    "balance",
    "stage",
    "metrics",
    "engine",
    "strategies",
    "transferability",
    "studies",
    "export",
    "report",
    "jobs",
    "api",
    "api_studies",
    "cli",
)
"""From the ground up. `__init__` and `__main__` are the doors and may open on every room; assets hold no code."""

NO_TORCH = ("catalog", "report", "cli")
HEAVY = ("torch", "torchvision", "timm")


METHODS = {"probe", "early_probe", "partial", "full", "lpft", "retrain", "gradual", "distill", "born_again"}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_tree(path)))


def _name(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def _room(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def _imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported, inside functions too."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not function bodies, not what only a type checker sees."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += ast.iter_child_nodes(node)


def _calls(path: Path) -> Iterator[tuple[str, str, dict[str | None, str]]]:
    """Place, text of what is called, and its keyword arguments, for every call."""
    for node in _nodes(path):
        if isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            yield f"{_name(path)}:{node.lineno}", ast.unparse(node.func), given


def test_every_room_is_in_the_list() -> None:
    assert {_room(path) for path in FILES} <= {*ROOMS, "__init__", "__main__", "assets"}


def test_a_room_imports_only_rooms_above_it() -> None:
    faults = []
    for path in FILES:
        if (room := _room(path)) not in ROOMS:
            continue
        below = set(ROOMS[ROOMS.index(room) + 1 :])
        faults += [
            f"{_name(path)}:{line} imports {name}"
            for line, name in _imported(_nodes(path))
            if name.startswith("headstart.") and name.split(".")[1] in below
        ]
    assert not faults


def test_no_torch_at_import() -> None:
    files = [path for path in FILES if _room(path) in NO_TORCH]
    faults = [(_name(p), name) for p in files for _, name in _imported(_at_import(_tree(p))) if name.split(".")[0] in HEAVY]
    assert files
    assert not faults


def test_the_engine_knows_no_method_by_name() -> None:
    """Neither as an import nor as a word it compares with."""
    faults = []
    for path in (path for path in FILES if _room(path) == "engine"):
        imports = [name for _, name in _imported(_nodes(path))]
        faults += [n for n in imports if n.startswith(("headstart.strategies", "headstart.catalog.strategies"))]
        comparisons = (node for node in _nodes(path) if isinstance(node, ast.Compare))
        words = {node.value for one in comparisons for node in ast.walk(one) if isinstance(node, ast.Constant)}
        faults += [f"{_name(path)} compares with {word!r}" for word in words & METHODS]
    assert not faults


def test_steps_are_taken_in_one_place() -> None:
    """`backward`, `step` and `zero_grad` are called in engine/fit.py and balance/ only (contract 3).

    `inputs.step(index)` asks for a batch and moves nothing.
    """
    moves = re.compile(r"\.(backward|zero_grad)$|(optimi[sz]er|schedul\w*)\.step$")
    files = [path for path in FILES if _name(path) != "engine/fit.py" and _room(path) != "balance"]
    assert not [(place, text) for path in files for place, text, _ in _calls(path) if moves.search(text)]


def test_nothing_is_unpickled() -> None:
    """Except weight files a person names, and those with `weights_only=True` (contract 10)."""
    faults = []
    for path in FILES:
        weights = _name(path) == "nets/weights.py"
        imported = {name.split(".")[0] for _, name in _imported(_nodes(path))}
        unsafe = {"dill", "cloudpickle", "joblib", "shelve", "marshal"} | (set() if weights else {"pickle"})
        faults += [f"{_name(path)} imports {name}" for name in imported & unsafe]
        for place, called, given in _calls(path):
            wrong = called.startswith(("pickle.load", "pickle.Unpickler")) or given.get("allow_pickle", "False") != "False"
            wrong |= called == "torch.load" and not (weights and given.get("weights_only") == "True")
            faults += [f"{place}: {called}"] if wrong else []
    assert not faults


def test_no_star_imports() -> None:
    nodes = ((path, node) for path in FILES for node in _nodes(path) if isinstance(node, ast.ImportFrom))
    assert not [_name(path) for path, node in nodes if node.names[0].name == "*"]


def test_no_global_random_numbers() -> None:
    """Numbers come from named streams. The two places that seed global generators put them back afterwards."""
    forked = ("nets/rng.py", "engine/fit.py")
    numpy = re.compile(r"(np|numpy)\.random\.(?!default_rng|Generator|SeedSequence|PCG64|Philox)|random\.\w+$")
    torch = re.compile(r"torch\.(manual_seed|rand|randn|randperm|randint|normal|bernoulli|multinomial)$")
    faults = []
    for path in (path for path in FILES if _name(path) not in forked):
        for place, text, given in _calls(path):
            if numpy.match(text) or (torch.match(text) and "generator" not in given):
                faults.append(f"{place}: {text}")
    assert not faults


def test_files_and_functions_stay_small() -> None:
    """400 lines a file, 50 a function."""
    faults = [_name(path) for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    for path in FILES:
        for node in _nodes(path):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                faults += [f"{_name(path)}:{node.lineno} {node.name} has {length} lines"] if length > 50 else []
    assert not faults
