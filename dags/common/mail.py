"""Alerts by mail: SendGrid's key goes from an Airflow connection into a Pachyderm secret that threat-detect alone mounts."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.files import open_filesystem
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.specs import load_specs
from dags import settings

log = logging.getLogger(__name__)

_KEY = "api-key"


def put_key() -> bool:
    """Create or replace the secret, if there is a connection to take it from.

    :return: Whether mail is on.
    :raises PachydermInvalidError: The connection has no key.
    """
    try:
        conn = BaseHook.get_connection(settings.SENDGRID_CONN_ID)
    except AirflowNotFoundException:
        log.warning("Mail is off: there is no connection %s; threats are recorded and nobody is told", settings.SENDGRID_CONN_ID)
        return False
    if not conn.password:
        raise PachydermInvalidError(f"Connection {settings.SENDGRID_CONN_ID} has no password: put SendGrid's API key there")
    PachydermHook(settings.PACHYDERM_CONN_ID).pps.create_secret(settings.SENDGRID_SECRET, {_KEY: conn.password})
    log.info("Mail is on: secret %s holds the key of connection %s", settings.SENDGRID_SECRET, settings.SENDGRID_CONN_ID)
    return True


def spec_with_key(spec_url: str, *, staging: str) -> str:
    """Write threat-detect's spec with the secret mounted to where all workers can read it.

    :param spec_url: The spec as it ships.
    :param staging: URL of a folder.
    :return: URL of the spec to use instead.
    """
    (spec,) = load_specs(spec_url)
    transform: dict[str, Any] = {**spec["transform"]}
    transform["secrets"] = [{"name": settings.SENDGRID_SECRET, "key": _KEY, "envVar": "SENDGRID_API_KEY"}]
    return stage_spec({**spec, "transform": transform}, staging=staging)


def stage_spec(spec: Mapping[str, Any], *, staging: str) -> str:
    """Write a changed spec to where all workers can read it.

    :param staging: URL of a folder.
    :return: Its URL.
    """
    filesystem, folder = open_filesystem(staging)
    filesystem.makedirs(folder, exist_ok=True)
    name = f"{spec['pipeline']['name']}.pipeline.json"
    filesystem.pipe_file(f"{folder.rstrip('/')}/{name}", json.dumps(spec, indent=1).encode())
    return f"{staging.rstrip('/')}/{name}"
