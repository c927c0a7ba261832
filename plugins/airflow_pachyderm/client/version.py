"""Is there a Pachyderm server, and may we use it?"""

from google.protobuf import empty_pb2

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy, remote
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.connection import PachydermConnection

_TIMEOUT_SECONDS = 10.0


def probe(connection: PachydermConnection) -> str:
    """Call the server once, without retries, and say what it is.

    :raises PachydermError: It does not answer, refuses the token, or lacks the project.
    """
    server = Server(connection, retry=RetryPolicy(deadline_seconds=0.0))
    try:
        return _Probe(server).run()
    finally:
        server.close()


class _Probe:
    def __init__(self, server: Server) -> None:
        self.connection, self.retry, self._stubs = server.connection, server.retry, server.stubs

    @remote("ask for the version")
    def _version(self) -> str:
        version = self._stubs.version.GetVersion(empty_pb2.Empty(), timeout=_TIMEOUT_SECONDS, metadata=self._stubs.metadata)
        return f"{version.major}.{version.minor}.{version.micro}{version.additional}"

    @remote("inspect the connection's project")
    def _project(self) -> None:
        # GetVersion needs no token; this call does.
        request = pfs_pb2.InspectProjectRequest(project=pfs_pb2.Project(name=self.connection.project))
        self._stubs.pfs.InspectProject(request, timeout=_TIMEOUT_SECONDS, metadata=self._stubs.metadata)

    def run(self) -> str:
        version = self._version()
        self._project()
        return f"Pachyderm {version} answers at {self.connection.address}, project {self.connection.project}"
