"""Errors of the laptop stack. One root: a person ran a command and is told what to do next.

::

    LaptopError
    ├── StartError        a process did not come up
    ├── RunFailedError    an Airflow run ended in failure
    └── ModelError        the detection model could not be had
"""


class LaptopError(Exception):
    """The command could not do what was asked; the message says why and the way out."""


class StartError(LaptopError):
    """A process ended early or was not ready in time."""


class RunFailedError(LaptopError):
    """An Airflow run did not succeed; the message carries the log's last lines of the tasks that failed."""


class ModelError(LaptopError):
    """The model's archive could not be downloaded, or is not the official one."""
