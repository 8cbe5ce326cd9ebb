"""Real servers for the tests: started once a session under `var/test/`, stopped and deleted after it."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from sqlalchemy import Engine

from db.engine import connect
from db.settings import DatabaseSettings
from deploy.local import install, postgres as local_postgres, processes, rabbitmq as local_rabbitmq
from tests.examples import TIMES

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "sluice_template"
FOLDER = pytest.StashKey[Path]()
Server = TypeVar("Server")

# The same examples in every run, so that none fails by chance; `make fuzz` draws new and more of them.
settings.register_profile("sluice", derandomize=TIMES == 1, deadline=None)
settings.load_profile("sluice")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this session a folder in the clone; first stop and delete what killed sessions left."""
    parent = ROOT / "var" / "test"
    for left in parent.glob("*-*"):
        pid, started = map(int, left.name.split("-"))
        if not processes.Process(pid, started).alive():
            _remove(left)
    me = processes.of(os.getpid())
    assert me is not None
    folder = parent / f"{me.pid}-{me.started}"
    folder.mkdir(parents=True)
    config.stash[FOLDER] = folder
    config.option.basetemp = config.option.basetemp or str(folder / "tmp")


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        _remove(config.stash[FOLDER])


@pytest.fixture(scope="session")
def server_folder(pytestconfig: pytest.Config) -> Path:
    """Where this session's servers live; reachable for other users of the machine, unlike `tmp_path`."""
    return pytestconfig.stash[FOLDER]


@pytest.fixture(scope="session")
def rabbitmq(server_folder: Path) -> local_rabbitmq.RabbitNode:
    return _or_skip(lambda: local_rabbitmq.start(server_folder / "rabbitmq"))


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> local_postgres.PostgresServer:
    return _or_skip(lambda: local_postgres.start(server_folder / "postgres", fsync=False))


@pytest.fixture(scope="session")
def nginx_program() -> str:
    _or_skip(lambda: install.ensure("nginx"))
    program = install.nginx()
    assert program is not None
    return program


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """Prometheus' server; promtool is in the same package."""
    _or_skip(lambda: install.ensure("prometheus"))
    program = install.prometheus()
    assert program is not None
    return program


@pytest.fixture(scope="session")
def promtool(prometheus_program: str) -> str:
    program = install.promtool()
    assert program is not None
    return program


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """What checks units; systemd itself need not run."""
    _or_skip(lambda: install.ensure("systemd"))
    return "systemd-analyze"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of this test's own, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    copy = tmp_path / "sluice.db"
    shutil.copyfile(sqlite_template, copy)
    return f"sqlite:///{copy}"


@pytest.fixture
def postgresql_url(postgres: local_postgres.PostgresServer, postgresql_template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create_database(name, template=postgresql_template)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "sluice.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres: local_postgres.PostgresServer) -> str:
    migrate(postgres.create_database(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine as the entry points make it, on this test's own database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    engine = connect(DatabaseSettings())
    yield engine
    engine.dispose()


@pytest.fixture
def slug() -> str:
    """A customer that no other test knows: streams and queues outlive a test."""
    return f"t-{secrets.token_hex(6)}"


def migrate(url: str) -> None:
    """Run the migrations as an operator does. Raises CalledProcessError."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": url}, check=True, timeout=120)


def _or_skip(start: Callable[[], Server]) -> Server:
    """A laptop without the server skips its tests; CI must not."""
    try:
        return start()
    except install.PackageMissing as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(str(missing))


def _remove(folder: Path) -> None:
    local_rabbitmq.stop(folder / "rabbitmq")
    local_postgres.remove(folder / "postgres")
    shutil.rmtree(folder, ignore_errors=True)
