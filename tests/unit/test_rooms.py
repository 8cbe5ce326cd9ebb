"""Who may import whom: the table of ARCHITECTURE.md, and the other rules of the rooms, kept."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "bench",
    "celeryconfig",
    "db",
    "deploy",
    "migrations",
    "operators",
    "pipelines",
    "streams",
    "tasks",
    "webapp",
)
MOST_LINES = 300
NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "base",
    "manager",
    "managers",
    "misc",
}

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


def rules_of(page: str) -> dict[str, ImportRule]:
    """The rows of the page's table *Who imports whom*. Raises ValueError for a row that it cannot read."""
    section = page.partition("### Who imports whom\n")[2].partition("\n**Why")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return dict(map(_rule, rows))


def _rule(row: str) -> tuple[str, ImportRule]:
    module, ours, theirs, pure = (cell.strip() for cell in row.strip("|").split("|"))
    if pure not in ("", "pure"):
        raise ValueError(row)
    return module.strip("`"), ImportRule(_names(ours), _names(theirs), bool(pure))


def _names(cell: str) -> frozenset[str]:
    names = re.findall(r"`([\w.]+)`", cell)
    if cell != (", ".join(f"`{name}`" for name in names) or "nothing"):
        raise ValueError(cell)
    return frozenset(names)


# The longest name that fits a module is its row.
TABLE = rules_of((ROOT / "ARCHITECTURE.md").read_text())

# An import inside a function usually hides a cycle. Each of these says what else it is for.
LATE_IMPORTS = {
    (
        "webapp.quarantine.withheld",
        "tasks.decoders",
    ): "60 MB that a receiver, which has the commands, never needs",
    ("pipelines.patterns", "pyarrow"): "60 MB that most who import the room never need",
    ("pipelines.patterns", "pyarrow.compute"): "the same",
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


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files(*ROOMS, "tests")}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MOST_LINES}


def test_no_name_says_nothing() -> None:
    parts = {part for path in files(*ROOMS, "tests") for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & NAMES_THAT_SAY_NOTHING


def test_every_folder_of_code_is_a_room_of_the_table() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    known = {*ROOMS, "tests", "var"}
    assert not {name for name in folders if name not in known and not name.startswith(".")}
    assert {module.partition(".")[0] for module in TABLE} == set(ROOMS)


def test_code_in_a_docstring_or_comment_stands_between_single_backticks() -> None:
    doubled = re.compile(r"(?<!`)``(?!`)")
    assert not [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files(*ROOMS, "tests")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if doubled.search(line) and "re.compile" not in line
    ]


def test_no_class_name_exists_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in files(*ROOMS, "tests"):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}
