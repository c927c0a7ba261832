"""One call of a step, the same in a worker and in the triggerer."""

from collections.abc import Mapping
from typing import Any

from airflow_pachyderm.exceptions import PachydermError, PachydermUnavailableError
from dags.provisioning.clients import Clients
from dags.provisioning.errors import DifferentError, StepFailedError, TransientError
from dags.provisioning.outcome import Change, Done, Outcome
from dags.provisioning.stack import Stack
from dags.provisioning.steps import STEPS, Request


def call(
    step: str,
    stack: Mapping[str, Any],
    *,
    run: str,
    progress: dict[str, str],
    options: Mapping[str, Any],
    clients: Clients | None = None,
) -> Outcome:
    """Call a step once.

    :param step: Its name in :data:`dags.provisioning.steps.STEPS`.
    :param stack: :meth:`dags.provisioning.stack.Stack.to_dict`.
    :param options: Further fields of :class:`dags.provisioning.steps.Request`.
    :param clients: Of an earlier call for the same stack, which saves logging in again.
    :raises ProvisionError: Only a :class:`TransientError` is worth another call.
    """
    parsed = Stack.from_dict(stack)
    request = Request(clients=clients or Clients(parsed), stack=parsed, run=run, progress=progress, **options)
    try:
        return STEPS[step](request)
    except DifferentError as exc:
        if not request.only_run:
            raise
        return Done(change=Change.ABSENT, message=f"Nothing to undo: {exc.thing} is not this stack's ({'; '.join(exc.differences)})")
    except PachydermUnavailableError as exc:
        raise TransientError(str(exc)) from exc
    except PachydermError as exc:
        raise StepFailedError(str(exc)) from exc
