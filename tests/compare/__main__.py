"""``python -m tests.compare HOST:PORT HOST:PORT``: play random sequences of PFS calls on two servers, and compare what they answer.

Every difference is shown with the shortest sequence that brings it. What is known to differ, and why, stands in :mod:`.known`; the exit
status is 1 when there is a difference that is not known.
"""

import argparse
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import protobuf_compat

protobuf_compat.install()

from tests.compare.known import HARMLESS_CALLS, TWO_FAULTS, behind_error, explanation, may_have_two_faults, simpler  # noqa: E402 - the imports that need the line above
from tests.compare.players import Answer, Player  # noqa: E402
from tests.compare.sequences import Call, sequence  # noqa: E402

_CLEANERS = ThreadPoolExecutor(2, thread_name_prefix="clean")
"""A real server takes its time to delete; the next sequence need not wait for it. The process ends when all is clean."""

_SHOWN_CHARACTERS = 2000
_PROGRESS_SEQUENCES = 50

END = Call(999, "the state at the end")


@dataclass(frozen=True)
class Difference:
    """A call that two servers answered differently.

    :ivar reason: Why that is known to be so; empty when it is not.
    """

    call: Call
    left: Answer
    right: Answer
    reason: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """What a shorter sequence must bring, too."""
        return self.call.name, self.left[0], self.right[0]


def compare(addresses: tuple[str, str], calls: Sequence[Call]) -> Difference | None:
    """Play a sequence on both servers until they differ, for which a difference that is known counts as the end, too."""
    players = [Player(address, f"compare-{uuid.uuid4().hex[:12]}") for address in addresses]
    try:
        for call in calls:
            left, right = (player.play(call) for player in players)
            found = _difference(call, left, right)
            if found is not None:
                return found
        return _difference(END, *(player.state() for player in players))
    finally:
        for player in players:
            _CLEANERS.submit(player.clean)


def shrink(addresses: tuple[str, str], calls: list[Call], difference: Difference) -> tuple[list[Call], Difference]:
    """Leave out every call without which the same kind of difference comes."""
    if difference.call is not END:
        calls = calls[: [call.number for call in calls].index(difference.call.number) + 1]
    for call in reversed(calls[:-1] if difference.call is not END else calls):
        shorter = [other for other in calls if other is not call]
        found = compare(addresses, shorter)
        if found is not None and found.kind == difference.kind and not explained(addresses, shorter, found).reason:
            calls, difference = shorter, found
    return calls, difference


def explained(addresses: tuple[str, str], calls: Sequence[Call], difference: Difference) -> Difference:
    """The difference with its reason, if it is that the last call has two faults.

    Both servers must know both: of the simpler calls that one of them could be, both refuse one with the left code, and one with the right.
    """
    call, left, right = difference.call, difference.left, difference.right
    if difference.reason or call is END or not may_have_two_faults(left, right):
        return difference
    before = [other for other in calls if other.number < call.number]
    missing = {left[0], right[0]}
    for other in simpler(call):
        answers = last_answers(addresses, [*before, *HARMLESS_CALLS, other])
        if answers[0][0] == answers[1][0]:
            missing.discard(answers[0][0])
        if not missing:
            return replace(difference, reason=TWO_FAULTS)
    return difference


def last_answers(addresses: tuple[str, str], calls: Sequence[Call]) -> tuple[Answer, Answer]:
    """What two servers answer to the last call."""
    players = [Player(address, f"compare-{uuid.uuid4().hex[:12]}") for address in addresses]
    try:
        answers = [tuple(player.play(call) for player in players) for call in calls][-1]
        return answers[0], answers[1]
    finally:
        for player in players:
            _CLEANERS.submit(player.clean)


def _difference(call: Call, left: Answer, right: Answer) -> Difference | None:
    same = left[0] == right[0] and (left[1] == right[1] or (left[0] != "OK" and behind_error(left) == behind_error(right)))
    return None if same else Difference(call, left, right, explanation(call, left, right))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("left", metavar="HOST:PORT", help="one server")
    parser.add_argument("right", metavar="HOST:PORT", help="the other; both may be in use meanwhile")
    parser.add_argument("--sequences", type=int, default=100, help="how many (default %(default)s)")
    parser.add_argument("--length", type=int, default=16, help="calls in each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; the others' follow (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="sequences at a time (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no sequence later than this")
    parser.add_argument("--most", type=int, default=10, help="end after so many unknown differences (default %(default)s)")
    options = parser.parse_args(argv)
    addresses = (options.left, options.right)
    counts: Counter[str] = Counter()
    kinds: set[tuple[str, str, str]] = set()
    lock = threading.Lock()
    begin = time.monotonic()

    def one(seed: int) -> None:
        with lock:
            if counts["unknown"] >= options.most or time.monotonic() > begin + options.seconds:
                return
        calls = sequence(seed, options.length)
        found = compare(addresses, calls)
        found = found and explained(addresses, calls, found)
        with lock:
            counts["sequences"] += 1
            if counts["sequences"] % _PROGRESS_SEQUENCES == 0:
                print(f"{counts['sequences']} sequences in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            if found is None:
                return
            if found.reason:
                counts[f"known: {found.reason}"] += 1
                return
            counts["unknown"] += 1
            again = found.kind in kinds
            kinds.add(found.kind)
        calls, found = (calls, found) if again else shrink(addresses, calls, found)
        with lock:
            print(f"\nseed {seed}: {' / '.join(found.kind)}{' (again)' if again else ''}")
            for call in [] if again else calls:
                print(f"  {call}")
            print(f"  at {found.call}")
            print(f"  {options.left}: {_shown(found.left, found.right)}")
            print(f"  {options.right}: {_shown(found.right, found.left)}", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, range(options.seed, options.seed + options.sequences)))
    print(f"\n{counts.pop('sequences', 0)} sequences of {options.length} calls in {time.monotonic() - begin:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"{count:>6} {name}")
    return 1 if counts["unknown"] else 0


def _shown(answer: Answer, other: Answer) -> str:
    """Of the state at the end only what differs."""
    code, found = answer
    if isinstance(found, dict) and isinstance(other[1], dict):
        found = {name: value for name, value in found.items() if other[1].get(name, "nothing") != value}
    shown = f"{code} {found}"
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} … ({len(shown)} characters)"


if __name__ == "__main__":
    sys.exit(main())
