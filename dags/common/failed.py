"""A run that fails says why where people look, also when it never comes to its report. Light to import: DAG files name this function."""

import logging
from datetime import timedelta
from typing import Any

from dags import settings

log = logging.getLogger(__name__)


def task_defaults() -> dict[str, Any]:
    """``default_args`` of Tuskwatch's DAGs."""
    retry = {"retries": settings.RETRIES, "retry_delay": timedelta(seconds=settings.RETRY_SECONDS)}
    return {**retry, "on_failure_callback": tell_failure}


def tell_failure(context: Any) -> None:
    """Put the cause of a failed task into the repo ``status``; what ``on_failure_callback`` of Tuskwatch's DAGs calls.

    It never fails itself: the cause stands in the task's log anyway.
    """
    try:
        from dags.common.tell import record_failure

        record_failure(context)
    except Exception:
        log.exception("The dashboard could not be told of this failure")
