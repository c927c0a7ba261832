"""What Prometheus reads: calls as they end, and the store and its jobs as they are when it asks."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from minipachd.errors import DataDirError
from minipachd.pps.spec import JobState
from minipachd.storage import Database, DataDirectory

log = logging.getLogger(__name__)

_DATUM_STATES = ("processed", "skipped", "failed", "recovered")


class Metrics(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Counts every call; to be the outermost interceptor, so that it sees the code that the client sees."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram("minipachd_rpc_seconds", "Calls, by method and code.", ("method", "code"), registry=self.registry)
        self._bytes = Counter(
            "minipachd_rpc_bytes", "Bytes of messages, by method and direction (in, out).", ("method", "direction"), registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def serve(self, host: str, port: int, *, directory: DataDirectory, database: Database) -> Callable[[], None]:
        """Answer HTTP on an address.

        :param port: 0 takes a free one; the log names it.
        :return: What ends it.
        :raises DataDirError: The address cannot be used.
        """
        self.registry.register(_State(directory, database))
        try:
            server, thread = start_http_server(port, host, registry=self.registry)
        except OSError as exc:
            raise DataDirError(f"cannot serve metrics on {host}:{port}: {exc.strerror}; give another address with --metrics") from exc
        log.info("metrics on http://%s:%d/metrics", host, server.server_port)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        shape = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
        behaviour = getattr(handler, shape)
        received, sent = self._bytes.labels(method, "in"), self._bytes.labels(method, "out")
        return getattr(grpc, f"{shape}_rpc_method_handler")(
            (self._streaming if handler.response_streaming else self._single)(behaviour, method),
            _counted_in(handler.request_deserializer, received),
            _counted_out(handler.response_serializer, sent),
        )

    def _single(self, behaviour: Callable[[Any, Any], Awaitable[Any]], method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            began, code = time.perf_counter(), "CANCELLED"
            try:
                answer = await behaviour(request, context)
                code = "OK"
                return answer
            except grpc.aio.AbortError:
                code = _code(context)
                raise
            finally:
                self._seconds.labels(method, code).observe(time.perf_counter() - began)

        return call

    def _streaming(self, behaviour: Callable[[Any, Any], AsyncIterator[Any]], method: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            began, code = time.perf_counter(), "CANCELLED"
            answers = behaviour(request, context)
            try:
                async for answer in answers:
                    yield answer
                code = "OK"
            except grpc.aio.AbortError:
                code = _code(context)
                raise
            finally:
                await answers.aclose()  # type: ignore[attr-defined] # handlers are generators
                self._seconds.labels(method, code).observe(time.perf_counter() - began)

        return call


class _State(Collector):
    """Read from the database when somebody asks."""

    def __init__(self, directory: DataDirectory, database: Database) -> None:
        self._directory, self._database = directory, database

    def collect(self) -> Iterator[Metric]:
        with self._database.snapshot() as db:
            states = dict(db.execute("SELECT state, count(*) FROM pps_jobs GROUP BY state").fetchall())
            sums = ", ".join(f"coalesce(sum(json_extract(CAST(counts AS TEXT), '$.{state}')), 0)" for state in _DATUM_STATES)
            datums = db.execute(f"SELECT {sums} FROM pps_jobs").fetchone()  # noqa: S608 - constants of this module
            packs, pack_bytes = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM packs").fetchone()
        jobs = GaugeMetricFamily("minipachd_jobs", "Jobs that are kept, by state.", labels=("state",))
        for state in JobState:
            jobs.add_metric((state.name,), states.get(int(state), 0))
        yield jobs
        family = GaugeMetricFamily("minipachd_datums", "Datums of those jobs, by state.", labels=("state",))
        for name, count in zip(_DATUM_STATES, datums, strict=True):
            family.add_metric((name,), count)
        yield family
        yield GaugeMetricFamily("minipachd_packs", "Files that hold content.", value=packs)
        stored = GaugeMetricFamily("minipachd_store_bytes", "On disk: content (packs), everything else (database).", labels=("part",))
        stored.add_metric(("packs",), pack_bytes)
        stored.add_metric(("database",), self._directory.database.stat().st_size)
        yield stored


def _code(context: Any) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else grpc.StatusCode(code).name if code else "UNKNOWN"


def _counted_in(parse: Callable[[bytes], Any] | None, counter: Any) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        counter.inc(len(data))
        return data if parse is None else parse(data)

    return parsed


def _counted_out(serialize: Callable[[Any], bytes] | None, counter: Any) -> Callable[[Any], bytes]:
    def serialized(message: Any) -> bytes:
        data: bytes = message if serialize is None else serialize(message)
        counter.inc(len(data))
        return data

    return serialized
