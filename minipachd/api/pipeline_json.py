"""Pipeline specs and defaults as JSON, which is how they travel since Pachyderm 2.8 (``CreatePipelineV2``, ``SetClusterDefaults``).

A spec is merged over the defaults of its project, those over the defaults of the cluster, by the rules of RFC 7396: objects are merged
field by field, anything else replaces, and null removes. A field has two spellings, ``datum_tries`` and ``datumTries``, for one thing.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

from minipachd.api.pps_spec_messages import spec_request
from minipachd.errors import InvalidArgumentError
from minipachd.pfs import DEFAULT_PROJECT
from minipachd.pps.spec import PipelineSpec

_DEFAULTS_FIELDS = ("createPipelineRequest", "create_pipeline_request")
_ABOUT_THE_CALL = ("update", "reprocess", "dry_run", "spec_commit")


def effective_request(user_json: str, defaults: Callable[[str | None], str]) -> Any:
    """The ``CreatePipelineRequest`` that a user's spec comes to.

    :param defaults: The defaults of a project, or of the cluster (None), as JSON; empty for none.
    :raises InvalidArgumentError: It is no pipeline spec; the text names the field.
    """
    spec = _spec(_object(user_json, "the pipeline spec"))
    project = _request(_merge({}, spec)).pipeline.project.name or DEFAULT_PROJECT
    over = [_defaults(text) for text in (defaults(None), defaults(project)) if text]
    return _request(functools.reduce(_merge, [*over, spec], {}))


def check_defaults(defaults_json: str) -> None:
    """:raises InvalidArgumentError: They are not ``{"createPipelineRequest": {...}}`` with fields of a pipeline spec."""
    _request(_defaults(defaults_json))


def request_json(request: Any) -> str:
    """What the user asked for, of a request that came as a message.

    :raises InvalidArgumentError: It has a time or a duration that there is not.
    """
    spec = pps_pb2.CreatePipelineRequest()
    spec.CopyFrom(request)
    for field in _ABOUT_THE_CALL:
        spec.ClearField(field)
    try:
        return _text(spec)
    except json_format.SerializeToJsonError as exc:
        raise InvalidArgumentError(f"invalid pipeline spec: {exc}") from exc


def user_spec_json(spec: PipelineSpec) -> str:
    """As the user gave it; the effective one for pipelines from before this was kept."""
    return spec.user_json or effective_spec_json(spec)


def effective_spec_json(spec: PipelineSpec) -> str:
    """The spec in force, with every default."""
    return _text(spec_request(spec))


def _request(spec: Any) -> Any:
    try:
        return json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
    except json_format.ParseError as exc:
        raise InvalidArgumentError(f"invalid pipeline spec: {exc}") from exc


def _text(message: Any) -> str:
    return json.dumps(json_format.MessageToDict(message), separators=(",", ":"))


def _defaults(text: str) -> Any:
    defaults = _object(text, "defaults")
    unknown = sorted(set(defaults) - set(_DEFAULTS_FIELDS))
    if unknown:
        raise InvalidArgumentError(f'defaults have no field "{unknown[0]}"; write {{"createPipelineRequest": {{...}}}}')
    spec = next(iter(defaults.values()), None)
    return {} if spec is None else _spec(spec)


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise InvalidArgumentError(f"{what} cannot be read as JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{what} must be a JSON object, and is {text[:80]}")
    return value


def _spec(value: Any) -> Any:
    return _canonical(value, pps_pb2.CreatePipelineRequest.DESCRIPTOR)


def _canonical(value: Any, descriptor: Any) -> Any:
    """The same with each field in the one spelling, so that equal fields meet when objects are merged."""
    if value is None or descriptor.full_name.startswith("google.protobuf.") or descriptor.GetOptions().map_entry:
        return value
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"invalid pipeline spec: {descriptor.name} must be a JSON object, and is {json.dumps(value)[:80]}")
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    result = {}
    for name, item in value.items():
        if name not in fields:
            raise InvalidArgumentError(f'invalid pipeline spec: {descriptor.name} has no field "{name}" that minipachd knows')
        field = fields[name]
        if field.message_type is None:
            result[field.json_name] = item
        elif isinstance(item, list):
            result[field.json_name] = [_canonical(element, field.message_type) for element in item]
        else:
            result[field.json_name] = _canonical(item, field.message_type)
    return result


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value)
    return result
