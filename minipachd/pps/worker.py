"""One worker: takes datums, runs the user's command over each, and hands the output on."""

import contextlib
import grp
import logging
import os
import pwd
import signal
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minipachd.errors import MinipachdError
from minipachd.pfs import FileEntry, Pfs
from minipachd.pfs.watch import MAX_DATUMS
from minipachd.pps.batching import BatchGate, NextDatumCall, ServeGate, WorkerServer
from minipachd.pps.containers import Containers
from minipachd.pps.datum import Datum, DatumStats
from minipachd.pps.environment import TOKEN_VARIABLES, ServerAddress, container_env, datum_env, dotenv
from minipachd.pps.logs import DatumLog, InputFile, Logs, matches_file
from minipachd.pps.records import Pipeline
from minipachd.pps.run import DuplicateOutputError, JobRun, Task
from minipachd.pps.sandbox import LauncherDiedError, Sandbox, Wake
from minipachd.pps.secrets import Secrets
from minipachd.pps.space import Space, is_full
from minipachd.pps.spec import DatumState, JobKey, Transform
from minipachd.pps.workdir import Wanted, WorkDir, remove_tree

log = logging.getLogger(__name__)

_CACHED_DIRECTORIES = 8
_LOOK_SECONDS = 1.0
"""How often a worker looks whether its user code fills the disk."""
_SPARED_TRIES = 3
_PATIENCE_SECONDS = 60.0
"""How often the log says that a batching program has not asked for a datum yet."""


class TryFailedError(MinipachdError):
    """User code did not do its work this time; its text is the reason."""


class _CancelledError(MinipachdError):
    """The job is over; the datum is nobody's concern any more."""


@dataclass(slots=True)
class Services:
    """What workers need of the rest of the engine.

    :ivar serve_gate: None where nothing can call ``NextDatum``: batching pipelines then fail their datums.
    :ivar namespaces: Whether to try to give user code its own ``/pfs``.
    :ivar containers: Runs user code in its image; None runs it as a process of this machine.
    :ivar max_datums: How many a plan may hold.
    :ivar by_image: Only those pipelines whose image is there run in containers.
    """

    pfs: Pfs
    logs: Logs
    secrets: Secrets
    work_root: Path
    space: Space
    serve_gate: ServeGate | None = None
    server: ServerAddress | None = None
    namespaces: bool = True
    containers: Containers | None = None
    by_image: bool = False
    max_datums: int = MAX_DATUMS
    reported_isolation: set[str] = field(default_factory=set)

    def containers_for(self, image: str) -> Containers | None:
        """What runs the pipelines of an image; None for a process of this machine.

        :raises EngineUnavailableError: Docker cannot be asked whether it has the image.
        """
        containers = self.containers
        return None if containers is not None and self.by_image and not containers.has_image(image) else containers


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker does at the moment."""

    worker: str
    job: JobKey
    datum: Datum
    started_ns: int


class Worker:
    """Belongs to one thread, but for :meth:`poke`, :meth:`restart_datum` and :attr:`status`.

    :param number: From 0; no other worker of the pipeline has it.
    """

    def __init__(self, pipeline: Pipeline, number: int, services: Services) -> None:
        self.name = f"{pipeline.key.project}-{pipeline.key.name}-v{pipeline.version}-{number}"
        self.status: WorkerStatus | None = None
        self._pipeline, self._services = pipeline, services
        self._transform: Transform = pipeline.spec.transform
        folder = f"v{pipeline.version}-{number}-{uuid.uuid4().hex[:8]}"  # a pipeline of the same name may be made while this one goes
        self._directory = services.work_root / pipeline.key.project / pipeline.key.name / folder
        self._log = DatumLog(services.logs, self.name)
        self._gate = BatchGate(self.poke)
        self._gate_server: WorkerServer | None = None
        self._call: NextDatumCall | None = None
        self._sandbox: Sandbox | None = None
        self._workdir: WorkDir | None = None
        self._env: dict[str, str] = {}
        self._owner: tuple[int, int] | None = None
        self._time_over: float | None = None
        self._restart = False
        self._listings: OrderedDict[tuple[bytes, str], tuple[FileEntry, ...]] = OrderedDict()

    def warm_up(self) -> None:
        """Start the program of a batching pipeline; what it prints is read when its first datum comes.

        :raises MinipachdError: It cannot be started. Nothing is lost: the first datum tries again.
        """
        sandbox, _ = self._ready()
        self._start_program(sandbox)

    def work(self, run: JobRun) -> None:
        """Run datums of a job until it has no more for us."""
        while (task := run.take()) is not None:
            try:
                self._process(run, task)
            except Exception as exc:  # the edge of the worker: whatever went wrong belongs to this datum
                log.exception("worker %s: datum %s of job %s", self.name, task.datum.id, run.job)
                run.settle(task, DatumState.FAILED, reason=f"internal error: {type(exc).__name__}: {exc}", stats=DatumStats())
                self._discard_sandbox()
            finally:
                self.status = None
                self._log.flush()
        self._drop_output()

    def poke(self) -> None:
        """Make the worker look up: its job was cancelled, its datum is to be restarted, its program wants something."""
        sandbox = self._sandbox
        if sandbox is not None:
            sandbox.poke()

    def restart_datum(self, job: JobKey, matches: Callable[[tuple[InputFile, ...]], bool]) -> bool:
        """Cut the running try of a datum short, as a failed one.

        :return: Whether a datum that matches was running here.
        """
        status = self.status
        if status is None or status.job != job or not matches(input_files(status.datum)):
            return False
        self._restart = True
        self.poke()
        return True

    def close(self) -> None:
        """End the user's processes and remove the directory."""
        self._discard_sandbox()
        if self._gate_server is not None:
            self._gate_server.stop()
            self._gate_server = None
        remove_tree(self._directory)

    def _process(self, run: JobRun, task: Task) -> None:
        self.status = WorkerStatus(self.name, run.job, task.datum, time.time_ns())
        self._restart = False
        self._log.begin(run.job.pipeline, run.job.id, task.datum.id, input_files(task.datum))
        reason, stats = "", DatumStats()
        tries, attempt, spared = self._pipeline.spec.datum_tries, 0, 0
        while attempt < tries:
            attempt += 1
            try:
                stats = self._try(run, task)
                workdir = self._workdir
                assert workdir is not None  # noqa: S101 - _try made it
                run.deliver(task, workdir, stats=stats, check=lambda: self._check_time(run))
                return
            except _CancelledError:
                run.abandon()
                return
            except DuplicateOutputError as exc:
                self._log.worker(str(exc))
                run.settle(task, DatumState.FAILED, reason=str(exc), stats=stats)
                run.fail(str(exc))
                return
            except (MinipachdError, OSError) as exc:
                reason = str(exc)
                if isinstance(exc, LauncherDiedError):
                    self._discard_sandbox()
                self._drop_output()
                if is_full(exc) and spared < _SPARED_TRIES and self._services.space.await_room(lambda: run.cancelled):
                    spared, attempt = spared + 1, attempt - 1  # more likely than not somebody else filled the disk, who has been stopped
                    continue
            self._log.worker(f"errored running user code, try {attempt} of {tries}: {reason}")
            if self._recovers(run, task):
                self._log.worker("err_cmd succeeded: datum recovered")
                run.settle(task, DatumState.RECOVERED, reason=reason, stats=stats)
                return
        run.settle(task, DatumState.FAILED, reason=reason if tries == 1 else f"{reason} (after {tries} tries)", stats=stats)

    def _try(self, run: JobRun, task: Task) -> DatumStats:
        """Run the command over a datum once.

        :raises TryFailedError: It failed.
        :raises _CancelledError: The job was cancelled; nothing of it runs any more.
        """
        if run.cancelled:
            raise _CancelledError
        sandbox, workdir = self._ready()
        began = time.monotonic_ns()
        wanted, directories = self._wanted(run, task.datum)
        env = datum_env(task.datum, job=run.job.id, pfs_root=sandbox.mount_point)
        if self._transform.datum_batching:
            self._await_program(run, sandbox)  # before it is ready, its last datum may still be in the directory
            began = time.monotonic_ns()
        size = workdir.prepare(wanted, directories, dotenv(env.items()) + dotenv(self._open_env().items(), strict=True))
        prepared = time.monotonic_ns()
        self._log.worker("beginning to run user code")
        if self._transform.datum_batching:
            self._run_batched(run, sandbox, env)
        else:
            stdin = _stdin(self._transform.stdin)
            sandbox.start(self._transform.cmd, env=self._env | env, cwd=self._cwd(sandbox), stdin=stdin, user=self._owner)
            self._time_over = self._deadline()
            self._wait(run, sandbox, deadline=self._time_over)
            self._check_exit(sandbox)
        processed = time.monotonic_ns()
        self._log.worker(f"finished running user code after {(processed - prepared) / 1e9:.6f}s")
        return DatumStats(download_ns=prepared - began, process_ns=processed - prepared, download_bytes=size)

    def _check_time(self, run: JobRun) -> None:
        """While the output is collected, which may be of any size."""
        if run.cancelled:
            raise _CancelledError
        if self._time_over is not None and time.monotonic() >= self._time_over:
            raise TryFailedError(f"{self._timed_out()} while its output was collected")

    def _timed_out(self) -> str:
        return f"datum timeout of {self._pipeline.spec.datum_timeout_seconds:g} s exceeded"

    def _await_program(self, run: JobRun, sandbox: Sandbox) -> None:
        """See to it that a program runs and has asked for a datum."""
        if sandbox.running and self._call is not None and sandbox.wait(deadline=0) is Wake.EXITED:
            self._log.worker(f"the program ended between two datums ({_ended(sandbox.exit_status)}); starting it again")
        if not sandbox.running:
            self._start_program(sandbox)
        began = time.monotonic()
        while self._call is None or self._call.answer.cancelled():
            wake = self._wait(run, sandbox, deadline=time.monotonic() + _PATIENCE_SECONDS, may_time_out=True)
            if wake is Wake.EXITED:
                raise TryFailedError(f"user code ended before it asked for its first datum: {self._exit_reason(sandbox)}")
            if wake is Wake.TIMED_OUT:
                self._log.worker(f"the program has not asked for a datum in {time.monotonic() - began:.0f} s: it must call NextDatum")
                self._log.flush()

    def _start_program(self, sandbox: Sandbox) -> None:
        self._gate.close()
        self._call = None
        self._gate.open()
        stdin = _stdin(self._transform.stdin)
        sandbox.start(self._transform.cmd, env=self._env, cwd=self._cwd(sandbox), stdin=stdin, user=self._owner)

    def _run_batched(self, run: JobRun, sandbox: Sandbox, env: dict[str, str]) -> None:
        call, self._call = self._call, None
        assert call is not None  # noqa: S101 - _await_program saw to it
        if not call.answer.set_running_or_notify_cancel():
            raise TryFailedError("the program gave up waiting for its datum")
        call.answer.set_result(dotenv((self._open_env() | env).items()))
        self._time_over = self._deadline()
        wake = self._wait(run, sandbox, deadline=self._time_over)
        if wake is Wake.EXITED:
            raise TryFailedError(f"user code exited prematurely: {self._exit_reason(sandbox)}")
        if self._reported_error():
            raise TryFailedError(self._reported_error())

    def _open_env(self) -> dict[str, str]:
        """The variables of the worker that are no secrets: those reach the program by its environment alone."""
        secret = {mount.env_var for mount in self._transform.secrets} | set(TOKEN_VARIABLES)
        return {name: value for name, value in self._env.items() if name not in secret}

    def _reported_error(self) -> str:
        """What the program said of its last datum when it asked for the next one."""
        return self._call.error if self._call is not None else ""

    def _wait(self, run: JobRun, sandbox: Sandbox, *, deadline: float | None, may_time_out: bool = False) -> Wake:
        """Until the program ended or, in a batch, asks for a datum.

        :return: ``POKED`` when :attr:`_call` has come in.
        :raises TryFailedError: Time is up, or the datum is to be restarted; the program has been killed.
        """
        while True:
            if run.cancelled:
                self._kill(sandbox)
                raise _CancelledError
            if self._restart:
                self._restart = False
                self._kill(sandbox)
                raise TryFailedError("restarted by request")
            call = self._gate.take()
            if call is not None:
                self._call = call
                return Wake.POKED
            look = time.monotonic() + _LOOK_SECONDS
            wake = sandbox.wait(deadline=look if deadline is None else min(deadline, look))
            if wake is Wake.TIMED_OUT and (deadline is None or time.monotonic() < deadline):
                if trouble := self._services.space.culprit(self._directory):
                    self._kill(sandbox)
                    raise TryFailedError(trouble)
                continue
            if wake is Wake.TIMED_OUT and not may_time_out:
                self._kill(sandbox)
                raise TryFailedError(self._timed_out())
            if wake is not Wake.POKED:
                return wake

    def _recovers(self, run: JobRun, task: Task) -> bool:
        """Give ``err_cmd`` its chance, with a time budget of its own."""
        if not self._transform.err_cmd or run.cancelled:
            return False
        try:
            sandbox, _ = self._ready()
            self._kill(sandbox)
            env = self._env | datum_env(task.datum, job=run.job.id, pfs_root=sandbox.mount_point)
            stdin = _stdin(self._transform.err_stdin)
            sandbox.start(self._transform.err_cmd, env=env, cwd=self._cwd(sandbox), stdin=stdin, user=self._owner)
            self._wait(run, sandbox, deadline=self._deadline())
            self._check_exit(sandbox)
        except (TryFailedError, LauncherDiedError) as exc:
            self._log.worker(f"err_cmd failed: {exc}")
            return False
        except _CancelledError:
            return False
        return True

    def _ready(self) -> tuple[Sandbox, WorkDir]:
        """The launcher, its directory and the environment: made when first needed."""
        if self._sandbox is not None and self._workdir is not None:
            return self._sandbox, self._workdir
        self._discard_sandbox()  # what an earlier call left that failed halfway
        services, spec = self._services, self._pipeline.spec
        remove_tree(self._directory)
        self._directory.mkdir(parents=True)
        if self._transform.datum_batching and self._gate_server is None:
            if services.serve_gate is None:
                raise TryFailedError("datum batching is not available: the server offers no port for NextDatum")
            self._gate_server = services.serve_gate(self._gate)
        containers = services.containers_for(self._transform.image)
        sandbox = self._sandbox = self._new_sandbox(containers)
        if self._owner is not None:
            os.chown(self._directory, *self._owner)
            if not sandbox.isolated:  # it finds its files by their whole path only
                for folder in self._directory.relative_to(services.work_root.parent).parents:
                    (services.work_root.parent / folder).chmod(0o711)
        self._env = container_env(
            spec,
            spec_commit=self._pipeline.spec_commit,
            worker=self.name,
            worker_port=self._gate_server.port if self._gate_server is not None else None,
            server=services.server,
            pfs_root=sandbox.mount_point,
            secrets=services.secrets,
            trusted=containers is None and self._owner is None,
            base=os.environ if containers is None else None,
        )
        self._workdir = WorkDir(
            sandbox.pfs_root, services.pfs, mount_point=sandbox.mount_point, owner=self._owner, confined=containers is not None
        )
        return sandbox, self._workdir

    def _new_sandbox(self, containers: Containers | None) -> Sandbox:
        services, transform = self._services, self._transform
        secrets = self._write_secrets()
        if containers is not None:
            return containers.sandbox(
                self._directory, transform=transform, limits=self._pipeline.spec.resource_limits, secrets=secrets, on_lines=self._log.user
            )
        self._owner = _owner(transform.user)
        sandbox = Sandbox(
            self._directory, on_lines=self._log.user, namespace=services.namespaces, secrets=secrets, hidden=[services.secrets.root]
        )
        self._report_isolation(sandbox)
        if secrets and not sandbox.isolated:
            sandbox.close()
            raise TryFailedError(
                f"secrets cannot be mounted at {', '.join(secrets)}: {sandbox.isolation_error}; use env_var and key instead"
            )
        return sandbox

    def _write_secrets(self) -> dict[str, Path]:
        """The secrets that user code finds as files: directories by where it is to see them, which nobody else can enter."""
        mounts = [mount for mount in self._transform.secrets if mount.mount_path]
        folder = self._directory / "secrets"
        found = {}
        if mounts:
            folder.mkdir(mode=0o700)
        for number, mount in enumerate(mounts):
            found[mount.mount_path.rstrip("/")] = folder / str(number)
            self._services.secrets.write_files(mount.name, folder / str(number))
        return found

    def _report_isolation(self, sandbox: Sandbox) -> None:
        reason = sandbox.isolation_error
        if not sandbox.isolated and reason not in self._services.reported_isolation:
            self._services.reported_isolation.add(reason)
            log.warning("user code cannot have /pfs of its own here (%s): it finds its files through PFS_ROOT only", reason)

    def _wanted(self, run: JobRun, datum: Datum) -> tuple[dict[str, Wanted], set[str]]:
        """The files that a datum needs below ``/pfs``, and the directories that must be there for them."""
        wanted: dict[str, Wanted] = {}
        directories: set[str] = set()
        for part in datum.inputs:
            directories.add(part.name)
            files = run.files(part)
            key = (files.root, part.path)
            listing = self._listings.pop(key, None)
            if listing is None:
                listing = tuple(files.entries(part.path))
            self._listings[key] = listing
            if len(self._listings) > _CACHED_DIRECTORIES:
                self._listings.popitem(last=False)
            for entry in listing:
                wanted[part.name + entry.path] = Wanted(entry, part.empty_files)
        return wanted, directories

    def _check_exit(self, sandbox: Sandbox) -> None:
        status = sandbox.exit_status
        if status != 0 and status not in self._transform.accept_return_code:
            raise TryFailedError(self._exit_reason(sandbox))

    def _exit_reason(self, sandbox: Sandbox) -> str:
        last = self._log.last_line
        return _ended(sandbox.exit_status) + (f": {last[:300]}" if last else "")

    def _deadline(self) -> float | None:
        seconds = self._pipeline.spec.datum_timeout_seconds
        return time.monotonic() + seconds if seconds else None

    def _cwd(self, sandbox: Sandbox) -> Path:
        return Path("/") / self._transform.working_dir if self._transform.working_dir else sandbox.default_cwd

    def _kill(self, sandbox: Sandbox) -> None:
        self._gate.close()
        self._call = None
        sandbox.kill()

    def _drop_output(self) -> None:
        if self._workdir is not None:
            try:
                self._workdir.drop_output()
            except OSError as exc:  # the next datum meets it again, and has a place to say so
                log.warning("worker %s: cannot remove the output of a datum: %s", self.name, exc)

    def _discard_sandbox(self) -> None:
        self._gate.close()
        self._call = None
        sandbox, self._sandbox, self._workdir = self._sandbox, None, None
        if sandbox is not None:
            sandbox.close()


def input_files(datum: Datum) -> tuple[InputFile, ...]:
    """A datum's inputs as log lines and data filters know them."""
    return tuple(InputFile(part.path, part.hash) for part in datum.inputs)


def data_filter(texts: tuple[str, ...]) -> Callable[[tuple[InputFile, ...]], bool]:
    """Whether every text names one of the files."""
    return lambda files: all(any(matches_file(text, file) for file in files) for text in texts)


def _ended(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"


def _stdin(lines: tuple[str, ...]) -> bytes:
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _owner(user: str) -> tuple[int, int] | None:
    """``name``, ``uid``, ``name:group`` or ``uid:gid`` as ids; None when there is nothing to change, or no right to.

    :raises TryFailedError: There is no such user or group here.
    """
    if not user or os.geteuid() != 0:
        return None
    name, _, group = user.partition(":")
    try:
        if name.isdigit():
            uid, gid = int(name), int(name)
            with contextlib.suppress(KeyError):
                gid = pwd.getpwuid(uid).pw_gid
        else:
            entry = pwd.getpwnam(name)
            uid, gid = entry.pw_uid, entry.pw_gid
        if group:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as exc:
        raise TryFailedError(f"transform.user {user!r} is not known on this machine: {exc}") from exc
    return uid, gid
