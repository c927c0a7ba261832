"""Peers without a server: a shell script over the stages' commands, and DVC."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.baselines import DVC
from benchmarks.peers.environments import environment
from benchmarks.peers.world import Step, World, copy_outputs
from benchmarks.results import REPOSITORY
from benchmarks.site import cores

# Links that the stages make into their input are resolved, since the scratch folders go. A stage takes a folder, so one process each.
_SHELL: Final = """\
#!/bin/sh
# pipeline.sh FOLDER: new images; pipeline.sh rules, pipeline.sh model: that has changed. Outputs lie beside this file.
set -e
cd "$(dirname "$0")"
judge() {
    rm -rf threat-detect
    python -m stages.threat_detect --object-detect object-detect --rules rule.json --out threat-detect
    python -m stages.plot --threat-detect threat-detect --out plot
}
case $1 in
rules) judge ;;
model)
    rm -rf object-detect found
    python -m stages.object_detect --validate validate --model model --out found
    cp -rL found object-detect
    rm -rf found
    judge ;;
*)
    rm -rf sorted found
    python -m stages.validate --images "$1" --out sorted
    mkdir -p validate object-detect
    cp -rL sorted/. validate
    if [ -d sorted/valid ]; then
        python -m stages.object_detect --validate sorted --model model --out found
        cp -rL found/. object-detect
    fi
    rm -rf sorted found
    judge ;;
esac
"""

_DVC: Final = """\
stages:
  validate:
    cmd: rm -rf tmp && python -m stages.validate --images images --out tmp && cp -rL tmp validate && rm -rf tmp
    deps: [images]
    outs: [validate]
  object-detect:
    cmd: rm -rf tmp && python -m stages.object_detect --validate validate --model model --out tmp && cp -rL tmp object-detect && rm -rf tmp
    deps: [validate, model]
    outs: [object-detect]
  threat-detect:
    cmd: python -m stages.threat_detect --object-detect object-detect --rules rule.json --out threat-detect
    deps: [object-detect, rule.json]
    outs: [threat-detect]
  plot:
    cmd: python -m stages.plot --threat-detect threat-detect --out plot
    deps: [threat-detect]
    outs: [plot]
"""


def _run(folder: Path, *commands: list[str]) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        "PATH": path,
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(folder),
        "DETECT_THREADS": str(cores()),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    for command in commands:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


class ShellScript:
    """One process per stage and folder. Who calls it must know what has changed; nothing is versioned, and a crash leaves half a result."""

    name = "shell script"
    how = "one process per stage; a person says what changed"

    def __init__(self, world: World) -> None:
        self._world = world
        (world.root / "pipeline.sh").write_text(_SHELL)

    def run(self, step: Step) -> None:
        argument = {Step.RULES: "rules", Step.MODEL: "model"}.get(step) or str(self._world.delivery(step))
        _run(self._world.root, ["sh", "pipeline.sh", argument])

    def outputs(self, target: Path) -> None:
        copy_outputs(self._world.root, target)

    def close(self) -> None:
        pass


class Dvc:
    """``dvc add images && dvc repro`` over the four stages. A folder is one dependency: what reads it runs again over all of it."""

    name = "DVC"
    how = "dvc repro of four stages; a folder is one dependency"

    def __init__(self, world: World) -> None:
        self._world = world
        self._dvc = str(environment(DVC, constraints=()) / "dvc")
        _run(world.root, [self._dvc, "init", "-q", "--no-scm"], [self._dvc, "config", "core.analytics", "false"])
        (world.root / "dvc.yaml").write_text(_DVC)

    def run(self, step: Step) -> None:
        add = [[self._dvc, "add", "-q", "images"]] if step in (Step.FIRST, Step.MORE) else []
        _run(self._world.root, *add, [self._dvc, "repro", "-q"])

    def outputs(self, target: Path) -> None:
        copy_outputs(self._world.root, target)

    def close(self) -> None:
        pass
