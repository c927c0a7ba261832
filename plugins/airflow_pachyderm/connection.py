"""What an Airflow connection of type ``pachyderm`` says, parsed once into a typed value."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from airflow_pachyderm.exceptions import PachydermInvalidError

DEFAULT_CONN_ID: Final = "pachyderm_default"
DEFAULT_PORT: Final = 30650
DEFAULT_PROJECT: Final = "default"

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off", ""})


class AirflowConnection(Protocol):
    """The part of :class:`airflow.sdk.Connection` that is read here."""

    conn_id: str
    host: str | None
    port: int | None
    password: str | None
    extra: str | None


@dataclass(frozen=True)
class Service:
    """A Kubernetes service.

    :ivar conn_id: Airflow connection of type ``kubernetes``.
    """

    conn_id: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"service {self.namespace}/{self.name} (connection {self.conn_id})"


@dataclass(frozen=True)
class Cluster:
    """The namespace of a Kubernetes cluster that Pachyderm runs in.

    :ivar conn_id: Airflow connection of type ``kubernetes``.
    """

    conn_id: str
    namespace: str

    def __str__(self) -> str:
        return f"namespace {self.namespace} (connection {self.conn_id})"


@dataclass(frozen=True)
class PachydermConnection:
    """Where a Pachyderm server is and how to speak to it.

    :ivar conn_id: The Airflow connection it was read from, for messages.
    :ivar host: Name or address.
    :ivar port: TCP port.
    :ivar tls: Speak TLS.
    :ivar ca_pem: PEM text of the authorities to trust instead of the system's.
    :ivar token: Auth token, or None where Pachyderm's auth is off. Never shown.
    :ivar project: Pachyderm project of every name used without one.
    :ivar console_url: Base URL of Pachyderm's Console, for links.
    :ivar service: Kubernetes service to look host and port up from; ``host`` is empty until :mod:`airflow_pachyderm.discovery` has.
    :ivar cluster: Where to read the logs of workers when the server keeps none.
    """

    conn_id: str
    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    ca_pem: str | None = None
    token: str | None = field(default=None, repr=False)
    project: str = DEFAULT_PROJECT
    console_url: str | None = None
    service: Service | None = None
    cluster: Cluster | None = None

    @property
    def address(self) -> str:
        """``host:port``, as gRPC wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.address} (connection {self.conn_id})"

    @classmethod
    def parse(cls, conn: AirflowConnection) -> "PachydermConnection":
        """Read the form's fields.

        :param conn: Host, port, the auth token as password, and in the extra: ``tls``, ``ca_pem``, ``project``, ``console_url``,
            ``kubernetes_conn_id``, ``namespace``, ``service``.
        :raises PachydermInvalidError: Names the field that cannot be used.
        """
        extra = _extra(conn)
        host = (conn.host or "").strip()
        cluster, name = _cluster(conn, extra), _text(conn, extra, "service")
        if name and not cluster:
            raise PachydermInvalidError(
                f"Connection {conn.conn_id}: to find a Kubernetes service, fill in kubernetes_conn_id and namespace too"
            )
        if host and name:
            raise PachydermInvalidError(f"Connection {conn.conn_id} has both a host and a Kubernetes service: remove one of them")
        if not host and cluster and not name:
            raise PachydermInvalidError(f"Connection {conn.conn_id}: to find a Kubernetes service, fill in service too, or a host")
        if not host and not name:
            raise PachydermInvalidError(
                f"Connection {conn.conn_id} has no host: fill in where the Pachyderm server listens, for example 127.0.0.1"
            )
        if "://" in host or "/" in host:
            raise PachydermInvalidError(
                f"Connection {conn.conn_id}: host is {host!r}; give the bare name and put port and TLS into their fields"
            )
        ca_pem = _text(conn, extra, "ca_pem")
        tls = _flag(conn, extra, "tls")
        if ca_pem and "-----BEGIN CERTIFICATE-----" not in ca_pem:
            raise PachydermInvalidError(
                f"Connection {conn.conn_id}: ca_pem is no PEM certificate; paste the text from BEGIN to END CERTIFICATE"
            )
        if ca_pem and not tls:
            raise PachydermInvalidError(f"Connection {conn.conn_id} has a CA but TLS is off: switch TLS on, or remove the CA")
        return cls(
            conn_id=conn.conn_id,
            host=host,
            port=conn.port or DEFAULT_PORT,
            tls=tls,
            ca_pem=ca_pem,
            token=conn.password or None,
            project=_text(conn, extra, "project") or DEFAULT_PROJECT,
            console_url=_text(conn, extra, "console_url"),
            service=Service(cluster.conn_id, cluster.namespace, name) if cluster and name else None,
            cluster=cluster,
        )


def _extra(conn: AirflowConnection) -> dict[str, Any]:
    try:
        extra = json.loads(conn.extra) if conn.extra else {}
    except json.JSONDecodeError as exc:
        raise PachydermInvalidError(f"Connection {conn.conn_id}: the extra is not JSON ({exc}); correct it in Admin > Connections") from exc
    if not isinstance(extra, dict):
        raise PachydermInvalidError(f"Connection {conn.conn_id}: the extra must be a JSON object, not {type(extra).__name__}")
    return extra


def _cluster(conn: AirflowConnection, extra: dict[str, Any]) -> Cluster | None:
    given = {name: _text(conn, extra, name) for name in ("kubernetes_conn_id", "namespace")}
    if not any(given.values()):
        return None
    if missing := [name for name, value in given.items() if not value]:
        raise PachydermInvalidError(f"Connection {conn.conn_id}: to find Pachyderm in Kubernetes, fill in {missing[0]} too")
    return Cluster(*(str(value) for value in given.values()))


def _text(conn: AirflowConnection, extra: dict[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise PachydermInvalidError(f"Connection {conn.conn_id}: field {name} must be text, not {type(value).__name__}")
    return value.strip() or None


def _flag(conn: AirflowConnection, extra: dict[str, Any], name: str) -> bool:
    value = extra.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    # A connection from a URI in the environment carries text.
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise PachydermInvalidError(f"Connection {conn.conn_id}: field {name} must be true or false, not {value!r}")
