"""The versions of a customer's pipeline, as text; what the text means is not this room's business."""

from sqlalchemy import Connection, insert, select, update

from db.clock import now_us
from db.errors import Refusal
from db.tables import customers, pipelines


def latest(conn: Connection, customer_id: int) -> tuple[int, str]:
    """(version, definition). Raises LookupError when none was put yet."""
    query = select(pipelines.c.version, pipelines.c.definition).where(pipelines.c.customer_id == customer_id)
    row = conn.execute(query.order_by(pipelines.c.version.desc()).limit(1)).one_or_none()
    if row is None:
        raise LookupError(f"customer {customer_id} has no pipeline")
    return row.version, row.definition


def get(conn: Connection, customer_id: int, version: int) -> str:
    """Raises LookupError when there is no such version."""
    query = select(pipelines.c.definition).where(
        pipelines.c.customer_id == customer_id, pipelines.c.version == version
    )
    text: str | None = conn.execute(query).scalar_one_or_none()
    if text is None:
        raise LookupError(f"customer {customer_id} has no pipeline version {version}")
    return text


def put(conn: Connection, customer_id: int, text: str) -> int:
    """Store a definition as the customer's next version, which windows cut from now on are pinned to."""
    now = now_us(conn)
    change = update(customers).where(customers.c.id == customer_id)
    version: int | None = conn.execute(
        change.values(pipeline_version=customers.c.pipeline_version + 1, updated_at=now).returning(
            customers.c.pipeline_version
        )
    ).scalar_one_or_none()
    if version is None:
        raise Refusal(f"there is no customer {customer_id}")
    conn.execute(
        insert(pipelines).values(customer_id=customer_id, version=version, definition=text, created_at=now)
    )
    return version
