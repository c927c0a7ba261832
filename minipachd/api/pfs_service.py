"""``pfs_v2.API``: messages in, the engine's values across, messages out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from minipachd.api.admin_service import empty
from minipachd.api.pfs_commits import CommitCalls
from minipachd.api.pfs_files import FileCalls
from minipachd.api.pfs_newer import NewerFileSystemCalls
from minipachd.api.pfs_repos import RepoCalls
from minipachd.api.transactions import Transactions
from minipachd.pfs import Pfs
from minipachd.pfs.fsck import findings


class PfsService(RepoCalls, CommitCalls, FileCalls, NewerFileSystemCalls, pfs_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """All of PFS that one machine has a use for; the other methods answer UNIMPLEMENTED."""

    def __init__(self, pfs: Pfs, transactions: Transactions) -> None:
        RepoCalls.__init__(self, pfs, transactions)
        CommitCalls.__init__(self, pfs, transactions)
        FileCalls.__init__(self, pfs)
        NewerFileSystemCalls.__init__(self, pfs)

    async def Fsck(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for finding in await asyncio.to_thread(findings, self._pfs):
            yield pfs_pb2.FsckResponse(error=finding)

    async def ClearCache(self, request: Any, context: Any) -> Any:
        return empty()
