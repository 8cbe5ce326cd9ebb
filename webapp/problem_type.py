"""A kind of refusal."""

from dataclasses import dataclass
from typing import Literal

Retry = Literal["never", "later"]
"""never: these bytes will be refused again. later: send them again under the same batch id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """One kind of refusal. `slug` is stable: agents may branch on it."""

    slug: str
    status: int
    title: str
    remedy: str
    retry: Retry = "never"

    @property
    def uri(self) -> str:
        """The problem's `type`: a path that this receiver answers with the remedy."""
        return f"/problems/{self.slug}"
