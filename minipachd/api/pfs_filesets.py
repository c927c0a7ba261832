"""PFS's calls about file sets, and about files that leave the store for a URL."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from minipachd.api.admin_service import empty
from minipachd.api.pfs_files import FileCalls, batches
from minipachd.api.pfs_messages import commit_reference
from minipachd.api.threads import overlapped, to_the_end
from minipachd.errors import UnsupportedError
from minipachd.pfs import Modification, filesets


class FileSetCalls(FileCalls):
    """A part of ``pfs_v2.API``: :class:`FileCalls` and these."""

    async def CreateFileSet(self, requests: AsyncIterator[Any], context: Any) -> Any:
        with self._pfs.modification() as modification:
            await overlapped(batches(requests), partial(self._gather, modification))
            return await to_the_end(partial(self._create_file_set, modification))

    async def GetFileSet(self, request: Any, context: Any) -> Any:
        def act() -> Any:
            with self._pfs.transaction() as txn:
                key = txn.resolve(commit_reference(request.commit, self._dialect)).key
                return pfs_pb2.CreateFileSetResponse(file_set_id=filesets.of_commit(txn, key))

        return await asyncio.to_thread(act)

    async def AddFileSet(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                filesets.add_to_commit(txn, txn.resolve(commit_reference(request.commit, self._dialect)).key, request.file_set_id)

        await asyncio.to_thread(act)
        return empty()

    async def RenewFileSet(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                filesets.renew(txn, request.file_set_id, request.ttl_seconds)

        await asyncio.to_thread(act)
        return empty()

    async def ComposeFileSet(self, request: Any, context: Any) -> Any:
        def act() -> Any:
            with self._pfs.transaction() as txn:
                return pfs_pb2.CreateFileSetResponse(file_set_id=filesets.compose(txn, request.file_set_ids, request.ttl_seconds))

        return await asyncio.to_thread(act)

    async def ShardFileSet(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            with self._pfs.snapshot() as view:
                files = view.tree(filesets.find(view, request.file_set_id).root)
            return pfs_pb2.ShardFileSetResponse(
                shards=[pfs_pb2.PathRange(lower=lower, upper=upper) for lower, upper in filesets.shards(files)]
            )

        return await asyncio.to_thread(look)

    async def Egress(self, request: Any, context: Any) -> Any:
        if request.WhichOneof("target") == "sql_database":
            raise UnsupportedError("egress to an SQL database is not implemented by minipachd; use object_storage with a URL")
        _, files = await asyncio.to_thread(self._files, request.commit)
        copied = await self._copy_out(request.object_storage.url, files.entries())
        result = pfs_pb2.EgressResponse.ObjectStorageResult(bytes_written=copied.size_bytes)
        return pfs_pb2.EgressResponse(object_storage=result)

    def _create_file_set(self, modification: Modification) -> Any:
        appends, deletes = list(modification.appends()), list(modification.deletes())
        modification.upload.seal()
        with self._pfs.transaction() as txn:
            file_set = filesets.create(txn, upload=modification.upload, deletes=deletes, appends=appends)
        return pfs_pb2.CreateFileSetResponse(file_set_id=file_set)
