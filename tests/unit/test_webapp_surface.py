"""Pages against the code: paths, commands, exit codes and metrics are all there and all described."""

import re
from pathlib import Path

import click
import pytest
import yaml
from flask import Flask
from prometheus_client import REGISTRY

from webapp import create_app, problems
from webapp.doctor.checks import CHECKS
from webapp.metrics import ANSWER_SECONDS, CONFIRM_SECONDS, DATABASE_WAIT_SECONDS, LOOP_DELAY_SECONDS
from webapp.receiving import batches, cors, heads, otlp
from webapp.terminal.exits import Exit

DOCS = Path(__file__).resolve().parents[2] / "docs"
FLASKS_OWN = {"run", "routes", "shell"}
ANSWERED_BY_FLASK = {"HEAD", "OPTIONS"}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    return create_app()


def test_the_openapi_document_has_exactly_the_routes_there_are(app: Flask) -> None:
    paths = yaml.safe_load((DOCS / "openapi.yaml").read_text())["paths"]
    described = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - ANSWERED_BY_FLASK
    }
    assert described == routes


def test_the_openapi_document_has_every_way_to_say_what_a_body_is() -> None:
    document = yaml.safe_load((DOCS / "openapi.yaml").read_text())
    parameters = document["components"]["parameters"]
    kinds = {"/v1/batches": batches.FORMATS, **otlp.FORMATS}
    assert set(kinds) == cors.POSTS
    for path, formats in kinds.items():
        post = document["paths"][path]["post"]
        named = {one["$ref"].rpartition("/")[2] for one in post["parameters"]}
        assert named == set(parameters)
        assert set(post["requestBody"]["content"]) == {*formats, heads.PLAIN}
    words = {kind.name for formats in kinds.values() for kind in formats.values()}
    assert set(parameters["Format"]["schema"]["enum"]) == words
    for name in ("Encoding", "ContentEncoding"):
        assert set(parameters[name]["schema"]["enum"]) == {word for word in heads.ENCODINGS if word}
    made = (DOCS / "http-api.md").read_text().partition("### The default batch id")[2].partition("###")[0]
    assert {word for word in words if f"`{word}`" in made} == words


def test_nginx_passes_exactly_the_paths_there_are(app: Flask) -> None:
    text = (DOCS.parent / "deploy" / "nginx" / "nginx.conf").read_text()
    assert text.count("proxy_pass") == 1
    (found,) = re.findall(r"location ~ (\S+) \{[^}]*proxy_pass", text)
    passed = re.compile(found)
    slugs = set(problems.PROBLEMS)
    paths = {rule.rule.replace("<slug>", slug) for rule in app.url_map.iter_rules() for slug in sorted(slugs)}
    assert all(passed.search(path) for path in paths)
    alternatives = set(found.removeprefix("^/(").removesuffix(")$").split("|"))
    assert len(alternatives) == len({rule.rule for rule in app.url_map.iter_rules()})
    for path in ("/", "/metrics", "/v1/batches/metrics", "/metrics/v1/batches", "/healthz/metrics"):
        assert not passed.search(path)


def commands(group: click.Group, *path: str) -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, *path, name)
        elif name not in FLASKS_OWN:
            found.add(" ".join((*path, name)))
    return found


def test_the_page_of_commands_lists_exactly_those_there_are(app: Flask) -> None:
    rows = re.findall(
        r"^\| `flask ([a-z -]+?)(?: [A-Z\[][^`]*)?` \|", (DOCS / "commands.md").read_text(), re.M
    )
    assert sorted(rows) == sorted(commands(app.cli))


def test_every_command_says_what_it_does(app: Flask) -> None:
    for words in commands(app.cli):
        result = app.test_cli_runner().invoke(args=[*words.split(), "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 3


def test_every_command_prints_a_document_for_scripts(app: Flask) -> None:
    without = []
    for words in commands(app.cli):
        command: click.Command = app.cli
        for word in words.split():
            assert isinstance(command, click.Group)
            command = command.commands[word]
        if not any("--json" in parameter.opts for parameter in command.params):
            without.append(words)
    assert without == []


def test_the_page_of_commands_lists_exactly_the_exit_codes_there_are() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", (DOCS / "commands.md").read_text(), re.M)
    assert {(int(code), name) for code, name in rows} == {(int(code), code.name) for code in Exit}


def test_the_api_page_lists_exactly_the_metrics_there_are(app: Flask) -> None:
    described = set(
        re.findall(r"^\| `(sluice_http_\w+?)(?:_total)?` \|", (DOCS / "http-api.md").read_text(), re.M)
    )
    for seconds in (ANSWER_SECONDS, CONFIRM_SECONDS, DATABASE_WAIT_SECONDS, LOOP_DELAY_SECONDS):
        seconds.histogram()
    exported = {family.name for family in REGISTRY.collect() if family.name.startswith("sluice_http_")}
    assert described == exported


def test_the_page_of_commands_lists_exactly_the_checks_of_the_doctor() -> None:
    table = (
        (DOCS / "commands.md").read_text().partition("| check | what is looked at |")[2].partition("\n\n")[0]
    )
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == [check.name for check in CHECKS]
