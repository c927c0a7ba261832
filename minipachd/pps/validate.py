"""From what a user asked for to a pipeline that can run: defaults, order, and every rule that needs no look at the database."""

import dataclasses
import itertools
import posixpath
import re
from collections.abc import Callable, Iterator

import msgspec

from minipachd.errors import InvalidError
from minipachd.pfs.globs import compile_glob
from minipachd.pfs.sources import filesystem_of, local_path
from minipachd.pps.cron import parse_schedule
from minipachd.pps.spec import (
    CronInput,
    Input,
    PfsInput,
    PipelineKey,
    PipelineSpec,
    SecretMount,
    UnionInput,
)

MAX_NAME_LENGTH = 51
MAX_KUBERNETES_NAME_LENGTH = 63
_MAX_INPUT_NAME = 255  # of a directory below /pfs
_MOST = 1e9
_MOST_WORKERS = 4096
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def complete(draft: PipelineSpec, *, now_ns: int) -> PipelineSpec:
    """Check a draft and fill in what it leaves empty. Names in it may be empty, numbers zero.

    :param now_ns: Start of the cron inputs that give none.
    :raises InvalidError: The first rule that it breaks, in Pachyderm's words.
    """
    check_name(draft.pipeline)
    check_values(draft)
    spec = msgspec.structs.replace(
        draft,
        input=_input_with_defaults(draft.input, draft.pipeline, now_ns),
        output_branch=draft.output_branch or "master",
        datum_tries=draft.datum_tries or 3,
        parallelism=draft.parallelism or 1,
        transform=msgspec.structs.replace(draft.transform, image=draft.transform.image or "ubuntu:20.04"),
    )
    check_input(spec.input)
    for secret in spec.transform.secrets:
        _check_secret(secret)
    _check_mounts(spec.transform.secrets)
    if spec.egress_url and local_path(spec.egress_url) is None:
        filesystem_of(spec.egress_url)
    return spec


def check_values(draft: PipelineSpec) -> None:
    """What every datum would fail for, or what nothing could be made of.

    :raises InvalidError: Names the field.
    """
    transform = draft.transform
    for name, number in (
        ("datum_tries", draft.datum_tries),
        ("datum_timeout", draft.datum_timeout_seconds),
        ("job_timeout", draft.job_timeout_seconds),
        ("resource_limits.cpu", draft.resource_limits.cpu),
    ):
        if not 0 <= number < _MOST:  # neither a NaN
            raise InvalidError(f"invalid pipeline spec: {name} is {number:g}; it must be 0 or more, and less than {_MOST:g}")
    if draft.parallelism > _MOST_WORKERS:
        raise InvalidError(
            f"invalid pipeline spec: parallelism_spec.constant is {draft.parallelism}; one machine runs {_MOST_WORKERS} at most"
        )
    for name, command in (("transform.cmd", transform.cmd), ("transform.err_cmd", transform.err_cmd)):
        if command and not command[0].strip():
            raise InvalidError(f"invalid pipeline spec: {name}[0] is {command[0]!r}: there is no program of this name")
    for name, text in _texts(draft):
        if "\0" in text:
            raise InvalidError(f"invalid pipeline spec: {name} contains a zero byte, which no command, variable or path can hold")
    for variable in transform.env:
        _check_variable("transform.env", variable)
    for mount in transform.secrets:
        if mount.env_var:
            _check_variable("transform.secrets.env_var", mount.env_var)


def _texts(draft: PipelineSpec) -> Iterator[tuple[str, str]]:
    """The texts of a spec that reach the system, with the names of their fields."""
    transform = draft.transform
    for field in ("cmd", "err_cmd", "stdin", "err_stdin"):
        yield from ((f"transform.{field}[{at}]", text) for at, text in enumerate(getattr(transform, field)))
    for field in ("user", "working_dir", "image"):
        yield f"transform.{field}", getattr(transform, field)
    yield from ((f"transform.env[{name!r}]", f"{name}{value}") for name, value in transform.env.items())
    for mount in transform.secrets:
        yield from (("transform.secrets." + field, getattr(mount, field)) for field in ("name", "key", "mount_path", "env_var"))


def _check_variable(field: str, name: str) -> None:
    if not name or "=" in name:
        raise InvalidError(f"invalid pipeline spec: {field} has a variable named {name!r}: a name is not empty and has no '='")


def check_name(pipeline: PipelineKey) -> None:
    """:raises InvalidError: Pachyderm would refuse this name."""
    name = pipeline.name
    if not name:
        raise InvalidError("invalid pipeline spec: request.Pipeline.Name cannot be empty")
    if not _NAME.fullmatch(name):
        raise InvalidError(
            f"invalid pipeline name: name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
        )
    if not name[0].isalnum():
        raise InvalidError(f"pipeline name {name!r} is invalid: it must start with an alphanumeric character")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidError(f"pipeline name {name!r} is {len(name) - MAX_NAME_LENGTH} characters longer than the {MAX_NAME_LENGTH} max")
    kubernetes = f"{pipeline.project}-{name}-v99".replace("_", "-")
    if len(kubernetes) > MAX_KUBERNETES_NAME_LENGTH:
        excess = len(kubernetes) - MAX_KUBERNETES_NAME_LENGTH
        raise InvalidError(f"pipeline name {kubernetes!r} is {excess} characters longer than the {MAX_KUBERNETES_NAME_LENGTH} max")


def input_with_defaults(node: Input, pipeline: PipelineKey, *, now_ns: int) -> Input:
    """An input on its own, as a dry run of datums gives it: completed, sorted and checked.

    :raises InvalidError: See :func:`complete`.
    """
    completed = _input_with_defaults(node, pipeline, now_ns)
    check_input(completed)
    return completed


def sort_inputs(node: Input) -> Input:
    """Order the children of every combination by their first name. Datum ids depend on this order."""
    if isinstance(node, PfsInput | CronInput):
        return node
    children = tuple(sorted((sort_inputs(child) for child in node.children), key=_first_name))
    return msgspec.structs.replace(node, children=children)


def check_input(node: Input) -> None:
    """:raises InvalidError: A rule for inputs is broken."""
    _check_names(node, set())
    _check_nodes(node)


def _check_nodes(node: Input) -> None:
    match node:
        case PfsInput():
            _check_pfs(node)
        case CronInput():
            _check_input_name(node.name)
            parse_schedule(node.spec)
        case _:
            if not node.children:
                raise InvalidError("no input set")
            for child in node.children:
                _check_nodes(child)


def _check_pfs(node: PfsInput) -> None:
    if not node.repo:
        raise InvalidError("input must specify a repo")
    if node.repo == "out" and node.name == "out":
        raise InvalidError(
            "inputs based on repos named \"out\" must have 'name' set, as pachyderm already creates /pfs/out to collect job output"
        )
    _check_input_name(node.name)
    if not node.branch:
        raise InvalidError("input must specify a branch")
    if not node.glob:
        raise InvalidError("input must specify a glob")
    compile_glob(node.glob)


def _check_input_name(name: str) -> None:
    if not name:
        raise InvalidError("input must specify a name")
    if name == "out":
        raise InvalidError('input cannot be named "out", as pachyderm already creates /pfs/out to collect job output')
    if len(name.encode()) > _MAX_INPUT_NAME:
        raise InvalidError(
            f"input name {name[:40]!r}… is invalid: {len(name.encode())} bytes, and a directory's name has {_MAX_INPUT_NAME} at most"
        )
    if name in {".env", ".", ".."} or "/" in name or "=" in name or "\0" in name:
        raise InvalidError(f'input cannot be named "{name}": it is a directory of /pfs and the name of an environment variable')


def _check_names(node: Input, used: set[str]) -> None:
    if isinstance(node, PfsInput | CronInput):
        if node.name in used:
            raise InvalidError(f'name "{node.name}" was used more than once')
        used.add(node.name)
    elif isinstance(node, UnionInput):  # of the children of a union only one is in a datum
        branches = []
        for child in node.children:
            branch = set(used)
            _check_names(child, branch)
            branches.append(branch)
        used.update(*branches)
    else:
        for child in node.children:
            _check_names(child, used)


def _check_secret(secret: SecretMount) -> None:
    if not secret.name:
        raise InvalidError("a secret of the transform must have a name")
    if secret.env_var and not secret.key:
        raise InvalidError(f"secret {secret.name!r} with env_var set must also set key")


def _check_mounts(secrets: tuple[SecretMount, ...]) -> None:
    taken: dict[str, str] = {}
    for secret in (secret for secret in secrets if secret.mount_path):
        path = secret.mount_path.rstrip("/")
        if (
            not path.startswith("/")
            or path.startswith("//")
            or posixpath.normpath(path) != path
            or f"{path}/".startswith(("/pfs/", "/proc/", "/dev/", "/sys/"))
        ):
            raise InvalidError(
                f"mount_path {secret.mount_path!r} of secret {secret.name!r} is invalid: it must be an absolute path of a directory "
                "without '..', and neither / nor below /pfs, /proc, /dev or /sys"
            )
        if path in taken:
            raise InvalidError(f"secrets {taken[path]!r} and {secret.name!r} have the same mount_path {path!r}")
        taken[path] = secret.name


def _input_with_defaults(node: Input, pipeline: PipelineKey, now_ns: int) -> Input:
    triggers = itertools.count(1)
    return sort_inputs(_map_leaves(node, lambda leaf: _with_defaults(leaf, pipeline, now_ns, triggers)))


def _with_defaults(leaf: PfsInput | CronInput, pipeline: PipelineKey, now_ns: int, triggers: Iterator[int]) -> PfsInput | CronInput:
    project = leaf.project or pipeline.project
    if isinstance(leaf, CronInput):
        return msgspec.structs.replace(
            leaf, project=project, repo=leaf.repo or f"{pipeline.name}_{leaf.name}", start_ns=leaf.start_ns or now_ns
        )
    return msgspec.structs.replace(
        leaf,
        project=project,
        name=leaf.name or leaf.repo,
        branch=leaf.branch or ("master" if leaf.trigger is None else f"{pipeline.name}-trigger-{next(triggers)}"),
        trigger=None if leaf.trigger is None else dataclasses.replace(leaf.trigger, branch=leaf.trigger.branch or "master"),
        repo_type=leaf.repo_type or "user",
        glob=compile_glob(leaf.glob).pattern if leaf.glob else "",
    )


def _map_leaves(node: Input, change: Callable[[PfsInput | CronInput], PfsInput | CronInput]) -> Input:
    if isinstance(node, PfsInput | CronInput):
        return change(node)
    return msgspec.structs.replace(node, children=tuple(_map_leaves(child, change) for child in node.children))


def _first_name(node: Input) -> str:
    while not isinstance(node, PfsInput | CronInput):
        if not node.children:
            return ""
        node = node.children[0]
    return node.name
