"""Who may import whom: the table of ARCHITECTURE.md, and the other rules of the rooms, kept."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "bench",
    "celeryconfig",
    "db",
    "deploy",
    "environment",
    "migrations",
    "operators",
    "supervision",
    "pipelines",
    "streams",
    "tasks",
    "tracing",
    "webapp",
)

# What a pure module may not import.
OUTSIDE_WORLD = {
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "mmap", "fcntl"),
    *("socket", "ssl", "http", "urllib", "subprocess", "multiprocessing"),
    *("threading", "asyncio", "concurrent"),
    *("time", "random", "secrets", "uuid", "logging", "warnings", "signal", "getpass", "platform", "sqlite3"),
}
CALLS_TO_THE_OUTSIDE_WORLD = {"open", "print", "input", "now", "utcnow", "today", "getenv"}


@dataclass(frozen=True, slots=True)
class ImportRule:
    """What the modules below one name may import, besides each other and the standard library."""

    ours: frozenset[str]
    theirs: frozenset[str]
    pure: bool


PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def table(heading: str, *columns: str) -> list[list[str]]:
    """The cells of the first table below a heading. Raises ValueError when it has other columns."""
    lines = PAGE.partition(f"\n{heading}\n")[2].splitlines()
    rows = list(takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: line[:1] != "|", lines)))
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    if cells[:1] != [list(columns)] or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"not a table of {columns}: {rows[:1]}")
    return cells[2:]


def rules() -> dict[str, ImportRule]:
    """The rows of *Who imports whom*, by module. Raises ValueError for a row that it cannot read."""
    found: dict[str, ImportRule] = {}
    for module, ours, theirs, pure in table(
        "### Who imports whom", "modules", "of ours", "of others", "pure"
    ):
        (name,) = _names(module)
        if pure not in ("", "pure") or name in found:
            raise ValueError(module)
        found[name] = ImportRule(_names(ours), _names(theirs), bool(pure))
    return found


def _names(cell: str) -> frozenset[str]:
    names = re.findall(r"`([\w.]+)`", cell)
    if cell != (", ".join(f"`{name}`" for name in names) or "nothing"):
        raise ValueError(cell)
    return frozenset(names)


# The longest name that fits a module is its row.
TABLE = rules()

# An import inside a function usually hides a cycle. Each of these says what else it is for.
LATE_IMPORTS = {
    (
        "webapp.quarantine.withheld",
        "tasks.decoders",
    ): "60 MB that a receiver, which has the commands, never needs",
    ("pipelines.patterns", "pyarrow"): "60 MB that most who import the room never need",
    ("pipelines.patterns", "pyarrow.compute"): "the same",
    ("tasks.decoders.kernels", "numba"): "130 MB and a third of a second that only workers need",
    ("tracing.tracer", "tracing.recording"): "15 MB and a third of a second that only those need who trace",
    (
        "webapp",
        "webapp.app",
    ): "metrics are made as it is imported, after gunicorn's settings said in which memory",
}


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    target: str
    line: int
    late: bool


def files(*folders: str) -> list[Path]:
    found = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    return sorted(found + [path for name in folders if (path := ROOT / f"{name}.py").exists()])


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def known_modules() -> frozenset[str]:
    return frozenset(module_of(path) for path in files(*ROOMS))


def imports(path: Path) -> Iterator[Import]:
    yield from _imports(path, tree(path), late=False)


def _imports(path: Path, node: ast.AST, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for target in _targets(path, child):
            yield Import(module_of(path), target, getattr(child, "lineno", 0), late)
        yield from _imports(
            path,
            child,
            late=late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
        )


def _targets(path: Path, node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    name = node.module or ""
    if node.level:
        package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
        name = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], name]).strip(".")
    # `from tasks import queues` imports a module, `from tasks.queues import name` does not.
    inner = [f"{name}.{alias.name}" for alias in node.names]
    return [one if one in known_modules() or name == "google" else name for one in inner]


def is_below(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def row_of(module: str) -> tuple[str, ImportRule]:
    name = max((name for name in TABLE if is_below(module, name)), key=len)
    return name, TABLE[name]


def refusal(one: Import) -> str | None:
    """Why the table does not allow an import."""
    own, rules = row_of(one.module)
    top = one.target.partition(".")[0]
    place = f"{one.module}:{one.line} imports {one.target}"
    if top in ROOMS:
        allowed = is_below(one.target, own) or any(is_below(one.target, name) for name in rules.ours)
        return None if allowed else f"{place}: not a room that {own} may enter"
    if top in sys.stdlib_module_names:
        return (
            f"{place}: {own} has no IO, clock or environment" if rules.pure and top in OUTSIDE_WORLD else None
        )
    return (
        None if any(is_below(one.target, name) for name in rules.theirs) else f"{place}: not in {own}'s row"
    )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    refused = {said for path in files(room) for one in imports(path) if (said := refusal(one))}
    assert not refused, "\n".join(sorted(refused))


def test_the_table_refuses_what_the_design_forbids() -> None:
    for module, target in (
        ("webapp.app", "tasks.queues"),
        ("tasks.stages.decode", "webapp.problems"),
        ("streams.broker", "db.engine"),
        ("db.ledger.windows", "streams.names"),
        ("db.ledger.windows", "flask"),
        ("streams.broker", "celery"),
        ("tasks.decoders.ndjson", "os"),
        ("tasks.processors.steps.drop", "db.engine"),
        ("tasks.events", "time"),
        ("migrations.versions.first", "db.tables"),
        ("deploy.local.run", "streams"),
        ("bench.replay", "tasks.decoders"),
    ):
        assert refusal(Import(module, target, 1, late=False)), f"{module} -> {target}"


@pytest.mark.parametrize("room", [name for name, rules in TABLE.items() if rules.pure])
def test_a_pure_module_asks_nothing_of_the_outside_world(room: str) -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {name}"
        for path in files(room.replace(".", "/"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "attr", getattr(node.func, "id", ""))) in CALLS_TO_THE_OUTSIDE_WORLD
    ]
    assert not asked, "\n".join(asked)


def test_no_import_cycle() -> None:
    """Imports below `if TYPE_CHECKING` count too."""
    graph: dict[str, set[str]] = {}
    for path in files(*ROOMS):
        targets = {one.target for one in imports(path)}
        graph[module_of(path)] = (targets & known_modules()) - {module_of(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def test_imports_stand_at_the_top() -> None:
    late = {(one.module, one.target): one.line for path in files(*ROOMS) for one in imports(path) if one.late}
    new = {
        f"{module}:{line} {target}"
        for (module, target), line in late.items()
        if (module, target) not in LATE_IMPORTS
    }
    assert not new
    assert set(LATE_IMPORTS) <= set(late), "an exception that nobody needs any more"


def test_every_folder_of_code_is_a_room_of_the_table() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    known = {*ROOMS, "tests", "var"}
    assert not {name for name in folders if name not in known and not name.startswith(".")}
    assert {module.partition(".")[0] for module in TABLE} == set(ROOMS)


def test_the_table_names_what_is_there_and_is_needed() -> None:
    used: dict[str, set[str]] = {name: set() for name in TABLE}
    for path in files(*ROOMS):
        for one in imports(path):
            own, rules = row_of(one.module)
            used[own] |= {name for name in rules.ours | rules.theirs if is_below(one.target, name)}
    assert not {name for name in TABLE if not any(is_below(module, name) for module in known_modules())}
    assert {name: rules.ours | rules.theirs for name, rules in TABLE.items()} == used


def test_the_page_names_every_folder_of_code() -> None:
    named = {
        folder
        for cell, _ in table("## Rooms", "folder", "what it contains")
        for folder in re.findall(r"`([\w/]+)/`", cell)
    }
    there = {str(path.parent.relative_to(ROOT)) for path in files(*ROOMS) if path.parent != ROOT}
    assert {name for name in named if name.partition("/")[0] in ROOMS} - {
        "deploy/container",
        "deploy/nginx",
        "deploy/prometheus",
        "deploy/systemd",
    } == there - {
        "deploy",
        "migrations/versions",
    }
