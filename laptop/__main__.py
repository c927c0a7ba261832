"""``python -m laptop demo|up|down|model``: what the make targets of these names run."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from laptop import commands
from laptop.errors import LaptopError
from laptop.layout import Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: The exit code: 0 done, 1 refused or failed with the reason on standard error, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request otherwise
    signal.signal(signal.SIGTERM, _interrupt)  # the same way out as Ctrl-C: stop what was started
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup sets
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal is closed
    layout = Layout.default()
    try:
        match options.command:
            case "demo":
                commands.demo(layout, model=options.model, images=options.images)
            case "up":
                commands.up(layout, model=options.model, images=options.images)
            case "down":
                commands.down(layout)
            case "model":
                commands.model(layout)
    except LaptopError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; everything that was started is stopped\n")
        return 130
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
    commands.add_parser("down", help="stop what `up` started")
    commands.add_parser("model", help="download and check the COCO model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
