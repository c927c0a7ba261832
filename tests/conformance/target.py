"""Which server the suite runs against, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

# An image with sh, cp and sleep, for the small pipelines; a server that runs processes does not look at it.
DEFAULT_IMAGE: Final = "ubuntu:22.04"
DEFAULT_PORT: Final = 30650


@dataclass(frozen=True)
class Target:
    """One server, and what the suite may expect of it.

    :ivar image: Container image of the small test pipelines.
    :ivar wait_seconds: How long one wait may take, such as that for a job or for a worker to come up.
    :ivar dialect: Release line whose answers are expected; empty: the one that the server says.
    """

    host: str
    port: int
    tls: bool = False
    ca_pem: str = ""
    token: str = ""
    image: str = DEFAULT_IMAGE
    wait_seconds: float = 120.0
    dialect: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, env: Mapping[str, str]) -> Self | None:
        """The server of ``PACHYDERM_ADDRESS``, or None where the suite starts its own.

        :raises ValueError: The address is none.
        """
        text = env.get("PACHYDERM_ADDRESS", "").strip()
        if not text:
            return None
        scheme, _, rest = text.rpartition("://")
        host, _, port = rest.rstrip("/").rpartition(":")
        if not host:
            host, port = rest.rstrip("/"), str(DEFAULT_PORT)
        if not port.isdecimal() or scheme not in ("", "grpc", "grpcs", "http", "https"):
            raise ValueError(f"PACHYDERM_ADDRESS is {text!r}: give host:port")
        ca_file = env.get("PACHYDERM_CA", "")
        tls = env.get("PACHYDERM_TLS", "").lower() in ("1", "true", "yes") or scheme in ("grpcs", "https") or bool(ca_file)
        return cls(
            host=host.strip("[]"),
            port=int(port),
            tls=tls,
            ca_pem=Path(ca_file).read_text() if ca_file else "",
            token=env.get("PACHYDERM_TOKEN", ""),
            image=env.get("CONFORMANCE_IMAGE", DEFAULT_IMAGE),
            wait_seconds=float(env.get("CONFORMANCE_WAIT_SECONDS", "300")),
        )


def from_environment() -> Target | None:
    """See :meth:`Target.parse`."""
    return Target.parse(os.environ)
