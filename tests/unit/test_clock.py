"""No process asks its host what time it is, but for the ledger's clock before it has asked the database."""

import ast

from tests.unit.test_rooms import ROOT, files, tree

WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}


def test_only_the_ledgers_clock_asks_the_hosts() -> None:
    """Two hosts' times are compared as soon as one of them is booked."""
    asked = {
        str(path.relative_to(ROOT))
        for path in files("db", "operators", "pipelines", "streams", "supervision", "tasks", "webapp")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS
    }
    assert asked == {"db/clock.py"}
