"""The running stack as the browser tests see it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from laptop.stack import Stack


@dataclass(frozen=True)
class Site:
    """Where things are.

    :ivar summary: What the demo's push said that it found.
    """

    stack: Stack
    summary: dict[str, Any]

    @property
    def url(self) -> str:
        return self.stack.airflow.url

    def dashboard(self, **query: str) -> str:
        """A view of the page, without Airflow around it."""
        return f"{self.url}/pachyderm/?{urlencode(query)}"
