"""The commands behind ``make demo``, ``make up``, ``make down`` and ``make model``."""

import logging
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from airflow_pachyderm.dashboard.links import URL_ROUTE
from laptop import model as models
from laptop.demo import bootstrap, check_folder, push, stack_environment
from laptop.errors import LaptopError, ModelError
from laptop.files import read_json, write_private
from laptop.layout import REPOSITORY, Layout
from laptop.room import DEMO_BYTES, UP_BYTES, Room
from laptop.stack import Stack, new_stack, running_stack, start_stack
from laptop.table import render
from laptop.upkeep import clear

log = logging.getLogger(__name__)

_DEMO_MODEL = REPOSITORY / "stages" / "object_detect" / "demo_model" / "frozen_inference_graph.pb"
_FRAMES = 12
_SEED = 7


@dataclass(frozen=True)
class Inputs:
    """What a run works on; both absolute."""

    model: Path
    images: Path

    @property
    def identity(self) -> str:
        """What tells demos apart."""
        return f"{self.images} {self.model}"


def demo(layout: Layout, *, model: Path | None, images: Path | None) -> None:
    """Run the demo from start to stop, on data of its own.

    :raises LaptopError: See the message; everything that was started is stopped.
    """
    inputs = choose_inputs(layout, model=model, images=images)
    own = demo_layout(layout, inputs)
    room = Room(own.root)
    room.check(needed=DEMO_BYTES + 3 * sum(path.stat().st_size for path in inputs.images.iterdir() if path.is_file()))
    with running_stack(own, extra=stack_environment(own, model=inputs.model, sources=[inputs.images])) as stack, stack.client() as airflow:
        write_private(own.origin, {"demo": inputs.identity})
        bootstrap(airflow, replace_model=True, check=room.check)  # a demo shows what its model sees
        summary = push(airflow, own, inputs.images, check=room.check)
    _say(f"\n{render(summary)}\n\nresults: {own.results / 'summary.json'}\nplot:    {summary['plot']}")
    how = "make up" if own.root == Layout.default().root else f"TUSKWATCH_LOCAL='{own.root}' make up"
    _say(f"images:  {own.results / 'annotated'}\n\nto see it in the browser: {how}, then the dashboard that it names")


def demo_layout(layout: Layout, inputs: Inputs) -> Layout:
    """The folder of a demo: the usual one, unless a person's data lies there. A demo of other images or another model starts clean."""
    if _is_a_persons(layout):
        layout = Layout(layout.root / "demo")
        log.info("the data of make up is left alone: this demo has its own, in %s", layout.root)
    kept = read_json(layout.origin)
    if kept is not None and kept.get("demo") != inputs.identity:
        log.warning("the demo before had other images or another model: its data in %s is removed, this one starts clean", layout.root)
        if (earlier := Stack.load(layout)) is not None:
            earlier.stop()
        clear(layout)
    return layout


def _is_a_persons(layout: Layout) -> bool:
    kept = read_json(layout.origin)
    return "demo" not in kept if kept is not None else layout.pachd_data.exists()


def up(layout: Layout, *, model: Path | None, images: Path | None, port: int | None = None) -> None:
    """Start everything, bootstrap the pipelines, and leave it running. What runs already is named and left as it is."""
    if (running := Stack.load(layout)) is not None and running.alive:
        _say(f"it runs already, since before this command, in {layout.root}; nothing is changed")
        _say_where(running)
        _say("to start it with other settings: make down, then make up again")
        return
    inputs = choose_inputs(layout, model=model, images=images)
    Room(layout.root).check(needed=UP_BYTES)
    stack = new_stack(layout, port=port)
    try:
        start_stack(stack, extra=stack_environment(layout, model=inputs.model, sources=[inputs.images]))
        write_private(layout.origin, {"up": True})
        with stack.client() as airflow:
            bootstrap(airflow)
            airflow.unpause("push_images")
    except BaseException:
        stack.stop()
        raise
    _say("")
    _say_where(stack)
    _say(f"push:       trigger push_images there; Folder may be {inputs.images}")
    _say("            and what TUSKWATCH_SOURCES=/folder;/other make up, or the Airflow Variable tuskwatch_sources, names")


def _say_where(stack: Stack) -> None:
    # not into a service's journal, which others may read
    secret = stack.airflow.password if sys.stdout.isatty() or not os.environ.get("INVOCATION_ID") else f"in {stack.layout.secrets}"
    _say(f"Airflow:    {stack.airflow.url}  user admin, password {secret}")
    _say(f"dashboard:  {stack.airflow.url}/plugin/{URL_ROUTE}/")
    _say(f"minipachd:  {stack.pachd_address}, which asks for the token in {stack.layout.pachd_token}; for pachctl:")
    _say(f"            {pachctl_line(stack)}")
    _say("state:      make status")
    _say("stop:       make down")


def pachctl_line(stack: Stack) -> str:
    """What makes pachctl speak to the stack's minipachd; the token itself is not in it."""
    context = f'{{"pachd_address": "grpc://{stack.pachd_address}", "session_token": "%s"}}'
    token = shlex.quote(str(stack.layout.pachd_token))
    steps = ("pachctl config set context tuskwatch --overwrite", "pachctl config set active-context tuskwatch")
    return f"printf '{context}' \"$(cat {token})\" | {' && '.join(steps)}"


def serve(layout: Layout, *, model: Path | None, port: int | None) -> None:
    """What a service manager runs: as ``up``, and return when it is stopped.

    :raises LaptopError: It runs already, or its supervisor ended by itself.
    """
    if (running := Stack.load(layout)) is not None and running.alive:
        msg = f"it runs already in {layout.root}: make down stops it"
        raise LaptopError(msg)
    up(layout, model=model, images=None, port=port)
    stack = Stack.load(layout)
    try:
        while stack is not None and stack.alive:
            time.sleep(1)
        if Stack.load(layout) is not None:  # nobody said make down
            msg = f"the supervisor ended; see {layout.logs}"
            raise LaptopError(msg)
    finally:
        if stack is not None:
            stack.stop()


def down(layout: Layout) -> None:
    """Stop what ``up``, or a demo that was killed, left running."""
    stack = Stack.load(layout)
    if stack is None:
        _say("nothing is running")
        return
    stack.stop()
    _say("stopped; the data is kept in " + str(layout.root))


def model(layout: Layout) -> None:
    """Download and check the COCO model, or find it in the cache."""
    _say(f"make demo MODEL={models.fetch(layout.cache)} IMAGES=folder")


def choose_inputs(layout: Layout, *, model: Path | None, images: Path | None) -> Inputs:
    """What to run on: what was named; without images, frames that the project renders; without a model, the one that knows the images.

    Our own small model has only ever seen rendered frames, so images from elsewhere get the COCO model, which is downloaded once.

    :raises LaptopError: A named thing is not there, or the model cannot be had.
    """
    if model is not None and not model.is_file():
        msg = f"there is no model file {model}; give a frozen graph: make demo MODEL=path/to/frozen_inference_graph.pb"
        raise ModelError(msg)
    if images is not None:
        folder = check_folder(images)
        return Inputs((model or models.fetch(layout.cache)).resolve(), folder)
    if model is None:
        log.info("this is the demo: frames that are rendered now, and our own small model, which knows nothing else")
        log.info("for real cameras: make demo IMAGES=folder, which downloads the COCO model (or: make model)")
    return Inputs((model or _DEMO_MODEL).resolve(), render_frames(layout))


def render_frames(layout: Layout) -> Path:
    """A folder with camera-like frames of several devices and one file with a bad name; the same ones every time."""
    from stages.object_detect.demo_model.render import write_demo

    folder = layout.cache / "frames"
    if not folder.exists():
        partial = folder.with_suffix(".part")  # an interrupted rendering must not look like all of it
        shutil.rmtree(partial, ignore_errors=True)
        write_demo(partial, count=_FRAMES, seed=_SEED)
        partial.replace(folder)
    return folder


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
