"""What Airflow loads: the page's application and its entry in the navigation.

Airflow imports every plugin in each of its processes, so this module loads neither FastAPI nor gRPC; the first request does.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.configuration import conf
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


class SameOriginFrames:
    """Middleware for all of Airflow's server: no page of another origin, another port of this machine for one, may frame it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                known = {name.lower() for name, _ in headers}
                headers += [header for header in _FRAMES if header[0] not in known]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


_FRAMES = ((b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", b"frame-ancestors 'self'"))
# An Airflow that only has this provider installed decides itself; the one that this project starts says so.
_DENIED = conf.getboolean("pachyderm", "deny_framing", fallback=False)


class PachydermDashboardPlugin(AirflowPlugin):
    """The page *Pachyderm* in Airflow's navigation."""

    name = "pachyderm_dashboard"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": NAME}]  # noqa: RUF012 - Airflow declares it as an instance variable and reads it from the class
    fastapi_root_middlewares = [{"middleware": SameOriginFrames, "args": [], "kwargs": {}, "name": "same-origin frames"}] if _DENIED else []
    external_views = [  # noqa: RUF012 - Airflow declares it as an instance variable and reads it from the class
        # Relative: right also where Airflow is served below a path.
        {"name": NAME, "href": f"{URL_PREFIX.strip('/')}/", "url_route": URL_ROUTE, "destination": "nav", "category": "browse"}
    ]
