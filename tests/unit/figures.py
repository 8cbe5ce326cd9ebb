"""What a section of a page says, compared with the JSON of a benchmark (`bench/results`)."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# `p99.9`, `SHA-256` and the paths of links are names.
NUMBER = re.compile(r"(?<![\w.,/-])\d[\w.,]*")
NAMES = re.compile(r"`[^`]*`|\]\([^)]*\)")


class Found(dict[str, Any]):
    """An object of a JSON: `run.ours` is `run["ours"]`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@cache
def result(name: str) -> Any:
    text = (ROOT / "bench" / "results" / f"{name}.json").read_text()
    return json.loads(text, object_hook=Found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading of a page, and pieces of its text, which together have all of the section's numbers."""

    page: str
    heading: str
    measured: Sequence[str]
    """Made from the JSON."""
    stated: Sequence[str] = ()
    """Promises, settings and the workload."""
    elsewhere: Sequence[str] = ()
    """Found in runs without a JSON."""

    @property
    def pieces(self) -> list[str]:
        return [*self.measured, *self.stated, *self.elsewhere]

    def text(self) -> str:
        """The heading and what follows up to the next one, with single spaces."""
        _, found, rest = ("\n" + (ROOT / self.page).read_text()).partition(f"\n{self.heading}")
        assert found, f"{self.page} has no {self.heading}"
        return " ".join((self.heading + re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]).split())

    def missing(self) -> list[str]:
        """Pieces that the section does not have."""
        text = self.text()
        return [piece for piece in self.pieces if not _whole(piece).search(text)]

    def unchecked(self) -> list[str]:
        """Numbers that are in none of the pieces, with the words around them."""
        text = rest = self.text()
        for known in (*map(_whole, self.pieces), NAMES):
            for match in known.finditer(text):
                rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
        return [text[max(0, one.start() - 30) : one.end() + 20] for one in NUMBER.finditer(rest)]


def _whole(piece: str) -> re.Pattern[str]:
    """Not as a part of a longer word or number."""
    before = r"(?<![\w.,])" if piece[0].isalnum() else ""
    after = r"(?!\w|[.,]\d)" if piece[-1].isalnum() else ""
    return re.compile(before + re.escape(piece) + after)
