"""What a pipeline is: its specification as the engine stores it, complete with defaults, and the states of pipelines, jobs and datums.

:mod:`minipachd.pps.validate` makes these values from a request. They are immutable and are kept as JSON, one row per pipeline version.
"""

import enum
from collections.abc import Iterator
from typing import NewType

import msgspec

from minipachd.pfs import Trigger

JobId = NewType("JobId", str)
"""32 hexadecimal digits: the id of the job's output commit, and so of its commit set."""

DatumId = NewType("DatumId", str)
"""64 hexadecimal digits; see :func:`minipachd.pps.datum.datum_id`."""


class PipelineState(enum.IntEnum):
    """The values are the protocol's."""

    STARTING = 1
    RUNNING = 2
    RESTARTING = 3
    FAILURE = 4
    PAUSED = 5
    STANDBY = 6
    CRASHING = 7


class PipelineType(enum.IntEnum):
    TRANSFORM = 1
    SPOUT = 2
    SERVICE = 3


class JobState(enum.IntEnum):
    """The values are the protocol's."""

    CREATED = 1
    STARTING = 2
    RUNNING = 3
    FAILURE = 4
    SUCCESS = 5
    KILLED = 6
    EGRESSING = 7
    FINISHING = 8
    UNRUNNABLE = 9


TERMINAL_JOB_STATES = frozenset({JobState.FAILURE, JobState.SUCCESS, JobState.KILLED, JobState.UNRUNNABLE})
"""A job in one of these never changes again."""

ACTIVE_JOB_STATES = frozenset(JobState) - TERMINAL_JOB_STATES


class DatumState(enum.IntEnum):
    """The values are the protocol's; ``UNKNOWN`` is the state of a datum that no job has run."""

    UNKNOWN = 0
    FAILED = 1
    SUCCESS = 2
    SKIPPED = 3
    STARTING = 4
    RECOVERED = 5


class PipelineKey(msgspec.Struct, frozen=True, order=True):
    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


class JobKey(msgspec.Struct, frozen=True, order=True):
    pipeline: PipelineKey
    id: JobId

    def __str__(self) -> str:
        return f"{self.pipeline}@{self.id}"


class PfsInput(msgspec.Struct, frozen=True, kw_only=True, tag="pfs"):
    """Files of one branch: each match of ``glob`` is a datum, or a part of one.

    :ivar trigger: Makes ``branch`` follow another branch of the repo, now and then.
    """

    name: str
    project: str
    repo: str
    glob: str
    branch: str = "master"
    repo_type: str = "user"
    join_on: str = ""
    outer_join: bool = False
    group_by: str = ""
    lazy: bool = False
    empty_files: bool = False
    trigger: Trigger | None = None


class CronInput(msgspec.Struct, frozen=True, kw_only=True, tag="cron"):
    """Ticks of a clock, kept as empty files of a repo that belongs to the pipeline."""

    name: str
    project: str
    repo: str
    spec: str
    overwrite: bool
    start_ns: int


class CrossInput(msgspec.Struct, frozen=True, tag="cross"):
    children: tuple["Input", ...]


class UnionInput(msgspec.Struct, frozen=True, tag="union"):
    children: tuple["Input", ...]


class JoinInput(msgspec.Struct, frozen=True, tag="join"):
    children: tuple["Input", ...]


class GroupInput(msgspec.Struct, frozen=True, tag="group"):
    children: tuple["Input", ...]


Input = PfsInput | CronInput | CrossInput | UnionInput | JoinInput | GroupInput
LeafInput = PfsInput | CronInput


def leaves(node: Input) -> Iterator[LeafInput]:
    """The pfs and cron inputs below ``node``, in order."""
    if isinstance(node, PfsInput | CronInput):
        yield node
    else:
        for child in node.children:
            yield from leaves(child)


def input_branch(leaf: LeafInput) -> str:
    """The branch that ``leaf`` reads; a cron input's repo has only ``master``."""
    return leaf.branch if isinstance(leaf, PfsInput) else "master"


class SecretMount(msgspec.Struct, frozen=True, kw_only=True):
    """How user code sees a secret.

    :ivar env_var: A variable with the value of ``key``; empty for none.
    :ivar mount_path: A directory with a file for each key; empty for none.
    """

    name: str
    key: str = ""
    mount_path: str = ""
    env_var: str = ""


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """What runs for each datum. ``image`` counts in the ``docker`` runtime only."""

    cmd: tuple[str, ...] = ()
    stdin: tuple[str, ...] = ()
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    env: dict[str, str] = {}
    secrets: tuple[SecretMount, ...] = ()
    accept_return_code: tuple[int, ...] = ()
    user: str = ""
    working_dir: str = ""
    image: str = "ubuntu:20.04"
    datum_batching: bool = False


class DatumSetSpec(msgspec.Struct, frozen=True, kw_only=True):
    number: int = 0
    size_bytes: int = 0
    per_worker: int = 0


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker's container may take; 0 for as much as there is. The ``docker`` runtime keeps to it, processes have no such bounds."""

    cpu: float = 0.0
    memory_bytes: int = 0


class ReprocessSpec(enum.StrEnum):
    UNTIL_SUCCESS = "until_success"
    EVERY_JOB = "every_job"


class PipelineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a pipeline, with every default filled in.

    :ivar parallelism: Workers, at least 1; each runs one datum at a time.
    :ivar datum_timeout_seconds: 0 means none; so does 0 in ``job_timeout_seconds``.
    :ivar datum_tries: Attempts per datum, at least 1.
    :ivar egress_url: Where the files of every job's output are copied to before it ends; empty for nowhere.
    :ivar salt: Goes into every datum hash; a new one makes every datum run again.
    :ivar extras: Fields that the engine only hands back, as the api layer encoded them.
    :ivar user_json: What the user asked for, before defaults; empty in pipelines from before this was kept.
    """

    pipeline: PipelineKey
    transform: Transform
    input: Input
    salt: str
    description: str = ""
    output_branch: str = "master"
    parallelism: int = 1
    datum_set_spec: DatumSetSpec | None = None
    datum_timeout_seconds: float = 0.0
    job_timeout_seconds: float = 0.0
    datum_tries: int = 3
    reprocess_spec: ReprocessSpec = ReprocessSpec.UNTIL_SUCCESS
    autoscaling: bool = False
    egress_url: str = ""
    resource_limits: ResourceLimits = ResourceLimits()
    extras: bytes = b""
    user_json: str = ""

    @property
    def type(self) -> PipelineType:
        """Spouts and services are refused at creation, so every stored pipeline is a transform."""
        return PipelineType.TRANSFORM


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PipelineSpec)


def encode_spec(spec: PipelineSpec) -> bytes:
    return _encoder.encode(spec)


def decode_spec(data: bytes) -> PipelineSpec:
    return _decoder.decode(data)
