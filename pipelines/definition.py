"""`parse`: a JSON text becomes a pipeline that runs on any window, or a refusal with a remedy."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from pipelines.patterns import fault
from pipelines.steps import (
    AnyStep,
    Drop,
    Enrich,
    KeepLogs,
    LogOutput,
    Match,
    Output,
    Pipeline,
    Redact,
    Regex,
    Rename,
    Sample,
    Where,
)

__all__ = ["MAX_TEXT_BYTES", "BadPipeline", "Pipeline", "parse"]

MAX_TEXT_BYTES = 65_536
_CHANGES = "drop, sample, redact, rename, enrich, normalise"
STEP_NAMES = f"{_CHANGES}, compose, rollup, exceptions, keep, rollup_logs, keep_logs"


class BadPipeline(ValueError):
    """The definition can't be used; `detail` says where, what is wrong, and what to write instead."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def parse(text: str) -> Pipeline:
    """The pipeline that a JSON text defines. Raises BadPipeline with the path into the text and a remedy."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise BadPipeline("The definition is not valid Unicode at $: save it as UTF-8.") from error
    if len(data) > MAX_TEXT_BYTES:
        raise BadPipeline(f"The definition is {len(data)} bytes at $: shorten it to {MAX_TEXT_BYTES}.")
    try:
        pipeline = msgspec.json.decode(data, type=Pipeline)
    except msgspec.ValidationError as error:
        raise BadPipeline(_explained(str(error))) from error
    except msgspec.DecodeError as error:
        raise BadPipeline(f'Not JSON at $ ({error}): write an object like {{"steps": [...]}}.') from error
    for problem in _problems(pipeline):
        raise BadPipeline(problem)
    return pipeline


def _explained(message: str) -> str:
    what, _, where = message.partition(" - at `")
    path = where.rstrip("`") or "$"
    if path.endswith(".step") or what.endswith("`step`"):
        remedy = f"the steps are {STEP_NAMES}"
    elif path.endswith(".rule") or what.endswith("`rule`"):
        remedy = "a rule's name is 1 to 64 of a-z, 0-9 and inner hyphens, and drops are counted under it"
    elif "`object | array | null`" in what:
        remedy = 'write a list of texts or {"regex": "..."}'
    else:
        remedy = "docs/pipeline.md lists the fields of each step"
    return f"{what} at {path}: {remedy}."


def _problems(pipeline: Pipeline) -> Iterator[str]:
    yield from _order_problems(pipeline.steps)
    for number, step in enumerate(pipeline.steps):
        yield from _step_problems(step, f"$.steps[{number}]")
        for path, pattern in _patterns(step, f"$.steps[{number}]"):
            reason = fault(pattern)
            if reason is not None:
                yield f"{reason} at {path}: write an RE2 expression (no look-around, no back-references)."


def _order_problems(steps: tuple[AnyStep, ...]) -> Iterator[str]:
    first_output: dict[str, int] = {}
    for number, step in enumerate(steps):
        name = str(step.__struct_config__.tag)
        if not isinstance(step, Output | LogOutput):
            if first_output:
                before = ", ".join(first_output)
                yield f"The step {name} is after {before} at $.steps[{number}]: move it before the outputs."
        elif name in first_output:
            yield f"A second {name} at $.steps[{number}]: leave one of the two out."
        else:
            first_output[name] = number
    if not first_output:
        outputs = "compose, rollup, exceptions, keep, rollup_logs or keep_logs"
        yield f"Nothing would come out at $.steps: add {outputs}."
    rules = Counter(step.rule for step in steps if isinstance(step, Drop | Sample))
    for rule, uses in rules.items():
        if uses > 1:
            yield f"The rule {rule!r} is used {uses} times at $.steps: give each drop and sample its own."


def _step_problems(step: AnyStep, path: str) -> Iterator[str]:
    if isinstance(step, Drop) and step.where == Where():
        yield f"An empty condition at {path}.where would drop everything: add a field to it."
    if isinstance(step, Rename) and not (step.services or step.operations or step.attributes):
        yield f"Nothing to rename at {path}: add services, operations or attributes, or leave the step out."
    if isinstance(step, Drop | Sample | Enrich):
        low, high = step.where.min_duration_us, step.where.max_duration_us
        if low is not None and high is not None and low > high:
            yield f"No duration is in {low}..{high} at {path}.where: swap the minimum and the maximum."


def _patterns(step: AnyStep, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(step, Redact):
        yield f"{path}.keys", step.keys
        yield f"{path}.values", step.values
    if isinstance(step, KeepLogs):
        yield from _attribute_patterns(step.attributes, path)
    if isinstance(step, Drop | Sample | Enrich):
        where = step.where
        matches: dict[str, Match | None] = {
            "service": where.service,
            "operation": where.operation,
            "kind": where.kind,
        }
        for name, match in matches.items():
            if isinstance(match, Regex):
                yield f"{path}.where.{name}.regex", match.regex
        yield from _attribute_patterns(where.attributes, f"{path}.where")


def _attribute_patterns(attributes: Mapping[str, Match], path: str) -> Iterator[tuple[str, str]]:
    for key, match in attributes.items():
        if isinstance(match, Regex):
            yield f"{path}.attributes[{re.sub('[^ -~]', '?', key)}].regex", match.regex
