"""Push the stages' images to a registry that the cluster pulls from, and write the pipeline specs that name them there.

``make push-images REGISTRY=us-east1-docker.pkg.dev/PROJECT/tuskwatch``, after ``make images`` and ``gcloud auth configure-docker``. Specs
name each image by its digest, so that a pipeline runs what was pushed, whatever is pushed later.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dags.settings import PIPELINES

REPOSITORY: Final = Path(__file__).resolve().parents[2]


class PushError(Exception):
    """An image could not be pushed. Those before it are in the registry."""


def push_images(registry: str, *, stages: Path, specs: Path) -> list[str]:
    """Tag, push and name.

    :param registry: For example ``us-east1-docker.pkg.dev/PROJECT/tuskwatch``.
    :param stages: Folder of the stages, with a ``pipeline.json`` each.
    :param specs: Where specs are written, as ``<stage>/pipeline.json``; put this folder where Airflow's workers read it.
    :return: The images as pushed, by digest.
    :raises PushError: Names image and cause.
    """
    pushed = []
    for pipeline, folder in PIPELINES.items():
        spec: dict[str, Any] = json.loads((stages / folder / "pipeline.json").read_text(encoding="utf-8"))
        local: str = spec["transform"]["image"]
        remote = f"{registry.rstrip('/')}/{local.rpartition('/')[2]}"
        _docker("tag", local, remote)
        _docker("push", "--quiet", remote)
        spec["transform"]["image"] = _digest(remote)
        target = specs / folder / "pipeline.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
        pushed.append(spec["transform"]["image"])
        print(f"{pipeline}: {spec['transform']['image']}")  # noqa: T201  a command's output
    return pushed


def _digest(image: str) -> str:
    name = image.rpartition(":")[0]
    for digest in json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", image)):
        if digest.startswith(f"{name}@sha256:"):
            return str(digest)
    raise PushError(f"Docker knows no digest of {image} in its registry: push it again")


def _docker(*arguments: str) -> str:
    docker = shutil.which("docker")
    if docker is None:
        raise PushError("docker is not on the PATH: install Docker, or push from a machine that has it")
    done = subprocess.run([docker, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        hint = (
            "build the images first: make images" if arguments[0] == "tag" else "log in to the registry: gcloud auth configure-docker HOST"
        )
        raise PushError(f"docker {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}; {hint}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="push-images", description="Push the stages' images and write specs that name them.")
    parser.add_argument("registry")
    parser.add_argument("--specs", type=Path, default=REPOSITORY / "build" / "specs")
    given = parser.parse_args(arguments)
    try:
        push_images(given.registry, stages=REPOSITORY / "stages", specs=given.specs)
    except PushError as exc:
        print(f"push-images: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"Specs are in {given.specs}: copy them to where Airflow reads; set the Variable tuskwatch_stages to that folder")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
