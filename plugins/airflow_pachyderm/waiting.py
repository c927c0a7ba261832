"""How the end of a wait becomes the end of a task: one judgement for operators and sensors, deferred or not."""

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_pachyderm.exceptions import PachydermError, PachydermJobError, PachydermTimeoutError, PachydermUnavailableError
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.logs import Log
from airflow_pachyderm.outcome import CommitSetOutcome, WaitEnd

if TYPE_CHECKING:
    from airflow.sdk import Context

DEFAULT_WAIT_TIMEOUT: Final = 6 * 3600.0
DEFAULT_POLL_INTERVAL: Final = 2.0
# Airflow takes a task for killed from outside, and repeats it, if its trigger fires and it is queued again before the scheduler has read
# that the worker let it go. The scheduler reads that within a loop, which takes a second or two.
QUIET_SECONDS: Final = 5.0
# As long as deferring would cost a wait that ends right after it: the time above, and the second start of the task. So the way that a wait
# goes never takes more than twice as long as the other one would have.
DEFAULT_DEFER_AFTER: Final = 8.0
# Airflow's own limit comes after the trigger's, whose event says which jobs still run.
TRIGGER_GRACE: Final = timedelta(minutes=2)


def execution_deadline(task: Any, context: "Context") -> float:
    """When the task's ``execution_timeout`` is over, in seconds since the Unix epoch; infinity without one.

    Airflow measures it anew in every process of a task and not at all while it is deferred, so whoever defers keeps it. It begins with the
    first process of a try: at a resumption the task instance still has that start.
    """
    started = context["ti"].start_date
    return (started + task.execution_timeout).timestamp() if task.execution_timeout and started else math.inf


def check_execution_timeout(task: Any, context: "Context", *, end: object, waited_for: str) -> None:
    """End the task as Airflow would have, if its ``execution_timeout`` ended the wait in the triggerer.

    :param end: Why the wait ended.
    :param waited_for: For the message.
    :raises AirflowTaskTimeout: Airflow answers it with the task's ``on_kill``.
    """
    if end == WaitEnd.TIMEOUT and time.time() >= execution_deadline(task, context):
        raise AirflowTaskTimeout(f"Still waiting for {waited_for} after the task's execution_timeout of {task.execution_timeout}")


def settle(outcome: CommitSetOutcome, *, hook: PachydermHook, log: Log, wait_timeout: float) -> CommitSetOutcome:
    """Judge how a wait ended.

    :param wait_timeout: Seconds that were allowed, for the message.
    :return: The outcome, of which every job succeeded.
    :raises PachydermJobError: A job did not: names pipeline, reason, failing inputs and the end of the log.
    :raises PachydermTimeoutError: Jobs still run. They go on running.
    :raises PachydermUnavailableError: The server went away for too long.
    """
    commit_set = outcome.commit_set
    match outcome.end:
        case WaitEnd.FINISHED if outcome.failed_jobs:
            first = outcome.failed_jobs[0]
            from airflow_pachyderm.client.failure import describe_failure

            told = f"Commit set {commit_set} at {hook.connection}: {describe_failure(hook.pps, outcome.failed_jobs)}"
            raise PachydermJobError(told, pipeline=first.pipeline, job=first.job, reason=first.reason)
        case WaitEnd.FINISHED if not outcome.active_jobs:
            log.info("Commit set %s: all %d jobs succeeded", commit_set, len(outcome.jobs))
            return outcome
        case WaitEnd.TIMEOUT:
            running = "; ".join(str(job) for job in outcome.active_jobs) or "none was seen"
            raise PachydermTimeoutError(
                f"Jobs of commit set {commit_set} still run after {wait_timeout:.0f} s: {running}. They go on; "
                "clear this task to wait again, or give it a longer wait"
            )
        case WaitEnd.UNAVAILABLE:
            raise PachydermUnavailableError(outcome.message)
        case _:  # an end that we do not know is never success
            raise PachydermError(outcome.message or f"The wait for commit set {commit_set} ended without a result: {outcome}")
