"""The schema's revision says which releases may work on it, and the migrations keep to what that needs."""

import ast
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import create_engine, text

from db.errors import DatabaseMisconfigured
from db.revision import HEAD, NAME, check

ROOT = Path(__file__).resolve().parents[2]
OLDEST = "0001"


def scripts() -> list[Script]:
    """The migrations, the first one first."""
    return list(ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions())[::-1]


def checked(found: list[str], head: str) -> str:
    """What a release of `head` says about a database at `found`; nothing when it works on it."""
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        for one in found:
            conn.execute(text("INSERT INTO alembic_version VALUES (:one)"), {"one": one})
        try:
            check(conn, head)
        except DatabaseMisconfigured as error:
            return str(error)
    return ""


def test_the_release_knows_the_newest_migration() -> None:
    assert scripts()[-1].revision == HEAD, "set HEAD in db/revision.py"


@pytest.mark.parametrize(
    ("found", "head", "said"),
    [
        (["0011"], "0011", ""),
        (["0012"], "0011", ""),
        (["0015_from_0012"], "0015_from_0012", ""),
        (["0015_from_0012"], "0012", ""),
        (["0016_from_0012"], "0015_from_0012", ""),
        (["0015_from_0012"], "0011", "install a release of 0012 or later"),
        (["0010"], "0011", "is at revision 0010 and this release needs 0011: run `alembic upgrade head`"),
        (["0015_from_0012"], "0016_from_0012", "run `alembic upgrade head`"),
        ([], "0011", "no tables of Sluice: run `alembic upgrade head`"),
        (["ae1027a6acf"], "0011", "none of Sluice's: check DATABASE_URL"),
        (["0011", "0012"], "0011", "none of Sluice's: check DATABASE_URL"),
    ],
)
def test_a_release_works_on_its_own_schema_and_on_later_ones_that_allow_it(
    found: list[str], head: str, said: str
) -> None:
    if said:
        assert said in checked(found, head)
    else:
        assert checked(found, head) == ""


def test_revisions_are_numbered_and_take_nothing_back_that_they_ask_of_releases() -> None:
    least = OLDEST
    for number, script in enumerate(scripts(), start=1):
        name = NAME.fullmatch(script.revision)
        assert name is not None, script.revision
        assert int(name["number"]) == number
        assert (name["least"] or OLDEST) >= least, f"{script.revision} contains what {least} needs"
        least = name["least"] or OLDEST
        assert len(script.revision) <= 32, "the column of Alembic's table"


def test_indexes_on_tables_that_exist_are_built_concurrently() -> None:
    looked_at = 0
    for script in scripts():
        tree = ast.parse(Path(script.path).read_text())
        made = {
            call.args[0].value
            for call in calls(tree, "create_table", "create")
            if isinstance(call.args[0], ast.Constant)
        }
        for call in calls(tree, "create_index"):
            looked_at += 1
            if isinstance(call.func, ast.Attribute):
                table = call.args[1]
                assert isinstance(table, ast.Constant), script.path
                assert table.value in made, f"{script.path}: use migrations.indexes.create_index"
        sql = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert not [one for one in sql if isinstance(one, str) and "CREATE INDEX" in one.upper()]
    assert looked_at > 10


def calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    """The calls of functions of these names, of a module's or not."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in names)
            or (isinstance(node.func, ast.Name) and node.func.id in names)
        )
    ]
