"""The example of docs/airflow.md, in a real DAG run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from airflow_pachyderm.hooks.pachyderm import PachydermHook

DOCS = Path(__file__).resolve().parents[2] / "docs" / "airflow.md"


def test_the_documented_dag_runs(hook: PachydermHook, airflow_database: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"<!-- example: .*? -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 12
    folder, scans = tmp_path / "dags", tmp_path / "scans"
    folder.mkdir()
    scans.mkdir()
    for name in ("a.pdf", "b.pdf"):
        (scans / name).write_text(name)
    (folder / "scans.py").write_text(example.replace("/data/", f"{tmp_path}/"))
    hook.pfs.create_repo("scans")
    spec = {
        "pipeline": {"name": "text"},
        "input": {"pfs": {"repo": "scans", "glob": "/*"}},
        "transform": {"cmd": ["sh"], "stdin": ["cp $PFS_ROOT/scans/* $PFS_ROOT/out/"]},
    }
    hook.pps.create_pipeline(spec, name="test")
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    (tmp_path / "airflow").mkdir()
    shutil.copy(airflow_database, tmp_path / "airflow")

    done = subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "scans"], env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert {path.name: path.read_text() for path in (tmp_path / "text").iterdir()} == {"a.pdf": "a.pdf", "b.pdf": "b.pdf"}
    (commit,) = hook.pfs.list_commits("scans")
    assert commit.description.startswith("[airflow:scans/manual__")
