"""The migrations make what the code expects, and can be taken back."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from db.engine import begin
from db.retention.partitions import prepare
from db.settings import DatabaseSettings
from db.tables import metadata
from tests.integration.result_tables import an_event, events_table

ROOT = Path(__file__).resolve().parents[2]
OURS = {"db", "streams", "tasks", "webapp", "pipelines"}


def alembic(engine: Engine) -> Config:
    config = Config(ROOT / "alembic.ini")
    url = engine.url.render_as_string(hide_password=False)
    config.attributes["settings"] = DatabaseSettings(url=url)
    return config


def not_a_partition(name: str | None, kind: str, _: object) -> bool:
    partitions = ("events_", "rollups_", "exceptions_", "split_rollups_", "logs_", "log_rollups_")
    return not (kind == "table" and str(name).startswith(partitions))


def test_the_migrated_schema_is_that_of_the_metadata(engine: Engine) -> None:
    with begin(engine) as conn:
        context = MigrationContext.configure(
            conn, opts={"include_name": not_a_partition, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_downgrade_leaves_nothing_and_an_upgrade_follows(engine: Engine) -> None:
    prepare(engine, [events_table([an_event(window_id=1, position=0)])], [])
    command.downgrade(alembic(engine), "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    command.upgrade(alembic(engine), "head")
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_processes_that_migrate_at_once_do_not_fail(engine: Engine) -> None:
    command.downgrade(alembic(engine), "base")
    url = engine.url.render_as_string(hide_password=False)
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
        )
        for _ in range(2)
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    with begin(engine) as conn:
        assert conn.execute(text("SELECT COUNT(*) FROM alembic_version")).scalar_one() == 1


def test_migrations_import_nothing_of_ours() -> None:
    for path in (ROOT / "migrations" / "versions").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & OURS, path


def test_the_configuration_names_no_database() -> None:
    assert "sqlalchemy.url" not in (ROOT / "alembic.ini").read_text()
