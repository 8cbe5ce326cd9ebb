"""Whether a customer was deleted while a task worked on a window of it: then there is nothing left to do."""

import db.customers.deletion
import db.engine
from tasks.stages.context import Context


def is_gone(context: Context, customer_id: int) -> bool:
    """Whether the customer is deleted, or being deleted. Raises `db.errors.DatabaseUnavailable`."""
    with db.engine.look(context.engine) as connection:
        return db.customers.deletion.is_gone(connection, customer_id)
