"""``python -m laptop.take_over airflow.db``: copy a SQLite database of Airflow into the PostgreSQL that Airflow is set to.

Both have the same tables. Run in Airflow's own environment, as a process of its own, since it imports Airflow.
"""

import sys
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Connection, Table, create_engine, func, inspect, select, text

_ROWS: Final = 1000
_FILLED_AT_BIRTH: Final = {"alembic_version"}  # the same in both


def main(path: Path) -> int:
    """Copy all tables in one transaction: all of it is there afterwards, or none.

    :return: The exit code; the reason goes to standard error.
    """
    import airflow.models
    from airflow import settings
    from airflow.models.base import Base

    airflow.models.import_all_models()  # type: ignore[no-untyped-call]
    assert settings.engine is not None  # noqa: S101 - importing Airflow makes it
    old = create_engine(f"sqlite:///{path}")
    try:
        with old.connect() as source, settings.engine.begin() as target:
            tables = [table for table in Base.metadata.sorted_tables if table.name not in _FILLED_AT_BIRTH]
            runs = Base.metadata.tables["dag_run"]
            if target.scalar(select(func.count()).select_from(runs)):
                sys.stderr.write("PostgreSQL holds runs already\n")
                return 1
            target.execute(
                text("SET LOCAL session_replication_role = replica")
            )  # rows come table by table: no foreign key is looked at yet
            for table in reversed(tables):
                target.execute(table.delete())
            there = set(inspect(old).get_table_names())
            rows = sum(_copy(table, source, target) for table in tables if table.name in there)
            _set_sequences(tables, target)
            count = source.scalar(select(func.count()).select_from(runs))
    finally:
        old.dispose()
    sys.stdout.write(
        f"Airflow's history ({count} runs, {rows} rows) was taken over from {path} into PostgreSQL; the file is kept as {path.name}.moved\n"
    )
    return 0


def _copy(table: Table, source: Connection, target: Connection) -> int:
    for column in table.columns:
        if isinstance(column.type, JSON) and column.nullable:
            column.type.none_as_null = True  # no value stays none, and does not become JSON's null
    found = source.execution_options(stream_results=True).execute(select(table)).mappings()
    count = 0
    for part in found.partitions(_ROWS):
        target.execute(table.insert(), [dict(row) for row in part])
        count += len(part)
    return count


def _set_sequences(tables: list[Table], target: Connection) -> None:
    for table in tables:
        for column in table.primary_key.columns:
            name: Any = target.scalar(
                text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": f'"{table.name}"', "column": column.name}
            )
            if name is not None:
                highest = target.scalar(select(func.max(column)))
                target.execute(
                    text("SELECT setval(:name, :value, :called)"), {"name": name, "value": highest or 1, "called": highest is not None}
                )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
