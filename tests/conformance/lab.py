"""A server as the suite sees it, by gRPC alone: a project of its own, short words for what tests do, and nothing left behind."""

import contextlib
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import grpc
import pytest

import protobuf_compat

protobuf_compat.install()

from google.protobuf import json_format  # noqa: E402 - the imports that need the line above
from google.protobuf.empty_pb2 import Empty  # noqa: E402
from python_pachyderm.pfs import Commit as CommitRef  # noqa: E402
from python_pachyderm.service import pfs_proto, pps_proto, transaction_proto  # noqa: E402

from airflow_pachyderm.client.errors import RetryPolicy  # noqa: E402
from airflow_pachyderm.hooks.pachyderm import PachydermHook  # noqa: E402
from tests.conformance.target import Target  # noqa: E402

__all__ = [
    "AUTO",
    "COPY",
    "FINISHED",
    "NO_ID",
    "TERMINAL",
    "USER",
    "DatumState",
    "JobState",
    "Lab",
    "PipelineState",
    "counts",
    "fast",
    "paths",
    "pfs",
    "pfs_proto",
    "pps_proto",
    "refused",
    "transaction_proto",
]

_T = TypeVar("_T")

JobState, DatumState, PipelineState = pps_proto.JobState, pps_proto.DatumState, pps_proto.PipelineState
FINISHED: Final = pfs_proto.CommitState.FINISHED
USER, AUTO = pfs_proto.OriginKind.USER, pfs_proto.OriginKind.AUTO
TERMINAL: Final = frozenset({JobState.JOB_SUCCESS, JobState.JOB_FAILURE, JobState.JOB_KILLED, JobState.JOB_UNRUNNABLE})
NO_ID: Final = "0123456789ab4def0123456789abcdef"  # of a commit that nobody has
COPY: Final = "cp -r /pfs/in/. /pfs/out/"
# What a worker asks of its node. Pachyderm's own default is a whole CPU for each worker's storage sidecar.
SMALL: Final = {"cpu": 0.02, "memory": "64Mi", "disk": "16Mi"}


class Lab:
    """One server, and the project that this run works in.

    :param target: The server.
    :param prefix: Begins the name of everything that is not inside the project: the project itself, secrets.
    """

    def __init__(self, target: Target, prefix: str | None = None) -> None:
        self.target = target
        self.prefix = prefix or f"cf{secrets.token_hex(3)}"
        self.project = self.prefix
        self.conn_id = f"pachyderm_{self.prefix}"
        self._numbers = itertools.count(1)
        self._transactions: list[str] = []
        self._old_repos: set[tuple[str, str]] = set()
        self._has_repos = False

    def __enter__(self) -> "Lab":
        extra = {"tls": self.target.tls, "project": self.project} | ({"ca_pem": self.target.ca_pem} if self.target.ca_pem else {})
        connection = {
            "conn_type": "pachyderm",
            "host": self.target.host,
            "port": self.target.port,
            "password": self.target.token,
            "extra": extra,
        }
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = json.dumps(connection)
        self.hook = PachydermHook(self.conn_id)
        self.client: Any = self.hook.get_conn()
        self.pfs, self.pps = self.hook.pfs, self.hook.pps
        self.stubs = self.hook.server.stubs
        version = self.stubs.version.GetVersion(Empty(), timeout=30, metadata=self.stubs.metadata)
        self.version = (version.major, version.minor)
        self.client.create_project(self.project, "of a conformance run; it may go when no run is under way")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.sweep()
            self.client.delete_project(self.project)
            self._nothing_is_left()
        finally:
            self.hook.server.close()
            del os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"]

    @property
    def speaks_2_7(self) -> bool:
        """Whether the server answers as Pachyderm 2.7 does; if not, as 2.12. One that was built without a version says 0.0."""
        return (2, 0) <= self.version < (2, 8)

    # Names and references

    def name(self, stem: str = "x") -> str:
        """A name that nothing in the project has."""
        return f"{stem}{next(self._numbers)}"

    def secret_name(self) -> str:
        """A name for something that is in no project."""
        return f"{self.prefix}-{next(self._numbers)}"

    def at(self, repo: str, ref: str = "master") -> CommitRef:
        """A commit for python-pachyderm.

        :param ref: Branch, commit id, or either with ancestry: ``master^2``.
        """
        is_id = len(ref) == 32 and set(ref) <= set("0123456789abcdef")
        is_branch = not is_id and not set(ref) & set("^~.")
        return CommitRef(repo, ref if is_branch else None, None if is_branch else ref, project=self.project)

    def branch(self, repo: str, name: str = "master") -> Any:
        """A branch as a message."""
        return pfs_proto.Branch(repo=self.pfs.repo_message(repo), name=name)

    def commit_message(self, repo: str, ref: str = "master") -> Any:
        """A commit as a message, for calls by the stubs, and for the source of a copy, where 2.12 asks for the repo in its own field."""
        message = self.at(repo, ref).to_pb()
        message.repo.CopyFrom(message.branch.repo)
        return message

    def call(self, method: Any, request: Any) -> Any:
        """A call by the provider's stubs, with a deadline, in the transaction that the client is in."""
        transaction = (("pach-transaction", self.client.transaction_id),) if self.client.transaction_id else ()
        return method(request, timeout=self.target.wait_seconds, metadata=(*self.stubs.metadata, *transaction))

    # Data

    def repo(self, stem: str = "repo") -> str:
        """A new, empty repo."""
        name = self.name(stem)
        self.client.create_repo(name, project_name=self.project)
        return name

    def start(self, repo: str, branch: str = "master", **fields: Any) -> str:
        """Open a commit; its id."""
        return str(self.client.start_commit(repo, branch, project_name=self.project, **fields).id)

    def finish(self, repo: str, ref: str = "master", **fields: Any) -> None:
        """Finish an open commit."""
        self.client.finish_commit(self.at(repo, ref), **fields)

    def write(self, repo: str, ref: str, files: Mapping[str, bytes | str] | None = None, *, delete: Iterable[str] = ()) -> None:
        """Change an open commit, or make one of a branch in one stroke."""
        with self.client.modify_file_client(self.at(repo, ref)) as changes:
            for path in delete:
                changes.delete_file(path)
            for path, data in (files or {}).items():
                changes.put_file_from_bytes(path, data.encode() if isinstance(data, str) else data)

    def put(
        self,
        repo: str,
        files: Mapping[str, bytes | str] | None = None,
        *,
        delete: Iterable[str] = (),
        branch: str = "master",
        **fields: Any,
    ) -> str:
        """One commit with these changes, finished; its id."""
        commit = self.start(repo, branch, **fields)
        self.write(repo, commit, files, delete=delete)
        self.finish(repo, commit)
        return commit

    def done(self, repo: str, ref: str = "master") -> Any:
        """A commit once it has finished."""
        request = pfs_proto.InspectCommitRequest(commit=self.commit_message(repo, ref), wait=FINISHED)
        return self.call(self.stubs.pfs.InspectCommit, request)

    def inspect(self, repo: str, ref: str = "master") -> Any:
        """A commit as it is now."""
        return next(iter(self.client.inspect_commit(self.at(repo, ref))))

    def read(self, repo: str, path: str, ref: str = "master") -> bytes:
        """A file's content."""
        request = pfs_proto.GetFileRequest(file=pfs_proto.File(commit=self.commit_message(repo, ref), path=path))
        return b"".join(part.value for part in self.call(self.stubs.pfs.GetFile, request))

    def files(self, repo: str, ref: str = "master") -> dict[str, bytes]:
        """Everything in a commit, once it has finished."""
        self.done(repo, ref)
        infos = self.client.walk_file(self.at(repo, ref), "/")
        return {info.file.path: self.read(repo, info.file.path, ref) for info in infos if info.file_type == pfs_proto.FileType.FILE}

    def commits(self, repo: str, **fields: Any) -> list[str]:
        """Ids of the commits that python-pachyderm lists."""
        return [info.commit.id for info in self.client.list_commit(repo, project_name=self.project, **fields)]

    def head(self, repo: str, branch: str = "master") -> str:
        """Id of a branch's head."""
        return str(self.client.inspect_branch(repo, branch, project_name=self.project).head.id)

    # Pipelines

    def pipeline(self, reads: Any = "", script: str = COPY, *, name: str = "", **fields: Any) -> str:
        """Create or update a pipeline that runs a shell script over each datum; its name.

        :param reads: A repo, whose files are the datums; or an input as in a pipeline spec.
        :param fields: Of the spec, by their names in JSON; those of ``transform`` replace the script's.
        """
        name = name or self.name("pipe")
        source = pfs(reads) if isinstance(reads, str) else reads
        transform = {"image": self.target.image, "cmd": ["sh", "-e"], "stdin": [script]} | fields.pop("transform", {})
        spec = {
            "pipeline": {"name": name, "project": {"name": self.project}},
            "input": source,
            "transform": transform,
            "datumTries": 1,
            "resourceRequests": SMALL,
            "sidecarResourceRequests": SMALL,
        } | fields
        request = json_format.ParseDict(spec, pps_proto.CreatePipelineRequest())
        self.call(self.stubs.pps.CreatePipeline, request)
        return name

    def inspect_pipeline(self, name: str) -> Any:
        """A pipeline with its details."""
        return next(iter(self.client.inspect_pipeline(name, details=True, project_name=self.project)))

    def settle(self, commit: str) -> dict[str, Any]:
        """Wait for a commit set; its jobs by pipeline."""
        request = pfs_proto.InspectCommitSetRequest(commit_set=pfs_proto.CommitSet(id=commit), wait=True)
        list(self.call(self.stubs.pfs.InspectCommitSet, request))
        jobs = self.call(self.stubs.pps.InspectJobSet, pps_proto.InspectJobSetRequest(job_set=pps_proto.JobSet(id=commit)))
        return {job.job.pipeline.name: self.ended(job.job.pipeline.name, commit) for job in jobs}

    def run(self, repo: str, files: Mapping[str, bytes | str] | None = None, **fields: Any) -> dict[str, Any]:
        """Put a commit and wait for its jobs."""
        return self.settle(self.put(repo, files, **fields))

    def job(self, pipeline: str, job: str) -> Any:
        """A job as it is now."""
        return next(iter(self.client.inspect_job(job, pipeline, details=True, project_name=self.project)))

    def ended(self, pipeline: str, job: str) -> Any:
        """A job once it has ended."""
        wanted = pps_proto.Job(pipeline=self.pipeline_message(pipeline), id=job)
        return self.call(self.stubs.pps.InspectJob, pps_proto.InspectJobRequest(job=wanted, wait=True, details=True))

    def newest(self, pipeline: str) -> Any:
        """The newest job of a pipeline, once it has ended."""
        job = next(iter(self.client.list_job(pipeline, project_name=self.project)))
        return self.ended(pipeline, job.job.id)

    def datums(self, pipeline: str, job: str) -> list[Any]:
        """A job's datums."""
        return list(self.client.list_datum(pipeline, job, project_name=self.project))

    def datums_of(self, source: Mapping[str, Any]) -> list[list[str]]:
        """The datums that an input would give now, each the paths of its files, all sorted."""
        node = json_format.ParseDict(self._in_project(source), pps_proto.Input())
        found = self.call(self.stubs.pps.ListDatum, pps_proto.ListDatumRequest(input=node))
        return sorted(sorted(info.file.path for info in datum.data) for datum in found)

    def pipeline_message(self, name: str) -> Any:
        return pps_proto.Pipeline(name=name, project=pfs_proto.Project(name=self.project))

    def _in_project(self, node: Any) -> Any:
        if isinstance(node, Mapping):
            named = {key: self._in_project(value) for key, value in node.items()}
            return named | {"project": self.project, "branch": named.get("branch", "master")} if "repo" in named else named
        return [self._in_project(child) for child in node] if isinstance(node, list) else node

    # Transactions

    @contextlib.contextmanager
    def transaction(self) -> Iterator[str]:
        """Everything that ``client`` does inside is one transaction; its id."""
        with self.client.transaction() as transaction:
            self._transactions.append(transaction.id)
            yield transaction.id

    def started_transaction(self) -> Any:
        """An open transaction, which somebody must finish."""
        transaction = self.client.start_transaction()
        self._transactions.append(transaction.id)
        return transaction

    # Waiting

    def eventually(self, look: Callable[[], _T], what: str) -> _T:
        """What ``look`` gives once it is true, for what no call of Pachyderm waits for.

        That is a job that begins to run (InspectJob waits for its end, SubscribeJob sends each job once, when it is made), the state of a
        pipeline (there is no such call), and the lines of a log that is still written.
        """
        give_up, pause = time.monotonic() + self.target.wait_seconds, 0.02
        while not (found := look()):
            if time.monotonic() > give_up:
                pytest.fail(f"Still no {what} after {self.target.wait_seconds:.0f} s")
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)
        return found

    # What there is, and leaving

    def begin(self) -> None:
        """Take the repos that are there for those of earlier tests."""
        self._old_repos = {(info.repo.name, info.repo.type) for info in self._all_repos()} if self._has_repos else set()

    def repos(self, kind: str = "user") -> set[str]:
        """Names of the repos of one type that were made since :meth:`begin`."""
        return {name for name, found in self.typed_repos() if found == kind}

    def typed_repos(self) -> set[tuple[str, str]]:
        """Name and type of every repo that was made since :meth:`begin`."""
        return {(info.repo.name, info.repo.type) for info in self._all_repos()} - self._old_repos

    def pipelines(self) -> set[str]:
        """Names of the pipelines."""
        projects = [pfs_proto.Project(name=self.project)]
        return {info.pipeline.name for info in self.call(self.stubs.pps.ListPipeline, pps_proto.ListPipelineRequest(projects=projects))}

    def sweep(self, *, repos: bool = True) -> None:
        """Delete everything of this run but its project, and make sure that it is gone.

        :param repos: False leaves the repos to a later sweep: a real server takes its time for each.
        """
        self.client.transaction_id = None
        open_transactions = {info.transaction.id for info in self.client.list_transaction()}
        for transaction in open_transactions & set(self._transactions):
            self.client.delete_transaction(transaction)
        for name in self.pipelines():
            self.client.delete_pipeline(name, force=True, project_name=self.project)
        for info in self._secrets():
            self.client.delete_secret(info.secret.name)
        assert (self.pipelines(), self._secrets()) == (set(), [])
        if not repos:
            self._has_repos = True
            return
        for info in sorted(self._all_repos(), key=lambda info: info.repo.type != "user"):  # a user repo's deletion takes the others along
            request = pfs_proto.DeleteRepoRequest(
                repo=info.repo, force=True
            )  # one by one: all at once takes a real server over ten minutes
            self.stubs.pfs.DeleteRepo(request, timeout=max(600.0, self.target.wait_seconds), metadata=self.stubs.metadata)
        assert self._all_repos() == []

    def _all_repos(self) -> list[Any]:
        projects = [pfs_proto.Project(name=self.project)]
        return list(self.call(self.stubs.pfs.ListRepo, pfs_proto.ListRepoRequest(type="", projects=projects)))

    def _secrets(self) -> list[Any]:
        try:
            return [info for info in self.client.list_secret() if info.secret.name.startswith(self.prefix)]
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.UNIMPLEMENTED:  # a server without Kubernetes
                return []
            raise

    def _nothing_is_left(self) -> None:
        projects = [info.project.name for info in self.client.list_project() if info.project.name.startswith(self.prefix)]
        repos = [info.repo for info in self.client.list_repo(type="") if info.repo.project.name.startswith(self.prefix)]
        transactions = {info.transaction.id for info in self.client.list_transaction()} & set(self._transactions)
        assert (projects, repos, self._secrets(), transactions) == ([], [], [], set())


def pfs(repo: str, glob: str = "/*", *, name: str = "in", **fields: Any) -> dict[str, Any]:
    """An input of a pipeline spec; user code finds it at ``/pfs/in``."""
    return {"pfs": {"repo": repo, "glob": glob, "name": name, **fields}}


def paths(infos: Iterable[Any]) -> list[str]:
    """The paths of files that a call lists."""
    return [info.file.path for info in infos]


def counts(job: Any) -> dict[str, int]:
    """A job's counters that are not zero."""
    names = ("processed", "skipped", "failed", "recovered", "total")
    return {name: value for name in names if (value := getattr(job, f"data_{name}"))}


@contextlib.contextmanager
def refused(code: str | Sequence[str], text: str = "") -> Iterator[None]:
    """The block's call ends with an error of this code whose text matches."""
    codes = [code] if isinstance(code, str) else list(code)
    with pytest.raises(grpc.RpcError, match=text or None) as caught:
        yield
    assert caught.value.code().name in codes, f"{caught.value.code().name} instead of {codes}: {caught.value.details()}"


def fast(deadline_seconds: float = 20.0) -> RetryPolicy:
    """Retries for tests in which a server is away for moments."""
    return RetryPolicy(deadline_seconds=deadline_seconds, first_pause_seconds=0.02, max_pause_seconds=0.2)
