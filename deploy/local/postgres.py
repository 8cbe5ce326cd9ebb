"""A private PostgreSQL server: `python -m deploy.local.postgres start|stop FOLDER`."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.local import install, ports, processes, records

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
USER = "sluice"
DATABASE = "sluice"
# PostgreSQL refuses to run as root; this is the user that Debian's package brings for it.
_SYSTEM_USER = "postgres"
_SETTINGS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_UNSAFE = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server. The URL holds its password: hand it on, never log it."""

    folder: Path
    data: Path
    url: str = field(repr=False)
    pid: int

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """The URL of a new database, a copy of `template` (to which nobody may be connected meanwhile)."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url.removesuffix(f"/{DATABASE}") + f"/{name}"

    def drop_database(self, name: str) -> None:
        """Drop a database and the connections to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._execute(statement.format(sql.Identifier(name)))

    def stop(self) -> None:
        stop(self.folder)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(
            self.url.replace("+psycopg", ""), autocommit=True, connect_timeout=10
        ) as connection:
            connection.execute(statement)


def start(folder: Path, *, fsync: bool = True) -> PostgresServer:
    """Start the server whose data belongs to `folder`, with a database `sluice`, and wait until it answers.

    As root it runs as the user postgres; when that user cannot reach `folder`, the data lies in a temporary
    folder which `data` names and which `remove` deletes. `fsync=False` is for data that nobody will miss.
    Raises install.PackageMissing, records.Running (somebody else's), OSError (it did not come up).
    """
    folder = folder.resolve()
    programs = _programs()
    folder.mkdir(parents=True, exist_ok=True)
    records.claim(folder, STOP_TIMEOUT_S)
    data = _data_folder(folder)
    password = records.secret(folder / "password")
    if not (data / "PG_VERSION").exists():
        _initialise(programs, data, password)
    port = records.ports(folder, ("postgresql",))["postgresql"]
    settings = _SETTINGS | {"port": str(port)} | ({} if fsync else _UNSAFE)
    options = [f"--{name}={value}" for name, value in settings.items()]
    log = folder / "postgresql.log"
    command = [*_as_owner(), str(programs / "postgres"), "-D", str(data), *options]
    process = processes.spawn(command, environment=_environment(), log=log)
    # SIGINT is PostgreSQL's "fast" shutdown: SIGTERM would wait for clients to leave.
    records.add(folder, process, signal.SIGINT)
    login = f"{USER}:{password}@{ports.HOST}:{port}"
    try:
        _wait_until_ready(process, f"postgresql://{login}/postgres", log)
    except BaseException:
        stop(folder)
        raise
    url = f"postgresql+psycopg://{login}/{DATABASE}"
    return PostgresServer(folder=folder, data=data, url=url, pid=process.pid)


def stop(folder: Path) -> bool:
    """Stop the server of this folder, whoever started it; False when none was running."""
    return records.end(folder.resolve(), STOP_TIMEOUT_S)


def remove(folder: Path) -> None:
    """Stop the server and delete the folder with all data, also those kept elsewhere."""
    stop(folder)
    elsewhere = _elsewhere(folder.resolve())
    if elsewhere:
        shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    install.ensure("postgresql")
    found = install.postgresql_programs()
    assert found is not None
    return found


def _data_folder(folder: Path) -> Path:
    if os.geteuid() != 0:
        return _made(folder / "data")
    owner = pwd.getpwnam(_SYSTEM_USER)
    data = _elsewhere(folder) or _made(folder / "data")
    os.chown(data, owner.pw_uid, owner.pw_gid)
    if _reachable(data):
        return data
    data.rmdir()
    data = Path(tempfile.mkdtemp(prefix="sluice-postgresql-"))
    os.chown(data, owner.pw_uid, owner.pw_gid)
    (folder / "elsewhere.json").write_text(json.dumps(str(data)))
    print(
        f"the user {_SYSTEM_USER} cannot reach {folder}: PostgreSQL keeps its data in {data}", file=sys.stderr
    )
    return data


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True, mode=0o700)
    return path


def _elsewhere(folder: Path) -> Path | None:
    try:
        path = Path(json.loads((folder / "elsewhere.json").read_text()))
    except (OSError, ValueError):
        return None
    return path if path.is_dir() else None


def _reachable(data: Path) -> bool:
    probe = [*_as_owner(), "test", "-w", str(data)]
    return subprocess.run(probe, check=False, cwd="/", env=_environment()).returncode == 0


def _as_owner() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups", "--"]


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and their kind would steer the programs; a locale that is not installed would stop them.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _initialise(programs: Path, data: Path, password: str) -> None:
    options = [
        "--auth=scram-sha-256",
        f"--username={USER}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-instructions",
    ]
    # The shell makes the pipe, so that the user who runs initdb may open it: no file holds the password.
    shell = ["/bin/sh", "-c", 'cat | exec "$@"', "sh"]
    command = [
        *_as_owner(),
        *shell,
        str(programs / "initdb"),
        "-D",
        str(data),
        "--pwfile=/dev/stdin",
        *options,
    ]
    done = subprocess.run(
        command, input=password, text=True, capture_output=True, check=False, cwd="/", env=_environment()
    )
    if done.returncode:
        raise OSError(f"initdb failed: {done.stderr.strip()[-400:]}")


def _wait_until_ready(process: processes.Process, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
                _ensure_database(connection)
                return
        except psycopg.OperationalError as problem:
            if not process.alive():
                raise OSError(f"PostgreSQL ended while starting, see {log}") from problem
            if time.monotonic() > deadline:
                raise OSError(
                    f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s, see {log}"
                ) from problem
        time.sleep(0.05)


def _ensure_database(connection: psycopg.Connection) -> None:
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
    if known is None:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def main(arguments: list[str]) -> int:
    return records.command("postgres", arguments, start=_start_detached, stop=stop)


def _start_detached(folder: Path) -> dict[str, str]:
    server = start(folder)
    records.detach(server.folder)
    return {"DATABASE_URL": server.url, "data": str(server.data)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
