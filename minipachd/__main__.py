"""``python -m minipachd``: serve a data directory."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import protobuf_compat
from minipachd.api.dialect import DEFAULT, DIALECTS, Dialect
from minipachd.errors import DataDirError, InUseError, MinipachdError
from minipachd.settings import Settings
from minipachd.storage import DataDirectory
from minipachd.storage.directory import TOKEN_NAME, check_present

EXIT_USAGE, EXIT_DATA = 2, 3
_SPEAK, _ALLOW_FILES = "MINIPACHD_SPEAK", "MINIPACHD_ALLOW_FILES"
_AUTH, _TOKEN_FILE = "MINIPACHD_AUTH", "MINIPACHD_TOKEN_FILE"
_AUTH_TOKEN, _AUTH_NONE = "token", "none"


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
        if options.command != "serve":
            check_present(options.data)
            return {"fsck": _check, "gc": _collect, "stat": _stat}[options.command](options)
        with DataDirectory(options.data) as directory:
            return _serve(parser, options, directory)
    except MinipachdError as exc:
        print(f"minipachd: {exc}", file=sys.stderr)
        return EXIT_DATA


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minipachd", description="Pachyderm's PFS and PPS on one machine, behind Pachyderm's own gRPC protocol."
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("serve", "fsck", "gc", "stat"),
        default="serve",
        help="serve (the default); of a data directory: check it (fsck; nobody may be serving it), drop what nothing uses (gc), say what "
        "is in it (stat)",
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
        "--keep-free",
        type=int,
        metavar="MIB",
        help="stop the user code that fills the disk when less than this is left (default 256, or a twentieth of a small disk)",
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="listen on other than loopback: calls and the token are not encrypted there, and whoever shows it can run programs here",
    )
    parser.add_argument(
        "--auth",
        type=_auth,
        default=os.environ.get(_AUTH, "") or _AUTH_TOKEN,
        metavar="token|none",
        help=f"ask callers for the token, or let in whoever connects (default %(default)s, or what {_AUTH} says)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        default=Path(named) if (named := os.environ.get(_TOKEN_FILE, "")) else None,
        metavar="FILE",
        help=f"what callers must show; made where there is none (default DIR/token, or what {_TOKEN_FILE} says)",
    )
    parser.add_argument(
        "--speak",
        type=_dialect,
        default=os.environ.get(_SPEAK, "") or DEFAULT,
        metavar="VERSION",
        help=f"answer as this Pachyderm does: {' or '.join(DIALECTS)} (default {DEFAULT.name}, or what {_SPEAK} says)",
    )
    parser.add_argument(
        "--allow-files",
        type=Path,
        action="append",
        metavar="DIR",
        help="let callers have the server read and write there, by file:// URLs; may be given more than once "
        f"(default: nowhere, or what {_ALLOW_FILES} says, separated by {os.pathsep!r})",
    )
    parser.add_argument(
        "--url-timeout",
        type=float,
        metavar="SECONDS",
        default=Settings.url_seconds,
        help="how long the server may read from, or write to, one URL for one caller (default %(default)g)",
    )
    parser.add_argument(
        "--max-datums",
        type=int,
        metavar="NUMBER",
        default=Settings.max_datums,
        help="fail jobs that would have more datums to plan, of which a million takes about a gigabyte (default %(default)d)",
    )
    parser.add_argument("--metrics", metavar="HOST:PORT", help="answer Prometheus there")
    parser.add_argument("--json", action="store_true", help="stat and gc: print JSON")
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        msg = f"{name!r} is not a Pachyderm that minipachd speaks (see {_SPEAK}, too); say {' or '.join(DIALECTS)}"
        raise argparse.ArgumentTypeError(msg)
    return DIALECTS[name]


def _auth(name: str) -> str:
    if name not in (_AUTH_TOKEN, _AUTH_NONE):
        msg = f"{name!r} is no way to ask callers for who they are (see {_AUTH}, too); say {_AUTH_TOKEN} or {_AUTH_NONE}"
        raise argparse.ArgumentTypeError(msg)
    return name


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace, directory: DataDirectory) -> int:
    protobuf_compat.install()
    from minipachd.api.server import Address, serve
    from minipachd.pps.containers import Runtime

    def address(option: str, text: str, danger: str) -> Address:
        try:
            parsed = Address.parse(text)
        except ValueError as exc:
            parser.error(f"argument {option}: {exc}")
        if not parsed.is_loopback and not options.allow_remote:
            parser.error(
                f"argument {option}: {parsed} can be reached from other machines, and {danger}; use 127.0.0.1, or say --allow-remote"
            )
        return parsed

    listen = address("--listen", options.listen, "whoever shows the token, or hears it, can run programs as you")
    metrics = address("--metrics", options.metrics, "whoever connects can see what runs here") if options.metrics else None

    keep_free = None if options.keep_free is None else options.keep_free << 20

    def ready(bound: Address) -> None:
        print(f"ready {bound}", flush=True)

    asyncio.run(
        serve(
            directory,
            listen,
            ready=ready,
            runtime=Runtime(options.runtime),
            keep_free=keep_free,
            metrics=metrics,
            dialect=options.speak,
            settings=_settings(options),
            token_file=None if options.auth == _AUTH_NONE else options.token_file or directory.token,
        )
    )
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    named = os.environ.get(_ALLOW_FILES, "").split(os.pathsep)
    allow_files = options.allow_files or [Path(name) for name in named if name]
    return Settings(allow_files=tuple(allow_files), url_seconds=options.url_timeout, max_datums=options.max_datums)


def _check(options: argparse.Namespace) -> int:
    from minipachd.pfs import Pfs
    from minipachd.pfs.fsck import findings

    with DataDirectory(options.data) as directory:
        pfs = Pfs(directory)
        try:
            found = findings(pfs)
        finally:
            pfs.close()
    for finding in found:
        print(finding)
    if found:
        raise DataDirError(f"{len(found)} invariants of {options.data} do not hold; restore it from a backup")
    return 0


def _collect(options: argparse.Namespace) -> int:
    """Here when nobody serves the directory, else by whoever does."""
    import msgspec

    from minipachd.api.upkeep_service import collect_garbage
    from minipachd.pfs import Pfs
    from minipachd.pps import Pps
    from minipachd.upkeep.gc import Collector, Freed
    from minipachd.upkeep.stat import size

    def show(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    freed: Freed | None = None
    try:
        with DataDirectory(options.data) as directory:
            pfs = Pfs(directory)
            try:
                Pps(pfs, directory)  # its tables name trees, too
                freed = Collector(pfs).collect(show)
            finally:
                pfs.close()
    except InUseError as exc:
        if not exc.address:
            raise
        for message in collect_garbage(exc.address, options.token_file or options.data / TOKEN_NAME):
            freed = message.freed
            if message.line:
                show(message.line)
    if freed is None:
        raise DataDirError("the server ended the call without a result; its log says why")
    if options.json:
        print(msgspec.json.encode(freed).decode())
    else:
        print(
            f"freed {size(freed.disk_bytes)}: {freed.chunks} chunks, {freed.packs_deleted} packs deleted, "
            f"{freed.packs_rewritten} rewritten in {freed.seconds:.1f} s; {size(freed.left_bytes)} of gaps are left"
        )
    for problem in freed.problems:
        print(problem, file=sys.stderr)
    return EXIT_DATA if freed.problems else 0


def _stat(options: argparse.Namespace) -> int:
    import msgspec

    from minipachd.upkeep.stat import as_text, stat

    found = stat(options.data)
    print(msgspec.json.encode(found).decode() if options.json else as_text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
