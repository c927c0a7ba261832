"""What may happen to a request on its way: the fakes ask here before they serve one, and after."""

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import psutil

CUT: Final = 0  # the connection is cut
HELD: Final = -1  # no answer comes, until the client gives up
HOLD_SECONDS: Final = 45.0  # longer than any client here waits


@dataclass
class Kill:
    """SIGKILL for the process that sends a request, once.

    :ivar who: The process, as :attr:`Wire.who` names it.
    :ivar request: Pattern of the request.
    :ivar served: After the request was carried out, whose answer is lost then; otherwise before, and it is not carried out.
    """

    who: str
    request: str = ""
    served: bool = False


@dataclass
class Wire:
    """A request is ``METHOD /path`` over HTTP, the method's name over gRPC, and ``CONNECT pachd`` to Pachyderm.

    :ivar answers: By pattern: statuses to answer with instead, one for each request.
    :ivar kills: Each is taken out when it is done.
    :ivar who: Names the process with a pid.
    """

    answers: dict[str, list[int]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    who: Callable[[int], str | None] = lambda _: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def unused(self) -> list[str]:
        """Faults that no request met."""
        return [repr(kill) for kill in self.kills] + [pattern for pattern, left in self.answers.items() if left]

    def before(self, request: str, port: int) -> int | None:
        """The status to answer with; None: serve it.

        :param port: The client's.
        """
        if self._killed(request, port, served=False):
            return CUT
        with self._lock:
            answers = next((left for pattern, left in self.answers.items() if left and re.search(pattern, request)), None)
            answer = answers.pop(0) if answers else None
        if answer != HELD:
            return answer
        self._over.wait(HOLD_SECONDS)
        return CUT

    def after(self, request: str, port: int) -> None:
        self._killed(request, port, served=True)

    def stop(self) -> None:
        self._over.set()

    def _killed(self, request: str, port: int, *, served: bool) -> bool:
        wanted = [kill for kill in self.kills if kill.served is served and re.search(kill.request, request)]
        if not wanted:
            return False
        pid = _process_at(port)
        who = self.who(pid) if pid else None
        with self._lock:
            kill = next((kill for kill in wanted if kill.who == who and kill in self.kills), None)
            if kill is None or pid is None:
                return False
            self.kills.remove(kill)
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(timeout=10)  # it answers to nobody any more
        return True


def _process_at(port: int) -> int | None:
    """The other process on this machine that has this end of a connection."""
    return next((c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid != os.getpid()), None)


class Relay:
    """A way to Pachyderm on which connections can be cut.

    :ivar target: ``host:port`` of the real one.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire, self.target = wire, ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, (_, port) = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, port), daemon=True).start()

    def _serve(self, client: socket.socket, port: int) -> None:
        with client:
            if self.wire.before("CONNECT pachd", port) is not None:
                return
            host, _, target = self.target.rpartition(":")
            with socket.create_connection((host, int(target))) as server:
                self._open |= {client, server}
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()
                self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def grpc_code(status: int) -> str:
    """The gRPC code that stands for an HTTP status."""
    return {
        HTTPStatus.TOO_MANY_REQUESTS: "RESOURCE_EXHAUSTED",
        HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL",
        HTTPStatus.CONFLICT: "ABORTED",
        HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    }.get(HTTPStatus(status) if status > 0 else HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE")
