"""``pfs_v2.API``: messages in, the engine's values across, messages out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from minipachd.api.admin_service import empty
from minipachd.api.dialect import Dialect
from minipachd.api.pfs_commits import CommitCalls
from minipachd.api.pfs_filesets import FileSetCalls
from minipachd.api.pfs_messages import commit_reference
from minipachd.api.pfs_newer import NewerFileSystemCalls
from minipachd.api.pfs_repos import RepoCalls
from minipachd.api.transactions import Transactions
from minipachd.pfs import Pfs
from minipachd.pfs.fsck import findings, fix
from minipachd.pps.zombies import zombies


class PfsService(RepoCalls, CommitCalls, FileSetCalls, NewerFileSystemCalls, pfs_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """All of PFS that one machine has a use for; the other methods answer UNIMPLEMENTED."""

    def __init__(self, pfs: Pfs, transactions: Transactions, dialect: Dialect) -> None:
        RepoCalls.__init__(self, pfs, transactions, dialect)
        CommitCalls.__init__(self, pfs, transactions, dialect)
        FileSetCalls.__init__(self, pfs, dialect)
        NewerFileSystemCalls.__init__(self, pfs, dialect)

    async def Fsck(self, request: Any, context: Any) -> AsyncIterator[Any]:
        def look() -> list[Any]:
            answers = []
            if request.fix:
                with self._pfs.transaction() as txn:
                    answers = [pfs_pb2.FsckResponse(fix=line) for line in fix(txn)]
            errors = findings(self._pfs)
            with self._pfs.snapshot() as view:
                match request.WhichOneof("zombie_check"):
                    case "zombie_target":
                        errors += zombies(view, self._pfs.nodes, [view.resolve(commit_reference(request.zombie_target, self._dialect))])
                    case "zombie_all" if request.zombie_all:
                        errors += zombies(view, self._pfs.nodes, list(view.commits()))
            return answers + [pfs_pb2.FsckResponse(error=error) for error in errors]

        for answer in await asyncio.to_thread(look):
            yield answer

    async def CheckStorage(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            count = 0
            for chunk in list(self._pfs.chunks.all_ids(request.chunk_begin, request.chunk_end)):
                if request.read_chunk_data and chunk in self._pfs.chunks:  # a garbage collection may be dropping some
                    self._pfs.chunks.read(chunk)
                count += 1
            return pfs_pb2.CheckStorageResponse(chunk_object_count=count)

        return await asyncio.to_thread(look)

    async def ClearCache(self, request: Any, context: Any) -> Any:
        return empty()
