"""What a pipeline's definition may say, and how it is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import DEFAULT, BadPipeline, parse
from pipelines.definition import MAX_TEXT_BYTES
from pipelines.steps import REDACTED_KEYS, REDACTED_VALUES, Keep, KeepLogs, RollupLogs

PAGE = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text()
DROP = {"step": "drop", "rule": "noise", "where": {"status": "ok"}}
KEEP = {"step": "keep"}


def refusal(*steps: object) -> str:
    with pytest.raises(BadPipeline) as refused:
        parse(json.dumps({"steps": steps}))
    return refused.value.detail


def test_the_default_keeps_errors_slow_events_warnings_and_one_trace_in_a_hundred() -> None:
    *_, keep, rollup_logs, keep_logs = parse(DEFAULT).steps
    assert keep == Keep(errors=True, slower_than_us=1_000_000, percent=1)
    assert (rollup_logs, keep_logs) == (RollupLogs(), KeepLogs(min_severity="warn", percent=1))


def test_the_page_shows_the_default_as_it_is() -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert json.loads(shown[1]) == json.loads(DEFAULT)


def test_the_page_names_the_expressions_that_redact_uses() -> None:
    assert f"keys    {REDACTED_KEYS}\n" in PAGE
    assert f"values  {REDACTED_VALUES}\n" in PAGE


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("{", "$", "write an object like"),
        ("[]", "$", "docs/pipeline.md"),
        ("{}", "$", "docs/pipeline.md"),
        ('{"steps": [], "stages": []}', "$", "docs/pipeline.md"),
        ('"\ud800"', "$", "UTF-8"),
        (" " * (MAX_TEXT_BYTES + 1), "$", "shorten"),
    ],
)
def test_what_is_not_an_object_of_steps_is_refused(text: str, path: str, remedy: str) -> None:
    with pytest.raises(BadPipeline) as refused:
        parse(text)
    assert f"at {path}" in refused.value.detail
    assert remedy in refused.value.detail


@pytest.mark.parametrize(
    ("step", "path", "remedy"),
    [
        ({"step": "dropp"}, "$.steps[0].step", "the steps are drop, sample"),
        ({"rule": "noise"}, "$.steps[0]", "the steps are drop, sample"),
        (DROP | {"whom": {}}, "$.steps[0]", "docs/pipeline.md"),
        (DROP | {"where": {"colour": ["red"]}}, "$.steps[0].where", "docs/pipeline.md"),
        (DROP | {"where": {}}, "$.steps[0].where", "add a field"),
        (DROP | {"where": {"status": "bad"}}, "$.steps[0].where.status", "docs/pipeline.md"),
        (DROP | {"where": {"service": "cart"}}, "$.steps[0].where.service", "a list of texts"),
        (DROP | {"where": {"service": []}}, "$.steps[0].where.service", "docs/pipeline.md"),
        (DROP | {"where": {"min_duration_us": 2, "max_duration_us": 1}}, "$.steps[0].where", "swap"),
        (DROP | {"rule": "No Noise"}, "$.steps[0].rule", "a rule's name is"),
        ({"step": "drop", "where": {"status": "ok"}}, "$.steps[0]", "a rule's name is"),
        ({"step": "sample", "rule": "few", "percent": 101}, "$.steps[0].percent", "docs/pipeline.md"),
        ({"step": "rename"}, "$.steps[0]", "add services, operations or attributes"),
        ({"step": "rename", "services": {"a": ""}}, "$.steps[0].services", "docs/pipeline.md"),
        ({"step": "enrich", "attributes": {"a": "\0"}}, "$.steps[0].attributes", "docs/pipeline.md"),
        ({"step": "enrich", "attributes": {}}, "$.steps[0].attributes", "docs/pipeline.md"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused_with_its_path(
    step: dict[str, object], path: str, remedy: str
) -> None:
    detail = refusal(step, KEEP)
    assert f"at {path}" in detail
    assert remedy in detail


@pytest.mark.parametrize("pattern", ["(", "(?=look)", r"(a)\1", "a{1001}", "[z-a]"])
@pytest.mark.parametrize(
    ("step", "path"),
    [
        (DROP | {"where": {"operation": {"regex": "?"}}}, "$.steps[0].where.operation.regex"),
        (DROP | {"where": {"attributes": {"k\n": {"regex": "?"}}}}, "$.steps[0].where.attributes[k?].regex"),
        ({"step": "redact", "keys": "?"}, "$.steps[0].keys"),
        ({"step": "redact", "values": "?"}, "$.steps[0].values"),
    ],
)
def test_an_expression_that_workers_could_not_run_is_refused(
    pattern: str, step: dict[str, object], path: str
) -> None:
    detail = refusal(json.loads(json.dumps(step).replace('"?"', json.dumps(pattern))), KEEP)
    assert f"at {path}" in detail
    assert "RE2" in detail


@pytest.mark.parametrize("name", ["compose", "rollup", "exceptions", "keep"])
def test_an_output_may_come_once_and_nothing_after_it(name: str) -> None:
    assert f"A second {name} at $.steps[1]" in refusal({"step": name}, {"step": name})
    assert f"The step drop is after {name} at $.steps[1]" in refusal({"step": name}, DROP)


def test_a_pipeline_that_lets_nothing_out_is_refused() -> None:
    assert "add compose, rollup, exceptions, keep, rollup_logs or keep_logs" in refusal(DROP)


def test_a_rule_is_used_once() -> None:
    assert "used 2 times" in refusal(DROP, {"step": "sample", "rule": "noise", "percent": 1}, KEEP)


def test_those_who_only_import_the_room_do_not_pay_for_the_engine() -> None:
    code = "import pipelines, sys; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=60)
