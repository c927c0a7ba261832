"""Version, cluster, and the services that one machine has no use for."""

import platform
from typing import Any

from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.admin import admin_pb2, admin_pb2_grpc
from python_pachyderm.proto.v2.auth import auth_pb2_grpc
from python_pachyderm.proto.v2.enterprise import enterprise_pb2, enterprise_pb2_grpc
from python_pachyderm.proto.v2.identity import identity_pb2_grpc
from python_pachyderm.proto.v2.license import license_pb2, license_pb2_grpc
from python_pachyderm.proto.v2.version.versionpb import version_pb2, version_pb2_grpc

from minipachd.api.dialect import Dialect
from minipachd.errors import NotFoundError, UnsupportedError
from minipachd.pfs import Pfs


class VersionService(version_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``versionpb_v2.API``: the Pachyderm release whose protocol this is."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def GetVersion(self, request: Any, context: Any) -> Any:
        major, minor, micro = self._dialect.version
        return version_pb2.Version(
            major=major, minor=minor, micro=micro, additional="-minipachd", platform=f"{platform.system().lower()}/{platform.machine()}"
        )


class AdminService(admin_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``admin_v2.API``."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs

    async def InspectCluster(self, request: Any, context: Any) -> Any:
        info = admin_pb2.ClusterInfo(
            id=self._pfs.cluster_id(), deployment_id=self._pfs.cluster_id("deployment_id"), version_warnings_ok=True
        )
        project = request.current_project.name
        if project:
            with self._pfs.snapshot() as view:
                try:
                    view.project(project)
                except NotFoundError as exc:
                    info.version_warnings.append(f"{exc}; choose another one with: pachctl config update context --project")
        return info


def _not_activated() -> None:
    raise UnsupportedError("the auth service is not activated: minipachd has none, it serves one person on one machine")


class AuthService(auth_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``auth_v2.API``: clients ask these, and know this answer."""

    async def Activate(self, request: Any, context: Any) -> None:
        _not_activated()

    async def Deactivate(self, request: Any, context: Any) -> None:
        _not_activated()

    async def Authenticate(self, request: Any, context: Any) -> None:
        _not_activated()

    async def WhoAmI(self, request: Any, context: Any) -> None:
        _not_activated()


class IdentityService(identity_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``identity_v2.API``."""

    async def DeleteAll(self, request: Any, context: Any) -> None:
        _not_activated()


class LicenseService(license_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``license_v2.API``."""

    async def GetActivationCode(self, request: Any, context: Any) -> Any:
        return license_pb2.GetActivationCodeResponse(state=enterprise_pb2.NONE)

    async def DeleteAll(self, request: Any, context: Any) -> None:
        _not_activated()


class EnterpriseService(enterprise_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """``enterprise_v2.API``: what an open-source Pachyderm answers, which has no licence and is never paused."""

    async def GetState(self, request: Any, context: Any) -> Any:
        return enterprise_pb2.GetStateResponse(state=enterprise_pb2.NONE)

    async def GetActivationCode(self, request: Any, context: Any) -> Any:
        return enterprise_pb2.GetActivationCodeResponse(state=enterprise_pb2.NONE)

    async def PauseStatus(self, request: Any, context: Any) -> Any:
        return enterprise_pb2.PauseStatusResponse(status=enterprise_pb2.PauseStatusResponse.UNPAUSED)


def empty() -> Any:
    """The answer of calls that have none."""
    return Empty()
