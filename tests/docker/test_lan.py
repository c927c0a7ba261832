"""Airflow on a network: ``docker/compose.lan.yaml``, and what of it needs no Docker: the certificate, and TLS in front of Airflow."""

import http.client
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.test_compose import services
from tests.support_data import REPOSITORY

FILE = REPOSITORY / "docker" / "compose.lan.yaml"
REQUIRED = "${TUSKWATCH_LAN:?"


def lan() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(FILE.read_text())["services"]


def test_only_tls_is_published_and_only_where_somebody_says_so():
    assert {name for name, service in lan().items() if "ports" in service} == {"tls"}
    (port,) = lan()["tls"]["ports"]
    assert port.startswith("${TUSKWATCH_LAN_BIND:-" + REQUIRED)  # without an address Compose refuses the file
    assert "0.0.0.0:" not in port


def test_it_changes_services_that_there_are_and_adds_one():
    assert lan().keys() - services().keys() == {"tls"}
    for name in ("migrate", "api-server", "scheduler", "dag-processor", "triggerer"):  # links in mails and pages lead to the same place
        assert lan()[name]["environment"]["AIRFLOW__API__BASE_URL"].startswith("https://" + REQUIRED), name
    tls = lan()["tls"]
    assert (tls["read_only"], tls["cap_drop"], tls["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])


def make_secrets(folder: Path, *, lan: str = "") -> dict[str, bytes]:
    env = {**os.environ, "TUSKWATCH_LAN": lan}
    subprocess.run([sys.executable, str(REPOSITORY / "docker/airflow-secrets.py"), str(folder)], check=True, env=env)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_passwords_and_certificate_are_made_once_and_are_nobody_elses(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    made = []
    for folder in folders:
        folder.mkdir()
        made.append(make_secrets(folder, lan="127.0.0.1"))

    assert make_secrets(folders[0], lan="127.0.0.1") == made[0]
    assert all(made[0][name] != made[1][name] for name in made[0] if name != "tls.host")
    passwords = json.loads(made[0]["passwords.json"])
    assert passwords.keys() == {"admin", "viewer"}
    assert all(len(password) >= 20 for password in passwords.values())  # what is guessed in no time that anybody has
    assert (folders[0] / "tls.key").stat().st_mode & 0o077 == 0
    moved = make_secrets(folders[0], lan="watch.example.org")
    assert moved["tls.crt"] != made[0]["tls.crt"]
    assert moved["passwords.json"] == made[0]["passwords.json"]


class Behind(http.server.BaseHTTPRequestHandler):
    """Stands for Airflow's API server."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def tls(to: int, *folders: Path) -> Iterator[tuple[int, str]]:
    """The real program on a port of its own; yields that, and the fingerprint that it told."""
    command = [sys.executable, str(REPOSITORY / "docker/tls.py"), "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{to}", *map(str, folders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            told, ready = process.stdout.readline(), process.stdout.readline()
            yield int(ready.split()[1]), told.split()[-1]
        finally:
            process.terminate()


def test_what_comes_by_tls_reaches_airflow_and_nothing_else_does(tmp_path):
    make_secrets(tmp_path, lan="127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    body = os.urandom(300_000)
    try:
        with tls(server.server_port, tmp_path / "none", tmp_path) as (port, fingerprint):
            trusted = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))  # checks the name, too
            client = http.client.HTTPSConnection("127.0.0.1", port, context=trusted, timeout=30)
            client.request("POST", "/auth/token", body=body)
            assert client.getresponse().read() == body
            client.close()
            assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", fingerprint)

            plain = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            plain.request("POST", "/auth/token", body=b"x")
            with pytest.raises((http.client.HTTPException, OSError)):
                plain.getresponse()
            plain.close()

            old = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
            client = http.client.HTTPSConnection("127.0.0.1", port, context=old, timeout=30)
            client.request("POST", "/", body=b"still")
            assert client.getresponse().read() == b"still"
            client.close()
    finally:
        server.shutdown()
        server.server_close()


def test_without_a_certificate_nothing_is_served(tmp_path):
    command = [sys.executable, str(REPOSITORY / "docker/tls.py"), "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing is served without TLS" in done.stderr
