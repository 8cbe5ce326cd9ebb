"""Three private RabbitMQ nodes that replicate: `python -m deploy.local.cluster start|stop FOLDER`."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes, rabbitmq, records, releases

SIZE = 3
_NAMES = tuple(f"sluice-{number}" for number in range(1, SIZE + 1))


@dataclass(slots=True)
class Cluster:
    """The nodes of `folder` by number; one that was killed or stopped keeps its place."""

    folder: Path
    nodes: list[rabbitmq.RabbitNode]

    @property
    def amqp_url(self) -> str:
        """All nodes' URLs, as BROKER_URL takes them: the next one is tried when one does not answer."""
        return ";".join(node.amqp_url for node in self.nodes)

    @property
    def stream_url(self) -> str:
        return ";".join(node.stream_url for node in self.nodes)

    def kill(self, number: int) -> None:
        """SIGKILL for one node."""
        node = processes.of(self.nodes[number].pid)
        if node is not None:
            processes.end(node, how=signal.SIGKILL, timeout_s=rabbitmq.STOP_TIMEOUT_S)

    def stop_node(self, number: int) -> None:
        self.nodes[number].stop()

    def start_node(self, number: int) -> None:
        """Start a node that was killed or stopped; it joins again and is up to date some moments later."""
        name = _NAMES[number]
        self.nodes[number] = rabbitmq.start(
            self.folder / name, name=name, membership=_membership(self.folder, number)
        )

    def stop(self) -> None:
        stop(self.folder)


def start(folder: Path) -> Cluster:
    """Start the cluster whose data lies in `folder`; the nodes come up one after the other.

    Raises install.PackageMissing, records.Running (somebody else's), OSError (a node did not come up).
    """
    folder = folder.resolve()
    release = releases.chosen()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    records.claim(folder, rabbitmq.STOP_TIMEOUT_S)
    rabbitmq.start_epmd(folder, release, records.ports(folder, ("epmd",))["epmd"])
    cluster = Cluster(folder, [])
    try:
        for number, name in enumerate(_NAMES):
            membership = _membership(folder, number)
            cluster.nodes.append(rabbitmq.start(folder / name, name=name, membership=membership))
    except BaseException:
        stop(folder)
        raise
    return cluster


def stop(folder: Path) -> bool:
    """Stop all nodes, the last started first; False when nothing was running."""
    folder = folder.resolve()
    stopped = [rabbitmq.stop(folder / name) for name in reversed(_NAMES)]
    return any([*stopped, records.end(folder, rabbitmq.STOP_TIMEOUT_S)])


def _membership(folder: Path, number: int) -> rabbitmq.Membership:
    return rabbitmq.Membership(
        epmd_port=records.ports_now(folder)["epmd"],
        cookie=records.secret(folder / "cookie"),
        password=records.secret(folder / "password"),
        peers=_NAMES[:number],
    )


def main(arguments: list[str]) -> int:
    return records.command("cluster", arguments, start=_start_detached, stop=stop)


def _start_detached(folder: Path) -> dict[str, str]:
    cluster = start(folder)
    for one in (cluster.folder, *(node.folder for node in cluster.nodes)):
        records.detach(one)
    management = " ".join(node.management_url for node in cluster.nodes)
    return {"BROKER_URL": cluster.amqp_url, "STREAM_URL": cluster.stream_url, "management": management}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
