"""Pachyderm's messages and stubs. The one place that imports python-pachyderm's generated code."""

import protobuf_compat

protobuf_compat.install()

# After install(), which makes these importable beside a current protobuf.
from google.protobuf import json_format  # noqa: E402 - see above
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402 - see above
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc  # noqa: E402 - see above
from python_pachyderm.proto.v2.pps import pps_pb2, pps_pb2_grpc  # noqa: E402 - see above
from python_pachyderm.proto.v2.version.versionpb import version_pb2, version_pb2_grpc  # noqa: E402 - see above

__all__ = [
    "health_pb2",
    "health_pb2_grpc",
    "json_format",
    "pfs_pb2",
    "pfs_pb2_grpc",
    "pps_pb2",
    "pps_pb2_grpc",
    "version_pb2",
    "version_pb2_grpc",
]
