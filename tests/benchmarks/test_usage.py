"""What processes cost is counted whether they still run, have ended, or were started by others; and what few values say."""

import subprocess
import sys

import pytest

from benchmarks.load import percentile
from benchmarks.usage import Usage

SPEND = """
import subprocess, sys, time
held = b"x" * (60 << 20)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
else:
    while time.process_time() < 0.5:
        pass
    print("spent", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("depth", [0, 1])
def test_time_and_memory_of_a_process_and_of_its_children(depth: int) -> None:
    with Usage() as usage, subprocess.Popen([sys.executable, "-c", SPEND, *[SPEND] * depth], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "spent\n"
        while usage.peak_mib < 60 * (depth + 1):
            pass  # the next look is a quarter of a second away at most
        child.communicate("end\n")

    assert usage.cpu_seconds >= 0.5
    assert usage.wall_seconds >= 0.25


def test_a_process_that_still_runs_counts_and_what_was_before_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", SPEND], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with Usage() as usage:
            pass
        child.communicate("end\n")

    assert usage.cpu_seconds < 0.5


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]

    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50, 99, 100)
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0], 50) == 1.0
