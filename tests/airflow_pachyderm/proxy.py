"""A TCP proxy that cuts the connection when a test says so."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Forwards a loopback port to an address until so many bytes went upstream; then it cuts. Use it as a context manager.

    :ivar cuts: How often it has cut.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        self._left: int | None = None
        self._times = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []

    def cut_after(self, size_bytes: int, *, times: int = 1) -> None:
        """Cut when the next ``size_bytes`` have gone upstream, ``times`` times."""
        with self._lock:
            self._limit = self._left = size_bytes
            self._times = times

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(self._target)
                self._open += [client, upstream]
                threading.Thread(target=self._forward, args=(client, upstream, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(upstream, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if up and self._must_cut(len(data)):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _must_cut(self, size: int) -> bool:
        with self._lock:
            if self._left is None or self._times == 0:
                return False
            self._left -= size
            if self._left > 0:
                return False
            self.cuts += 1
            self._times -= 1
            self._left = self._limit
            return True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()
        for end in self._open:
            end.close()
