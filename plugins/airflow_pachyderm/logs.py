"""What is asked of a logger: Airflow's task loggers are not :class:`logging.Logger`."""

from typing import Any, Protocol


class Log(Protocol):
    """Takes lazy %s messages."""

    def info(self, msg: str, /, *args: Any) -> Any:
        """Log progress."""

    def warning(self, msg: str, /, *args: Any) -> Any:
        """Log what a person may want to look into."""
