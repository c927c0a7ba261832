"""Kubernetes for tests, at the wire: an API server over HTTPS that refuses what Kubernetes would refuse, with the controllers that matter.

Objects are checked against the models of Kubernetes' own Python client, field by field. Workloads become ready, Jobs run and namespaces
disappear by one step with every request, so that nothing depends on time. "Helm" installs what the Pachyderm chart installs, and only what
the installer's Role allows.
"""

import base64
import copy
import datetime as dt
import ipaddress
import json
import re
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http import server
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes import client

from tests.provisioning.wire import Wire

CLUSTER_SCOPED = {"namespaces", "nodes", "persistentvolumes"}
KINDS = {
    "namespaces": ("v1", "Namespace", "V1Namespace"),
    "nodes": ("v1", "Node", "V1Node"),
    "persistentvolumes": ("v1", "PersistentVolume", "V1PersistentVolume"),
    "serviceaccounts": ("v1", "ServiceAccount", "V1ServiceAccount"),
    "secrets": ("v1", "Secret", "V1Secret"),
    "configmaps": ("v1", "ConfigMap", "V1ConfigMap"),
    "services": ("v1", "Service", "V1Service"),
    "pods": ("v1", "Pod", "V1Pod"),
    "events": ("v1", "Event", "CoreV1Event"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim", "V1PersistentVolumeClaim"),
    "deployments": ("apps/v1", "Deployment", "V1Deployment"),
    "statefulsets": ("apps/v1", "StatefulSet", "V1StatefulSet"),
    "jobs": ("batch/v1", "Job", "V1Job"),
    "roles": ("rbac.authorization.k8s.io/v1", "Role", "V1Role"),
    "rolebindings": ("rbac.authorization.k8s.io/v1", "RoleBinding", "V1RoleBinding"),
}
_PATH = re.compile(r"(/api/v1|/apis/(?P<group>[^/]+/v1))(/namespaces/(?P<ns>[^/]+))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?(?P<log>/log)?")
Key = tuple[str, str, str]  # plural, namespace, name


class RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def check_model(value: Any, model: str, path: str = "") -> None:
    """Refuse what is not an object of this model: unknown fields, wrong types, missing required fields."""
    if value is None or model == "object":
        return
    if match := re.fullmatch(r"list\[(.+)\]", model):
        _expect(isinstance(value, list), path, "a list", value)
        for index, item in enumerate(value):
            check_model(item, match[1], f"{path}[{index}]")
    elif match := re.fullmatch(r"dict[(\[]str, (.+)[)\]]", model):
        _expect(isinstance(value, dict), path, "an object", value)
        for key, item in value.items():
            _expect(isinstance(key, str), path, "text keys", key)
            check_model(item, match[1], f"{path}.{key}")
    elif model in ("str", "int", "bool", "float", "datetime"):
        types = {"str": str, "datetime": str, "int": int, "bool": bool, "float": (int, float)}[model]
        _expect(isinstance(value, types) and (model == "bool" or not isinstance(value, bool)), path, model, value)
    else:
        _expect(isinstance(value, dict), path, model, value)
        cls = getattr(client, model)
        names = {json_name: name for name, json_name in cls.attribute_map.items()}
        for key, item in value.items():
            _expect(key in names, f"{path}.{key}", f"a field of {model}", key)
            check_model(item, cls.openapi_types[names[key]], f"{path}.{key}")
        try:
            cls(**{names[key]: item for key, item in value.items()})
        except ValueError as exc:
            raise RefusedError(422, f"{path}: {exc}") from exc


def _expect(condition: bool, path: str, wanted: str, value: Any) -> None:
    if not condition:
        raise RefusedError(400, f"strict decoding error: {path.lstrip('.')} is not {wanted}: {json.dumps(value)[:80]}")


@dataclass
class Fault:
    """What requests get instead of an answer: ``times`` of them, whose method and path match."""

    method: str
    path: str
    status: int  # 0: the connection is cut
    times: int = 1


@dataclass
class Kubernetes:
    """One cluster.

    :ivar token: What clients must present.
    :ivar helm_fails: How many Helm runs fail.
    :ivar helm_hangs: Helm's pod never ends, as while ``helm --wait`` waits.
    :ivar logs: What containers wrote, by pod and container; those of the run before under ``container (previous)``.
    :ivar steps: Requests until a Job has run, a workload is ready, or a namespace is gone.
    :ivar requests: Method and path of every request that was served.
    """

    token: str
    helm_fails: int = 0
    helm_hangs: bool = False
    logs: dict[tuple[str, str], str] = field(default_factory=dict)
    steps: int = 2
    schema: dict[str, Any] | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    stuck_pods: str | None = None
    wire: Wire = field(default_factory=Wire)
    bugs: list[str] = field(default_factory=list)  # of this fake, or an assertion in it that does not hold

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[Key, dict[str, Any]] = {}
        self._age: dict[Key, int] = {}
        self._foreign: dict[Key, set[str]] = {}
        self._httpd = server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._httpd.daemon_threads = True
        certificate, key = _certificate()
        self.ca = base64.b64encode(certificate).decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(context, certificate, key)
        self._httpd.socket = context.wrap_socket(self._httpd.socket, server_side=True)
        self.address = f"127.0.0.1:{self._httpd.server_address[1]}"
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.reset()

    def stop(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def reset(self) -> None:
        """A new cluster, with one node."""
        with self.lock:
            self.objects.clear()
            self._age.clear()
            self._foreign.clear()
            node = {
                "spec": {},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "nodeInfo": {"kubeletVersion": "v1.33.5-gke.1080000"},
                    "allocatable": {"cpu": "3920m", "memory": "12660200Ki", "ephemeral-storage": "47093746742", "pods": "110"},
                },
            }
            self._store(("nodes", "", "node-1"), node)

    def kubeconfig(self) -> dict[str, Any]:
        cluster = {"server": f"https://{self.address}", "certificate-authority-data": self.ca}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def put(self, plural: str, name: str, body: dict[str, Any], *, namespace: str = "") -> None:
        """Someone else makes an object."""
        with self.lock:
            self._store((plural, namespace, name), body)

    def change(self, plural: str, name: str, path: str, value: Any, *, namespace: str) -> None:
        """Someone else sets a field, and owns it from then on."""
        with self.lock:
            place: Any = self.objects[plural, namespace, name]
            *parents, last = path.split(".")
            for part in parents:
                place = place.setdefault(part, {})
            place[last] = value
            self._foreign.setdefault((plural, namespace, name), set()).add(path)

    def names(self, plural: str) -> list[str]:
        return sorted(name for kind, _, name in self.objects if kind == plural)

    def leftovers(self) -> list[str]:
        """What a cluster of its own does not have."""
        return sorted(f"{plural} {namespace}/{name}" for plural, namespace, name in self.objects if plural != "nodes")

    # Serving

    def serve(self, method: str, path: str, query: dict[str, list[str]], body: bytes, headers: Any) -> tuple[int, Any]:
        if headers.get("Authorization") != f"Bearer {self.token}":
            raise RefusedError(401, "Unauthorized")
        with self.lock:
            self.requests.append((method, path))
            self._tick()
            if stats := re.fullmatch(r"/api/v1/nodes/[^/]+/proxy/stats/summary", path):
                return 200, self._stats() if stats else None
            match = _PATH.fullmatch(path)
            if not match or match["plural"] not in KINDS:
                raise RefusedError(404, "the server could not find the requested resource")
            plural, namespace, name = match["plural"], match["ns"] or "", match["name"] or ""
            if match["log"]:
                return 200, self._log(namespace, name, query)
            if method == "GET" and not name:
                return 200, self._list(plural, namespace, query)
            key = (plural, namespace, name)
            if method == "PATCH":
                return self._apply(key, json.loads(body), query, headers)
            if key not in self.objects:
                raise RefusedError(404, f'{plural} "{name}" not found')
            if method == "DELETE":
                self._start_delete(key)
            return 200, self.objects.get(key, {"kind": "Status", "status": "Success"})

    def _log(self, namespace: str, pod: str, query: dict[str, list[str]]) -> str:
        """As the API server answers, word for word."""
        if ("pods", namespace, pod) not in self.objects:
            raise RefusedError(404, f'pods "{pod}" not found')
        spec = self.objects["pods", namespace, pod].get("spec", {})
        containers = [container["name"] for container in spec.get("containers", [])]
        name = query.get("container", [""])[0]
        if not name and len(containers) > 1:
            raise RefusedError(400, f"a container name must be specified for pod {pod}, choose one of: [{' '.join(containers)}]")
        previous = query.get("previous", ["false"])[0] == "true"
        name = name or next(iter(containers), "")
        text = self.logs.get((pod, f"{name} (previous)" if previous else name))
        if text is None and previous:
            raise RefusedError(400, f'previous terminated container "{name}" in pod "{pod}" not found')
        if text is None and name == "helm":
            text = "Error: INSTALLATION FAILED: timed out waiting for the condition\n"
        return "".join((text or "").splitlines(keepends=True)[-int(query.get("tailLines", ["1000"])[0]) :])

    def _list(self, plural: str, namespace: str, query: dict[str, list[str]]) -> dict[str, Any]:
        selected = _field_selector(query.get("fieldSelector", [""])[0])
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", [""])[0].split(",") if pair)
        items = [
            {k: v for k, v in value.items() if k not in ("kind", "apiVersion")}
            for (kind, ns, _), value in sorted(self.objects.items())
            if kind == plural
            and namespace in ("", ns)
            and wanted.items() <= value["metadata"].get("labels", {}).items()
            and selected(value)
        ]
        # Two objects a page: paging is the client's business too.
        start = int(query.get("continue", ["0"])[0])
        following = {"continue": str(start + 2)} if start + 2 < len(items) else {}
        return {"kind": "List", "metadata": following, "items": items[start : start + 2]}

    def _apply(self, key: Key, body: dict[str, Any], query: dict[str, list[str]], headers: Any) -> tuple[int, Any]:
        plural, namespace, name = key
        if headers.get("Content-Type") != "application/apply-patch+yaml" or not query.get("fieldManager"):
            raise RefusedError(415, "only server-side apply is served here, with a fieldManager")
        api_version, kind, model = KINDS[plural]
        if (body.get("apiVersion"), body.get("kind")) != (api_version, kind):
            raise RefusedError(400, f"{body.get('apiVersion')} {body.get('kind')} does not belong at this path")
        metadata = body.get("metadata") or {}
        if metadata.get("name") != name or (metadata.get("namespace") or "") != namespace:
            raise RefusedError(400, "name or namespace of the object and of the path differ")
        if namespace and ("namespaces", "", namespace) not in self.objects:
            raise RefusedError(404, f'namespaces "{namespace}" not found')
        if namespace and self.objects["namespaces", "", namespace]["metadata"].get("deletionTimestamp"):
            raise RefusedError(403, f"unable to create new content in namespace {namespace} because it is being terminated")
        check_model(body, model)
        if len(json.dumps(body)) > 1_500_000:
            raise RefusedError(413, "Request entity too large")
        self.bodies.append(body)
        for path in self._foreign.get(key, ()):
            if _lookup(body, path) not in (None, _lookup(self.objects[key], path)):
                raise RefusedError(409, f'Apply failed with 1 conflict: conflict with "kubectl-edit": .{path}')
        created = key not in self.objects
        if plural == "jobs" and not created and body["spec"] != _subset(self.objects[key]["spec"], body["spec"]):
            raise RefusedError(422, "spec.template: field is immutable")
        self._store(key, _merged(self.objects.get(key, {}), body))
        if plural == "services" and body["spec"].get("type") == "LoadBalancer":
            self.objects[key]["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}
        return (201 if created else 200), self.objects[key]

    def _store(self, key: Key, body: dict[str, Any]) -> None:
        api_version, kind, _ = KINDS[key[0]]
        metadata = {"name": key[2], "uid": f"uid-{len(self._age)}", "generation": 1} | ({"namespace": key[1]} if key[1] else {})
        self.objects[key] = {"apiVersion": api_version, "kind": kind, **copy.deepcopy(body)}
        self.objects[key]["metadata"] = metadata | self.objects[key].get("metadata", {})
        self._age.setdefault(key, 0)

    # Controllers

    def _tick(self) -> None:
        for key in list(self.objects):
            if key not in self.objects:
                continue
            self._age[key] = self._age.get(key, 0) + 1
            if self._age[key] < self.steps:
                continue
            value = self.objects[key]
            if value["metadata"].get("deletionTimestamp"):
                if key[0] != "persistentvolumeclaims" or not self._is_mounted(key):
                    self._delete(key)
            elif key[0] == "jobs" and not value.get("status") and not self.helm_hangs:
                self._run_helm(key, value)
            elif key[0] in ("deployments", "statefulsets") and key[2] != self.stuck_pods:
                count = value["spec"].get("replicas", 1)
                value["status"] = {"observedGeneration": 1, "replicas": count, "readyReplicas": count, "updatedReplicas": count}
            elif key[0] == "persistentvolumes" and not self._has_claim(value):
                del self.objects[key]

    def _start_delete(self, key: Key) -> None:
        if key[0] in ("namespaces", "persistentvolumeclaims", "services", "jobs"):
            self.objects[key]["metadata"].setdefault("deletionTimestamp", "2026-11-23T07:00:00Z")
            self._age[key] = 0
        else:
            self._delete(key)

    def _delete(self, key: Key) -> None:
        del self.objects[key]
        self._age.pop(key, None)
        if key[0] == "namespaces":
            for other in [other for other in self.objects if other[1] == key[2]]:
                del self.objects[other]
        if key[0] == "jobs":
            for other in [other for other, value in self.objects.items() if value["metadata"].get("labels", {}).get("job-name") == key[2]]:
                del self.objects[other]

    def _is_mounted(self, claim: Key) -> bool:
        """Its finalizer ``kubernetes.io/pvc-protection`` keeps a claim until no pod uses it."""
        pods = [value for (plural, namespace, _), value in self.objects.items() if plural == "pods" and namespace == claim[1]]
        volumes = [volume for pod in pods for volume in pod.get("spec", {}).get("volumes") or []]
        return any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim[2] for volume in volumes)

    def _has_claim(self, volume: dict[str, Any]) -> bool:
        claim = volume["spec"]["claimRef"]
        retained = volume["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
        return retained or ("persistentvolumeclaims", claim["namespace"], claim["name"]) in self.objects

    def _stats(self) -> dict[str, Any]:
        claims = [key for key in self.objects if key[0] == "persistentvolumeclaims"]
        volumes = [{"pvcRef": {"name": name, "namespace": ns}, "usedBytes": 3, "capacityBytes": 10} for _, ns, name in claims]
        return {"pods": [{"volume": volumes}]}

    # Helm

    def _run_helm(self, key: Key, job: dict[str, Any]) -> None:
        namespace, spec = key[1], job["spec"]["template"]["spec"]
        container = spec["containers"][0]
        self._store(
            ("pods", namespace, f"{key[2]}-x7k2p"),
            {"metadata": {"labels": {"job-name": key[2]}}, "spec": spec, "status": {"phase": "Failed"}},
        )
        if self.helm_fails:
            self.helm_fails -= 1
            failed = {
                "type": "Failed",
                "status": "True",
                "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
            }
            job["status"] = {"conditions": [failed], "failed": 1}
            return
        if 'helm uninstall "$RELEASE" --namespace "$NAMESPACE" --ignore-not-found' in container["command"][2]:
            for other in [
                o for o, v in self.objects.items() if o[1] == namespace and v["metadata"].get("labels", {}).get("suite") == "pachyderm"
            ]:
                self._delete(other)
        else:
            self._install(namespace, spec)
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}

    def values(self, namespace: str) -> dict[str, Any]:
        """The values that Helm gets, from the mounted files."""
        plain = yaml.safe_load(self.objects["configmaps", namespace, "tuskwatch-helm-values"]["data"]["values.yaml"])
        secret = yaml.safe_load(base64.b64decode(self.objects["secrets", namespace, "tuskwatch-helm-secrets"]["data"]["values.yaml"]))
        return _merged(plain, secret)

    def _install(self, namespace: str, spec: dict[str, Any]) -> None:
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert ("configmaps", namespace, volume["configMap"]["name"]) in self.objects, volume
            if "secret" in volume:
                assert ("secrets", namespace, volume["secret"]["secretName"]) in self.objects, volume
        values = self.values(namespace)
        if self.schema:
            import jsonschema

            jsonschema.Draft7Validator(self.schema).validate(values)
        rules = list(self._rules(namespace, spec["serviceAccountName"]))
        for plural, name, body in _chart(values):
            group = KINDS[plural][0].rpartition("/")[0]
            assert any(group in rule["apiGroups"] and plural in rule["resources"] and "create" in rule["verbs"] for rule in rules), plural
            self._store((plural, namespace, name), body | {"metadata": {"labels": {"suite": "pachyderm"}}})
        for claim in ("etcd-storage-etcd-0", "data-postgres-0"):  # made by the StatefulSets: they outlive Helm
            status = {"phase": "Bound", "capacity": {"storage": values["etcd"]["storageSize"]}}
            self._store(("persistentvolumeclaims", namespace, claim), {"spec": {"volumeName": f"pv-{claim}"}, "status": status})
            reference = {"namespace": namespace, "name": claim}
            self._store(
                ("persistentvolumes", "", f"pv-{claim}"), {"spec": {"claimRef": reference, "persistentVolumeReclaimPolicy": "Delete"}}
            )

    def _rules(self, namespace: str, account: str) -> Iterator[dict[str, Any]]:
        assert ("serviceaccounts", namespace, account) in self.objects
        for (plural, ns, _), binding in list(self.objects.items()):
            if plural == "rolebindings" and ns == namespace and any(subject["name"] == account for subject in binding["subjects"]):
                yield from self.objects["roles", namespace, binding["roleRef"]["name"]]["rules"]


def _chart(values: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the chart creates that anyone here looks at."""
    deployments = ["pachd", "pachyderm-proxy", "pg-bouncer"] + (["console"] if values["console"]["enabled"] else [])
    for plural, names in (("deployments", deployments), ("statefulsets", ["etcd", "postgres"])):
        for name in names:
            containers = [{"name": name, "image": f"pachyderm/{name}:2.11.6"}]
            yield plural, name, {"spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}}
    yield "services", "pachyderm-proxy", {"spec": {"type": values["proxy"]["service"]["type"], "ports": [{"port": 80}]}}
    yield "secrets", "pachyderm-storage-secret", {"type": "Opaque"}
    yield "serviceaccounts", "pachyderm", {}
    yield "roles", "pachyderm", {"rules": []}
    yield "rolebindings", "pachyderm", {"subjects": [], "roleRef": {"kind": "Role", "name": "pachyderm"}}


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)


def _subset(value: Any, like: Any) -> Any:
    return (
        {key: _subset(value.get(key), item) for key, item in like.items()} if isinstance(like, dict) and isinstance(value, dict) else value
    )


def _field_selector(text: str) -> Callable[[dict[str, Any]], bool]:
    tests = []
    for pair in filter(None, text.split(",")):
        path, unequal, value = re.fullmatch(r"([^=!]+)(!?)==?(.*)", pair).groups()  # type: ignore[union-attr]
        if path not in ("involvedObject.name", "involvedObject.kind", "type", "status.phase", "metadata.name", "spec.nodeName"):
            raise RefusedError(400, f'Unable to find "{path}": field label not supported: {path}')
        tests.append((path, bool(unequal), value))
    return lambda item: all((_lookup(item, path) == value) is not unequal for path, unequal, value in tests)


def _lookup(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


class _Handler(server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two of them wait 40 ms for each other
    disable_nagle_algorithm = True

    def __init__(self, cluster: Kubernetes, *args: Any) -> None:
        self.cluster = cluster
        super().__init__(*args)

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.cluster.lock:
            fault = next((f for f in self.cluster.faults if f.times and f.method == self.command and re.search(f.path, url.path)), None)
            if fault:
                fault.times -= 1
        request, port = f"{self.command} {url.path}", self.client_address[1]
        if (status := self.cluster.wire.before(request, port)) is not None:
            fault = Fault(self.command, url.path, status)
        if fault and not fault.status:
            self.close_connection = True
            return
        try:
            status, answer = (
                self._answer_fault(fault) if fault else self.cluster.serve(self.command, url.path, parse_qs(url.query), body, self.headers)
            )
        except RefusedError as exc:
            status, answer = exc.code, {"kind": "Status", "status": "Failure", "code": exc.code, "message": exc.message}
        except Exception as exc:  # noqa: BLE001  a bug of the fake must reach the test, not only a log
            self.cluster.bugs.append("".join(traceback.format_exception(exc)))
            status, answer = 501, {"kind": "Status", "status": "Failure", "code": 501, "message": f"the fake has a bug: {exc!r}"}
        self.cluster.wire.after(request, port)
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer_fault(self, fault: Fault) -> tuple[int, Any]:
        return fault.status, {"kind": "Status", "status": "Failure", "code": fault.status, "message": "fault injected"}

    do_GET = _serve  # noqa: N815  these names are http.server's
    do_PATCH = _serve  # noqa: N815
    do_DELETE = _serve  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(certificate + key)
        context.load_cert_chain(file.name)
