"""The hook: from an Airflow connection to a Pachyderm server."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_pachyderm.connection import DEFAULT_CONN_ID, PachydermConnection
from airflow_pachyderm.discovery import connect
from airflow_pachyderm.exceptions import PachydermError

if TYPE_CHECKING:  # grpc must not be loaded while DAGs are parsed
    from airflow_pachyderm.client.channel import Server
    from airflow_pachyderm.client.pfs import PfsClient
    from airflow_pachyderm.client.pps import PpsClient


class PachydermHook(BaseHook):
    """Calls a Pachyderm server that an Airflow connection names.

    ``hook.pfs`` and ``hook.pps`` are typed, retry transient errors and raise :class:`~airflow_pachyderm.exceptions.PachydermError`;
    ``hook.get_conn()`` gives python-pachyderm's client for all else.

    :param pachyderm_conn_id: Airflow connection of type ``pachyderm``.
    """

    conn_name_attr = "pachyderm_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "pachyderm"
    hook_name = "Pachyderm"

    def __init__(self, pachyderm_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pachyderm_conn_id = pachyderm_conn_id

    @cached_property
    def connection(self) -> PachydermConnection:
        """The connection's fields.

        :raises PachydermInvalidError: One of them cannot be used.
        """
        return connect(self.get_connection(self.pachyderm_conn_id))

    @cached_property
    def server(self) -> "Server":
        """The channel and how it is used."""
        from airflow_pachyderm.client.channel import Server

        return Server(self.connection)

    @cached_property
    def pfs(self) -> "PfsClient":
        """Repos, commits and files."""
        from airflow_pachyderm.client.pfs import PfsClient

        return PfsClient(self.server)

    @cached_property
    def pps(self) -> "PpsClient":
        """Pipelines, jobs, datums and logs."""
        from airflow_pachyderm.client.pps import PpsClient

        return PpsClient(self.server)

    def get_conn(self) -> Any:
        """python-pachyderm's ``Client`` for this connection. Its errors are its own, and its calls have no deadline."""
        import protobuf_compat

        protobuf_compat.install()
        import python_pachyderm

        ca_pem = self.connection.ca_pem
        return python_pachyderm.Client(
            host=self.connection.host,
            port=self.connection.port,
            auth_token=self.connection.token,
            tls=self.connection.tls,
            root_certs=ca_pem.encode() if ca_pem else None,
            use_default_host=False,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask the server for its version and look at the project: what the *Test* button of the connection form runs."""
        from airflow_pachyderm.client.version import probe

        try:
            return True, probe(self.connection)
        except PachydermError as exc:
            return False, str(exc)
