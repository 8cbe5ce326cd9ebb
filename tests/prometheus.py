"""A real Prometheus that scrapes processes of a test every second, with Sluice's rules."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.local import ports
from tests.receiver import stop, until

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = ROOT / "deploy" / "prometheus"
RULES = sorted((DEPLOYED / "rules").glob("*.yml"))


@dataclass(frozen=True, kw_only=True)
class PrometheusServer:
    """Its HTTP API."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Raises AssertionError when Prometheus refuses it."""
        return self._data("query", query=expression)["result"]  # type: ignore[no-any-return]

    def series(self, expression: str, minutes: int = 5) -> list[dict[str, Any]]:
        """The series of a query over the last minutes, as a chart asks for it. Raises AssertionError."""
        end = time.time()
        found = self._data("query_range", query=expression, start=end - 60 * minutes, end=end, step=1)
        return found["result"]  # type: ignore[no-any-return]

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that fire now, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self._data("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def scraped(self, jobs: int) -> bool:
        """Whether so many targets answer; no while Prometheus itself starts."""
        with contextlib.suppress(httpx.TransportError, AssertionError):
            return len(self.query("up == 1")) == jobs
        return False

    def _data(self, path: str, **parameters: str | float) -> Any:
        reply = httpx.get(
            f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=60, trust_env=False
        )
        answer = reply.json() if reply.headers["content-type"].startswith("application/json") else {}
        assert answer.get("status") == "success", (reply.status_code, parameters, reply.text)
        return answer["data"]


@contextlib.contextmanager
def scraping(
    program: str, folder: Path, targets: Mapping[str, int], rules: Mapping[str, str] | None = None
) -> Iterator[PrometheusServer]:
    """Scrape these ports of loopback, by job. `rules`: instead of Sluice's, by the names of their files."""
    [port] = ports.free(1)
    folder.mkdir(parents=True, exist_ok=True)
    texts = rules if rules is not None else {path.name: path.read_text() for path in RULES}
    for name, text in texts.items():
        (folder / name).write_text(text)
    configuration = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = list(texts)
    configuration["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]} for job, at in targets.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = PrometheusServer(port=port)
    try:
        until(lambda: server.scraped(len(targets)), f"Prometheus ({folder / 'prometheus.log'})")
        yield server
    finally:
        stop(process)
