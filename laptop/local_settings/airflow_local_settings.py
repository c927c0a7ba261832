"""Loaded by every Airflow process of this machine at its start: Airflow looks for a module of this name.

On SQLite a transaction that begins with a savepoint begins as a reader. If anybody else writes before it does, SQLite refuses its first
write at once, "database is locked", whatever the timeout: what it has read is no longer so. ``airflow backfill create``, and the form in
the UI, make each run in such a transaction, so that a long backfill almost surely meets a write of the scheduler. With the lock taken first
it waits for its turn, and the whole backfill is made or none of it.
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine


@event.listens_for(Engine, "savepoint")
def begin_as_a_writer(conn: Connection, name: str) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    """Take SQLite's write lock, before the savepoint that begins a transaction."""
    driver: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite" and not getattr(driver, "in_transaction", True):
        conn.exec_driver_sql("BEGIN IMMEDIATE")
