"""What was found out of a word is remembered, since the same words come in every window.

Compiling a regular expression takes longer than matching the words of a small window. Nothing depends on what
is remembered but the time that it takes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

FEW: Final = 256  # words: of more at once, asking costs less than looking them up
LONG: Final = 128  # characters of a word that is not remembered
MOST: Final = 20_000  # answers in this process, all rules together: less than 10 MB
Rule = tuple[str, ...]
Ask = Callable[[pa.Array], pa.Array]  # strings in, as many strings or booleans out


class Answers:
    """Answers by rule and word; when there are too many, all are forgotten."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.held = 0
        self._known: dict[Rule, dict[str, Any]] = {}

    def to(self, rule: Rule, words: pa.Array, ask: Ask) -> pa.Array:
        """What `ask` says of each of the words (strings without nulls), which depends on `rule` and the word
        alone.
        """
        if not 0 < len(words) <= FEW:
            return ask(words)
        texts = words.to_pylist()
        known = self._known.get(rule, {})
        new = [text for text in texts if text not in known]
        if new:
            if max(map(len, new)) > LONG:
                return ask(words)
            known = self._learn(rule, new, ask(pa.array(new, pa.string())).to_pylist())
            if not all(text in known for text in texts):  # what was known is forgotten
                return ask(words)
        return pa.array([known[text] for text in texts])

    def _learn(self, rule: Rule, words: list[str], answers: list[Any]) -> dict[str, Any]:
        if self.held + len(words) > self._most:
            self._known.clear()
            self.held = 0
        self.held += len(words)
        known = self._known.setdefault(rule, {})
        known.update(zip(words, answers, strict=True))
        return known


_answers = Answers()


def remembered(rule: Rule, words: pa.Array, ask: Ask) -> pa.Array:
    """As `Answers.to`, of what this process remembers."""
    return _answers.to(rule, words, ask)


def matching(words: pa.Array, pattern: str) -> pa.BooleanArray:
    """In which of the words (without nulls) the regular expression is found."""
    return remembered(("match", pattern), words, partial(pc.match_substring_regex, pattern=pattern))
