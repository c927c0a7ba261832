"""The ``docker`` and ``auto`` runtimes: each command runs in a container of its pipeline's image, with the worker's directory at ``/pfs``.

A command is started by the ``docker`` program below a :class:`~minipachd.pps.sandbox.Sandbox`, which passes its output on and sees it end.
So a batching program keeps its container as long as it lives, and any other pipeline gets a new container for each datum. As in a Pachyderm
worker pod, a command has the image's own environment and user, ``/`` as working directory, no entry point but the spec's ``cmd``, and,
where ``transform.user`` is a number, no capabilities and a root that cannot be written to, ``/tmp`` apart. Containers share the machine's
network, as user code shares that of its pod with the worker: ``NextDatum`` is answered on loopback.
"""

import contextlib
import enum
import logging
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from minipachd.errors import MinipachdError
from minipachd.pps.sandbox import Sandbox
from minipachd.pps.spec import ResourceLimits, Transform

log = logging.getLogger(__name__)

_LABEL = "minipachd.work"
_ANSWER_SECONDS = 60.0
_MOST_PROCESSES = 4096
_CLIENT_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "HOME", "XDG_RUNTIME_DIR")


class Runtime(enum.StrEnum):
    """Where user code runs: as processes of this machine, in its pipeline's image, or in the image where Docker has it."""

    PROCESS = "process"
    DOCKER = "docker"
    AUTO = "auto"


class EngineUnavailableError(MinipachdError):
    """No Docker engine answers."""


class Containers:
    """The Docker engine of this machine. It must see our files: a remote one does not.

    :param work_root: Containers that an earlier, killed server left for this directory are removed.
    :raises EngineUnavailableError: See there.
    """

    def __init__(self, work_root: Path, *, env: Mapping[str, str] = os.environ) -> None:
        program = shutil.which("docker", path=env.get("PATH"))
        if program is None:
            raise EngineUnavailableError(
                "--runtime docker needs the docker program, which is not on PATH; install Docker or use --runtime process"
            )
        self._program = program
        self.env = {name: env[name] for name in _CLIENT_VARIABLES if name in env}
        self.label = f"{_LABEL}={work_root}"
        left = self._ask("ps", "--all", "--quiet", "--filter", f"label={self.label}").split()
        if left:
            log.info("removing %d containers of an earlier server", len(left))
            self._ask("rm", "--force", *left)

    def sandbox(
        self,
        work_dir: Path,
        *,
        transform: Transform,
        limits: ResourceLimits,
        secrets: Mapping[str, Path],
        on_lines: Callable[[Sequence[bytes]], None],
    ) -> "ContainerSandbox":
        """A worker's hold on its containers.

        :param transform: Says the image, and the user; an empty one leaves the image's own.
        :param secrets: Directories by where the command is to see them.
        """
        return ContainerSandbox(self, work_dir, transform=transform, limits=limits, secrets=secrets, on_lines=on_lines)

    def has_image(self, image: str) -> bool:
        """Whether the engine could run an image without asking a registry for it."""
        try:
            self._ask("image", "inspect", "--format", "{{.Id}}", image)
        except EngineUnavailableError as exc:
            if "no such image" in str(exc).lower():
                return False
            raise
        return True

    def command(self, *arguments: str) -> list[str]:
        """The command line of the docker program."""
        return [self._program, *arguments]

    def remove(self, name: str) -> None:
        """Kill and remove a container; one that is not there is no error."""
        with contextlib.suppress(EngineUnavailableError):  # it does not answer, or there is no such container: nothing is left to do for us
            self._ask("rm", "--force", name)

    def _ask(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                self.command(*arguments), env=self.env, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise EngineUnavailableError(f"docker {arguments[0]}: the Docker engine did not answer in {_ANSWER_SECONDS:g} s") from None
        if done.returncode != 0:
            raise EngineUnavailableError(f"docker {arguments[0]}: {done.stderr.strip()}; is the Docker engine running, and may we use it?")
        return done.stdout


class ContainerSandbox(Sandbox):
    """Runs commands in containers of one image. Made by :meth:`Containers.sandbox`."""

    def __init__(
        self,
        containers: Containers,
        work_dir: Path,
        *,
        transform: Transform,
        limits: ResourceLimits,
        secrets: Mapping[str, Path],
        on_lines: Callable[[Sequence[bytes]], None],
    ) -> None:
        super().__init__(work_dir, on_lines=on_lines, namespace=False)
        self._containers, self._image, self._user = containers, transform.image, transform.user
        self._limits, self._secrets = limits, secrets
        self._name = ""
        self.isolated, self.isolation_error = True, ""  # by the container

    @property
    def default_cwd(self) -> Path:
        return Path("/")

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: bytes = b"",
        user: tuple[int, int] | None = None,  # noqa: ARG002 - an id of this machine means nothing in the image
    ) -> None:
        """Start a command in a new container: see :meth:`Sandbox.start`."""
        self._name = f"minipachd-{uuid.uuid4().hex[:16]}"
        command = self._containers.command("run", *self._options(cwd), *(["--interactive"] if stdin else []))
        for name in env:
            command += ["--env", name]  # the value comes from the environment of the docker program: secrets stay out of command lines
        command += ["--entrypoint", argv[0], self._image, *argv[1:]]
        # Where a variable is meant for both, the user's value wins: the docker program has been found already.
        super().start(command, env=self._containers.env | dict(env), cwd=self.work_dir, stdin=stdin)

    def kill(self) -> None:
        """End the docker program first, which then asks for no container any more, and then the container."""
        if self.running:
            super().kill()
            self._containers.remove(self._name)

    def close(self) -> None:
        """End everything."""
        running = self.running
        super().close()
        if running:
            self._containers.remove(self._name)

    def _options(self, cwd: Path) -> list[str]:
        options = ["--rm", "--init", "--name", self._name, "--label", self._containers.label, "--network", "host"]
        options += ["--mount", f"type=bind,src={self.pfs_root},dst=/pfs", "--workdir", str(cwd), "--pids-limit", str(_MOST_PROCESSES)]
        for target, source in self._secrets.items():
            options += ["--mount", f"type=bind,src={source},dst={target},readonly"]
        if self._limits.cpu:
            options += ["--cpus", f"{self._limits.cpu:g}"]
        if self._limits.memory_bytes:
            options += ["--memory", str(self._limits.memory_bytes), "--memory-swap", str(self._limits.memory_bytes)]
        if os.geteuid() != 0:
            options += ["--user", f"{os.geteuid()}:{os.getegid()}"]  # what another user writes could not be removed again
        elif self._user:
            options += ["--user", self._user]
        if self._user.partition(":")[0].isdigit():
            options += ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108 - the image's
        return options
