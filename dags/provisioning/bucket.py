"""The bucket that holds Pachyderm's data: there as wanted, or gone.

Google's own create answers "it exists" in the same way whether the bucket is ours, someone else's or quite different: hence the looks.
"""

import contextlib
import itertools
import logging
from collections.abc import Iterator
from typing import Any, Final

from google.api_core.exceptions import Conflict, Forbidden, NotFound

from dags.provisioning.errors import DifferentError, StepFailedError
from dags.provisioning.google_errors import CALL, translated
from dags.provisioning.outcome import Change, Done, Outcome, Pending
from dags.provisioning.stack import MANAGED_BY, OWNER, RUN_LABEL, STACK_LABEL, Bucket, Stack

log = logging.getLogger(__name__)

ROLE: Final = "roles/storage.admin on the project"
DELETE_BATCH: Final = 100  # the most calls that one HTTP batch may hold
DELETES_PER_CALL: Final = 1000


def ensure_bucket(client: Any, stack: Stack, wanted: Bucket) -> Done:
    """Make the bucket be there, with uniform access, no public access and this stack's labels.

    :param client: A ``google.cloud.storage.Client``.
    :raises DifferentError: A bucket of that name is someone else's, is not this stack's, or has other properties.
    """
    found = _find(client, stack, wanted.name)
    if found is None:
        try:
            _create(client, stack, wanted)
        except Conflict:  # since we looked: another run, or a name that is taken where we cannot look
            found = _find(client, stack, wanted.name)
            if found is None:
                raise
        else:
            return Done(change=Change.CREATED, message=f"Created bucket {wanted.name} in {wanted.location} of project {stack.project}")
    if differences := list(_differences(found, stack, wanted)):
        raise DifferentError(f"bucket {wanted.name}", differences, "choose another name, or change the Params to match it")
    return Done(change=Change.of(found.labels, run=stack.run), message=f"Bucket {wanted.name} is there as wanted")


def remove_bucket(client: Any, stack: Stack, name: str, *, confirmed: str | None, only_run: str | None = None) -> Outcome:
    """Delete the bucket and all in it, when asked for by name.

    :param confirmed: Must repeat the name; otherwise the bucket is kept.
    :param only_run: Delete it only if it was created by the run with this label, and only if it is empty.
    :raises DifferentError: The bucket is not this stack's.
    """
    found = _find(client, stack, name)
    if found is None:
        return Done(change=Change.ABSENT, message=f"Bucket {name} is not there")
    if confirmed != name:
        return Done(
            change=Change.KEPT,
            message=f"Kept bucket {name} with Pachyderm's data, which is billed: to delete it, repeat its name in confirm_bucket",
        )
    if differences := list(_label_differences(found, stack)):
        raise DifferentError(f"bucket {name}", differences, "if it may go, delete it by hand")
    if only_run is not None:
        if found.labels.get(RUN_LABEL) != only_run:
            return Done(change=Change.KEPT, message=f"Kept bucket {name}: an earlier run created it")
        if next(iter(client.list_blobs(name, max_results=1, **CALL)), None) is not None:
            return Done(change=Change.KEPT, message=f"Kept bucket {name}: it holds data")
    deleted = _delete_some(client, name)
    if deleted >= DELETES_PER_CALL:
        return Pending(message=f"Deleting the objects of bucket {name}")
    try:
        with translated(f"delete bucket {name}", permission=ROLE):
            found.delete(**CALL)
    except NotFound:
        pass
    except Conflict:
        return Pending(message=f"Bucket {name} got new objects while it was emptied")
    return Done(change=Change.REMOVED, message=f"Deleted bucket {name} with all its objects")


def _find(client: Any, stack: Stack, name: str) -> Any | None:
    try:
        with translated(f"look at bucket {name}", permission=ROLE):
            found = client.get_bucket(name, **CALL)
            # Reading a bucket does not make it ours: it must be in the project's own list.
            owned = [bucket.name for bucket in client.list_buckets(project=stack.project, prefix=name, **CALL) if bucket.name == name]
    except NotFound:
        return None
    except StepFailedError as exc:
        if not isinstance(exc.__cause__, Forbidden):
            raise
        difference = f"access is refused ({exc.__cause__.message}), so it is someone else's, or this account lacks {ROLE}"
        raise DifferentError(f"bucket {name}", [difference], "choose another name") from exc
    if not owned:
        raise DifferentError(
            f"bucket {name}",
            [f"it is not in project {stack.project}"],
            "choose another name: bucket names are shared by all of Google Cloud",
        )
    return found


def _create(client: Any, stack: Stack, wanted: Bucket) -> None:
    bucket = client.bucket(wanted.name)
    bucket.storage_class = "STANDARD"
    bucket.labels = {**stack.labels, RUN_LABEL: stack.run}
    bucket.versioning_enabled = wanted.versioning
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    # Pachyderm rewrites and deletes chunks all the time, and keeps its own history: soft delete would bill each of them for a week more.
    bucket.soft_delete_policy.retention_duration_seconds = 0
    with translated(f"create bucket {wanted.name} in project {stack.project}", permission=ROLE):
        client.create_bucket(bucket, project=stack.project, location=wanted.location, **CALL)


def _differences(found: Any, stack: Stack, wanted: Bucket) -> Iterator[str]:
    yield from _label_differences(found, stack)
    config = found.iam_configuration
    for field, there, asked in (
        ("location", found.location.upper(), wanted.location.upper()),
        ("storage class", found.storage_class, "STANDARD"),
        ("versioning", found.versioning_enabled, wanted.versioning),
        ("uniform access", config.uniform_bucket_level_access_enabled, True),
        ("public access prevention", config.public_access_prevention, "enforced"),
    ):
        if there != asked:
            yield f"{field} is {there}, asked for {asked}"


def _label_differences(found: Any, stack: Stack) -> Iterator[str]:
    if found.labels.get(MANAGED_BY) != OWNER:
        yield f"it has no label {MANAGED_BY}={OWNER}, so it is not Tuskwatch's"
    elif found.labels.get(STACK_LABEL) != stack.name:
        yield f"it belongs to the stack {found.labels.get(STACK_LABEL)}, not to {stack.name}"


def _delete_some(client: Any, name: str) -> int:
    """Delete at most ``DELETES_PER_CALL`` objects, every version of each, and return how many."""
    with translated(f"empty bucket {name}", permission=ROLE):
        blobs = list(itertools.islice(client.list_blobs(name, versions=True, **CALL), DELETES_PER_CALL))
        for start in range(0, len(blobs), DELETE_BATCH):
            with contextlib.suppress(NotFound), client.batch():  # the whole batch is done before the first error is raised
                for blob in blobs[start : start + DELETE_BATCH]:
                    blob.delete()
    log.info("deleted %d objects of bucket %s", len(blobs), name)
    return len(blobs)
