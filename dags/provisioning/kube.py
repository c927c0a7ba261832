"""A small Kubernetes client: plain objects in and out, errors that name the object, and server-side apply, which may be repeated.

The provider's ``apply_from_yaml`` only creates, so that the second run fails; and the typed client has a method per kind.
"""

import http
import json
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from dags.provisioning.errors import DifferentError, StepFailedError, TransientError
from dags.provisioning.outcome import Change
from dags.provisioning.stack import MANAGED_BY, OWNER

log = logging.getLogger(__name__)

Manifest = dict[str, Any]

FIELD_MANAGER: Final = OWNER
MANAGED_BY_LABEL: Final = f"app.kubernetes.io/{MANAGED_BY}"
TIMEOUT: Final = (5.0, 30.0)  # seconds: to connect, to answer
ATTEMPTS: Final = 4
FIRST_WAIT: Final = 0.5  # seconds, doubled for each further attempt
LONGEST_WAIT: Final = 10.0
_GOOD: Final = (200, 201, 202)
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})

# API version and kind -> plural, and whether it lives in a namespace.
KINDS: Final[Mapping[tuple[str, str], tuple[str, bool]]] = {
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Node"): ("nodes", False),
    ("v1", "PersistentVolume"): ("persistentvolumes", False),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Service"): ("services", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Event"): ("events", True),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "StatefulSet"): ("statefulsets", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("rbac.authorization.k8s.io/v1", "Role"): ("roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("rolebindings", True),
}


class Kube:
    """One cluster's API."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def get(self, api_version: str, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """The object, or None when there is none of that name."""
        try:
            found: Manifest = self._call("GET", _path(api_version, kind, namespace, name))
        except ApiException as exc:
            if exc.status != http.HTTPStatus.NOT_FOUND:
                raise self._failed(f"read {kind} {name}", exc) from exc
            return None
        return found

    def objects(
        self, api_version: str, kind: str, *, namespace: str | None = None, labels: str | None = None, fields: str | None = None
    ) -> list[Manifest]:
        """All objects of a kind, of one namespace or of all; none when the namespace does not exist.

        :param labels: A label selector.
        :param fields: A field selector.
        """
        query = [("limit", "500")] + ([("labelSelector", labels)] if labels else []) + ([("fieldSelector", fields)] if fields else [])
        items: list[Manifest] = []
        while True:
            try:
                page = self._call("GET", _path(api_version, kind, namespace), query=query)
            except ApiException as exc:
                raise self._failed(f"list {kind} objects", exc) from exc
            items += [{"apiVersion": api_version, "kind": kind, **item} for item in page["items"]]  # the items of a list do not say so
            following = page.get("metadata", {}).get("continue")
            if not following:
                return items
            query = [pair for pair in query if pair[0] != "continue"] + [("continue", following)]

    def visible(self, api_version: str, kind: str, *, namespace: str | None = None, fields: str | None = None) -> list[Manifest] | None:
        """As :meth:`objects`; None when this account may not list them."""
        try:
            return self.objects(api_version, kind, namespace=namespace, fields=fields)
        except StepFailedError as exc:
            if isinstance(exc.__cause__, ApiException) and exc.__cause__.status == http.HTTPStatus.FORBIDDEN:
                return None
            raise

    def ensure(self, manifest: Manifest) -> Change:
        """Make the object be there with at least the fields of ``manifest``.

        :raises DifferentError: An object of that name is not ours, or someone else set one of the fields.
        """
        api_version, kind, name, namespace = _identity(manifest)
        found = self.get(api_version, kind, name, namespace=namespace)
        if found is not None:
            if found["metadata"].get("deletionTimestamp"):
                raise TransientError(f"{kind} {name} is being deleted; it can be made anew when it is gone")
            if found["metadata"].get("labels", {}).get(MANAGED_BY_LABEL) != OWNER:
                difference = f"it has no label {MANAGED_BY_LABEL}={OWNER}, so it is not Tuskwatch's"
                raise DifferentError(f"{kind} {name}", [difference], "choose another namespace, or delete it if it may go")
            if not list(differences(manifest, found)):
                return Change.FOUND
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        try:
            # Without force, so that a field that someone else changed is a conflict instead of being overwritten.
            self._call(
                "PATCH",
                _path(api_version, kind, namespace, name),
                query=query,
                body=manifest,
                content="application/apply-patch+yaml",
            )
        except ApiException as exc:
            if exc.status == http.HTTPStatus.CONFLICT:
                raise DifferentError(f"{kind} {name}", [_reason(exc)], "undo that change, or delete the object if it may go") from exc
            raise self._failed(f"apply {kind} {name}", exc) from exc
        return Change.CREATED if found is None else Change.UPDATED

    def delete(self, api_version: str, kind: str, name: str, *, namespace: str | None = None) -> bool:
        """Ask for the object's deletion, and that of what it owns. True when it was there."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        try:
            self._call("DELETE", _path(api_version, kind, namespace, name), body=body, content="application/json")
        except ApiException as exc:
            if exc.status != http.HTTPStatus.NOT_FOUND:
                raise self._failed(f"delete {kind} {name}", exc) from exc
            return False
        return True

    def logs(self, pod: str, *, namespace: str, container: str | None = None, previous: bool = False, lines: int = 40) -> str:
        """The last lines that a pod wrote; "" when it has not begun.

        :param container: Which one; needed where a pod has several.
        :param previous: Of the container's run before the present one.
        """
        query = [("tailLines", str(lines))]
        query += ([("container", container)] if container else []) + ([("previous", "true")] if previous else [])
        try:
            return str(self._call("GET", f"{_path('v1', 'Pod', namespace, pod)}/log", query=query, text=True))
        except ApiException as exc:
            log.info("pod %s has no log: %s", pod, _reason(exc))
            return ""

    def raw(self, path: str) -> Any:
        """What a GET of ``path`` answers, parsed; None when it is refused or not there."""
        try:
            return self._call("GET", path)
        except ApiException as exc:
            if exc.status in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND):
                return None
            raise self._failed(f"read {path}", exc) from exc

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content: str | None = None,
        text: bool = False,
    ) -> Any:
        """One request, repeated while the server is overloaded or away: every one of ours may be repeated.

        :param text: The answer is text, not JSON. The client would hand out such an answer as Python shows its bytes (``b'…'``).
        :raises ApiException: The server refuses it.
        :raises TransientError: It could not be asked, or was overloaded each time.
        """
        headers = {"Accept": "application/json"} | ({"Content-Type": content} if content else {})
        wait = FIRST_WAIT
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._api.call_api(
                    path,
                    method,
                    query_params=query or [],
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                    response_types_map=dict.fromkeys(_GOOD, "object"),
                    _return_http_data_only=True,
                    _preload_content=not text,
                    _request_timeout=TIMEOUT,
                )
                return answer.data.decode("utf-8", "replace") if text else answer
            except ApiException as exc:
                if exc.status not in _TRANSIENT:
                    raise
                reason = _reason(exc)
                wait = max(wait, min(float((exc.headers or {}).get("Retry-After", 0) or 0), LONGEST_WAIT))
            except urllib3.exceptions.HTTPError as exc:
                reason = f"{type(exc).__name__}: {exc}"
            if attempt < ATTEMPTS:
                log.info("%s %s: %s; attempt %d of %d follows in %.1f s", method, path, reason, attempt + 1, ATTEMPTS, wait)
                time.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)
        raise TransientError(f"The Kubernetes API at {self._api.configuration.host} does not serve {method} {path}: {reason}")

    def _failed(self, doing: str, exc: ApiException) -> StepFailedError:
        way_out = ""
        if exc.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            way_out = ". Give the connection's account that right: docs/production.md lists what is needed"
        return StepFailedError(f"Cannot {doing} on the cluster at {self._api.configuration.host}: {_reason(exc)}{way_out}")


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where ``found`` lacks or contradicts ``wanted``; what the server added is no difference. Values are not shown: some are secret."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            yield from differences(value, found.get(key) if isinstance(found, dict) else None, f"{path}.{key}" if path else key)
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            yield path
        else:
            for index, (value, there) in enumerate(zip(wanted, found, strict=True)):
                yield from differences(value, there, f"{path}[{index}]")
    elif wanted != found:
        yield path


def _identity(manifest: Manifest) -> tuple[str, str, str, str | None]:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace")


def _path(api_version: str, kind: str, namespace: str | None, name: str | None = None) -> str:
    plural, namespaced = KINDS[api_version, kind]
    root = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
    return "/".join([root, *(["namespaces", namespace] if namespaced and namespace else []), plural, *([name] if name else [])])


def _reason(exc: ApiException) -> str:
    try:
        message = json.loads(exc.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        message = exc.reason
    return f"{exc.status} {message}"
