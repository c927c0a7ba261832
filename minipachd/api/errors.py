"""The one table from the engine's errors to gRPC codes, and the interceptor that every answer passes."""

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from minipachd import errors
from minipachd.api.dialect import DEFAULT, Dialect
from minipachd.storage import limits

log = logging.getLogger(__name__)

CODES: dict[type[errors.MinipachdError], grpc.StatusCode] = {
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    # Pachyderm answers most refusals with UNKNOWN, and its clients go by the text.
    errors.InvalidError: grpc.StatusCode.UNKNOWN,
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ConflictError: grpc.StatusCode.ABORTED,
    errors.NotReadyError: grpc.StatusCode.UNAVAILABLE,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.StorageFullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ReadOnlyError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.UnreadableError: grpc.StatusCode.INTERNAL,
    errors.CorruptError: grpc.StatusCode.DATA_LOSS,
    errors.DataDirError: grpc.StatusCode.INTERNAL,
}


def code_of(error: errors.MinipachdError, dialect: Dialect) -> grpc.StatusCode:
    """The code of the nearest class in the table, with what the dialect says otherwise."""
    codes = {**CODES, **dialect.codes}
    return next((codes[kind] for kind in type(error).__mro__ if kind in codes), grpc.StatusCode.UNKNOWN)


class AnswerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Ends a call whose handler raised with the error's code and text; a method that nobody wrote answers UNIMPLEMENTED.

    :param dialect: What it does not fill in is left out of the answers.
    """

    def __init__(self, dialect: Dialect = DEFAULT) -> None:
        self._dialect = dialect

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(_unknown(method))  # whatever its shape is: the refusal looks the same
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        shape = f"{'stream' if streams_in else 'unary'}_{'stream' if streams_out else 'unary'}"
        behaviour = getattr(handler, shape)
        return getattr(grpc, f"{shape}_rpc_method_handler")(
            _streaming(behaviour, method, self._dialect) if streams_out else _single(behaviour, method, self._dialect),
            handler.request_deserializer,
            _serializer(handler.response_serializer),
        )


def _serializer(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    """Lets answers through that a handler has serialised itself."""
    return lambda answer: answer if serialize is None or type(answer) is bytes else serialize(answer)


def _single(behaviour: Callable[[Any, Any], Any], method: str, dialect: Dialect) -> Callable[[Any, Any], Awaitable[Any]]:
    @functools.wraps(behaviour)
    async def call(request: Any, context: Any) -> Any:
        if not inspect.iscoroutinefunction(behaviour):
            await _refuse(context, method)
        try:
            answer = await behaviour(request, context)
        except Exception as exc:  # noqa: BLE001 - the process's edge: everything must become a status
            await _abort(context, method, exc, dialect)
        dialect.trim(answer)
        return answer

    return call


def _unknown(method: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def call(_requests: Any, context: Any) -> AsyncIterator[Any]:
        await _refuse(context, method)
        yield  # never: what makes this a stream

    return call


def _streaming(behaviour: Callable[[Any, Any], Any], method: str, dialect: Dialect) -> Callable[[Any, Any], AsyncIterator[Any]]:
    @functools.wraps(behaviour)
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        if not inspect.isasyncgenfunction(behaviour):
            await _refuse(context, method)
        answers = behaviour(request, context)
        try:
            async for answer in answers:
                if type(answer) is not bytes:
                    dialect.trim(answer)
                yield answer
        except Exception as exc:  # noqa: BLE001 - the process's edge: everything must become a status
            await _abort(context, method, exc, dialect)
        finally:
            await answers.aclose()

    return call


async def _refuse(context: Any, method: str) -> None:
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED, f"{method} is not implemented by minipachd, the one-machine engine; use a Pachyderm cluster"
    )


async def _abort(context: Any, method: str, error: Exception, dialect: Dialect) -> None:
    error = limits.named(error, method) or error
    if isinstance(error, errors.MinipachdError):
        await context.abort(code_of(error, dialect), str(error))
    elif isinstance(error, grpc.aio.AbortError):
        raise error
    else:
        log.error("%s failed", method, exc_info=error)
        await context.abort(
            grpc.StatusCode.INTERNAL, f"{method} failed in minipachd: {type(error).__name__}: {error}; its log has the traceback"
        )
