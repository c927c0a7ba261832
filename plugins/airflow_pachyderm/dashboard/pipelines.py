"""Pipelines and the graph that they make with the repos."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.specs import shown_spec
from airflow_pachyderm.exceptions import PachydermError, PachydermUnavailableError
from airflow_pachyderm.states import JobState, PipelineState

COUNT_LIMIT: Final = 1000  # matching files are counted up to here
LAST_JOBS: Final = 10
_COUNTS_KEPT: Final = 512


def read_graph(gateway: Gateway) -> models.Graph:
    """All repos and pipelines of the project, what the last job of each did, and how much matches each glob as far as it was counted."""
    repos = gateway.stream(gateway.pfs.ListRepo, pfs_pb2.ListRepoRequest(type="user", projects=[gateway.project()]), action="list repos")
    infos = list(_pipelines(gateway))
    last_jobs = {info.pipeline.name: _jobs(gateway, info.pipeline.name, 1) for info in infos}
    sizes = {info.repo.name: info.details.size_bytes or info.size_bytes_upper_bound for info in repos}
    nodes = [
        _pipeline_node(info, size_bytes=sizes.get(info.pipeline.name, 0), jobs=last_jobs[info.pipeline.name].first(1)) for info in infos
    ]
    outputs = {node.name for node in nodes}
    nodes += [models.Node(name=name, kind="repo", size_bytes=size) for name, size in sorted(sizes.items()) if name not in outputs]
    edges = [edge for info in infos for edge in edges_of(info)]
    nodes += [
        models.Node(name=name, kind="repo", reason="deleted") for name in sorted({edge.source for edge in edges} - {n.name for n in nodes})
    ]
    return models.Graph(project=gateway.connection.project, nodes=nodes, edges=edges)


def read_counted_graph(gateway: Gateway) -> models.Graph:
    """As :func:`read_graph`, with the files counted; slower after a change."""
    graph = read_graph(gateway)
    counts.fill(gateway, graph.edges)
    return graph


def read_pipeline(gateway: Gateway, name: str) -> models.Pipeline:
    """One pipeline.

    :raises PachydermNotFoundError: There is none of that name.
    """
    action = f"inspect pipeline {name}"
    request = pps_pb2.InspectPipelineRequest(pipeline=gateway.pipeline(name), details=True)
    pending = gateway.start(gateway.pps.InspectPipeline, request, action=action)
    jobs = _jobs(gateway, name, LAST_JOBS)
    others = _pipelines(gateway)
    info = pending.result()
    last = jobs.first(LAST_JOBS)
    details = info.details
    return models.Pipeline(
        name=info.pipeline.name,
        state=PipelineState.from_number(info.state).value,
        reason=info.reason or details.reason or details.recent_error,
        stopped=info.stopped,
        version=info.version,
        created=convert.seconds(details, "created_at"),
        description=details.description,
        workers_requested=details.workers_requested or details.parallelism_spec.constant,
        workers_available=details.workers_available,
        inputs=list(edges_of(info)),
        readers=sorted({edge.target for other in others for edge in edges_of(other) if edge.source == name}),
        spec=shown_spec(details),
        jobs=[convert.job(item) for item in last],
        workers=_workers(gateway, last),
    )


def edges_of(info: Any) -> Iterator[models.Edge]:
    """What a pipeline reads, input by input."""
    for pfs_input, kind in _leaves(info.details.input, "pfs"):
        if pfs_input.repo_type in {"", "user"}:
            yield models.Edge(
                source=pfs_input.repo, target=info.pipeline.name, branch=pfs_input.branch or "master", glob=pfs_input.glob, kind=kind
            )


def _leaves(item: Any, kind: str) -> Iterator[tuple[Any, str]]:
    if item.HasField("pfs"):
        yield item.pfs, kind
    if item.HasField("cron"):
        yield pps_pb2.PFSInput(repo=item.cron.repo, branch="master", glob="/"), "cron"
    for combined in ("cross", "union", "join", "group"):
        for child in getattr(item, combined):
            yield from _leaves(child, combined)


def _pipelines(gateway: Gateway) -> Any:
    request = pps_pb2.ListPipelineRequest(details=True, projects=[gateway.project()])
    return gateway.stream(gateway.pps.ListPipeline, request, action="list pipelines")


def _jobs(gateway: Gateway, pipeline: str, number: int) -> Any:
    request = pps_pb2.ListJobRequest(pipeline=gateway.pipeline(pipeline), history=-1, number=number)
    return gateway.stream(gateway.pps.ListJob, request, action=f"list jobs of {pipeline}")


def _pipeline_node(info: Any, *, size_bytes: int, jobs: list[Any]) -> models.Node:
    last = convert.job(jobs[0]) if jobs else None
    return models.Node(
        name=info.pipeline.name,
        kind="pipeline",
        state=PipelineState.from_number(info.state).value,
        reason=info.reason,
        job_state=last.state if last else None,
        total=last.total if last else 0,
        done=last.processed + last.skipped + last.recovered if last else 0,
        failed=last.failed if last else 0,
        size_bytes=size_bytes,
        version=info.version,
    )


def _workers(gateway: Gateway, jobs: list[Any]) -> list[models.Worker]:
    """The workers of the running jobs: only a job's details name them."""
    running = [info.job for info in jobs if info.state == pps_pb2.JobState.Value(f"JOB_{JobState.RUNNING.name}")]
    requests = [pps_pb2.InspectJobRequest(job=job, details=True) for job in running]
    pending = [gateway.start(gateway.pps.InspectJob, request, action="inspect workers") for request in requests]
    return [
        models.Worker(
            id=status.worker_id,
            job=status.job_id,
            started=convert.seconds(status.datum_status, "started"),
            inputs=[item.path for item in status.datum_status.data],
        )
        for call in pending
        for status in call.result().details.worker_status
    ]


class _Counts:
    """How many files of a commit match a glob. Commits do not change, so what was counted once stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], int] = OrderedDict()

    def fill(self, gateway: Gateway, edges: list[models.Edge]) -> None:
        """Count for each edge, up to :data:`COUNT_LIMIT`; what cannot be counted now is left open."""
        heads = {(edge.source, edge.branch): _head(gateway, edge.source, edge.branch) for edge in edges}
        commits = {key: _settled(pending) for key, pending in heads.items()}
        streams = []
        for edge in edges:
            commit = commits[edge.source, edge.branch]
            if commit is None:
                continue
            key = (gateway.connection.address, edge.source, commit, edge.glob)
            with self._lock:
                known = self._known.get(key)
            if known is None:
                request = pfs_pb2.GlobFileRequest(commit=gateway.commit(edge.source, commit), pattern=edge.glob)
                streams.append((edge, key, gateway.stream(gateway.pfs.GlobFile, request, action="count files", timeout=4.0)))
            else:
                _set(edge, known)
        for edge, key, stream in streams:
            try:
                count = len(stream.first(COUNT_LIMIT + 1))
            except PachydermUnavailableError:
                continue
            _set(edge, count)
            with self._lock:
                self._known[key] = count
                while len(self._known) > _COUNTS_KEPT:
                    self._known.popitem(last=False)


counts: Final = _Counts()


def _set(edge: models.Edge, count: int) -> None:
    edge.files, edge.more = min(count, COUNT_LIMIT), count > COUNT_LIMIT


def _head(gateway: Gateway, repo: str, branch: str) -> Any:
    request = pfs_pb2.InspectCommitRequest(commit=gateway.commit(repo, branch))
    return gateway.start(gateway.pfs.InspectCommit, request, action=f"inspect {repo}@{branch}")


def _settled(pending: Any) -> str | None:
    """The head's id once it cannot change any more."""
    try:
        info = pending.result()
    except PachydermError:
        return None
    return str(info.commit.id) if info.HasField("finished") else None
