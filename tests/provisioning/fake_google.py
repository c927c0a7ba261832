"""Google for tests, at the wire: the GKE cluster manager over gRPC, Cloud Storage over HTTP, and the token endpoint.

The cluster manager moves on by one step with every look at it, so that nothing depends on time.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus, server
from types import SimpleNamespace
from typing import Any

import gcp_storage_emulator.handlers.buckets as emulated_buckets
import google_crc32c
import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage
from google.cloud.container_v1 import types

from tests.provisioning.wire import CUT, Wire, grpc_code

PROJECT = "acme-cameras"
ACCESS_TOKEN = "ya29.fake-access-token"
_Status = types.Cluster.Status
_OperationStatus = types.Operation.Status


@dataclass
class ClusterManager:
    """google.container.v1.ClusterManager, four calls of it.

    :ivar address: What every cluster is given as its endpoint, with ``ca`` as its certificate.
    :ivar looks_until_ready: Looks at a cluster before an operation on it ends.
    :ivar create_ends: How creates end: "well", "quota" (the operation ends DONE with an error), "half-way" (the cluster ends in ERROR).
    :ivar faults: By method: codes to answer with, one for each call, before the call is served.
    :ivar after_fault: The same, but the call is carried out first: the answer is lost.
    """

    address: str
    ca: str
    on_deleted: Callable[[], None] = lambda: None
    looks_until_ready: int = 2
    create_ends: str = "well"
    clusters: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, list[grpc.StatusCode]] = field(default_factory=dict)
    after_faults: dict[str, list[grpc.StatusCode]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._looks: dict[str, int] = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            "CreateCluster": (types.CreateClusterRequest, types.Operation, self._create),
            "GetCluster": (types.GetClusterRequest, types.Cluster, self._get),
            "DeleteCluster": (types.DeleteClusterRequest, types.Operation, self._delete),
            "GetOperation": (types.GetOperationRequest, types.Operation, self._operation),
        }
        rpcs = {
            name: grpc.unary_unary_rpc_method_handler(
                partial(self._serve, name, handler), request_deserializer=request.deserialize, response_serializer=reply.serialize
            )
            for name, (request, reply, handler) in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("google.container.v1.ClusterManager", rpcs),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _serve(self, name: str, handler: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        port = int(context.peer().rpartition(":")[2])
        if (status := self.wire.before(name, port)) is not None:
            context.abort(grpc.StatusCode[grpc_code(status)], f"fault injected into {name}")
        reply = self._serve_locked(name, handler, request, context)
        self.wire.after(name, port)
        return reply

    def _serve_locked(self, name: str, handler: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        with self._lock:
            self.calls.append(name)
            if self.faults.get(name):
                context.abort(self.faults[name].pop(0), f"fault injected into {name}")
            reply = handler(request, context)
            if self.after_faults.get(name):
                context.abort(self.after_faults[name].pop(0), f"the answer to {name} is lost")
            return reply

    def _create(self, request: Any, context: Any) -> Any:
        path = f"{request.parent}/clusters/{request.cluster.name}"
        if path in self.clusters:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"Already exists: {path}")
        cluster = types.Cluster(request.cluster)
        cluster.status, cluster.endpoint = _Status.PROVISIONING, ""
        cluster.create_time = "2026-11-23T06:00:00+00:00"
        self.clusters[path] = cluster
        return self._start("create", path)

    def _get(self, request: Any, context: Any) -> Any:
        if request.name not in self.clusters:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {request.name}")
        self._look(request.name)
        if request.name not in self.clusters:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {request.name}")
        return self.clusters[request.name]

    def _delete(self, request: Any, context: Any) -> Any:
        if request.name not in self.clusters:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {request.name}")
        if self._running(request.name):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"Cluster is running incompatible operation: {request.name}")
        self.clusters[request.name].status = _Status.STOPPING
        return self._start("delete", request.name)

    def _operation(self, request: Any, context: Any) -> Any:
        name = request.name.rpartition("/")[2]
        if name not in self.operations:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {request.name}")
        return self.operations[name]

    def _start(self, kind: str, path: str) -> Any:
        name = f"operation-{kind}-{len(self.operations)}"
        self.operations[name] = types.Operation(name=name, status=_OperationStatus.RUNNING, target_link=path)
        self._looks[path] = 0
        return self.operations[name]

    def _running(self, path: str) -> list[Any]:
        return [op for op in self.operations.values() if op.target_link == path and op.status == _OperationStatus.RUNNING]

    def _look(self, path: str) -> None:
        running = self._running(path)
        self._looks[path] = self._looks.get(path, 0) + 1
        if not running or self._looks[path] < self.looks_until_ready:
            return
        operation, cluster = running[0], self.clusters[path]
        operation.status = _OperationStatus.DONE
        if operation.name.startswith("operation-delete"):
            del self.clusters[path]
            self.on_deleted()
        elif self.create_ends == "quota":
            message = "Insufficient regional quota to satisfy request: resource CPUS_ALL_REGIONS"
            operation.error = {"code": 8, "message": message}
            cluster.status, cluster.status_message = _Status.ERROR, message
        elif self.create_ends == "half-way":
            cluster.status, cluster.status_message = (
                _Status.ERROR,
                "All cluster resources were brought up, but: 2 nodes out of 2 are unhealthy.",
            )
        else:
            cluster.status, cluster.endpoint = _Status.RUNNING, self.address
            cluster.current_master_version = "1.33.5-gke.1080000"
            cluster.master_auth = {"cluster_ca_certificate": self.ca}


@dataclass
class CloudStorage:
    """The GCS emulator, with what it lacks: a bucket keeps the properties that it is made with, has an owner, and faults can be injected.

    :ivar foreign: Buckets that exist and are someone else's.
    :ivar faults: By HTTP method: statuses to answer with, one for each request.
    """

    foreign: set[str] = field(default_factory=set)
    faults: dict[str, list[int]] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self.storage = Storage(use_memory_fs=True)
        self.owners: dict[str, str] = {}
        self._httpd = server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_StorageHandler, self))
        self.port = self._httpd.server_address[1]
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def buckets(self) -> dict[str, Any]:
        return self.storage.buckets

    def stop(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Make a bucket, if there is none, with an object."""
        if bucket not in self.buckets:
            emulated_buckets.create_bucket(bucket, self.storage)
            self.owners[bucket] = PROJECT
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        crc32c = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        metadata = {"name": name, "bucket": bucket, "size": str(len(content)), "md5Hash": md5, "crc32c": crc32c}
        self.storage.create_file(bucket, name, content, metadata)


class _StorageHandler(RequestHandler):
    wbufsize = -1  # an answer leaves when the request is done with, so that it can still be lost

    def __init__(self, owner: CloudStorage, *args: Any) -> None:
        self.owner = owner
        super().__init__(owner.storage, *args)

    def log_message(self, *args: Any) -> None:
        pass

    def _intercepted(self, method: str) -> bool:
        path, _, query = self.path.partition("?")
        name = path.removeprefix("/storage/v1/b/").partition("/")[0] if path.startswith("/storage/v1/b/") else None
        status = self.owner.wire.before(f"{method} {path}", self.client_address[1])
        if status == CUT:
            self.close_connection = True
            return True
        if status:
            return self._answer(status, {"error": {"code": status, "message": "fault injected"}})
        if self.owner.faults.get(method):
            return self._answer(self.owner.faults[method].pop(0), {"error": {"code": 0, "message": "fault injected"}})
        if name in self.owner.foreign:
            return self._answer(
                403, {"error": {"code": 403, "message": f"someone@example.com does not have storage.buckets.get access to {name}"}}
            )
        if path != "/storage/v1/b":
            return False
        project = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair).get("project", "")
        if method == "GET":
            items = [bucket for bucket_name, bucket in self.owner.buckets.items() if self.owner.owners.get(bucket_name) == project]
            return self._answer(200, {"kind": "storage#buckets", "items": items})
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["name"] in self.owner.foreign or body["name"] in self.owner.buckets:
            return self._answer(409, {"error": {"code": 409, "message": "The requested bucket name is not available."}})
        emulated_buckets.create_bucket(body["name"], self.owner.storage)
        created = emulated_buckets._patch_bucket(self.owner.buckets[body["name"]], body)
        created["location"] = created["location"].upper()
        self.owner.storage.create_bucket(body["name"], created)
        self.owner.owners[body["name"]] = project
        return self._answer(200, created)

    def _answer(self, status: int, body: dict[str, Any]) -> bool:
        length = int(self.headers.get("Content-Length") or 0)
        if status >= HTTPStatus.BAD_REQUEST and length:
            self.rfile.read(length)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def do_GET(self) -> None:
        self._serve("GET", super().do_GET)

    def do_POST(self) -> None:
        self._serve("POST", super().do_POST)

    def do_DELETE(self) -> None:
        self._serve("DELETE", super().do_DELETE)

    def _serve(self, method: str, emulated: Callable[[], None]) -> None:
        if not self._intercepted(method):
            emulated()
        self.owner.wire.after(f"{method} {self.path.partition('?')[0]}", self.client_address[1])


class TokenEndpoint:
    """Where a service account's signed assertion becomes an access token."""

    def __init__(self) -> None:
        class Handler(server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                data = json.dumps({"access_token": ACCESS_TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._httpd = server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def service_account_key(self) -> SimpleNamespace:
        """A key as Google issues them, whose tokens come from here: its JSON, and the secret part of it."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  nobody relies on it; the usual size takes 0.1 s a login
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        key = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "0123456789abcdef",
            "private_key": pem,
            "client_email": f"airflow@{PROJECT}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"http://127.0.0.1:{self._httpd.server_address[1]}/token",
        }
        return SimpleNamespace(json=key, secret=pem.splitlines()[1])
