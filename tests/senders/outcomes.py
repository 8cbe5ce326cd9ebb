"""What became of each sender's batches, as the matrix of docs/formats.md: `python -m tests.senders.outcomes`.

It prints the matrix of the last `make senders`; with `write`, it records it here and puts it on the page.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.senders.senders import OTHERS, SDKS, KnownSender
from tests.senders.sending import SenderRun
from tests.senders.setups import INSTALLED

RECORDED = Path(__file__).with_name("outcomes.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
SEEN = INSTALLED / "outcomes.jsonl"
SCENARIOS = ("sizes", "limited", "unavailable", "restarted")
HEAD = (
    "| sender | version | sends | 1 to 5,000 events a batch | 429 | 503 | receiver killed and started again |"
)
PLACES = [(sender.name, scenario) for sender in (*SDKS, *OTHERS) for scenario in SCENARIOS]
ALL, AGAIN, DROPS, UNSURE = "all", "sends again", "drops", "sends again, drops what was under way"


@dataclass(frozen=True, kw_only=True)
class SenderOutcome:
    """What a sender did with batches that it could not get rid of at once."""

    sender: str
    scenario: str
    version: str
    outcome: str


def of(sender: KnownSender, scenario: str, run: SenderRun) -> SenderOutcome:
    """What it came to. The version is that of what stands between, if anything does."""
    if scenario == "sizes":
        outcome = DROPS if run.given_up() else ALL
    elif scenario == "restarted" and sender.answers_first:
        outcome = UNSURE  # a broken connection is an end to it, a refused one is not
    else:
        outcome = DROPS if run.given_up() else AGAIN
    version = sender.between_version() if sender.between_version else run.version
    return SenderOutcome(sender=sender.name, scenario=scenario, version=version, outcome=outcome)


def record(outcome: SenderOutcome) -> None:
    """Keep it for the matrix."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with SEEN.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def recorded() -> list[SenderOutcome]:
    """What is on the page."""
    return [SenderOutcome(**one) for one in json.loads(RECORDED.read_text())] if RECORDED.exists() else []


def matrix(outcomes: list[SenderOutcome]) -> str:
    """A row for each sender of which every scenario has an outcome."""
    found = {(one.sender, one.scenario): one for one in outcomes}
    rows = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    for sender in (*SDKS, *OTHERS):
        cells = [found.get((sender.name, scenario)) for scenario in SCENARIOS]
        seen = [cell for cell in cells if cell is not None]
        if len(seen) == len(SCENARIOS):
            words = " | ".join(cell.outcome for cell in seen)
            rows.append(f"| {sender.name} | {seen[0].version} | {sender.sends} | {words} |")
    return "\n".join(rows)


def on_page(page: str) -> str:
    """The matrix that a page has. Raises ValueError when it has none."""
    begin = page.index(HEAD)
    return page[begin : page.index("\n\n", begin)]


def main(words: list[str]) -> None:
    """Raises ValueError when the page has no matrix to replace."""
    lines = SEEN.read_text().splitlines() if SEEN.exists() else []
    seen = [SenderOutcome(**json.loads(line)) for line in lines]
    if words == ["write"]:
        latest = {(one.sender, one.scenario): one for one in (*recorded(), *seen)}
        seen = [latest[place] for place in PLACES if place in latest]
        RECORDED.write_text(json.dumps([asdict(one) for one in seen], indent=1) + "\n")
        page = PAGE.read_text()
        PAGE.write_text(page.replace(on_page(page), matrix(seen)))
    print(matrix(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
