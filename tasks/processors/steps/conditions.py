"""Which events a step's condition holds for."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.steps import Match, Regex, Where
from tasks.processors.answers import matching as words_matching
from tasks.processors.rows import Rows


def matching(rows: Rows, where: Where) -> NDArray[np.bool_]:
    """True for the rows for which every given field of the condition holds."""
    mask = np.ones(len(rows), dtype=np.bool_)
    if where.service is not None:
        mask &= rows.service.where(_words(rows.service.words, where.service))
    if where.operation is not None:
        mask &= rows.operation.where(_words(rows.operation.words, where.operation))
    if where.kind is not None:
        mask &= texts(rows.whole("kind"), where.kind).to_numpy(zero_copy_only=False)
    if where.status is not None:
        mask &= rows.failed() == (where.status == "error")
    if where.min_duration_us is not None:
        mask &= rows.integers("duration_us") >= where.min_duration_us
    if where.max_duration_us is not None:
        mask &= rows.integers("duration_us") <= where.max_duration_us
    for key, match in where.attributes.items():
        mask = having(rows, key, match, mask)
    return mask


def _words(words: pa.Array, match: Match) -> pa.BooleanArray:
    """As `texts`, of words without nulls."""
    return words_matching(words, match.regex) if isinstance(match, Regex) else texts(words, match)


def texts(strings: pa.Array, match: Match) -> pa.BooleanArray:
    """Whether each string is one of the texts, or the expression is found in it; false for a null."""
    if isinstance(match, Regex):
        found = pc.match_substring_regex(strings, pattern=match.regex)
    else:
        found = pc.is_in(strings, value_set=pa.array(match, pa.string()))
    return pc.fill_null(found, False)


def having(rows: Rows, key: str, match: Match, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of each row whether it is marked and has an attribute of this key whose value matches."""
    mask = np.zeros(len(rows), dtype=np.bool_)
    if among.any():
        owner, values = rows.attributes.values_of(key, among)
        mask[owner[texts(values, match).to_numpy(zero_copy_only=False)]] = True
    return mask
