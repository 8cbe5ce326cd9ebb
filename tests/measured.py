"""Metrics as a scraper reads them."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """One answer of /metrics."""

    series: Series
    kinds: Mapping[str, str]

    def value(self, name: str, /, **labels: str) -> float | None:
        """Of the one series with exactly these labels; None when it is not there."""
        return self.series.get((name, frozenset(labels.items())))

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of all series that have these labels."""
        wanted = labels.items()
        return sum(value for (of, has), value in self.series.items() if of == name and wanted <= set(has))

    def customers(self) -> set[str]:
        """All values of the label `customer`."""
        return {value for _, labels in self.series for label, value in labels if label == "customer"}


def parsed(text: str) -> Scrape:
    """Of an exposition in Prometheus' text format."""
    families = list(text_string_to_metric_families(text))
    return Scrape(
        series={
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
        kinds={family.name: family.type for family in families},
    )


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def scraped(port: int) -> Scrape:
    """What /metrics of a process of this host says now; nothing while it does not answer."""
    return parsed(ask(port, "/metrics")[1])
