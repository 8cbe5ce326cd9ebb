"""A cluster of three nodes, and an installation on it that knows all three by their URLs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import cluster as local_cluster
from tests.whole import Whole, running


@pytest.fixture(scope="module")
def cluster(server_folder: Path) -> Iterator[local_cluster.Cluster]:
    cluster = local_cluster.start(server_folder / "cluster")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def whole(
    cluster: local_cluster.Cluster, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("clustered")
    database = folder / "sluice.db"
    shutil.copyfile(sqlite_template, database)
    with running(
        folder,
        database_url=f"sqlite:///{database}",
        amqp_url=cluster.amqp_url,
        stream_url=cluster.stream_url,
        SLUICE_TASK_QUEUE_TYPE="quorum",
        SLUICE_TASK_STALE_AFTER_S="5",
    ) as whole:
        yield whole
