"""Which RabbitMQ a private node runs: the machine's own, or 4.x out of a newer Debian in a folder.

`python -m deploy.local.releases` makes sure that the one which the environment asks for is there.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local import debian, install
from deploy.local.install import PackageMissing

# The first suite of Debian that carries 4.x.
SUITE = "forky"
PACKAGE = "rabbitmq-server"
_IN_DEBIAN = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_RECORD = "release"


@dataclass(frozen=True, slots=True)
class Release:
    """RabbitMQ's programs; `root` is the Debian they lie in, None for this machine."""

    server: str
    root: Path | None = None

    def seen(self, folder: Path) -> Path:
        """The node's folder, as the node sees it."""
        return folder if self.root is None else debian.NODE

    def command(self, folder: Path, *command: str) -> list[str]:
        """How a program of this release is run for the node of that folder."""
        return list(command) if self.root is None else debian.inside(self.root, folder, *command)

    def remember(self, folder: Path) -> None:
        (folder / _RECORD).write_text("" if self.root is None else str(self.root))


def chosen() -> Release:
    """What the environment asks for: BROKER=4, or this machine's own. Raises PackageMissing."""
    match os.environ.get("BROKER", ""):
        case "4":
            return Release(_IN_DEBIAN, debian.build(SUITE, PACKAGE, "BROKER=4"))
        case "" | "3":
            install.ensure(PACKAGE)
            found = install.rabbitmq_server()
            assert found is not None
            return Release(found)
        case other:
            raise PackageMissing(f"there is no BROKER={other}: 4, or nothing for the machine's own RabbitMQ")


def remembered(folder: Path) -> Release:
    """What the node of this folder was last started with."""
    try:
        root = (folder / _RECORD).read_text()
    except OSError:
        root = ""
    return Release(_IN_DEBIAN, Path(root)) if root else Release(install.rabbitmq_server() or "")


def main() -> int:
    try:
        chosen()
    except PackageMissing as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
