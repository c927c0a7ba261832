"""What can go wrong while a stack is set up, checked or removed.

::

    ProvisionError               the root
    ├── StackInvalidError        a Param or a connection cannot work as it is; nothing was touched
    ├── DifferentError           the thing is there, but not as wanted, or not ours; it was left alone
    ├── StepFailedError          the other side tried and failed: a create operation, a Helm job
    ├── UnhealthyError           check_stack found problems
    └── TransientError           the other side is overloaded or away; the same call may succeed later

Only :class:`TransientError` is worth a retry.
"""

from collections.abc import Sequence


class ProvisionError(Exception):
    """Root of the errors of this package."""


class StackInvalidError(ProvisionError):
    """The input has to change before anything can be done."""


class DifferentError(ProvisionError):
    """Something of that name exists and is not what was asked for. It was not touched.

    :ivar thing: What it is, for example ``cluster pach``.
    :ivar differences: One line for each difference: field, what is there, what was asked for.
    """

    def __init__(self, thing: str, differences: Sequence[str], way_out: str) -> None:
        super().__init__(f"{thing} exists, but differs from what was asked for: {'; '.join(differences)}. It was left as it is: {way_out}")
        self.thing, self.differences = thing, tuple(differences)


class StepFailedError(ProvisionError):
    """The service took the request and could not fulfil it."""


class UnhealthyError(ProvisionError):
    """The stack does not work as it should.

    :ivar problems: One line each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"{len(problems)} problem(s) with the stack: {'; '.join(problems)}. The report in this task's log has the details")
        self.problems = tuple(problems)


class TransientError(ProvisionError):
    """Overload, a lost connection, a restart: the same call may succeed later."""
