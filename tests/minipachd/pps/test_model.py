"""PPS against a recomputation from scratch: any sequence of input commits, updates, failures, stops, and servers killed in between."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.minipachd.pps.lab import JobState, Lab, counts, pfs
from tests.support import Engine

NAMES = st.sampled_from(["/a", "/b", "/c", "/d"])
CONTENT = st.sampled_from(["one", "two", "bad one", "bad two"])
CHANGES = st.dictionaries(NAMES, st.none() | CONTENT, min_size=1, max_size=3)  # None: the file is deleted


@dataclass(frozen=True)
class Version:
    """The code of ``copy``: it writes its number before what it read, and in its strict form fails over what is bad."""

    number: int
    salt: int
    strict: bool

    @property
    def script(self) -> str:
        refuse = 'case "$(cat $in)" in bad*) exit 1;; esac; ' if self.strict else ""
        return f"{refuse}echo $(cat $in) by {self.number} >$PFS_ROOT/out/$(basename $in)"


@dataclass(frozen=True)
class Done:
    """What a datum read, and who made its output of it."""

    content: str
    salt: int
    by: int


@dataclass(frozen=True)
class Asked:
    """A job of ``copy`` that must be there.

    :ivar files: Its input.
    :ivar may_be_killed: Something happened that kills jobs that had not ended.
    """

    id: str
    version: Version
    files: dict[str, str]
    may_be_killed: bool = False


class Model(RuleBasedStateMachine):
    """``in`` feeds ``copy``, a datum a file; ``copy`` feeds ``sum``, a datum in all."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="pps-model-"))
        self.engine = Engine(self.folder).start()
        self.lab = Lab(self.engine)
        self.version = Version(1, 1, strict=True)
        self.stopped = False
        self.files: dict[str, str] = {}
        self.settled: dict[str, Done] = {}  # by the last job that succeeded
        self.asked: list[Asked] = []
        self.lab.repo()
        self._send_version()
        self.lab.pipeline("sum", "cat $PFS_ROOT/copy/* >$PFS_ROOT/out/all", reads=pfs("copy", "/"))

    def teardown(self) -> None:
        self.settle()
        assert "Traceback" not in self.engine.log.read_text()
        self.engine.close()
        shutil.rmtree(self.folder)

    @rule(changes=CHANGES)
    def commit(self, changes: dict[str, str | None]) -> None:
        deleted = [name for name, content in changes.items() if content is None and name in self.files]
        put = {name: content for name, content in changes.items() if content is not None}
        commit = self.lab.put(put, delete=deleted)
        self.files = {name: content for name, content in self.files.items() if name not in deleted} | put
        if not self.stopped:
            self.asked.append(Asked(commit, self.version, dict(self.files)))

    @rule(strict=st.booleans(), reprocess=st.booleans())
    def update(self, strict: bool, reprocess: bool) -> None:
        number = self.version.number + 1
        self.version = Version(number, number if reprocess else self.version.salt, strict)
        self._kill_waiting()
        self._send_version(update=True, reprocess=reprocess)
        if not self.stopped:
            self._expect_newest()

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self._kill_waiting()
        self.lab.client.stop_pipeline("copy")
        self.stopped = True

    @precondition(lambda self: self.stopped)
    @rule()
    def start(self) -> None:
        self.lab.client.start_pipeline("copy")
        self.stopped = False
        self._expect_newest()

    @precondition(lambda self: self.asked)
    @rule()
    def stop_newest_job(self) -> None:
        self.asked[-1] = replace(self.asked[-1], may_be_killed=True)
        self.lab.client.stop_job(self.asked[-1].id, "copy")

    @rule()
    def kill_the_server(self) -> None:
        self.engine.kill()
        self.engine.start()

    @rule()
    def settle(self) -> None:
        """Wait for all jobs; each must have ended as a computation from its input says, and hold that."""
        for asked in self.asked:
            self._check(asked)
        self.asked = []

    def _send_version(self, **options: Any) -> None:
        self.lab.pipeline("copy", self.version.script, **options)

    def _expect_newest(self) -> None:
        """A job that came without a commit to the input."""
        newest = next(iter(self.lab.client.list_job("copy")))
        self.asked.append(Asked(newest.job.id, self.version, dict(self.files)))

    def _kill_waiting(self) -> None:
        self.asked = [replace(asked, may_be_killed=True) for asked in self.asked]

    def _check(self, asked: Asked) -> None:
        jobs = self.lab.settle(asked.id)
        copy, summed = jobs["copy"], jobs["sum"]
        wanted, failing = self._recompute(asked)
        if copy.state == JobState.JOB_KILLED:
            assert asked.may_be_killed
            assert summed.state in (JobState.JOB_UNRUNNABLE, JobState.JOB_KILLED)
            return
        assert counts(copy).get("total", 0) == len(asked.files)
        assert counts(copy).get("failed", 0) == failing
        if failing:
            assert (copy.state, summed.state) == (JobState.JOB_FAILURE, JobState.JOB_UNRUNNABLE), copy.reason
            return
        assert (copy.state, summed.state) == (JobState.JOB_SUCCESS, JobState.JOB_SUCCESS), copy.reason + summed.reason
        self.settled = wanted
        texts = {name: f"{done.content} by {done.by}\n".encode() for name, done in sorted(wanted.items())}
        assert self.lab.files("copy", asked.id) == texts
        assert self.lab.files("sum", asked.id) == ({"/all": b"".join(texts.values())} if texts else {})

    def _recompute(self, asked: Asked) -> tuple[dict[str, Done], int]:
        """What every datum must have become, and how many must have failed: one that an earlier good job settled is not run again."""
        version = asked.version
        wanted, failing = {}, 0
        for name, content in asked.files.items():
            before = self.settled.get(name)
            if before is not None and (before.content, before.salt) == (content, version.salt):
                wanted[name] = before
            else:
                wanted[name] = Done(content, version.salt, version.number)
                failing += version.strict and content.startswith("bad")
        return wanted, failing


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=2, stateful_step_count=10, deadline=None)


class ThoroughModel(Model):
    """The same, for longer."""


TestThoroughModel = pytest.mark.slow(ThoroughModel.TestCase)
TestThoroughModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
