"""docs/metrics.md against the lists of metrics, both ways."""

import re
from pathlib import Path

from tasks.measures.names import COUNTED, SHOWN, Measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(sluice_\w+)` \|(.*?)\| (counter|gauge|histogram) \| .+ \|$", re.MULTILINE)


def described() -> dict[str, tuple[tuple[str, ...], str]]:
    return {
        name: (tuple(re.findall(r"`(\w+)`", labels)), kind)
        for name, labels, kind in ROW.findall(PAGE.read_text())
    }


def listed() -> tuple[Measure, ...]:
    return COUNTED + SHOWN


def test_the_page_lists_exactly_the_metrics_there_are() -> None:
    assert described() == {measure.name: (measure.labels, measure.kind) for measure in listed()}


def test_names_follow_the_conventions_of_prometheus() -> None:
    names = [measure.name for measure in listed()]
    assert len(names) == len(set(names))
    for measure in listed():
        assert re.fullmatch(r"sluice_[a-z]+(_[a-z]+)*", measure.name)
        assert measure.name.endswith("_total") == (measure.kind == "counter"), measure.name
        assert not re.search(r"_(ms|us|minutes|hours|kb|mib|mb)(_|$)", measure.name), measure.name
        assert measure.help


def test_every_listed_metric_is_made_by_somebody() -> None:
    code = "\n".join(
        path.read_text() for path in (PAGE.parents[1] / "tasks").rglob("*.py") if path.name != "names.py"
    )
    constants = re.findall(
        r"^([A-Z_]+) = _(?:counter|gauge|histogram)\(",
        (PAGE.parents[1] / "tasks" / "measures" / "names.py").read_text(),
        re.MULTILINE,
    )
    assert len(constants) == len(listed())
    assert not [name for name in constants if not re.search(rf"\bnames\.{name}\b", code)]
