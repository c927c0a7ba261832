"""Airflow on loopback: its environment, and the few REST calls that the demo and the end-to-end tests make.

The `airflow` command line takes four to five seconds a call; the REST API takes milliseconds.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from laptop.errors import LaptopError, RunFailedError, StartError
from laptop.layout import REPOSITORY, Layout
from laptop.zone import time_zone

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_ANSWER_SECONDS = 120.0  # the first calls make Airflow build its schemas, which takes a busy machine a minute
_PATIENCE_SECONDS = 60.0
_REPEATABLE = ("GET", "PATCH")  # done twice they do what they do once
_HEALTH_KEYS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True)
class AirflowSettings:
    """What one Airflow of this machine is started with.

    :ivar password: Of the user ``admin``.
    :ivar viewer_password: Of the user ``viewer``, who may look and nothing else.
    :ivar parallelism: Tasks that may run at once.
    """

    port: int
    password: str
    jwt_secret: str
    secret_key: str
    viewer_password: str = ""
    parallelism: int = 4

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def environment(
    base: Mapping[str, str],
    layout: Layout,
    settings: AirflowSettings,
    *,
    database: str,
    pachd_address: str,
    pachd_token: str = "",
    extra: Mapping[str, str],
) -> dict[str, str]:
    """The environment of every Airflow component: all of the configuration, so that no generated ``airflow.cfg`` decides anything.

    :param base: The environment to build on, mostly ``os.environ``; variables of another Airflow in it are left out.
    :param database: What SQLAlchemy connects to.
    :param pachd_address: ``host:port`` of minipachd.
    :param pachd_token: What it asks its callers for.
    :param extra: Further variables, such as ``TUSKWATCH_MODEL``.
    """
    host, _, port = pachd_address.rpartition(":")
    pachyderm = {"conn_type": "pachyderm", "host": host, "port": int(port), **({"password": pachd_token} if pachd_token else {})}
    inherited = {name: value for name, value in base.items() if not name.startswith("AIRFLOW")}
    exempt = ",".join(filter(None, [base.get("no_proxy") or base.get("NO_PROXY"), "127.0.0.1"]))
    return {
        **inherited,
        "NO_PROXY": exempt,  # tasks would call Airflow's server through the environment's proxy, and show it their tokens
        "no_proxy": exempt,
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": time_zone(base).key,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(settings.parallelism),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(layout.airflow_home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": settings.url,
        "AIRFLOW__API__SECRET_KEY": settings.secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": settings.jwt_secret,
        "AIRFLOW__PACHYDERM__DENY_FRAMING": "True",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__PACHYDERM__DASHBOARD_RESTARTS": str(layout.restarts),
        "AIRFLOW_CONN_PACHYDERM_DEFAULT": json.dumps(pachyderm),
        **extra,
    }


class Airflow:
    """A REST client of one Airflow, logged in as its admin. Use it as a context manager.

    :raises LaptopError: From every call, when the server refuses; the message holds its answer.
    """

    def __init__(self, settings: AirflowSettings) -> None:
        self.url = settings.url
        self._password = settings.password
        self._http = httpx.Client(base_url=settings.url, timeout=_ANSWER_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether all four components said lately that they live."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK and all(
            (answer.json().get(key) or {}).get("status") == "healthy" for key in _HEALTH_KEYS
        )

    def login(self) -> None:
        """Get a token; the calls below need it."""
        token = self.call("POST", "/auth/token", {"username": "admin", "password": self._password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def wait_for_dag(self, dag_id: str, *, timeout: float) -> None:
        """Return when the DAG processor has read the DAG.

        :raises StartError: It has not within ``timeout`` seconds; the message holds the import errors.
        """
        deadline = time.monotonic() + timeout
        while not self._knows(dag_id):
            if time.monotonic() > deadline:
                errors = self.call("GET", "/api/v2/importErrors").get("import_errors", [])
                found = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors) or "no import errors"
                msg = f"DAG {dag_id} did not appear within {timeout:.0f} s: {found}"
                raise StartError(msg)
            time.sleep(0.25)

    def _knows(self, dag_id: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):  # a slow machine, or a part that is being started again
            return self._http.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.OK
        return False

    def unpause(self, dag_id: str) -> None:
        self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any], run_id: str) -> str:
        """Start a run as the UI's button does, and return its id."""
        answer = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf)})
        return str(answer["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        answer = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")
        return list(answer["task_instances"])

    def log(self, task: Mapping[str, Any]) -> list[str]:
        """The log lines of a task instance's last try."""
        path = (
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/logs/{max(1, task['try_number'])}"
        )
        answer = self.call("GET", f"{path}?full_content=true&map_index={task['map_index']}")
        return [_log_line(entry) for entry in answer.get("content", [])]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", f"{path}?map_index={map_index}&deserialize=false&stringify=false")["value"]

    def watch(
        self, dag_id: str, run_id: str, *, timeout: float, interval: float = 0.5, check: Callable[[], None] = lambda: None
    ) -> Iterator[dict[str, int]]:
        """Yield the run's task states (state → count) at every change, until the run has ended well.

        :param check: Called at every look.
        :raises RunFailedError: It failed, or still runs after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        seen: dict[str, int] = {}
        while True:
            check()
            state = self.run_state(dag_id, run_id)
            counts: dict[str, int] = {}
            for task in self.task_instances(dag_id, run_id):
                counts[task["state"] or "waiting"] = counts.get(task["state"] or "waiting", 0) + 1
            if counts != seen:
                seen = counts
                yield counts
            if state == "success":
                return
            if state == "failed":
                raise RunFailedError(self._why_failed(dag_id, run_id))
            if time.monotonic() > deadline:
                msg = f"run {run_id} of {dag_id} still runs after {timeout:.0f} s: {counts}"
                raise RunFailedError(msg)
            time.sleep(interval)

    def _why_failed(self, dag_id: str, run_id: str) -> str:
        failed = [task for task in self.task_instances(dag_id, run_id) if task["state"] == "failed"]
        parts = [f"run {run_id} of {dag_id} failed"]
        for task in failed[:3]:
            name = task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")
            parts.append(f"task {name}:\n    " + "\n    ".join(self.log(task)[-25:]))
        return "\n".join(parts)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One REST call. What may be done twice is repeated for a minute while the server does not answer: it may be starting again.

        The minute begins with the first answer that is none: on a very busy machine waiting for that one takes longer already.
        """
        patience = _PATIENCE_SECONDS if method in _REPEATABLE else 0.0
        failed_at = math.inf
        while True:
            try:
                answer = self._http.request(method, path, json=body, headers={"Accept": "application/json"})
            except httpx.HTTPError as error:
                failed_at = min(failed_at, time.monotonic())
                if time.monotonic() - failed_at >= patience:
                    msg = f"Airflow at {self.url} does not answer {method} {path}: {error}; see the logs of api-server"
                    raise LaptopError(msg) from error
            else:
                failed_at = min(failed_at, time.monotonic())
                if not answer.is_server_error or time.monotonic() - failed_at >= patience:
                    break
            time.sleep(0.5)
        if answer.is_error:
            msg = f"Airflow refused {method} {path} with {answer.status_code}: {answer.text[:2000]}"
            raise LaptopError(msg)
        result: dict[str, Any] = answer.json()
        return result


def _log_line(entry: Mapping[str, Any] | str) -> str:
    if isinstance(entry, str):
        return entry
    details = entry.get("error_detail") or []
    causes = "".join(f"\n{item.get('exc_type')}: {item.get('exc_value')}" for item in details)
    return f"{entry.get('event', '')}{causes}"
