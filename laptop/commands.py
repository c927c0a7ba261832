"""The commands behind ``make demo``, ``make up``, ``make down`` and ``make model``."""

import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from airflow_pachyderm.dashboard.links import URL_ROUTE
from laptop import model as models
from laptop.demo import bootstrap, check_folder, push, stack_environment
from laptop.errors import ModelError
from laptop.layout import REPOSITORY, Layout
from laptop.stack import Stack, new_stack, running_stack, start_stack
from laptop.table import render

log = logging.getLogger(__name__)

_DEMO_MODEL = REPOSITORY / "stages" / "object_detect" / "demo_model" / "frozen_inference_graph.pb"
_FRAMES = 12
_SEED = 7


@dataclass(frozen=True)
class Inputs:
    """What a run works on; both absolute."""

    model: Path
    images: Path


def demo(layout: Layout, *, model: Path | None, images: Path | None) -> None:
    """Run the demo from start to stop.

    :raises LaptopError: See the message; everything that was started is stopped.
    """
    inputs = choose_inputs(layout, model=model, images=images)
    with running_stack(layout, extra=stack_environment(layout, model=inputs.model)) as stack, stack.client() as airflow:
        bootstrap(airflow, replace_model=True)  # a demo shows what its model sees
        summary = push(airflow, layout, inputs.images)
    _say(f"\n{render(summary)}\n\nresults: {layout.results / 'summary.json'}\nplot:    {summary['plot']}")
    _say(f"images:  {layout.results / 'annotated'}\n\nto see it in the browser: make up, then the dashboard that it names")


def up(layout: Layout, *, model: Path | None, images: Path | None) -> None:
    """Start everything, bootstrap the pipelines, and leave it running."""
    inputs = choose_inputs(layout, model=model, images=images)
    stack = new_stack(layout)
    try:
        start_stack(stack, extra=stack_environment(layout, model=inputs.model))
        with stack.client() as airflow:
            bootstrap(airflow)
            airflow.unpause("push_images")
    except BaseException:
        stack.stop()
        raise
    _say(f"\nAirflow:    {stack.airflow.url}  user admin, password {stack.airflow.password}")
    _say(f"dashboard:  {stack.airflow.url}/plugin/{URL_ROUTE}/")
    _say(f"minipachd:  {stack.pachd_address}  (PACHD_ADDRESS for any Pachyderm client)")
    _say(f"push:       trigger push_images there; Folder may be {inputs.images}")
    _say("stop:       make down")


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
