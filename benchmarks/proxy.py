"""A bad network on loopback: a TCP proxy that delays, drops, resets and refuses, when it is told or by itself."""

import contextlib
import enum
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_BLOCK: Final = 65536
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: close() sends RST in place of FIN


class Weather(enum.Enum):
    """What the network does at the moment."""

    FAIR = "fair"
    DELAY = "delay"  # every block waits
    DROP = "drop"  # bytes vanish, and with them their connection once this is over
    REFUSE = "refuse"  # connections are reset, and new ones too


class BadNetwork:
    """Forwards a loopback port of its own to an address. Use it as a context manager.

    :param target: Gives the address, ``host:port``, for each new connection; asked then, so that it need not be known before.
    :ivar port: Where it listens.
    :ivar delay_seconds: For each block, while the weather is ``DELAY``.
    """

    delay_seconds = 0.05

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._weather = Weather.FAIR
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def weather(self) -> Weather:
        return self._weather

    def turn(self, weather: Weather) -> None:
        """Change the weather. Whoever lost bytes, or is refused, is reset."""
        before, self._weather = self._weather, weather
        if Weather.REFUSE in (before, weather) or before is Weather.DROP:
            self.reset()

    def reset(self) -> None:
        """Reset every connection that is open now; the weather stays."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _reset(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                try:
                    self._connect(client)
                except OSError:  # nobody listens there just now
                    _reset(client)

    def _connect(self, client: socket.socket) -> None:
        if self._weather is Weather.REFUSE:
            _reset(client)
            return
        host, _, port = self._target().rpartition(":")
        upstream = socket.create_connection((host, int(port)), timeout=5)
        upstream.settimeout(None)
        for end in (client, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {client, upstream}
        for source, sink in ((client, upstream), (upstream, client)):
            threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of the two ends is closed
            while data := source.recv(_BLOCK):
                match self._weather:
                    case Weather.DELAY:
                        time.sleep(self.delay_seconds)
                    case Weather.DROP:
                        continue
                sink.sendall(data)
        with self._lock:
            if source not in self._open:  # reset, or the other direction has ended and closed both
                return
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self.reset()


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RD)  # wakes a thread in recv()
    end.close()


class Flapping:
    """Changes the weather of a network at random for as long as the context lasts; then it is fair.

    :param spell_seconds: The longest that one weather lasts.
    :ivar changes: How often each weather has come, and resets.
    """

    def __init__(self, network: BadNetwork, *, seed: int, spell_seconds: float = 1.5) -> None:
        self._network, self._chance, self._spell = network, random.Random(seed), spell_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._change, daemon=True)
        self.changes: Counter[str] = Counter()

    def _change(self) -> None:
        while not self._over.wait(self._chance.uniform(0.1, self._spell)):
            weather = self._chance.choice([*Weather, Weather.FAIR])
            if weather is Weather.FAIR and self._network.weather is Weather.FAIR:
                self.changes["reset"] += 1
                self._network.reset()
            else:
                self.changes[weather.value] += 1
                self._network.turn(weather)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._network.turn(Weather.FAIR)
