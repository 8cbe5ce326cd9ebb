"""The units of deploy/systemd, read as systemd reads them, and their commands run as it would run them."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.confined import calls

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "deploy" / "systemd"
COMMON = UNITS / "sluice-.service.d"
PROJECT = "/opt/sluice"
USER = 65534
SMALL = "size=2m"
# The machine as a service sees it: the project read-only where the units expect it, small temporary folders,
# and a /run and a /var/cache with the unit's own folders and credentials. What the commands name by its own
# path, the project in which they were made and their Python, stays there, though it may be closed to other
# users (/root).
_ENTER = f"""
set -e
umask 022
root=$1 python=$2 run=$3 credentials=$4 cache=$5; shift 5
mount -t tmpfs -o size=1m,mode=755 tmpfs /run
mkdir -p "/run/$run" "$credentials" /run/kept/project /run/kept/python
for name in database broker stream; do
  eval "printf '%s\\n' \\"\\$secret_$name\\"" > "$credentials/${{name}}_url"; unset "secret_$name"
done
chown -R {USER}:{USER} "/run/$run" "$credentials"
mount -t tmpfs -o size=8m,mode=755 tmpfs /var/cache
[ -z "$cache" ] || install -d -m 700 -o {USER} -g {USER} "/var/cache/$cache"
mount --bind "$root" /run/kept/project
mount -o remount,bind,ro /run/kept/project
case $python in /usr|/usr/*) python= ;; *) mount --bind "$python" /run/kept/python ;; esac
mount -t tmpfs -o {SMALL},mode=1777 tmpfs /var/tmp
for top in $(for path in /tmp/x {PROJECT} "$root" $python; do echo "$path" | cut -d/ -f2; done | sort -u); do
  mount -t tmpfs -o {SMALL},mode=1777 tmpfs "/$top"
done
mkdir -p {PROJECT} "$root" $python
mount --bind /run/kept/project {PROJECT}
mount --bind /run/kept/project "$root"
[ -z "$python" ] || mount --bind /run/kept/python "$python"
cd {PROJECT}
exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs --inh-caps=-all "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit, or an instance of one, with what the folder of all services adds."""

    name: str
    lines: tuple[tuple[str, str], ...]

    def all(self, setting: str) -> list[str]:
        return [self._expanded(value) for key, value in self.lines if key == setting]

    def one(self, setting: str) -> str:
        """The last word on it."""
        return self.all(setting)[-1]

    @property
    def instance(self) -> str:
        return self.name.rpartition(".")[0].partition("@")[2]

    @property
    def credentials(self) -> str:
        return f"/run/credentials/{self.name}"

    def environment(self) -> dict[str, str]:
        """Of the unit and of the file that EnvironmentFile names. The file has the last word."""
        assert self.one("EnvironmentFile") == "/etc/sluice/sluice.env"
        return self.own_environment() | settings_file()

    def own_environment(self) -> dict[str, str]:
        words = [word for value in self.all("Environment") for word in shlex.split(value)]
        return dict(word.split("=", 1) for word in words)

    def command(self, environment: Mapping[str, str]) -> list[str]:
        words = shlex.split(self.one("ExecStart"))
        return [re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word) for word in words]

    def _expanded(self, value: str) -> str:
        folders = {"%t": "/run", "%C": "/var/cache", "%d": self.credentials}
        specifiers = {"%%": "%", "%i": self.instance} | folders
        return re.sub("%.", lambda found: specifiers[found[0]], value)


def unit(name: str) -> Unit:
    """`sluice-worker@acme.service` is the instance `acme` of its template."""
    template = re.sub(r"@[^.]*\.", "@.", name)
    parts = [UNITS / template]
    if template.endswith(".service"):
        parts = [*sorted(COMMON.glob("*.conf")), *parts]
    return Unit(name=name, lines=tuple(line for part in parts for line in _lines(part)))


def settings_file() -> dict[str, str]:
    """What deploy/systemd/sluice.env sets."""
    lines = (UNITS / "sluice.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def services() -> list[str]:
    """All services, templates with an instance."""
    return sorted(path.name.replace("@.", "@one-1.") for path in UNITS.glob("*.service"))


def start(
    unit: Unit, secrets: Mapping[str, str], settings: Mapping[str, str], log: Path, *words: str
) -> subprocess.Popen[bytes]:
    """The unit's command (or `words` in its place) as another user, on a read-only project, under the unit's
    restrictions. `secrets`: the URLs by `database`, `broker`, `stream`; `settings`: what this machine needs
    otherwise than sluice.env has it. The process becomes the command's.
    """
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | unit.environment() | dict(settings)
    assert unit.one("SystemCallFilter").startswith("@")
    restrictions = {
        "calls": sorted(calls(unit.one("SystemCallFilter"))),
        "families": unit.one("RestrictAddressFamilies").split(),
        "deny_write_execute": unit.one("MemoryDenyWriteExecute") == "yes",
    }
    enter = ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", _ENTER, "sh"]
    confined = [os.path.realpath(sys.executable), f"{PROJECT}/tests/confined.py", json.dumps(restrictions)]
    cache = "".join(unit.all("CacheDirectory"))
    where = [str(ROOT), sys.base_prefix, unit.one("RuntimeDirectory"), unit.credentials, cache]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*enter, *where, *confined, *(words or unit.command(environment))],
            env=environment | {f"secret_{name}": url for name, url in secrets.items()},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()
