"""``make status``, ``make password`` and ``make reset``."""

import shutil
import sys
from collections import Counter
from dataclasses import replace
from typing import Final

from laptop.errors import LaptopError, StartError
from laptop.keys import renew, write_passwords
from laptop.layout import Layout
from laptop.stack import Stack
from laptop.supervisor import restarts
from laptop.zone import clock

_SHOWN: Final = 5  # of the restarts
_KEPT: Final = {"cache"}  # what reset leaves: the models that were downloaded


def status(layout: Layout) -> bool:
    """Say what runs, since when, and what was started again: when, how it had ended, and the last lines of its log.

    :return: Whether all of it runs.
    """
    stack = Stack.load(layout)
    if stack is None:
        _say(f"nothing runs in {layout.root}: make up starts it")
        return False
    if not stack.alive:
        _say(f"the supervisor of {layout.root} has ended, and nothing is started again any more: make down, then make up")
        _say(f"its log: {stack.supervisor.log}")
        return False
    try:
        states = stack.supervisor.states()
    except StartError as error:
        _say(str(error))
        return False
    ended = restarts(layout)
    often = Counter(entry["part"] for entry in ended)
    _say(f"Airflow:    {stack.airflow.url}   minipachd: {stack.pachd_address}   data: {layout.root}\n")
    for name, state in states.items():
        again = f", started again {often[name]} times" if often[name] else ""
        what = f"since {clock(state.since)}" if state.since else ""
        _say(f"{name:14} {state.state.lower():9} {what}{again}")
    for entry in ended[-_SHOWN:]:
        _say(f"\n{clock(entry['time'])}  {entry['part']} ended ({entry['how']}) and was started again; the end of its log:")
        _say("\n".join(f"    {line[:300]}" for line in entry["log"]) or "    (empty)")
    _say(f"\nlogs: {layout.logs}")
    return all(state.state in ("RUNNING", "STARTING") for state in states.values())


def password(layout: Layout) -> None:
    """Renew the passwords. They hold from the next login on; who is logged in stays so until the next start."""
    if not layout.secrets.exists():
        msg = f"there is no installation in {layout.root} yet: make up makes one, with a password"
        raise LaptopError(msg)
    renewed = renew(layout)
    stack = Stack.load(layout)
    if stack is not None:
        new = replace(stack.airflow, password=renewed["password"], viewer_password=renewed["viewer_password"])
        write_passwords(layout, new)
        if stack.alive:
            stack.airflow = new
            stack.save()
            _say("who is logged in stays so until make down and make up")
    _say(f"user admin, password {renewed['password']}\nuser viewer, password {renewed['viewer_password']}")


def reset(layout: Layout) -> None:
    """Remove all data: images, commits, settings, history, passwords. Downloaded models stay.

    :raises LaptopError: It runs.
    """
    if (stack := Stack.load(layout)) is not None and stack.alive:
        msg = f"it runs in {layout.root}: make down first; make backup FILE=… keeps what is there"
        raise LaptopError(msg)
    if stack is not None:
        stack.stop()
    clear(layout)
    _say(f"{layout.root} is empty: the next start begins anew")


def clear(layout: Layout) -> None:
    """Remove everything but downloads from the folder of a stack that does not run."""
    for path in layout.root.iterdir() if layout.root.exists() else ():
        if path.name not in _KEPT:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
