"""How the environment names a server."""

from pathlib import Path

import pytest

from tests.conformance.target import Target


@pytest.mark.parametrize(
    ("text", "address", "tls"),
    [
        ("pachd:30650", "pachd:30650", False),
        ("grpc://pachd:80/", "pachd:80", False),
        ("grpcs://pachd.example.com:443", "pachd.example.com:443", True),
        ("pachd", "pachd:30650", False),
        ("[::1]:30650", "::1:30650", False),
    ],
)
def test_an_address_in_every_form(text: str, address: str, tls: bool) -> None:
    target = Target.parse({"PACHYDERM_ADDRESS": text})
    assert target
    assert (target.address, target.tls, target.dialect) == (address, tls, "")


def test_no_address_means_servers_of_our_own(tmp_path: Path) -> None:
    assert Target.parse({}) is None
    with pytest.raises(ValueError, match="give host:port"):
        Target.parse({"PACHYDERM_ADDRESS": "pachd:http"})
    (tmp_path / "ca").write_text("PEM")
    given = {"PACHYDERM_ADDRESS": "pachd:1", "PACHYDERM_CA": str(tmp_path / "ca"), "PACHYDERM_TOKEN": "t", "CONFORMANCE_IMAGE": "i"}
    target = Target.parse(given)
    assert target
    assert (target.tls, target.ca_pem, target.token, target.image, target.wait_seconds) == (True, "PEM", "t", "i", 300)
