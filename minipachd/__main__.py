"""``python -m minipachd``: serve a data directory."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import protobuf_compat
from minipachd.errors import DataDirError, MinipachdError
from minipachd.storage import DataDirectory

EXIT_USAGE, EXIT_DATA = 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0, 2 for bad arguments, 3 for a data directory that cannot be used."""
    parser = _parser()
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("grpc").setLevel(logging.WARNING)
    try:
        with DataDirectory(options.data) as directory:
            return _check(directory) if options.command == "fsck" else _serve(parser, options, directory)
    except MinipachdError as exc:
        print(f"minipachd: {exc}", file=sys.stderr)
        return EXIT_DATA


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minipachd", description="Pachyderm's PFS and PPS on one machine, behind Pachyderm's own gRPC protocol."
    )
    parser.add_argument(
        "command", nargs="?", choices=("serve", "fsck"), default="serve", help="serve (the default), or check a data directory"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where everything is kept; created when missing")
    parser.add_argument("--listen", default="127.0.0.1:30650", metavar="HOST:PORT", help="default %(default)s; port 0 takes a free one")
    parser.add_argument(
        "--runtime",
        choices=("process", "docker", "auto"),
        default="process",
        help="run user code as processes of this machine, in the images that the pipeline specs name, or in those that Docker has and "
        "else as processes (default %(default)s)",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="listen on other than loopback: anybody who connects can run programs here"
    )
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace, directory: DataDirectory) -> int:
    protobuf_compat.install()
    from minipachd.api.server import Address, serve
    from minipachd.pps.containers import Runtime

    try:
        address = Address.parse(options.listen)
    except ValueError as exc:
        parser.error(f"argument --listen: {exc}")
    if not address.is_loopback and not options.allow_remote:
        parser.error(
            f"argument --listen: {address} can be reached from other machines, and whoever connects can run programs as you; "
            "use 127.0.0.1, or say --allow-remote"
        )
    asyncio.run(serve(directory, address, ready=lambda bound: print(f"ready {bound}", flush=True), runtime=Runtime(options.runtime)))
    return 0


def _check(directory: DataDirectory) -> int:
    from minipachd.pfs import Pfs
    from minipachd.pfs.fsck import findings

    pfs = Pfs(directory)
    try:
        found = findings(pfs)
    finally:
        pfs.close()
    for finding in found:
        print(finding)
    if found:
        raise DataDirError(f"{len(found)} invariants of {directory.root} do not hold; restore it from a backup")
    return 0


if __name__ == "__main__":
    sys.exit(main())
