"""``python -m laptop demo|up|down|status|…``: what the make targets of these names run."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from laptop import backup, commands, service, upkeep
from laptop.errors import LaptopError
from laptop.layout import Layout
from laptop.zone import time_zone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: The exit code: 0 done, 1 refused or failed with the reason on standard error (``status``: not all of it runs), 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request otherwise
    signal.signal(signal.SIGTERM, _interrupt)  # the same way out as Ctrl-C: stop what was started
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup sets
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal is closed
    os.umask(0o077)  # what is made here is its owner's alone
    layout = Layout.default()
    try:
        time_zone()  # a wrong name is said now, not by DAGs that do not appear
        return _run(layout, options)
    except LaptopError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; everything that was started is stopped\n")
        return 130


def _run(layout: Layout, options: argparse.Namespace) -> int:
    match options.command:
        case "demo":
            commands.demo(layout, model=options.model, images=options.images)
        case "up":
            commands.up(layout, model=options.model, images=options.images, port=options.port)
        case "serve":
            commands.serve(layout, model=options.model, port=options.port)
        case "down":
            commands.down(layout)
        case "model":
            commands.model(layout)
        case "status":
            return 0 if upkeep.status(layout) else 1
        case "service":
            service.write(layout, model=options.model, port=options.port)
        case "backup" | "restore":
            {"backup": backup.backup, "restore": backup.restore}[options.command](layout, options.file)
        case _:
            {"password": upkeep.password, "reset": upkeep.reset}[options.command](layout)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m laptop", description="Tuskwatch on one machine, all of it on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("demo", "push images through the pipeline and show what came out"),
        ("up", "start everything and leave it running"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--model", type=Path, help="frozen graph of the TF Object Detection API")
        command.add_argument("--images", type=Path, help="folder of images named <device>_<unix seconds>.jpg")
        if name == "up":
            command.add_argument("--port", type=int, help="of Airflow; default 8080, or a free one where that is taken")
    for name, text in (("serve", "start everything and stay, for a service manager"), ("service", "write a unit for systemd")):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--model", type=Path, help="frozen graph of the TF Object Detection API")
        command.add_argument("--port", type=int, help="of Airflow; default 8080")
    for name, text in (("backup", "keep all data in a file, also while it runs"), ("restore", "bring back what a backup holds")):
        commands.add_parser(name, help=text, description=text).add_argument("file", type=Path)
    commands.add_parser("down", help="stop what `up` started")
    commands.add_parser("status", help="what runs, and what was started again")
    commands.add_parser("password", help="renew the passwords")
    commands.add_parser("reset", help="remove all data")
    commands.add_parser("model", help="download and check the COCO model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
