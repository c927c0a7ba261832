"""TLS in front of Airflow: ``python3 tls.py --listen 0.0.0.0:8443 --to api-server:8080 FOLDER…``.

Takes ``tls.crt`` and ``tls.key`` from the first folder that has both, and ends where none has: nothing is ever served without TLS.
It passes bytes on and looks into none.
"""

import argparse
import asyncio
import contextlib
import hashlib
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

_BLOCK = 64 * 1024
_HANDSHAKE_SECONDS = 20.0
_CONNECTIONS = 500


def context_of(folders: Sequence[Path]) -> ssl.SSLContext:
    """The certificate to show.

    :raises SystemExit: No folder has one, or it cannot be used.
    """
    folder = next((folder for folder in folders if (folder / "tls.crt").is_file() and (folder / "tls.key").is_file()), None)
    if folder is None:
        raise SystemExit(f"no tls.crt with a tls.key in {' or '.join(str(folder) for folder in folders)}: nothing is served without TLS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        first = (folder / "tls.crt").read_text().partition("-----END CERTIFICATE-----")
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1] + "\n")).hexdigest().upper()
    except (OSError, ValueError) as exc:
        raise SystemExit(f"the certificate in {folder} cannot be used: {exc}") from exc
    _say(f"certificate of {folder}, SHA-256 {':'.join(digest[at : at + 2] for at in range(0, len(digest), 2))}")
    return context


async def serve(listen: str, to: str, context: ssl.SSLContext) -> None:
    """Accept connections until the process ends."""
    places = asyncio.Semaphore(_CONNECTIONS)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if places.locked():
            writer.transport.abort()
            return
        async with places:
            await _join(reader, writer, to)

    host, _, port = listen.rpartition(":")
    server = await asyncio.start_server(connected, host, int(port), ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS)
    _say(f"ready {server.sockets[0].getsockname()[1]}")
    async with server:
        await server.serve_forever()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str) -> None:
    host, _, port = to.rpartition(":")
    try:
        behind, before = await asyncio.open_connection(host, int(port))
    except OSError:  # Airflow is starting
        writer.transport.abort()
        return
    async with asyncio.TaskGroup() as both:
        both.create_task(_pass(reader, before))
        both.create_task(_pass(behind, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
    with contextlib.suppress(OSError, ssl.SSLError):
        writer.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.listen, options.to, context_of(options.folders)))


if __name__ == "__main__":
    main()
