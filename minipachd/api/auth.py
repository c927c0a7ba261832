"""Who may call: whoever shows the token, as Pachyderm's clients do (``authn-token``)."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

TOKEN_KEY = "authn-token"  # noqa: S105 - a name
_OPEN = frozenset(
    {
        # What Pachyderm answers without a token, too: clients ask before they have one. None of it says what is stored here.
        "/admin_v2.API/InspectCluster",
        "/auth_v2.API/Activate",
        "/auth_v2.API/Authenticate",
        "/auth_v2.API/WhoAmI",
        "/enterprise_v2.API/GetState",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/versionpb_v2.API/GetVersion",
    }
)


class AuthInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Answers UNAUTHENTICATED to calls that do not carry the token.

    :param token: What they carry.
    :param path: Where it lies, for the message.
    """

    def __init__(self, token: str, path: Path) -> None:
        self._token = token.encode()
        path = path.absolute()
        way = (
            f"the token of this minipachd lies in {path}: give it as session_token of pachctl's context, auth_token of python-pachyderm, "
            "password of an Airflow connection"
        )
        # Pachyderm's own words come first: its clients know them.
        self._missing = _refusal(f"no authentication token (try logging in); {way}")
        self._wrong = _refusal(f"provided auth token is corrupted or has expired (try logging in again); {way}")

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        if handler_call_details.method in _OPEN:
            return await continuation(handler_call_details)
        shown = next((value for key, value in handler_call_details.invocation_metadata if key == TOKEN_KEY), None)
        if not shown:
            return self._missing
        if not hmac.compare_digest(shown.encode() if isinstance(shown, str) else shown, self._token):
            return self._wrong
        return await continuation(handler_call_details)


def _refusal(text: str) -> Any:
    async def call(_requests: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)
        yield  # never: what makes this a stream

    return grpc.stream_stream_rpc_method_handler(call)  # whatever the method's shape is: the refusal looks the same
