"""Branches that follow another branch of their repo when enough has happened there."""

import re
from datetime import UTC, datetime

from croniter import CroniterBadDateError, croniter

from minipachd.errors import InvalidError
from minipachd.pfs.names import check_name
from minipachd.pfs.schema import decode_trigger
from minipachd.pfs.types import BranchKey, Commit, Origin, Trigger
from minipachd.pfs.view import View
from minipachd.pfs.writing import Writing

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_size(text: str) -> int:
    """Bytes of ``100M`` (decimal) or ``100Mi`` (binary).

    :raises InvalidError: It is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidError(f"invalid trigger size {text!r}: expected a number of bytes such as 100M")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].upper()])


def is_cron(spec: str) -> bool:
    """Whether this is a cron spec, and of a time that ever comes: 30 February does not."""
    if not croniter.is_valid(spec):
        return False
    try:
        croniter(spec, datetime.fromtimestamp(0, UTC)).get_next(datetime)
    except CroniterBadDateError:
        return False
    return True


def check_trigger(view: View, key: BranchKey, trigger: Trigger) -> None:
    """Refuse a trigger that can never work.

    :raises InvalidError: Says which field is wrong.
    """
    if not trigger.branch:
        raise InvalidError("triggers must specify a branch to trigger on")
    check_name(trigger.branch)
    if trigger.size:
        parse_size(trigger.size)
    for name, spec in (("rate limit", trigger.rate_limit_spec), ("cron", trigger.cron_spec)):
        if spec and not is_cron(spec):
            raise InvalidError(
                f"invalid trigger {name} spec {spec!r}: expected five cron fields, or a word such as @daily, that ever come true"
            )
    if trigger.commits < 0:
        raise InvalidError(f"can't trigger on a negative number of commits ({trigger.commits})")
    followed, seen = trigger.branch, {key.name}
    while True:
        if followed in seen:
            raise InvalidError(f"triggers cannot form a loop: {key} would follow itself")
        seen.add(followed)
        row = view.find_branch(BranchKey(key.repo, followed))
        following = None if row is None else _trigger_of(view, row)
        if following is None:
            return
        followed = following.branch


def fire(txn: Writing, finished: Commit) -> None:
    """Move the branches that follow the one on which a commit has just been finished without error; then those that follow them."""
    repo = txn.repo_row(finished.key.repo)
    rows = txn.db.execute(
        "SELECT id, name, trigger_json FROM branches WHERE repo = ? AND trigger_json IS NOT NULL ORDER BY id", (repo,)
    ).fetchall()
    triggers = {name: (row, decode_trigger(text)) for row, name, text in rows}
    moved = [finished.branch.name]
    while moved:
        source = moved.pop()
        for name, (row, trigger) in triggers.items():
            if trigger is not None and trigger.branch == source and _holds(txn, trigger, finished, row):
                txn.move_head(row, txn.commit_row(finished.key))
                moved.append(name)


def next_tick(view: View, after_ns: int) -> int | None:
    """When the first trigger with a cron spec is due after a moment, in nanoseconds since the epoch; None without any."""
    since = datetime.fromtimestamp(after_ns / 1e9, UTC)
    instants = [croniter(trigger.cron_spec, since).get_next(datetime) for _, trigger in _cron_triggers(view)]
    return int(min(instants).timestamp() * 1e9) if instants else None


def tick(txn: Writing, after_ns: int, until_ns: int) -> None:
    """Move every branch whose cron spec came due in ``(after_ns, until_ns]`` to the finished head of the branch that it follows."""
    since, until = datetime.fromtimestamp(after_ns / 1e9, UTC), datetime.fromtimestamp(until_ns / 1e9, UTC)
    for row, trigger in _cron_triggers(txn):
        if croniter(trigger.cron_spec, since).get_next(datetime) > until:
            continue
        source = txn.find_branch(BranchKey(txn.branch_key(row).repo, trigger.branch))
        head = None if source is None else txn.head_row_of(source)
        if head is None or head == txn.head_row_of(row):
            continue
        commit = txn.commit_at(head)
        if commit.finished and not commit.error:
            txn.move_head(row, head)


def _cron_triggers(view: View) -> list[tuple[int, Trigger]]:
    rows = view.db.execute("SELECT id, trigger_json FROM branches WHERE trigger_json IS NOT NULL ORDER BY id").fetchall()
    found = [(row, decode_trigger(text)) for row, text in rows]
    return [(row, trigger) for row, trigger in found if trigger is not None and trigger.cron_spec]


def _trigger_of(view: View, row: int) -> Trigger | None:
    return decode_trigger(view.db.execute("SELECT trigger_json FROM branches WHERE id = ?", (row,)).fetchone()[0])


def _holds(txn: Writing, trigger: Trigger, new: Commit, branch_row: int) -> bool:
    head_row = txn.head_row_of(branch_row)
    head = None if head_row is None else txn.commit_at(head_row)
    if head is not None and head.key == new.key:
        return False
    held: list[bool] = []
    if trigger.size:
        held.append(new.size - (head.size if head else 0) >= parse_size(trigger.size))
    if trigger.commits:
        between = 0
        for commit in txn.commits(newest=new, oldest=head):
            if commit.parent is None and commit.origin is Origin.AUTO:  # the empty one that the branch began with
                break
            between += 1
            if between >= trigger.commits or commit.parent is None:
                break
        held.append(between >= trigger.commits)
    if trigger.rate_limit_spec:
        since = datetime.fromtimestamp((head.finishing_ns or 0) / 1e9 if head else 0, UTC)
        until = datetime.fromtimestamp((new.finishing_ns or 0) / 1e9, UTC)
        upcoming = croniter(trigger.rate_limit_spec, since).get_next(datetime)
        held.append(upcoming < until or until < since)  # the latter when the clock was ahead before
    if trigger.all:
        return all(held) and not trigger.cron_spec
    return any(held)
