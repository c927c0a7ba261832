"""Where the README's figures come from: ratios taken side by side in one run on one machine. ``python -m benchmarks --help``."""

import os

# The provider's log lines of each push are for people who look at a task; here they would bury the figures.
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
