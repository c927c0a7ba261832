"""The steps by name: what the DAGs' tasks call, in a worker first and in the triggerer while they wait.

Each loads what it needs, no more: a client's library takes seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dags.provisioning.clients import Clients
from dags.provisioning.outcome import Change, Done, Outcome
from dags.provisioning.stack import Stack


@dataclass(frozen=True)
class Request:
    """What a step is called with.

    :ivar progress: Of the step's previous call.
    :ivar run: Label of the DAG run that calls it.
    :ivar confirm_bucket: Of ``teardown_stack``: the bucket may be deleted when this repeats its name.
    :ivar only_run: Remove only what this run created.
    """

    clients: Clients
    stack: Stack
    run: str
    progress: dict[str, str] = field(default_factory=dict)
    confirm_bucket: str | None = None
    only_run: bool = False

    @property
    def owner_run(self) -> str | None:
        """The run whose creations may go; None: all of the stack's may."""
        return self.run if self.only_run else None


Step = Callable[[Request], Outcome]


def _not_asked_for(thing: str) -> Done:
    return Done(change=Change.ABSENT, message=f"This stack has no {thing} of its own")


def _bucket(request: Request) -> Outcome:
    from dags.provisioning import bucket

    wanted = request.stack.bucket
    return bucket.ensure_bucket(request.clients.storage, request.stack, wanted) if wanted else _not_asked_for("bucket")


def _cluster(request: Request) -> Outcome:
    from dags.provisioning import cluster

    wanted = request.stack.cluster
    if wanted is None:
        return _not_asked_for("cluster")
    return cluster.ensure_cluster(request.clients.clusters, request.stack, wanted, request.progress)


def _base(request: Request) -> Outcome:
    from dags.provisioning import workloads

    return workloads.ensure_base(request.clients.kube, request.stack)


def _release(request: Request) -> Outcome:
    from dags.provisioning import helm

    clients = request.clients
    if request.progress:  # Helm is at work: neither chart nor key is needed to look at it
        return helm.ensure_release(clients.kube, request.stack, request.progress, archive=None, storage_key=None)
    return helm.ensure_release(
        clients.kube, request.stack, request.progress, archive=clients.chart_archive(), storage_key=clients.storage_key()
    )


def _pods(request: Request) -> Outcome:
    from dags.provisioning import workloads

    return workloads.workloads_ready(request.clients.kube, request.stack)


def _pachd(request: Request) -> Outcome:
    from dags.provisioning import pachd, report

    return pachd.pachd_answers(request.clients.pachyderm, way_in=report.way_in(request.stack, request.clients.kube))


def _workers(request: Request) -> Outcome:
    from dags.provisioning import pachd, workloads

    return workloads.workers_ready(request.clients.kube, request.stack, pachd.pipelines(request.clients.pachyderm))


def _no_pipelines(request: Request) -> Outcome:
    from dags.provisioning import pachd

    if not request.clients.cluster_exists():
        return Done(change=Change.ABSENT, message="There is no cluster, so there are no pipelines")
    return pachd.remove_pipelines(request.clients.pachyderm)


def _no_release(request: Request) -> Outcome:
    from dags.provisioning import helm

    if not request.clients.cluster_exists():
        return Done(change=Change.ABSENT, message="There is no cluster, so there is no Helm release")
    return helm.remove_release(request.clients.kube, request.stack, request.progress, run=request.run)


def _no_volumes(request: Request) -> Outcome:
    from dags.provisioning import workloads

    if not request.clients.cluster_exists():
        return Done(change=Change.ABSENT, message="There is no cluster, so it has no volumes")
    return workloads.remove_volumes(request.clients.kube, request.stack)


def _no_namespace(request: Request) -> Outcome:
    from dags.provisioning import workloads

    if not request.clients.cluster_exists():
        return Done(change=Change.ABSENT, message="There is no cluster, so there is no namespace")
    return workloads.remove_namespace(request.clients.kube, request.stack, only_run=request.owner_run)


def _no_cluster(request: Request) -> Outcome:
    from dags.provisioning import cluster

    wanted = request.stack.cluster
    if wanted is None:
        return Done(change=Change.KEPT, message="Kept the cluster: it was there before this stack")
    return cluster.remove_cluster(request.clients.clusters, request.stack, wanted, request.progress, only_run=request.owner_run)


def _no_bucket(request: Request) -> Outcome:
    from dags.provisioning import bucket

    wanted = request.stack.bucket
    if wanted is None:
        return _not_asked_for("bucket")
    confirmed = wanted.name if request.only_run else request.confirm_bucket
    return bucket.remove_bucket(request.clients.storage, request.stack, wanted.name, confirmed=confirmed, only_run=request.owner_run)


STEPS: Final[Mapping[str, Step]] = {
    "bucket": _bucket,
    "cluster": _cluster,
    "base": _base,
    "release": _release,
    "pods": _pods,
    "pachd": _pachd,
    "workers": _workers,
    "no-pipelines": _no_pipelines,
    "no-release": _no_release,
    "no-volumes": _no_volumes,
    "no-namespace": _no_namespace,
    "no-cluster": _no_cluster,
    "no-bucket": _no_bucket,
}
