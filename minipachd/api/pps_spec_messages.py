"""Pipeline specifications: messages to drafts of :class:`~minipachd.pps.spec.PipelineSpec`, and stored ones back to messages."""

import json
import re
from decimal import Decimal
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from python_pachyderm.proto.v2.pps import pps_pb2

from minipachd.api.pfs_messages import trigger, trigger_message
from minipachd.errors import InvalidError, UnsupportedError
from minipachd.pps.spec import (
    CronInput,
    CrossInput,
    DatumSetSpec,
    GroupInput,
    Input,
    JoinInput,
    PfsInput,
    PipelineKey,
    PipelineSpec,
    ReprocessSpec,
    ResourceLimits,
    SecretMount,
    Transform,
    UnionInput,
)

_ECHOED = (
    "resource_requests", "resource_limits", "sidecar_resource_limits", "sidecar_resource_requests", "scheduling_spec", "pod_spec",
    "pod_patch", "metadata", "tolerations", "determined", "egress",
)  # fmt: skip
_ECHOED_OF_TRANSFORM = ("image_pull_secrets", "debug", "dockerfile", "memory_volume")
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?(?:[eE]\d{1,2})?)(|k|[MGTPE]|[KMGTPE]i)")
_UNITS = {"": 1, "k": 1000} | {
    name: base**power for power, letter in enumerate("KMGTPE", 1) for name, base in ((letter, 1000), (f"{letter}i", 1024))
}
_COMBINED: dict[str, type[CrossInput] | type[UnionInput] | type[JoinInput] | type[GroupInput]] = {
    "cross": CrossInput,
    "union": UnionInput,
    "join": JoinInput,
    "group": GroupInput,
}


def parse_request(request: Any, *, user_json: str = "") -> PipelineSpec:
    """A ``CreatePipelineRequest`` as a draft; defaults and most rules come later (:mod:`minipachd.pps.validate`).

    :param user_json: What the user asked for, to be shown again.
    :raises InvalidError: It breaks a rule that only the message shows.
    :raises UnsupportedError: It asks for something that a one-machine engine does not do.
    """
    if not request.HasField("pipeline"):
        raise InvalidError("invalid pipeline spec: request.Pipeline cannot be nil")
    _refuse_unsupported(request)
    if not request.HasField("transform"):
        raise InvalidError("pipeline must specify a transform")
    key = parse_pipeline(request.pipeline)
    try:
        reprocess_spec = ReprocessSpec(request.reprocess_spec or ReprocessSpec.UNTIL_SUCCESS)
    except ValueError:
        choices = " or ".join(f'"{choice}"' for choice in ReprocessSpec)
        raise InvalidError(f"invalid pipeline spec: ReprocessSpec must be one of {choices}, not {request.reprocess_spec!r}") from None
    for field, name in (("pod_spec", "PodSpec"), ("pod_patch", "PodPatch")):
        _check_json(getattr(request, field), name)
    sets = request.datum_set_spec
    return PipelineSpec(
        pipeline=key,
        transform=_parse_transform(request.transform),
        input=parse_input(request.input),
        salt=request.salt,
        description=request.description,
        output_branch=request.output_branch,
        parallelism=request.parallelism_spec.constant,
        datum_set_spec=DatumSetSpec(number=sets.number, size_bytes=sets.size_bytes, per_worker=sets.per_worker)
        if request.HasField("datum_set_spec")
        else None,
        datum_timeout_seconds=_seconds(request.datum_timeout),
        job_timeout_seconds=_seconds(request.job_timeout),
        datum_tries=request.datum_tries,
        reprocess_spec=reprocess_spec,
        autoscaling=request.autoscaling,
        egress_url=_egress_url(request.egress),
        resource_limits=_limits(request.resource_limits),
        extras=_extras(request),
        user_json=user_json,
    )


def parse_pipeline(message: Any) -> PipelineKey:
    """A ``Pipeline``; without a project it is in ``default``."""
    return PipelineKey(message.project.name or "default", message.name)


def parse_input(message: Any) -> Input:
    """An ``Input`` with exactly one kind set.

    :raises InvalidError: None, or several.
    """
    kinds = [field.name for field, _ in message.ListFields()]
    if not kinds:
        raise InvalidError("no input set")
    if len(kinds) > 1:
        raise InvalidError(f"multiple input types set: {', '.join(kinds)}")
    kind = kinds[0]
    if kind == "pfs":
        return _parse_pfs(message.pfs)
    if kind == "cron":
        cron = message.cron
        if cron.commit:
            raise InvalidError("input cannot come from a commit; use a branch")
        start_ns = cron.start.ToNanoseconds() if cron.HasField("start") else 0
        return CronInput(name=cron.name, project=cron.project, repo=cron.repo, spec=cron.spec, overwrite=cron.overwrite, start_ns=start_ns)
    return _COMBINED[kind](tuple(parse_input(child) for child in getattr(message, kind)))


def spec_input(node: Input, *, commit_id: str = "") -> Any:
    """An input as its message.

    :param commit_id: Set on every leaf, as in the details of a job.
    """
    match node:
        case PfsInput():
            pfs = pps_pb2.PFSInput(
                project=node.project, name=node.name, repo=node.repo, repo_type=node.repo_type, branch=node.branch, commit=commit_id,
                glob=node.glob, join_on=node.join_on, outer_join=node.outer_join, group_by=node.group_by, lazy=node.lazy,
                empty_files=node.empty_files,
            )  # fmt: skip
            if node.trigger is not None:
                pfs.trigger.CopyFrom(trigger_message(node.trigger))
            return pps_pb2.Input(pfs=pfs)
        case CronInput():
            start = Timestamp()
            start.FromNanoseconds(node.start_ns)
            cron = pps_pb2.CronInput(
                name=node.name,
                project=node.project,
                repo=node.repo,
                commit=commit_id,
                spec=node.spec,
                overwrite=node.overwrite,
                start=start,
            )
            return pps_pb2.Input(cron=cron)
        case _:
            kind = next(name for name, cls in _COMBINED.items() if isinstance(node, cls))
            return pps_pb2.Input(**{kind: [spec_input(child, commit_id=commit_id) for child in node.children]})


def spec_transform(spec: PipelineSpec) -> Any:
    """A ``Transform``, with what was only kept to be shown."""
    transform = spec.transform
    message = pps_pb2.Transform(
        image=transform.image, cmd=transform.cmd, err_cmd=transform.err_cmd, env=transform.env, stdin=transform.stdin,
        err_stdin=transform.err_stdin, accept_return_code=transform.accept_return_code, user=transform.user,
        working_dir=transform.working_dir, datum_batching=transform.datum_batching,
        secrets=[
            pps_pb2.SecretMount(name=mount.name, key=mount.key, mount_path=mount.mount_path, env_var=mount.env_var)
            for mount in transform.secrets
        ],
    )  # fmt: skip
    message.MergeFrom(_request_of(spec).transform)
    return message


def fill_details(details: Any, spec: PipelineSpec) -> None:
    """The fields that the details of pipelines and of jobs have in common."""
    details.transform.CopyFrom(spec_transform(spec))
    details.parallelism_spec.constant = spec.parallelism
    details.salt = spec.salt
    details.datum_tries = spec.datum_tries
    if spec.datum_set_spec is not None:
        sets = spec.datum_set_spec
        details.datum_set_spec.CopyFrom(pps_pb2.DatumSetSpec(number=sets.number, size_bytes=sets.size_bytes, per_worker=sets.per_worker))
    if spec.datum_timeout_seconds:
        details.datum_timeout.CopyFrom(duration(spec.datum_timeout_seconds))
    if spec.job_timeout_seconds:
        details.job_timeout.CopyFrom(duration(spec.job_timeout_seconds))
    echoed = _request_of(spec)
    known = details.DESCRIPTOR.fields_by_name
    for field, value in echoed.ListFields():
        if field.name != "transform" and field.name in known:
            _assign(details, field.name, value)


def spec_request(spec: PipelineSpec) -> Any:
    """The ``CreatePipelineRequest`` that would make this very pipeline."""
    request = pps_pb2.CreatePipelineRequest(
        description=spec.description, output_branch=spec.output_branch, reprocess_spec=spec.reprocess_spec, autoscaling=spec.autoscaling
    )
    request.pipeline.name = spec.pipeline.name
    request.pipeline.project.name = spec.pipeline.project
    request.input.CopyFrom(spec_input(spec.input))
    fill_details(request, spec)
    return request


def duration(seconds: float) -> Any:
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _parse_pfs(message: Any) -> PfsInput:
    if message.commit:
        raise InvalidError("input cannot come from a commit; use a branch")
    if message.s3:
        raise UnsupportedError("s3 inputs are not supported by minipachd: it has no S3 gateway; read the files below /pfs")
    return PfsInput(
        name=message.name, project=message.project, repo=message.repo, branch=message.branch, repo_type=message.repo_type,
        glob=message.glob, join_on=message.join_on, outer_join=message.outer_join, group_by=message.group_by, lazy=message.lazy,
        empty_files=message.empty_files, trigger=trigger(message.trigger) if message.HasField("trigger") else None,
    )  # fmt: skip


def _parse_transform(message: Any) -> Transform:
    return Transform(
        cmd=tuple(message.cmd),
        stdin=tuple(message.stdin),
        err_cmd=tuple(message.err_cmd),
        err_stdin=tuple(message.err_stdin),
        env=dict(message.env),
        secrets=tuple(
            SecretMount(name=mount.name, key=mount.key, mount_path=mount.mount_path, env_var=mount.env_var) for mount in message.secrets
        ),
        accept_return_code=tuple(message.accept_return_code),
        user=message.user,
        working_dir=message.working_dir,
        image=message.image,
        datum_batching=message.datum_batching,
    )


def _refuse_unsupported(request: Any) -> None:
    for field, instead in (
        ("tf_job", "write a transform"),
        ("service", "run the service beside minipachd"),
        ("spout", "write to an input repo from a program of your own"),
    ):
        if request.HasField(field):
            raise UnsupportedError(f"{field} of pipelines is not supported by minipachd; {instead}")
    if request.s3_out:
        raise UnsupportedError("s3_out of pipelines is not supported by minipachd: it has no S3 gateway; write to /pfs/out")


def _egress_url(message: Any) -> str:
    """:raises InvalidError: It names no target, or two. :raises UnsupportedError: It is a database."""
    if message.HasField("sql_database"):
        raise UnsupportedError("egress to a sql_database is not supported by minipachd; give a URL or an object_storage")
    urls = [url for url in (message.URL, message.object_storage.url) if url]
    if len(urls) > 1:
        raise InvalidError("egress has a URL and an object_storage.url: give one of them")
    if not urls and message.HasField("object_storage"):
        raise InvalidError("egress.object_storage must have a url")
    return urls[0] if urls else ""


def _limits(message: Any) -> ResourceLimits:
    """:raises InvalidError: The memory is no quantity of Kubernetes'."""
    return ResourceLimits(cpu=message.cpu, memory_bytes=_quantity(message.memory, "resource_limits.memory") if message.memory else 0)


def _quantity(text: str, name: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidError(f"could not parse {name}: {text!r} is not a quantity such as 512Mi, 2G or 1e9")
    return int(Decimal(match[1]) * _UNITS[match[2]])


def _check_json(text: str, name: str) -> None:
    if not text:
        return
    try:
        json.loads(text)
    except ValueError as exc:
        raise InvalidError(f"malformed {name}: {exc}") from exc


def _seconds(message: Any) -> float:
    return float(message.seconds) + float(message.nanos) / 1e9


def _extras(request: Any) -> bytes:
    """What is kept for no other purpose than to be shown again."""
    kept = pps_pb2.CreatePipelineRequest()
    for field, value in request.ListFields():
        if field.name in _ECHOED:
            _assign(kept, field.name, value)
    for field, value in request.transform.ListFields():
        if field.name in _ECHOED_OF_TRANSFORM:
            _assign(kept.transform, field.name, value)
    data: bytes = kept.SerializeToString()
    return data


def _request_of(spec: PipelineSpec) -> Any:
    return pps_pb2.CreatePipelineRequest.FromString(spec.extras)


def _assign(message: Any, name: str, value: Any) -> None:
    """Set a field of any kind."""
    if hasattr(value, "ListFields"):
        getattr(message, name).CopyFrom(value)
    elif isinstance(value, str | bytes | int | float | bool):
        setattr(message, name, value)
    else:
        getattr(message, name).extend(value)
