"""A Kubernetes API server over HTTP for the real client: a few services, pods and their logs."""

import http.server
import json
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_SERVICES = "/api/v1/namespaces/pachyderm/services/"
_PODS = "/api/v1/namespaces/pachyderm/pods"


@dataclass
class KubernetesApi:
    """Use it as a context manager.

    :ivar logs: What each pod's user container wrote.
    :ivar refusals: Status by the beginning of a path.
    """

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def airflow_connection(self) -> str:
        """The cluster as an Airflow connection, for the environment."""
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}})

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body for a request."""
        self.asked.append(path)
        parts = urlsplit(path)
        if refused := next((status for start, status in self.refusals.items() if parts.path.startswith(start)), 0):
            return refused, json.dumps({"kind": "Status", "code": refused}).encode()
        if parts.path == _PODS:
            labels = parse_qs(parts.query).get("labelSelector", [""])[0]
            names = [name for name in self.logs if f"pipelineName={name.rpartition('-')[0]}" in labels.split(",")]
            return 200, json.dumps({"kind": "PodList", "items": [{"metadata": {"name": name}} for name in names]}).encode()
        if parts.path.startswith(_PODS) and parts.path.endswith("/log"):
            return 200, self.logs[parts.path.split("/")[-2]].encode()
        found = self.services.get(parts.path.removeprefix(_SERVICES))
        return (200, json.dumps(found).encode()) if found else (404, json.dumps({"kind": "Status", "code": 404}).encode())

    def __enter__(self) -> Self:
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = api.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
