"""What the tests of pipelines do all the time, in a word each."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from python_pachyderm import Client
from python_pachyderm.service import pfs_proto, pps_proto

from tests.support import Engine

JobState, DatumState, PipelineState = pps_proto.JobState, pps_proto.DatumState, pps_proto.PipelineState

BATCH = """
import os, shutil, sys
import protobuf_compat
protobuf_compat.install()
from python_pachyderm import Client
with open({starts!r}, "a") as file:
    file.write("x")
worker, root = Client().worker, os.environ["PFS_ROOT"]
while True:
    worker.next_datum(error=globals().get("error", ""))
    error = ""
    for line in open(root + "/.env"):
        name, _, value = line.rstrip("\\n").partition("=")
        os.environ[name] = value
    source = os.environ.get("in", "")
    {body}
"""


def pfs(repo: str, glob: str = "/*", **fields: Any) -> Any:
    return pps_proto.Input(pfs=pps_proto.PFSInput(repo=repo, glob=glob, **fields))


def cross(*inputs: Any) -> Any:
    return pps_proto.Input(cross=inputs)


class Lab:
    """A client with shorter words. Names of repos are those of pipelines."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self._logged = engine, 0
        self._logged = len(self.log)

    @property
    def client(self) -> Client:
        return self.engine.client

    @property
    def log(self) -> str:
        """What the server has logged since this lab was made."""
        return self.engine.log.read_text()[self._logged :]

    def repo(self, name: str = "in") -> None:
        self.client.create_repo(name)

    def put(self, files: Mapping[str, bytes | str] | None = None, *, repo: str = "in", delete: Iterable[str] = ()) -> str:
        """One commit; its id."""
        with self.client.modify_file_client((repo, "master")) as commit:
            for path in delete:
                commit.delete_file(path)
            for path, data in (files or {}).items():
                commit.put_file_from_bytes(path, data.encode() if isinstance(data, str) else data)
        return self.client.inspect_branch(repo, "master").head.id

    def pipeline(self, name: str, script: str = "cp -r $PFS_ROOT/in/* $PFS_ROOT/out/", *, reads: Any = None, **options: Any) -> None:
        """A pipeline that runs a shell script over each datum of repo ``in``; datums fail at their first error."""
        transform = {key: options.pop(key) for key in list(options) if key in pps_proto.Transform.DESCRIPTOR.fields_by_name}
        options.setdefault("datum_tries", 1)
        if "cmd" not in transform:
            transform |= {"cmd": ["sh", "-e"], "stdin": [script]}
        self.client.create_pipeline(name, transform=pps_proto.Transform(**transform), input=reads or pfs("in"), **options)

    def batch_pipeline(self, name: str, body: str, *, starts: Path, **options: Any) -> None:
        """A batching pipeline whose program adds a letter to the file ``starts`` when it starts, and runs ``body`` for each datum."""
        program = BATCH.format(starts=str(starts), body=body.strip().replace("\n", "\n    "))
        self.pipeline(name, cmd=["python3", "-c", program], datum_batching=True, **options)

    def settle(self, commit_id: str) -> dict[str, Any]:
        """Wait for a commit set; its jobs by pipeline."""
        list(self.client.inspect_commit(commit_id, pfs_proto.CommitState.FINISHED))
        return {job.job.pipeline.name: job for job in self.client.inspect_job(commit_id, wait=True)}

    def run(self, files: Mapping[str, bytes | str] | None = None, **options: Any) -> dict[str, Any]:
        """Put a commit and wait for its jobs."""
        return self.settle(self.put(files, **options))

    def newest(self, pipeline: str) -> Any:
        """The newest job of a pipeline, once it has ended."""
        job = next(iter(self.client.list_job(pipeline)))
        return next(iter(self.client.inspect_job(job.job.id, pipeline, wait=True)))

    def files(self, repo: str, commit: str = "master") -> dict[str, bytes]:
        """Everything in a commit."""
        found = [info.file.path for info in self.client.walk_file((repo, commit), "/") if info.file_type == pfs_proto.FileType.FILE]
        return {path: self.client.get_file((repo, commit), path).read() if self._size(repo, commit, path) else b"" for path in found}

    def logs(self, pipeline: str, job_id: str | None = None, **options: Any) -> list[str]:
        """What user code printed."""
        lines = self.client.get_job_logs(pipeline, job_id, **options) if job_id else self.client.get_pipeline_logs(pipeline, **options)
        return [line.message for line in lines if line.user or options.get("master")]

    def _size(self, repo: str, commit: str, path: str) -> int:
        return int(self.client.inspect_file((repo, commit), path).size_bytes)


def counts(job: Any) -> dict[str, int]:
    """The counters that are not zero."""
    names = ("processed", "skipped", "failed", "recovered", "total")
    return {name: value for name in names if (value := getattr(job, f"data_{name}"))}


def python(program: str) -> str:
    """A shell command that runs a program with the interpreter of the tests."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
