"""The fields of the connection form."""

import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermInvalidError

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def connection(*, host: str | None = "pachd.example.com", extra: Any = None, **fields: Any) -> Connection:
    text = extra if isinstance(extra, str) else json.dumps(extra or {})
    return Connection(conn_id="pach", conn_type="pachyderm", host=host, extra=text, **fields)


def test_an_empty_form_means_the_usual_port_project_and_no_tls() -> None:
    parsed = PachydermConnection.parse(connection())

    assert (parsed.address, parsed.project, parsed.tls, parsed.token) == ("pachd.example.com:30650", "default", False, None)


def test_every_field_is_read() -> None:
    extra = {"tls": True, "ca_pem": PEM, "project": "cams", "console_url": "https://console.example.com"}

    parsed = PachydermConnection.parse(connection(port=443, password="t0ken", extra=extra))

    assert parsed == PachydermConnection(
        conn_id="pach",
        host="pachd.example.com",
        port=443,
        tls=True,
        ca_pem=PEM.strip(),
        token="t0ken",
        project="cams",
        console_url="https://console.example.com",
    )


def test_the_token_is_in_no_message() -> None:
    parsed = PachydermConnection.parse(connection(password="t0ken"))

    assert "t0ken" not in f"{parsed!r} {parsed}"


def test_an_ipv6_host_is_bracketed() -> None:
    assert PachydermConnection.parse(connection(host="::1")).address == "[::1]:30650"


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("False", False), ("1", True), ("", False)])
def test_flags_of_a_connection_from_a_uri_are_text(text: str, expected: bool) -> None:
    assert PachydermConnection.parse(connection(extra={"tls": text})).tls is expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": None}, "has no host: fill in"),
        ({"host": "grpc://pachd:30650"}, "give the bare name"),
        ({"extra": "{"}, "the extra is not JSON"),
        ({"extra": "[]"}, "must be a JSON object, not list"),
        ({"extra": {"project": 7}}, "field project must be text, not int"),
        ({"extra": {"tls": "perhaps"}}, "field tls must be true or false, not 'perhaps'"),
        ({"extra": {"tls": True, "ca_pem": "secret"}}, "ca_pem is no PEM certificate"),
        ({"extra": {"service": "pachd"}}, "fill in kubernetes_conn_id and namespace too"),
        ({"extra": {"service": "p", "namespace": "n", "kubernetes_conn_id": "k"}}, "both a host and a Kubernetes service"),
        ({"extra": {"ca_pem": PEM}}, "TLS is off: switch TLS on, or remove the CA"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PachydermInvalidError, match=message) as caught:
        PachydermConnection.parse(connection(**fields))

    assert "Connection pach" in str(caught.value)


def test_airflows_form_has_our_fields_with_their_help() -> None:
    # In a process of its own: Airflow's service puts stand-ins for missing packages into sys.modules.
    code = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
meta = next(meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "pachyderm")
print(meta.model_dump_json())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout.splitlines()[-1])

    assert form["hook_name"] == "Pachyderm"
    assert form["standard_fields"]["password"]["title"] == "Auth token"
    assert set(form["extra_fields"]) == {"project", "tls", "ca_pem", "console_url", "kubernetes_conn_id", "namespace", "service"}
    assert all(field["description"] for field in form["extra_fields"].values())


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import airflow_pachyderm, sys; print([name for name in sys.modules if name.startswith(('airflow', 'grpc'))])"

    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "['airflow_pachyderm']"
    )
