"""``minipachd.Upkeep``: a service of our own, for our own command line. Its messages are JSON."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgspec

from minipachd.api.auth import TOKEN_KEY
from minipachd.errors import DataDirError
from minipachd.pfs import Pfs
from minipachd.storage.token import keep_token
from minipachd.upkeep.gc import Collector, Freed

_SERVICE, _COLLECT = "minipachd.Upkeep", "CollectGarbage"


class Progress(msgspec.Struct, frozen=True):
    """One message of a collection: a line to show or, at the end, what came of it."""

    line: str = ""
    freed: Freed | None = None


class UpkeepService:
    """Runs a collection in a worker thread; it goes on when the caller goes away."""

    def __init__(self, pfs: Pfs) -> None:
        self._collector = Collector(pfs)

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(_SERVICE, {_COLLECT: grpc.unary_stream_rpc_method_handler(self.collect)})

    def stop(self) -> None:
        """End a running collection soon; what it has dropped stays dropped."""
        self._collector.stop()

    async def collect(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """:raises FailedPreconditionError: See :meth:`Collector.collect`."""
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[str | None] = asyncio.Queue()

        def tell(line: str | None) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        def collect() -> Freed:
            try:
                return self._collector.collect(tell)
            finally:
                tell(None)

        running = loop.run_in_executor(None, collect)
        while (line := await lines.get()) is not None:
            yield msgspec.json.encode(Progress(line))
        yield msgspec.json.encode(Progress(freed=await running))


def collect_garbage(address: str, token_file: Path) -> Iterator[Progress]:
    """Have a running server collect; ends with a message that has ``freed``.

    :param token_file: Holds the token that the server asks for; it need not be there where it asks for none.

    :raises DataDirError: It cannot be reached, or refuses; its words are in the text.
    """
    decode = partial(msgspec.json.decode, type=Progress)
    metadata = ((TOKEN_KEY, keep_token(token_file)),) if token_file.exists() else ()
    with grpc.insecure_channel(address) as channel:
        try:
            yield from map(decode, channel.unary_stream(f"/{_SERVICE}/{_COLLECT}")(b"", metadata=metadata))
        except grpc.RpcError as exc:
            raise DataDirError(f"the server on {address} did not collect: {exc.code().name}: {exc.details()}") from exc
