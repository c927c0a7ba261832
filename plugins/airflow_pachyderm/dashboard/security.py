"""Who may read, and what a browser may do with what it gets."""

from typing import Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No inline script or style, nothing from elsewhere, and no string becomes script or markup by accident.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
# Files of a repo, opened by themselves: an origin of their own, and nothing runs or loads.
CONTENT_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"

STRICT_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
}


def require_reader(user: GetUserDep) -> None:
    """Let in who is logged in to Airflow and may read DAGs: what the page shows is what DAGs made. Not by a DAG named in the request.

    :raises HTTPException: 401 without a valid login, 403 without the permission.
    """
    if not get_auth_manager().is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "You may not read DAGs, so you may not read what they made; ask an administrator for the role Viewer")


class SecurityHeaders:
    """Middleware that gives each response the headers it did not set itself, also to errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in STRICT_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
