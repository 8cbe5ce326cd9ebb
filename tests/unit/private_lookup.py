"""Looks names up in the installed libraries, and finds in our code what it uses of them (`private_names`)."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from types import FunctionType

from tests.unit.private_modules import Relied
from tests.unit.test_rooms import ROOMS, ROOT, files, tree

# Importing it allocates shared memory; no class is in it. The peers have requirements of their own.
NOT_IMPORTED = ("webapp/gunicorn.py", "bench/peers/tables.py")

ANY_NUMBER = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


@dataclass(frozen=True, slots=True)
class Use:
    """A class of ours, in `file`, overrides, sets or reads `name`, which the library's class `owner` has."""

    file: str
    ours: type
    owner: type
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.owner.__module__}.{self.owner.__name__}.{self.name}"


def report(one: Relied, amiss: str) -> str:
    """What to tell whoever has installed another release."""
    return (
        f"{one.library} {version(one.library)}: {one.name} {amiss}.\n"
        f"It is relied on by {' and '.join(one.by)}: {one.what}.\n"
        f"To do: {one.remedy} Then change the list in tests/unit/private_names.py."
    )


def find(name: str) -> tuple[object, str]:
    """The module or class that has the name, and the last part of the name. Raises LookupError."""
    above, _, last = name.rpartition(".")
    try:
        owner: object = resolve_name(above)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"is gone: {error}") from None
    if hasattr(owner, last) or (isinstance(owner, type) and _has(owner.__mro__, last)):
        return owner, last
    raise LookupError("is gone")


def amiss(one: Relied) -> str | None:
    """What is not as we rely on; None when all is."""
    try:
        owner, name = find(one.name)
    except LookupError as error:
        return str(error.args[0])
    if one.text is not None and not any(one.text in text for text in _strings(getattr(owner, name))):
        return f"has no string with {one.text!r} in it any more"
    if one.takes is None:
        return None
    try:
        found = parameters(owner, name)
    except TypeError:
        return "cannot be called any more"
    names = tuple(parameter.name for parameter in found)
    if names[: len(one.takes)] != one.takes or not set(one.also) <= set(names):
        return f"takes {names} now, where {one.takes + one.also} are relied on"
    asked = {each.name for each in found if each.default is each.empty and each.kind not in ANY_NUMBER}
    surplus = asked - {*one.takes, *one.also}
    # Of what is only read, as an answer's fields are, there may be more.
    return f"asks for {sorted(surplus)} as well now" if surplus and (one.takes or not one.also) else None


def parameters(owner: object, name: str) -> list[inspect.Parameter]:
    """Those that a caller gives: without `self`. Raises TypeError."""
    has_self = isinstance(owner, type) and isinstance(inspect.getattr_static(owner, name), FunctionType)
    return list(inspect.signature(getattr(owner, name)).parameters.values())[has_self:]


def uses() -> Iterator[Use]:
    """What the classes of ours use of the libraries' classes that they are derived from."""
    for path in files(*ROOMS):
        nodes = [node for node in tree(path).body if isinstance(node, ast.ClassDef) and node.bases]
        if not nodes or name_of(path) in NOT_IMPORTED:
            continue
        module = importlib.import_module(name_of(path).removesuffix(".py").replace("/", "."))
        for node in nodes:
            ours: type = getattr(module, node.name)
            libraries = tuple(base for base in ours.__mro__ if is_of_a_library(base.__module__))
            for name in sorted(_touched(node)):
                if owner := next((base for base in libraries if _has((base,), name)), None):
                    yield Use(name_of(path), ours, owner, name)


def private_accesses() -> Iterator[tuple[str, int, str]]:
    """File, line and name of each `x._name` that is no attribute of ours, as far as can be read."""
    for path in files(*ROOMS):
        nodes = list(ast.walk(tree(path)))
        own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_self(node.value)}
        for node in nodes:
            if not isinstance(node, ast.Attribute) or not re.match("_(?!_)", node.attr) or node.attr in own:
                continue
            if not (isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names):
                yield name_of(path), node.lineno, node.attr


def library_names() -> Iterator[tuple[str, int, str, bool]]:
    """File, line and full name of what is imported from libraries (True), and of its attributes (False)."""
    for path in files(*ROOMS):
        known: dict[str, str] = {}
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found = {alias.asname or alias.name: alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            else:
                continue
            found = {name: full for name, full in found.items() if is_of_a_library(full)}
            yield from ((name_of(path), node.lineno, full, True) for full in found.values())
            known |= found
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and re.fullmatch(r"[\w.]+", written := ast.unparse(node)):
                begin = next((name for name in known if written.startswith(f"{name}.")), None)
                if begin is not None:
                    yield name_of(path), node.lineno, known[begin] + written.removeprefix(begin), False


def is_of_a_library(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in ROOMS and top not in sys.stdlib_module_names and top != "tests"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _has(classes: tuple[type, ...], name: str) -> bool:
    return any(name in vars(one) or name in _set_on_self(one) for one in classes if one is not object)


@cache
def _set_on_self(one: type) -> frozenset[str]:
    """The attributes that the class's own methods set."""
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(one)))
    except (OSError, TypeError):  # written in C
        return frozenset()
    attributes = (node for node in ast.walk(source) if isinstance(node, ast.Attribute))
    return frozenset(
        node.attr for node in attributes if isinstance(node.ctx, ast.Store) and _is_self(node.value)
    )


def _strings(function: object) -> list[str]:
    assert isinstance(function, FunctionType)
    nodes = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _touched(node: ast.ClassDef) -> set[str]:
    """What a class defines, and what it asks of itself and of the class that it is derived from."""
    names = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    for one in node.body:
        targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    attributes = (one for one in ast.walk(node) if isinstance(one, ast.Attribute))
    return names | {one.attr for one in attributes if _is_self(one.value)}


def _is_self(node: ast.expr) -> bool:
    """Whether it is `self`, `cls` or `super()`."""
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "super")
