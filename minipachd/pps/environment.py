"""What user code finds in its environment."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minipachd.errors import InvalidError
from minipachd.pps.datum import Datum
from minipachd.pps.secrets import Secrets
from minipachd.pps.spec import JobId, PipelineSpec

_INHERITED = (
    "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY",
)  # fmt: skip
TOKEN_VARIABLES = ("PACH_TOKEN", "PACH_PYTHON_AUTH_TOKEN")
"""Where a worker's code finds the token: Pachyderm's name, and that which python-pachyderm reads."""
_LOCAL = "localhost,127.0.0.1"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where user code reaches this server.

    :ivar token: What its callers show; None where it asks for nothing.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)


def container_env(
    spec: PipelineSpec,
    *,
    spec_commit: str,
    worker: str,
    worker_port: int | None,
    server: ServerAddress | None,
    pfs_root: Path,
    secrets: Secrets,
    trusted: bool,
    base: Mapping[str, str] | None = os.environ,
) -> dict[str, str]:
    """The variables of a worker: those that do not depend on the datum.

    Of the server's own environment only what names no secret is handed on. ``PATH`` begins with the directory of the server's
    interpreter, so that ``python3`` in a spec is the one with the server's packages.

    :param trusted: The code has the server's rights anyway, as a process of its user: then it has the token, too.
    :param base: The server's environment; None where user code has that of an image.
    :raises SecretNotFoundError: A secret that the spec names has been deleted.
    """
    env: dict[str, str] = {}
    if base is not None:
        env = {name: base[name] for name in base if name in _INHERITED or name.startswith("LC_")}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"  # a program that is killed between two datums must not take its last lines with it
    for name in ("no_proxy", "NO_PROXY"):  # the calls of datum batching never go through a proxy
        env[name] = ",".join(filter(None, [(base or {}).get(name), _LOCAL]))
    env |= spec.transform.env
    for mount in spec.transform.secrets:
        if mount.env_var:
            env[mount.env_var] = secret_value(secrets, mount.name, mount.key)
    env |= {
        "PACH_IN_WORKER": "true",
        "PFS_ROOT": str(pfs_root),
        "PPS_PIPELINE_NAME": spec.pipeline.name,
        "PPS_PROJECT_NAME": spec.pipeline.project,
        "PPS_SPEC_COMMIT": spec_commit,
        "PPS_POD_NAME": worker,
        "PPS_WORKER_IP": "127.0.0.1",
    }
    if worker_port is not None:
        env["PPS_WORKER_GRPC_PORT"] = str(worker_port)
    if server is not None:
        env |= {"PACHD_PEER_SERVICE_HOST": server.host, "PACHD_PEER_SERVICE_PORT": str(server.port)}
        if trusted and server.token is not None:
            env |= dict.fromkeys(TOKEN_VARIABLES, server.token)
    return env


def datum_env(datum: Datum, *, job: JobId, pfs_root: Path) -> dict[str, str]:
    """The variables of one datum."""
    env: dict[str, str] = {}
    for part in datum.inputs:
        env[part.name] = f"{pfs_root}/{part.name}{part.path}".rstrip("/")
        env[f"{part.name}_COMMIT"] = part.commit_id
        if part.join_on:
            env[f"PACH_DATUM_{part.name}_JOIN_ON"] = part.join_on
        if part.group_by:
            env[f"PACH_DATUM_{part.name}_GROUP_BY"] = part.group_by
    return env | {"PACH_DATUM_ID": datum.id, "PACH_JOB_ID": job, "PACH_OUTPUT_COMMIT_ID": job}


def secret_value(secrets: Secrets, name: str, key: str) -> str:
    """One value of a secret, as text.

    :raises InvalidError: The secret has no such key, or its value cannot be an environment variable.
    """
    values = secrets.values(name)
    if key not in values:
        raise InvalidError(
            f"missing Kubernetes secret key: secret {name!r} has no key {key!r}; it has {', '.join(sorted(values)) or 'none'}"
        )
    try:
        return values[key].decode()
    except UnicodeDecodeError:
        raise InvalidError(f"key {key!r} of secret {name!r} is not text, so it cannot be an environment variable") from None


def dotenv(env: Iterable[tuple[str, str]], *, strict: bool = False) -> list[str]:
    """``KEY=VALUE`` lines; values that a line cannot hold are left out.

    :param strict: Leave out too what readers of such files do not take literally: quotes, comments, references.
    """
    unfit = set("\r\n\"'`\\#$") if strict else {"\n"}
    return [f"{name}={value}" for name, value in env if unfit.isdisjoint(value)]
