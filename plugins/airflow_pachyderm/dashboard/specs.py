"""A pipeline's spec as it may be shown: without what tends to hold secrets."""

import re
from typing import Any, Final

from airflow_pachyderm.client.protocol import json_format

MASK: Final = "•••"

# What the server found out rather than what the user asked for, and Kubernetes patches, which may carry secrets anywhere.
_LEFT_OUT: Final = frozenset(
    {"created_at", "workers_requested", "workers_available", "unclaimed_tasks", "worker_rc", "reason", "recent_error"}
)
_MASKED: Final = frozenset({"pod_spec", "pod_patch", "salt"})
_URL_SECRET: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def shown_spec(details: Any) -> dict[str, Any]:
    """The spec in a pipeline's details, the values of its environment and passwords in its addresses replaced by :data:`MASK`."""
    spec = json_format.MessageToDict(details, preserving_proto_field_name=True)
    for name in _LEFT_OUT:
        spec.pop(name, None)
    for name in _MASKED & spec.keys():
        spec[name] = MASK
    transform = spec.get("transform", {})
    for name in transform.get("env", {}):
        transform["env"][name] = MASK
    shown = _without_url_secrets(spec)
    return shown if isinstance(shown, dict) else {}


def _without_url_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_url_secrets(item) for key, item in value.items()}
        case list():
            return [_without_url_secrets(item) for item in value]
        case str():
            return _URL_SECRET.sub(MASK, value)
        case _:
            return value
