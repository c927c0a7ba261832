"""Peers that are Airflow without this project's provider: one mapped task per image, and one task that does all."""

import secrets
import subprocess
import time
from pathlib import Path
from typing import Final

from benchmarks.peers.environments import environment
from benchmarks.peers.world import Step, World, copy_outputs
from benchmarks.results import REPOSITORY
from benchmarks.site import cores
from laptop.airflow import COMPONENTS, Airflow, AirflowSettings
from laptop.airflow import environment as airflow_environment
from laptop.layout import Layout, free_port
from laptop.postgres import Postgres
from laptop.processes import Process, start, stop

_PACKAGES: Final = (
    "apache-airflow==3.3.2",
    *("apache-airflow-providers-standard", "psycopg2-binary", "asyncpg"),
    *("tensorflow-cpu", "numpy", "pillow", "matplotlib", "sendgrid", "jsonschema", "tzdata"),
)
_START_SECONDS: Final = 300.0
_RUN_SECONDS: Final = 6 * 3600.0
_TASKS_PER_CORE: Final = 2  # the fastest of 1, 2 and 3 with a task per image: 85, 66 and 69 s for 40 images on two cores
_MOST_IMAGES: Final = 100_000  # Airflow's own limit of mapped tasks is 1,024
_DAG: Final = '''
import shutil
import tempfile
from pathlib import Path

from airflow.sdk import dag, get_current_context, task

RESULTS, MODEL, RULES = (Path(path) for path in ({results!r}, {model!r}, {rules!r}))


def stage(name, out, env=(), **inputs):
    """Run one of the stages on folders."""
    from importlib import import_module

    from stages.common.runner import Datum

    work = getattr(import_module(f"stages.{{name}}.stage"), name.title().replace("_", "") + "Stage")()
    Path(out).mkdir(parents=True, exist_ok=True)
    work.warm_up(dict(env))
    work.process(Datum({{key.replace("_", "-"): Path(path) for key, path in inputs.items()}}, Path(out), dict(env)))


def through(images, threads):
    """Three stages over a folder or a single image; what they wrote joins the results, whole."""
    with tempfile.TemporaryDirectory(dir=RESULTS.parent) as folder:
        scratch = Path(folder)
        stage("validate", scratch / "validate", images=images)
        if (scratch / "validate" / "valid").is_dir():
            env = {{"DETECT_THREADS": str(threads)}}
            stage("object_detect", scratch / "object-detect", env, validate=scratch / "validate", model=MODEL)
            stage("threat_detect", scratch / "threat-detect", object_detect=scratch / "object-detect", rules=RULES)
        shutil.copytree(scratch, RESULTS, dirs_exist_ok=True)


def forget(wanted):
    """Outputs that are made anew must not leave old ones behind."""
    if wanted:
        shutil.rmtree(RESULTS, ignore_errors=True)


def draw():
    (RESULTS / "threat-detect").mkdir(parents=True, exist_ok=True)
    stage("plot", RESULTS / "plot", threat_detect=RESULTS / "threat-detect")


@dag(schedule=None, catchup=False, max_active_tasks=64)
def one_task_per_image():
    @task
    def list_images() -> list[str]:
        conf = get_current_context()["dag_run"].conf
        forget(conf["again"])
        return sorted(str(path) for path in Path(conf["folder"]).iterdir())

    @task
    def process(image: str) -> None:
        through(image, 1)

    @task
    def plot() -> None:
        draw()

    process.expand(image=list_images()) >> plot()


@dag(schedule=None, catchup=False)
def one_task_for_all():
    @task
    def process() -> None:
        conf = get_current_context()["dag_run"].conf
        forget(conf["again"])
        through(conf["folder"], {cores})
        draw()

    process()


one_task_per_image()
one_task_for_all()
'''


class PlainAirflow:
    """Airflow that calls the stages as Python. New images come as a folder of their own; a changed file means all images again.

    :param dag_id: ``one_task_per_image`` or ``one_task_for_all``.
    """

    def __init__(self, world: World, dag_id: str) -> None:
        self._world, self._dag_id = world, dag_id
        self.name = f"Airflow, {dag_id.replace('_', ' ')}"
        self.how = "LocalExecutor; new images alone when images come, all of them when rules or model change"
        self._results = world.root / "results"
        self._results.mkdir()
        layout = Layout(world.root / "airflow")
        for folder in (layout.airflow_home / "dags", layout.airflow_home / "plugins", layout.root / "code"):
            folder.mkdir(parents=True)
        # Only the stages: with the whole repository on the path Airflow would find this project's provider.
        (layout.root / "code" / "stages").symlink_to(REPOSITORY / "stages")
        dag = _DAG.format(results=str(self._results), model=str(world.model), rules=str(world.rules), cores=cores())
        (layout.airflow_home / "dags" / "plain.py").write_text(dag)
        self._processes: list[Process] = []
        self._database: Process | None = None
        self._numbers = 0
        try:
            self._airflow = self._start(layout)
        except BaseException:
            self.close()
            raise

    def _start(self, layout: Layout) -> Airflow:
        # The script and not python -m, which would put the folder it is called in on the path: the repository, with its provider.
        program = str(environment(*_PACKAGES) / "airflow")
        password, *keys = (secrets.token_urlsafe(48) for _ in range(3))
        parallelism = _TASKS_PER_CORE * cores()
        settings = AirflowSettings(free_port(), password, jwt_secret=keys[0], secret_key=keys[1], parallelism=parallelism)
        (layout.airflow_home / "passwords.json").write_text(f'{{"admin": "{settings.password}", "viewer": "{settings.password}"}}')
        extra = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(layout.airflow_home / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(layout.airflow_home / "plugins"),
            "AIRFLOW__CORE__MAX_MAP_LENGTH": str(_MOST_IMAGES),
            "PYTHONPATH": str(layout.root / "code"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }
        inherited = {"PATH": f"{Path(program).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(layout.root)}
        database = Postgres.of(layout)
        database.initialize()
        server, _ = start("postgres", database.command(), env=inherited, log_file=layout.logs / "postgres.log")
        self._database = server
        database.wait_ready(lambda: server.alive, server.log_tail)
        env = airflow_environment(inherited, layout, settings, database=database.url, pachd_address="127.0.0.1:1", extra=extra)
        done = subprocess.run([program, "db", "migrate"], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"airflow db migrate: {(done.stdout + done.stderr)[-2000:]}")
        for name in COMPONENTS:
            flags = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
            command = [program, name, *flags]
            self._processes.append(start(name, command, env=env, log_file=layout.logs / f"{name}.log")[0])
        airflow = Airflow(settings)
        deadline = time.monotonic() + _START_SECONDS
        while not airflow.healthy():
            if time.monotonic() > deadline or not all(process.alive for process in self._processes):
                raise RuntimeError("\n".join(f"{process.name}:\n{process.log_tail()}" for process in self._processes))
            time.sleep(0.5)
        airflow.login()
        airflow.wait_for_dag(self._dag_id, timeout=_START_SECONDS)
        airflow.unpause(self._dag_id)
        return airflow

    def run(self, step: Step) -> None:
        again = step in (Step.RULES, Step.MODEL)
        folder = self._world.images if again else self._world.delivery(step)
        self._numbers += 1
        run_id = self._airflow.trigger(self._dag_id, conf={"folder": str(folder), "again": again}, run_id=f"run_{self._numbers}")
        for _ in self._airflow.watch(self._dag_id, run_id, timeout=_RUN_SECONDS):
            pass

    def outputs(self, target: Path) -> None:
        copy_outputs(self._results, target)

    def close(self) -> None:
        stop(self._processes)
        stop([self._database] if self._database is not None else [])
