"""What a fault of the cluster did, and the table of `make cluster`: `python -m tests.cluster.outcomes`."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

RECORDS = Path(__file__).resolve().parents[2] / "var" / "cluster"
OUTCOMES = RECORDS / "outcomes.jsonl"


@dataclass(frozen=True, kw_only=True)
class FaultReport:
    """One fault under traffic. `lost` counts batches and events, `duplicated` events; times in seconds:
    the longest one without a 202, and from the fault's end until all that was accepted is deposited.
    """

    fault: str
    broker: str
    accepted: int
    refused_503: int
    lost: int
    duplicated: int
    longest_without_202_s: float
    deposited_after_s: float


def record(outcome: FaultReport) -> None:
    RECORDS.mkdir(parents=True, exist_ok=True)
    with OUTCOMES.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def table(outcomes: list[FaultReport]) -> str:
    names = [field.name for field in fields(FaultReport)]
    heads = [name.replace("_s", ", s").replace("_", " ") if name.endswith("_s") else name for name in names]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(str(value) for value in asdict(one).values()) + " |" for one in outcomes]
    return "\n".join(lines)


def main() -> None:
    written = table([FaultReport(**json.loads(line)) for line in OUTCOMES.read_text().splitlines()])
    (RECORDS / "table.md").write_text(written + "\n")
    print(written)


if __name__ == "__main__":
    main()
