"""The environment of all tests, scrubbed before anything is imported: no home, no Airflow, no Pachyderm of the person who runs them."""

import atexit
import os
import shutil
import tempfile

_HOME = tempfile.mkdtemp(prefix="tuskwatch-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

# What a person says to the tests: where data lies, which pachctl and which server to use.
_KEPT = ("TUSKWATCH_SHARED", "PACHCTL", "PACHYDERM_ADDRESS", "PACHYDERM_TLS", "PACHYDERM_CA", "PACHYDERM_TOKEN")

for name in list(os.environ):
    if name.upper().startswith(("AIRFLOW", "PACH", "PPS_", "TUSKWATCH_")) and name not in _KEPT:
        del os.environ[name]
    elif name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[name]  # everything that tests talk to is on loopback

os.environ["HOME"] = _HOME
os.environ["AIRFLOW_HOME"] = os.path.join(_HOME, "airflow")  # noqa: PTH118 - a string for the environment
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
