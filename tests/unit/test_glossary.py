"""The code's names keep to docs/glossary.md: none of them has a word for which another one is agreed on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROOMS = (
    "streams",
    "db",
    "tasks",
    "pipelines",
    "webapp",
    "operators",
    "supervision",
    "tracing",
    "environment",
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def other_words() -> list[tuple[str, str, tuple[str, ...]]]:
    """The rows of the glossary's table of other words: a word, what to write instead, where it may stand.

    A row of several words gives one entry for each.
    """
    heading, rule, *rows = (
        GLOSSARY.read_text().partition("\n## Other words\n")[2].partition("\n|")[2].splitlines()
    )
    assert heading == " do not write | write | but it may stand in |"
    assert rule == "|---|---|---|"
    found = []
    for row in rows:
        words, instead, places = (cell.strip() for cell in row.strip("|").split("|"))
        allowed = tuple(re.findall(r"`([^`]+)`", places))
        found += [(word.strip(), instead, allowed) for word in words.split(",")]
    return found


def public_names(path: Path) -> Iterator[tuple[str, int]]:
    """The module's own name, and those of its public classes, fields, functions and methods, with lines."""
    yield path.parent.name if path.name == "__init__.py" else path.stem, 1
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        found = [node.name]
        if isinstance(node, ast.ClassDef):
            fields = (one.target for one in node.body if isinstance(one, ast.AnnAssign))
            found += [field.id for field in fields if isinstance(field, ast.Name)]
        yield from ((name, node.lineno) for name in found if not name.startswith("_"))


def has(name: str, words: str) -> bool:
    """Whether a name has these words one after another, the last one in singular or plural."""
    said = " ".join(WORD.findall(name)).lower()
    return re.search(rf"\b{words}s?\b", said) is not None


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("TenantRow", "tenant", True),
        ("rows_of_tenants", "tenant", True),
        ("HTTPTenant", "tenant", True),
        ("lieutenant", "tenant", False),
        ("DeadLetters", "dead letter", True),
        ("dead_newsletter", "dead letter", False),
    ],
)
def test_a_word_is_found_in_names_of_either_style(name: str, words: str, expected: bool) -> None:
    assert has(name, words) is expected


def test_no_public_name_has_a_word_for_which_the_glossary_has_another() -> None:
    words = other_words()
    assert len(words) > 10  # or the table is written in another way now
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name} says {word}; the glossary says {instead}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, line in public_names(path)
        for word, instead, allowed in words
        if has(name, word) and not str(path.relative_to(ROOT)).startswith(allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_the_table_of_other_words_allows_is_there() -> None:
    gone = [place for _, _, allowed in other_words() for place in allowed if not (ROOT / place).exists()]
    assert not gone, f"docs/glossary.md names places that are gone: {gone}"


def test_no_word_of_the_glossary_is_forbidden_everywhere() -> None:
    terms = {
        term.strip()
        for bold in re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY.read_text(), re.MULTILINE)
        for term in bold.split(",")
    }
    assert len(terms) > 40
    assert not terms & {word for word, _, allowed in other_words() if not allowed}
