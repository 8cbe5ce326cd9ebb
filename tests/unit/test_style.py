"""Names, lengths and docstrings, as CONTRIBUTING.md and ARCHITECTURE.md promise them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_rooms import ROOMS, ROOT, files, tree

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
# The sections and fields of other styles of docstrings.
OTHER_STYLES = re.compile(
    r"^\s*(:(param|type|returns?|rtype|raises)\b|(Args|Arguments|Returns|Raises|Yields):\s*$)", re.MULTILINE
)
DOUBLED = re.compile(r"(?<!`)``(?!`)")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files(*ROOMS, "tests")}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MOST_LINES}


def test_no_name_says_nothing() -> None:
    parts = {part for path in files(*ROOMS, "tests") for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & NAMES_THAT_SAY_NOTHING


def class_names(path: Path) -> Iterator[str]:
    """Names of the module's classes, nested ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            yield node.name


def test_no_class_name_exists_twice() -> None:
    places: dict[str, set[str]] = {}
    for path in files(*ROOMS, "tests"):
        for name in class_names(path):
            places.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_docstrings_have_one_style() -> None:
    for path in files(*ROOMS, "tests"):
        found = [
            ast.get_docstring(node) or "" for node in ast.walk(tree(path)) if isinstance(node, DOCUMENTED)
        ]
        assert not [text for text in found if OTHER_STYLES.search(text)], path


def test_code_in_a_docstring_or_comment_stands_between_single_backticks() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files(*ROOMS, "tests")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if DOUBLED.search(line) and "re.compile" not in line
    ]
