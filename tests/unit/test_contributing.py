"""What CONTRIBUTING.md says: its paths exist, each dependency has a record, one place states the version."""

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml

from tests.unit.test_requirements import ROOT, named

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
CODE = re.compile(r"^```.*?^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
MADE = (".venv/", "var/")  # not in a fresh clone
FOLDER = re.compile(r"[\w.-]+/(?:[\w.-]+/?)*")  # or a file in one
FILE = re.compile(r"[\w.-]+\.(?:py|md|yaml|toml|txt|in|ini)")
NAME_IN_FILE = re.compile(r"`(\w+)`\s+in\s+`([\w/.-]+\.py)`")
DECISION = re.compile(r"^\*\*Decision.*?(?=^\*\*Why not)", re.MULTILINE | re.DOTALL)
RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
HEADING = re.compile(r"^## (\d+)\.(\d+)\.(\d+)$", re.MULTILINE)


def paths(page: str) -> Iterator[str]:
    """The files and folders of the project that a page names in code, without what `make` writes."""
    for code in CODE.finditer(page):
        for word in re.split(r"[\s'\"=(),;`]+", code[0]):
            path = word.partition("::")[0]
            if (FOLDER.fullmatch(path) or FILE.fullmatch(path)) and not path.startswith(MADE):
                yield path


def test_the_paths_of_a_page_are_found() -> None:
    page = (
        "`a/b.py`, `a/` and `make test PYTEST='a/c.py -k x'`\n```sh\n$ run d/e.py::test_f var/x\n```\nno/path"
    )
    assert list(paths(page)) == ["a/b.py", "a/", "a/c.py", "d/e.py"]


def test_every_path_exists() -> None:
    found = set(paths(PAGE))
    assert len(found) > 50  # or they are written in another way now
    assert not {path for path in found if not (ROOT / path).exists()}


def test_every_name_that_is_said_to_be_in_a_file_is_there() -> None:
    found = NAME_IN_FILE.findall(PAGE)
    assert len(found) > 5
    absent = [
        f"{name} in {path}"
        for name, path in found
        if not (ROOT / path).exists() or not re.search(rf"\b{name}\b", (ROOT / path).read_text())
    ]
    assert not absent


@pytest.mark.parametrize("asked", ["requirements.in", "requirements-dev.in", "bench/peers/requirements.in"])
def test_every_dependency_has_a_record(asked: str) -> None:
    decided = "\n".join(DECISION.findall("\n".join(path.read_text() for path in RECORDS))).lower()
    packages = {name for name in named(asked) if not name.startswith("types-")}  # of mypy's record
    assert not {name for name in packages if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", decided)}


def test_the_index_of_records_lists_exactly_those_there_are() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    listed = re.findall(r"^\| \[(\d{4})\]\((\1-[\w-]+\.md)\) \|", index, re.MULTILINE)
    assert [name for _, name in listed] == [path.name for path in RECORDS]


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [tuple(map(int, found)) for found in HEADING.findall((ROOT / "CHANGELOG.md").read_text())]
    assert versions == sorted(set(versions), reverse=True)
    assert ".".join(map(str, versions[0])) == project["version"]


def test_the_hooks_call_the_pinned_tools_and_fetch_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith((".venv/bin/", "make "))
