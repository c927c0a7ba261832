"""The network that misbehaves must misbehave as it says, or the figures of faults mean nothing."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.proxy import BadNetwork, Flapping, Weather


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(end: socket.socket) -> None:
        with contextlib.suppress(OSError), end:
            while data := end.recv(1000):
                end.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def network(echo: str) -> Iterator[BadNetwork]:
    with BadNetwork(lambda: echo) as network:
        yield network


@contextlib.contextmanager
def connected(network: BadNetwork) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", network.port), timeout=10) as end:
        yield end


def asked(end: socket.socket, data: bytes) -> bytes:
    end.sendall(data)
    return end.recv(1000)


def ask_anew(network: BadNetwork) -> bytes:
    with connected(network) as end:
        return asked(end, b"anybody?")


def test_fair_weather_forwards_both_ways(network: BadNetwork) -> None:
    with connected(network) as first, connected(network) as second:
        assert asked(first, b"one") == b"one"
        assert asked(second, b"two") == b"two"


def test_a_reset_ends_open_connections_and_lets_new_ones_in(network: BadNetwork) -> None:
    with connected(network) as end:
        assert asked(end, b"before") == b"before"
        network.reset()
        with pytest.raises(ConnectionResetError):
            end.recv(1000)
    with connected(network) as end:
        assert asked(end, b"after") == b"after"


def test_delay_holds_every_block_back(network: BadNetwork) -> None:
    network.delay_seconds = 0.2
    network.turn(Weather.DELAY)
    with connected(network) as end:
        started = time.monotonic()
        assert asked(end, b"late") == b"late"
        assert time.monotonic() - started >= 2 * network.delay_seconds


def test_dropped_bytes_never_arrive_and_cost_the_connection(network: BadNetwork) -> None:
    with connected(network) as end:
        assert asked(end, b"before") == b"before"
        network.turn(Weather.DROP)
        end.sendall(b"lost")
        end.settimeout(0.3)
        with pytest.raises(TimeoutError):
            end.recv(1000)
        end.settimeout(10)
        network.turn(Weather.FAIR)
        with pytest.raises(ConnectionResetError):
            end.recv(1000)


def test_refusing_resets_who_is_there_and_who_comes(network: BadNetwork) -> None:
    with connected(network) as end:
        assert asked(end, b"before") == b"before"
        network.turn(Weather.REFUSE)
        with pytest.raises(ConnectionResetError):
            end.recv(1000)
    with pytest.raises(ConnectionResetError):
        ask_anew(network)
    network.turn(Weather.FAIR)
    with connected(network) as end:
        assert asked(end, b"after") == b"after"


def test_a_server_that_is_away_is_a_reset_and_not_the_end_of_the_proxy(echo: str) -> None:
    addresses = iter(["127.0.0.1:1", echo])
    with BadNetwork(lambda: next(addresses)) as network:
        with pytest.raises(ConnectionResetError):
            ask_anew(network)
        assert ask_anew(network) == b"anybody?"


def test_flapping_brings_every_weather_and_ends_fair(network: BadNetwork) -> None:
    with Flapping(network, seed=1, spell_seconds=0.11) as flapping:
        deadline = time.monotonic() + 30
        while len(flapping.changes) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert flapping.changes.keys() == {"fair", "delay", "drop", "refuse", "reset"}
    with connected(network) as end:
        assert asked(end, b"after") == b"after"
