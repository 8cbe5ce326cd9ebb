"""The outcomes of `make fault` as a table: `python -m tests.fault.table`."""

import json
from itertools import groupby

from tests.fault.audit import OUTCOMES, RECORDS

HEAD = "| fault | on | tries | accepted | lost | duplicated | back after, s |\n|---|---|---|---|---|---|---|"


def table(outcomes: list[dict[str, object]]) -> str:
    """One row a fault, in the order of their names; the time is the longest of all tries."""
    rows = []
    for fault, group in groupby(sorted(outcomes, key=_fault), key=_fault):
        tries = list(group)
        sums = {name: sum(int(str(one[name])) for one in tries) for name in ("batches", "lost", "duplicated")}
        longest = max(float(str(one["recovered_s"])) for one in tries)
        counts = " | ".join(str(count) for count in sums.values())
        databases = ", ".join(sorted({str(one["database"]) for one in tries}))
        rows.append(f"| {fault} | {databases} | {len(tries)} | {counts} | {longest:.1f} |")
    return "\n".join([HEAD, *rows])


def _fault(outcome: dict[str, object]) -> str:
    return str(outcome["fault"])


def main() -> None:
    written = table([json.loads(line) for line in OUTCOMES.read_text().splitlines()])
    (RECORDS / "table.md").write_text(written + "\n")
    print(written)


if __name__ == "__main__":
    main()
