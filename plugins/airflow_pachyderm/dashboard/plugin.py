"""What Airflow loads: the page's application and its entry in the navigation.

Airflow imports every plugin in each of its processes, so this module loads neither FastAPI nor gRPC; the first request does.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_pachyderm.dashboard.links import NAME, URL_PREFIX, URL_ROUTE

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class LazyApp:
    """An ASGI application that is built by its first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Any = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if self._app is None:
            await asyncio.to_thread(self._build)  # a second of imports, which must not hold up Airflow's event loop
        await self._app(scope, receive, send)

    def _build(self) -> None:
        with self._lock:
            if self._app is None:
                from airflow_pachyderm.dashboard.app import create_app

                self._app = create_app()


class PachydermDashboardPlugin(AirflowPlugin):
    """The page *Pachyderm* in Airflow's navigation."""

    name = "pachyderm_dashboard"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": NAME}]  # noqa: RUF012 - Airflow declares it as an instance variable and reads it from the class
    external_views = [  # noqa: RUF012 - Airflow declares it as an instance variable and reads it from the class
        # Relative: right also where Airflow is served below a path.
        {"name": NAME, "href": f"{URL_PREFIX.strip('/')}/", "url_route": URL_ROUTE, "destination": "nav", "category": "browse"}
    ]
