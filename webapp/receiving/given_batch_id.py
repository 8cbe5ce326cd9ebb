"""The batch id that an agent gives."""

import re

from webapp import problems
from webapp.problems import Problem
from webapp.receiving.body import Environ

BATCH_ID_FORM = re.compile(r"[\x21-\x7e]{1,64}")


def given_batch_id(environ: Environ) -> str | None:
    """The `Idempotency-Key`, None when there is none. Raises Problem for another form."""
    batch_id: str | None = environ.get("HTTP_IDEMPOTENCY_KEY")
    if batch_id is not None and BATCH_ID_FORM.fullmatch(batch_id) is None:
        raise Problem(problems.BAD_BATCH_ID, "Idempotency-Key must be 1 to 64 visible ASCII characters")
    return batch_id
