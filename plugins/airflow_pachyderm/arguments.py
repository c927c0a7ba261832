"""Arguments of operators and sensors that can mean nothing are refused when the DAG is parsed, where everybody sees it."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from airflow_pachyderm.exceptions import PachydermInvalidError


def check_flags(task_id: str, **flags: Any) -> None:
    """Each is True or False: a text would always be true, ``"false"`` too.

    :raises PachydermInvalidError: Names the argument.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise PachydermInvalidError(f"Task {task_id}: {name} is {value!r}; give True or False")


def check_seconds(task_id: str, *, least: float = 0.0, above: bool = False, **seconds: Any) -> None:
    """Each is a number of seconds.

    :param least: From so many on.
    :param above: Only more than that.
    :raises PachydermInvalidError: Names the argument.
    """
    for name, value in seconds.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (value > least if above else value >= least):  # nor NaN
            raise PachydermInvalidError(
                f"Task {task_id}: {name} is {value!r}; give seconds, {'more than' if above else 'at least'} {least:g}"
            )


def check_words(task_id: str, name: str, values: Collection[str], known: Collection[str]) -> None:
    """Values that somebody waits for are among those that there are, and there is one.

    :raises PachydermInvalidError: Names the value, and the nearest one.
    """
    for value in values:
        if value not in known:
            close = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise PachydermInvalidError(f"Task {task_id}: {name} has {value!r}, which nothing ever is; {hint}")
    if not values:
        raise PachydermInvalidError(f"Task {task_id}: {name} is empty; give some of {', '.join(known)}")


def check_useless(task_id: str, reasons: Mapping[str, bool]) -> None:
    """Refuse arguments that have no effect beside others.

    :param reasons: What to say, and whether it is so.
    :raises PachydermInvalidError: The first that is so.
    """
    for reason, is_so in reasons.items():
        if is_so:
            raise PachydermInvalidError(f"Task {task_id}: {reason}")
