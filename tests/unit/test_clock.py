"""No process asks its host what time it is for what is booked: the ledger's clock does, before it has asked
the database. Others do for what only people and collectors are shown.
"""

import ast

from tests.unit.test_rooms import ROOMS, ROOT, files, tree

SHOWN = {
    "operators/values.py": "how long ago a customer was counted last, on this host alone",
    "tasks/measures/measurer.py": "when measures were taken",
    "tasks/measures/processes.py": "when a loop turned last",
    "tasks/dispatcher/loop.py": "when a span began",
    "webapp/receiving/own_traces.py": "when a span began",
    "webapp/serving/answers.py": "the Date of an answer",
    "webapp/doctor/host.py": "to compare this host's time with the others'",
}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}


def test_only_the_ledgers_clock_asks_the_hosts() -> None:
    """Two hosts' times are compared as soon as one of them is booked."""
    asked = {
        str(path.relative_to(ROOT))
        for path in files(*(set(ROOMS) - {"bench", "deploy", "migrations"}))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS
    }
    assert asked == {"db/clock.py", *SHOWN}
